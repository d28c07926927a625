"""Trimming: the same vectors from fewer rows, whatever the tokenizer's kind, and what cannot be trimmed."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sentence_transformers import MultiVectorEncoder, SentenceTransformer
from sentence_transformers.base.modules import Normalize
from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    AutoTokenizer,
    BertConfig,
    BertModel,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaModel,
    XLMRobertaConfig,
    XLMRobertaModel,
)

from optical.config.vocabulary import Vocabulary
from optical.data.bitext import Pair
from optical.errors import DataError
from optical.vocabulary.fertility import fit
from optical.vocabulary.transplant import transplant
from optical.vocabulary.trim import choose_ids, keep_ids, piece_counts, trim
from tests.vocabulary.conftest import BERT, XLMR, wrapped

ENGLISH = ["The children drink cold water.", "Where is the old market?", "She wrote 12 long letters in 1986!"]
SWAHILI = ["Watoto wanakunywa maji baridi.", "Soko la zamani liko wapi?", "Aliandika barua 12 ndefu mwaka 1986!"]
TEXTS = ENGLISH + SWAHILI
OTHERS = [
    "Дети пьют холодную воду.", "Где старый рынок, где вода?", "मुले थंड पाणी पितात।", "जुना बाजार कुठे आहे?",
    "Lapset juovat kylmää vettä kesällä.", "Missä vanha kauppatori on?", "子供は水を飲む", "市場はどこですか",
    "Kinderen drinken koud water.", "Dzieci piją zimną wodę na rynku.", "Die Kinder schreiben lange Briefe.",
]  # fmt: skip
UNSEEN = ["Mtoto wa Nairobi anaandika Dvořák", "zzz qqq xylophone", "", "[MASK] <mask> maji", "... 7 ?!"]
SHAPE = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24,
    "max_position_embeddings": 70, "initializer_range": 0.5,
}  # fmt: skip
MASKED = {**XLMR, "mask_token": "<mask>"}


def wordpiece(special: tuple[str, ...] = tuple(BERT.values())) -> PreTrainedTokenizerFast:
    """As mBERT's: cased, trained on all the languages."""
    backend = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=False, strip_accents=False)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    backend.train_from_iterator(
        (TEXTS + OTHERS) * 3,
        trainers.WordPieceTrainer(vocab_size=640, special_tokens=list(special), show_progress=False),
    )
    ends = [(token, backend.token_to_id(token)) for token in ("[SEP]", "[CLS]")]
    backend.post_processor = processors.BertProcessing(*ends)
    return wrapped(backend, **BERT)


def unigram(before: tuple[str, ...] = ("<s>", "<pad>")) -> PreTrainedTokenizerFast:
    """As XLM-R's: the padding second, the mask last."""
    backend = Tokenizer(models.Unigram())
    backend.normalizer = normalizers.NFKC()
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = decoders.Metaspace()
    special = [*before, "</s>", "<unk>"]
    trainer = trainers.UnigramTrainer(
        vocab_size=400, special_tokens=special, unk_token="<unk>", show_progress=False, max_piece_length=12
    )
    backend.train_from_iterator((TEXTS + OTHERS) * 3, trainer)
    ends = [(token, backend.token_to_id(token)) for token in ("<s>", "</s>")]
    template = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=ends)
    backend.post_processor = processors.Sequence([template])
    return wrapped(backend, **MASKED)


def byte_level() -> PreTrainedTokenizerFast:
    """As RoBERTa's."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=620, special_tokens=["<s>", "<pad>", "</s>", "<unk>"], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    backend.train_from_iterator((TEXTS + OTHERS) * 3, trainer)
    ends = [(token, backend.token_to_id(token)) for token in ("</s>", "<s>")]
    backend.post_processor = processors.RobertaProcessing(*ends, trim_offsets=True, add_prefix_space=False)
    return wrapped(backend, **MASKED)


def network(tokenizer: PreTrainedTokenizerFast):
    """A BERT for BERT's special tokens; for XLM-R's a network that counts positions from the padding."""
    size = {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id, **SHAPE}
    torch.manual_seed(3)
    if tokenizer.mask_token == "[MASK]":
        return BertModel(BertConfig(**size), add_pooling_layer=False)
    ids = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    if isinstance(tokenizer.backend_tokenizer.model, models.BPE):
        return RobertaModel(RobertaConfig(**size, **ids), add_pooling_layer=False)
    return XLMRobertaModel(XLMRobertaConfig(**size, **ids), add_pooling_layer=False)


def encoder(tokenizer: PreTrainedTokenizerFast, folder) -> SentenceTransformer:
    tokenizer.save_pretrained(folder)
    network(tokenizer).eval().save_pretrained(folder)
    return SentenceTransformer(modules=[Transformer(str(folder)), Pooling(16)], device="cpu")


KINDS = {"wordpiece": wordpiece, "unigram": unigram, "bytes": byte_level}
TOKENIZERS = {name: make() for name, make in KINDS.items()}


@pytest.fixture(params=KINDS)
def multilingual(request, tmp_path) -> SentenceTransformer:
    return encoder(TOKENIZERS[request.param], tmp_path / "teacher")


def matrix(model) -> np.ndarray:
    return model[0].auto_model.get_input_embeddings().weight.detach().numpy()


def pieces(tokenizer, texts) -> list[list[str]]:
    return [tokenizer.convert_ids_to_tokens(ids) for ids in tokenizer(texts)["input_ids"]]


def test_every_text_has_the_vectors_it_had_also_after_loading(multilingual, tmp_path):
    weights, vocabulary = matrix(multilingual).copy(), multilingual.tokenizer.backend_tokenizer.to_str()
    student = trim(multilingual, piece_counts(multilingual.tokenizer, TEXTS))
    assert len(matrix(student)) < 0.9 * len(weights)
    student.save(str(tmp_path / "student"))
    for model in (student, SentenceTransformer(str(tmp_path / "student"), device="cpu")):
        for texts in (TEXTS, TEXTS[:1]):
            np.testing.assert_allclose(model.encode(texts), multilingual.encode(texts), rtol=0, atol=1e-6)
        assert pieces(model.tokenizer, TEXTS) == pieces(multilingual.tokenizer, TEXTS)
        assert len(matrix(model)) == len(model.tokenizer) == model[0].auto_model.config.vocab_size
        assert model.max_seq_length == multilingual.max_seq_length
    np.testing.assert_array_equal(matrix(multilingual), weights)
    assert multilingual.tokenizer.backend_tokenizer.to_str() == vocabulary


def test_plain_transformers_reads_unseen_text_the_same(multilingual, tmp_path):
    student = trim(multilingual, piece_counts(multilingual.tokenizer, TEXTS))
    student.save(str(tmp_path / "student"))
    again = AutoTokenizer.from_pretrained(tmp_path / "student")
    assert again(UNSEEN)["input_ids"] == student.tokenizer(UNSEEN)["input_ids"]


def test_every_row_that_stays_is_the_row_of_its_piece(multilingual):
    student = trim(multilingual, piece_counts(multilingual.tokenizer, TEXTS))
    theirs, ours = multilingual.tokenizer.get_vocab(), student.tokenizer.get_vocab()
    assert sorted(ours.values()) == list(range(len(ours)))
    order = sorted(ours, key=ours.__getitem__)
    assert [theirs[piece] for piece in order] == sorted(theirs[piece] for piece in order)
    np.testing.assert_array_equal(matrix(student), matrix(multilingual)[[theirs[piece] for piece in order]])
    assert student[0].auto_model.get_input_embeddings().num_embeddings == len(order)


def test_letters_of_the_scripts_in_use_stay_and_the_other_languages_go():
    for tokenizer in (TOKENIZERS["wordpiece"], TOKENIZERS["unigram"]):
        kept = {
            tokenizer.convert_ids_to_tokens(i).lstrip("#▁")
            for i in choose_ids(tokenizer, piece_counts(tokenizer, TEXTS))
        }
        vocabulary = {piece.lstrip("#▁") for piece in tokenizer.get_vocab()}
        assert {"ä", "ę", "1", "।"} <= kept  # letters of Finnish and Polish are Latin, a danda is a sign
        assert {piece for piece in vocabulary if piece.isascii() and piece.isalpha() and len(piece) <= 3} <= kept
        assert {"ж", "म", "子", "д"} & vocabulary
        assert not {"ж", "म", "子", "д"} & kept
        assert any(len(p) > 3 and p.isascii() for p in vocabulary - kept)


def test_a_script_in_use_keeps_its_letters():
    kept = TOKENIZERS["wordpiece"].convert_ids_to_tokens(
        choose_ids(TOKENIZERS["wordpiece"], piece_counts(TOKENIZERS["wordpiece"], [*TEXTS, OTHERS[2]]))
    )
    assert {"ठ", "##े"} <= set(kept)  # of the other Marathi sentence
    assert "Д" not in kept
    alone = TOKENIZERS["wordpiece"].convert_ids_to_tokens(
        choose_ids(TOKENIZERS["wordpiece"], piece_counts(TOKENIZERS["wordpiece"], ["maji"]))
    )
    assert {"1", "।", "?"} <= set(alone)  # signs and digits are of every script


def test_bytes_stay():
    kept = set(
        keep_ids(
            TOKENIZERS["bytes"], choose_ids(TOKENIZERS["bytes"], piece_counts(TOKENIZERS["bytes"], ["a"]))
        ).get_vocab()
    )
    assert set(pre_tokenizers.ByteLevel.alphabet()) <= kept
    fallback = json.loads(TOKENIZERS["unigram"].backend_tokenizer.to_str())
    fallback["model"]["byte_fallback"] = True
    fallback["model"]["vocab"] += [[f"<0x{b:02X}>", -9.0] for b in range(256)]
    base = wrapped(Tokenizer.from_str(json.dumps(fallback)), **MASKED)
    student = keep_ids(base, choose_ids(base, piece_counts(base, ["a"])))
    assert pieces(student, ["蟹"]) == pieces(base, ["蟹"])
    assert "<0xE8>" in pieces(student, ["蟹"])[0]


WORDS = " ".join(TEXTS + OTHERS).split()


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_texts_whose_pieces_stay_are_cut_as_they_were(kind, data):
    """Also texts that were not given, in other orders, if only their pieces stay: what trimming rests on."""
    base = TOKENIZERS[kind]
    parts = st.one_of(st.sampled_from(WORDS), st.text("abcdeimntwä дम水.1", max_size=6))
    some, other = (data.draw(st.lists(parts, max_size=6)) for _ in range(2))
    kept = choose_ids(base, piece_counts(base, ["".join(some), " ".join(some)]))
    student = keep_ids(base, kept)
    for text in ("".join(some), " ".join(some), "".join(other), "".join(some[::-1]), " ".join(some[1:] + other)):
        if set(base(text)["input_ids"]) <= set(kept):
            assert pieces(student, [text]) == pieces(base, [text])


def test_an_unknown_letter_costs_a_unigram_model_what_it_did():
    """Without the least likely piece, "x" alone would become likelier (-34) than the pieces around it (-48)."""
    scores = {"<s>": 0.0, "<pad>": 0.0, "</s>": 0.0, "<unk>": 0.0, "▁wwww": -1.0, "yyyy": -1.0}
    scores |= {"▁ww": -24.0, "wwxyyyy": -24.0, "rarest": -40.0}
    backend = Tokenizer(models.Unigram([*scores.items()], unk_id=3))
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    base, text = wrapped(backend, **MASKED), "wwwwxyyyy"
    assert pieces(base, [text]) == [["▁ww", "wwxyyyy"]]
    student = keep_ids(base, choose_ids(base, piece_counts(base, [text, "wwwwyyyy"])))
    assert pieces(student, [text, "wwwwyyyy"]) == [["▁ww", "wwxyyyy"], ["▁wwww", "yyyy"]]


def test_merges_that_lead_to_a_piece_stay():
    tokenizer = TOKENIZERS["bytes"]
    student = keep_ids(tokenizer, choose_ids(tokenizer, piece_counts(tokenizer, ["aliandika children"])))
    merges = json.loads(student.backend_tokenizer.to_str())["model"]["merges"]
    vocabulary = student.get_vocab()
    assert max(len(a + b) for a, b in merges) > 4
    assert all({a, b, a + b} <= vocabulary.keys() for a, b in merges)
    assert pieces(student, ["aliandika children"]) == pieces(tokenizer, ["aliandika children"])


def test_rare_pieces_go_by_count():
    tokenizer = TOKENIZERS["wordpiece"]
    all_of, twice = (choose_ids(tokenizer, piece_counts(tokenizer, [*TEXTS, TEXTS[0]]), min_count=n) for n in (1, 2))
    assert set(twice) < set(all_of)
    assert tokenizer.get_vocab()["children"] in twice


@pytest.mark.parametrize("kind", ["unigram", "bytes"])
def test_positions_are_counted_from_the_same_padding(kind, tmp_path):
    student = trim(encoder(TOKENIZERS[kind], tmp_path), piece_counts(TOKENIZERS[kind], TEXTS))
    model = student[0].auto_model
    ids = {model.config.pad_token_id, model.embeddings.padding_idx, model.embeddings.word_embeddings.padding_idx}
    assert ids == {student.tokenizer.pad_token_id} == {1}


def test_padding_behind_pieces_that_nobody_uses_stays_where_positions_need_it(tmp_path):
    unused = [f"<unused{k}>" for k in range(4)]
    teacher = encoder(unigram(("<s>", *unused[:2], "<pad>", *unused[2:])), tmp_path / "teacher")
    backend = json.loads(teacher.tokenizer.backend_tokenizer.to_str())
    backend["added_tokens"] = [t for t in backend["added_tokens"] if t["content"] not in unused]
    teacher[0].processor = wrapped(Tokenizer.from_str(json.dumps(backend)), **MASKED)
    student = trim(teacher, piece_counts(teacher.tokenizer, TEXTS))
    student.save(str(tmp_path / "student"))
    again = SentenceTransformer(str(tmp_path / "student"), device="cpu")
    assert again.tokenizer.pad_token_id == again[0].auto_model.config.pad_token_id == 3
    assert (teacher.tokenizer.eos_token_id, again.tokenizer.eos_token_id) == (6, 4)  # the template's ids follow
    texts = [*TEXTS, "蟹"]  # and so does the unknown letter's
    np.testing.assert_allclose(again.encode(texts), teacher.encode(texts), rtol=0, atol=1e-6)


def test_padding_that_moves_takes_every_mention_along(tmp_path):
    """BERT does not count positions from it, so it may."""
    unused = tuple(f"[unused{k}]" for k in range(9))
    base = wordpiece((*unused, "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[PAD]"))
    backend = json.loads(base.backend_tokenizer.to_str())
    backend["added_tokens"] = [t for t in backend["added_tokens"] if t["content"] not in unused]
    backend["padding"] = {
        "strategy": "BatchLongest", "direction": "Right", "pad_to_multiple_of": None, "pad_id": 13, "pad_type_id": 0,
        "pad_token": "[PAD]",
    }  # fmt: skip
    teacher = encoder(wrapped(Tokenizer.from_str(json.dumps(backend)), **BERT), tmp_path / "teacher")
    student = trim(teacher, piece_counts(teacher.tokenizer, TEXTS))
    model = student[0].auto_model
    assert teacher[0].auto_model.config.pad_token_id == 13
    assert model.config.pad_token_id == model.embeddings.word_embeddings.padding_idx == 4
    assert student.tokenizer.pad_token_id == 4
    assert student.tokenizer.backend_tokenizer.to_str().count('"pad_id":13') == 0
    np.testing.assert_allclose(student.encode(TEXTS), teacher.encode(TEXTS), rtol=0, atol=1e-6)
    student.save(str(tmp_path / "student"))
    again = SentenceTransformer(str(tmp_path / "student"), device="cpu")
    np.testing.assert_allclose(again.encode(TEXTS), teacher.encode(TEXTS), rtol=0, atol=1e-6)


def test_rows_without_a_token_go_and_so_do_ids_that_name_them(tmp_path):
    """Matrices are often longer than the vocabulary, and a configuration's defaults may be of another one."""
    teacher = encoder(TOKENIZERS["unigram"], tmp_path / "teacher")
    rows = len(matrix(teacher))
    teacher[0].auto_model.resize_token_embeddings(rows + 30)
    teacher[0].auto_model.config.bos_token_id = rows + 7
    student = trim(teacher, piece_counts(teacher.tokenizer, TEXTS))
    assert len(matrix(student)) == len(student.tokenizer) < rows
    assert student[0].auto_model.config.bos_token_id is None
    assert student[0].auto_model.config.eos_token_id == student.tokenizer.eos_token_id
    student.save(str(tmp_path / "student"))
    again = SentenceTransformer(str(tmp_path / "student"), device="cpu")
    np.testing.assert_allclose(again.encode(TEXTS), teacher.encode(TEXTS), rtol=0, atol=1e-6)


def test_the_matrix_is_never_copied_whole(multilingual, monkeypatch):
    whole, copied = matrix(multilingual).shape, []
    plain = torch.nn.Parameter.__deepcopy__

    def watched(parameter, memo):
        copied.append(tuple(parameter.shape))
        return plain(parameter, memo)

    monkeypatch.setattr(torch.nn.Parameter, "__deepcopy__", watched)
    trim(multilingual, piece_counts(multilingual.tokenizer, TEXTS))
    assert copied
    assert whole not in copied


def test_late_interaction_keeps_its_markers_prompts_and_skipped_signs(tmp_path):
    base = wordpiece()
    base.add_tokens(["[Q] ", "[D] "], special_tokens=True)
    single = encoder(base, tmp_path / "bert")
    single[0].auto_model.resize_token_embeddings(len(base))
    teacher = MultiVectorEncoder(
        modules=[single[0], MultiVectorMask(skiplist_words=["water", "Kinder"]), Normalize("token_embeddings")],
        device="cpu", prompts={"query": "[Q] ", "document": "Missä: "},
    )  # fmt: skip
    teacher[0].processor = base
    student = trim(teacher, piece_counts(teacher.tokenizer, TEXTS))
    assert len(matrix(student)) < len(matrix(teacher))
    assert base.get_vocab()["water"] != student.tokenizer.get_vocab()["water"]
    student.save(str(tmp_path / "student"))
    for model in (student, MultiVectorEncoder(str(tmp_path / "student"), device="cpu")):
        for side in ("encode_query", "encode_document"):
            texts = [*TEXTS, "Kinder water"]
            for ours, theirs in zip(getattr(model, side)(texts), getattr(teacher, side)(texts), strict=True):
                np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6)


def test_the_report_says_what_went(tmp_path):
    teacher = encoder(TOKENIZERS["wordpiece"], tmp_path)
    done = transplant(teacher, [Pair(e, x) for e, x in zip(ENGLISH, SWAHILI, strict=True)], Vocabulary(mode="trim"))
    report = done.report()
    assert (report["rows_before"], report["rows_after"]) == (len(matrix(teacher)), len(matrix(done.student)))
    gone = report["rows_before"] - report["rows_after"]
    assert gone > 100
    assert report["parameters_before"] - report["parameters_after"] == 16 * gone
    assert report["parameters_after"] == sum(p.numel() for p in done.student.parameters())
    assert report["words_added"] == report["pieces_added"] == report["rows_aligned"] == 0
    assert fit(teacher.tokenizer, SWAHILI) == fit(done.student.tokenizer, SWAHILI)  # the X side is cut as it was
    assert pieces(done.student.tokenizer, TEXTS) == pieces(teacher.tokenizer, TEXTS)  # and the English one
    assert (
        trim(teacher, piece_counts(teacher.tokenizer, TEXTS), min_count=3)[0].auto_model.config.vocab_size
        < report["rows_after"]
    )


def test_the_student_trains(multilingual):
    student = trim(multilingual, piece_counts(multilingual.tokenizer, TEXTS))
    student(student.preprocess(["maji"]))["sentence_embedding"][:, 0].sum().backward()
    weight = student[0].auto_model.get_input_embeddings().weight
    assert weight.grad.any()
    assert multilingual[0].auto_model.get_input_embeddings().weight.grad is None


def test_what_cannot_be_trimmed_is_refused(multilingual, tmp_path):
    rows = len(matrix(multilingual))
    module = multilingual[0].auto_model
    module.bias_of_pieces = torch.nn.Parameter(torch.zeros(rows))
    with pytest.raises(DataError, match="bias_of_pieces"):
        trim(multilingual, piece_counts(multilingual.tokenizer, TEXTS))
    del module.bias_of_pieces
    multilingual.tokenizer.add_tokens(["without a row"])
    with pytest.raises(DataError, match=f"{rows} rows"):
        trim(multilingual, piece_counts(multilingual.tokenizer, TEXTS))


@pytest.mark.parametrize(
    "model", [models.WordLevel({"[UNK]": 0, "a": 1}, unk_token="[UNK]"), models.BPE(end_of_word_suffix="</w>")]
)
def test_other_kinds_of_tokenizers_are_refused(model):
    with pytest.raises(DataError, match="can be trimmed"):
        choose_ids(wrapped(Tokenizer(model)), Counter())
