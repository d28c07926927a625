"""The whole chain in seconds: eighteen pairs, twelve documents, tiny teachers of three kinds, and options to fit."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

from optical.config.recipe import Recipe, load_recipe
from tests.conftest import ENGLISH, bert
from tests.runs import by_words

OWN = "sample-collection-test"  # where a run keeps its own results, below evaluation/
PAIRS = [
    ("I drink water.", "Ninakunywa maji."),
    ("The children read books.", "Watoto wanasoma vitabu."),
    ("Where is the market?", "Soko liko wapi?"),
    ("The farmer plants maize.", "Mkulima anapanda mahindi."),
    ("She cooks rice.", "Anapika wali."),
    ("The cow gives milk.", "Ng'ombe anatoa maziwa."),
    ("Who built this house?", "Nani alijenga nyumba hii?"),
    ("The teacher writes a letter.", "Mwalimu anaandika barua."),
    ("Rain falls in April.", "Mvua inanyesha mwezi wa Aprili."),
    ("We sell fish.", "Tunauza samaki."),
    ("The river is long.", "Mto ni mrefu."),
    ("The doctor helps the sick.", "Daktari anawasaidia wagonjwa."),
    ("A dog guards the door.", "Mbwa analinda mlango."),
    ("They sing songs.", "Wanaimba nyimbo."),
    ("The moon shines.", "Mwezi unang'aa."),
    ("The farmer drinks milk.", "Mkulima anakunywa maziwa."),
    ("The children sing.", "Watoto wanaimba."),
    ("Where is the doctor?", "Daktari yuko wapi?"),
]
DOCUMENTS = [
    "the farmer plants maize .", "the cow gives milk .", "the teacher writes a letter .", "rain falls in april .",
    "the doctor helps the sick .", "a dog guards the door .", "they sing songs .", "the river is long .",
    "she cooks rice .", "we sell fish .", "the children read books .", "i drink water .",
]  # fmt: skip
QUESTIONS = {  # document -> (English, Swahili); none of them is in the bitext
    0: ("who plants maize ?", "Nani anapanda mahindi?"),
    1: ("who gives milk ?", "Nani anatoa maziwa?"),
    2: ("who writes a letter ?", "Nani anaandika barua?"),
    3: ("where falls rain ?", "Wapi mvua inanyesha?"),
    4: ("who helps the sick ?", "Nani anawasaidia wagonjwa?"),
    5: ("who guards the door ?", "Nani analinda mlango?"),
    6: ("who sing songs ?", "Nani wanaimba nyimbo?"),
    7: ("where is the river ?", "Mto wapi?"),
    8: ("who cooks rice ?", "Nani anapika wali?"),
    9: ("where we sell fish ?", "Wapi tunauza samaki?"),
}
QWEN = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
SETTINGS = {
    "objective.scores": 1.0,  # off by default: here every reading of a collection is walked through
    "training.word_dropout": 0.0, "training.steps": 12, "training.batch_size": 6, "training.evaluate_every": 6,
    "training.warmup": 0.0,
    "training.learning_rate": 1e-3, "training.embedding_learning_rate": 1e-2, "training.min_words": 1,
}  # fmt: skip
# Words that occur once get no row, so that the transplant is poor and there is something left to learn.
MUCH_TO_LEARN = {
    "vocabulary.min_count": 2, "training.steps": 60, "training.evaluate_every": 20, "training.learning_rate": 3e-3,
    "training.embedding_learning_rate": 0.1,
}  # fmt: skip


def write_data(folder: Path) -> Path:
    """Write bitext and a collection, with the sixth question among the bitext."""
    folder.mkdir()
    leak = [QUESTIONS[5], ("A cow in the river.", "NANI, analinda mlango")]
    lines = [f"{english}\t{swahili}\n" for english, swahili in [*PAIRS, *leak]]
    (folder / "bitext.tsv").write_text("".join(lines) + "no tab here\n", encoding="utf-8")
    collection = folder / "collection"
    collection.mkdir()
    docs = [{"id": f"d{i}", "title": f"Text {i}", "text": text} for i, text in enumerate(DOCUMENTS)]
    (collection / "docs.jsonl").write_text("".join(json.dumps(d) + "\n" for d in docs), encoding="utf-8")
    for k, lang in enumerate(("en", "sw")):
        (collection / f"queries.{lang}.tsv").write_text(
            "".join(f"q{i}\t{texts[k]}\n" for i, texts in QUESTIONS.items()), encoding="utf-8"
        )
    for split, keep in (("dev", (0, 2, 4)), ("test", (1, 3, 5, 6, 7, 8, 9))):
        (collection / f"qrels.{split}.tsv").write_text("".join(f"q{i} 0 d{i} 1\n" for i in keep), encoding="utf-8")
    return folder


def uncased(folder):
    """A teacher as MiniLM is."""
    return by_words(bert(folder), None)


def cased(folder):
    """A teacher as mBERT is: WordPiece that keeps upper case."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import BertConfig, BertModel, BertTokenizer

    from tests.conftest import word_pieces

    folder.mkdir()
    upper = [chr(c) for c in range(65, 91)]
    words = {w.capitalize() for w in ENGLISH.split() if len(w) > 1 and w.isalpha()}
    (folder / "vocab.txt").write_text("\n".join([*word_pieces(), *upper, *sorted(words)]), encoding="utf-8")
    tokenizer = BertTokenizer(str(folder / "vocab.txt"), do_lower_case=False, model_max_length=64)
    torch.manual_seed(2)
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
        max_position_embeddings=64, initializer_range=0.3,
    )  # fmt: skip
    BertModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return by_words(SentenceTransformer(modules=[Transformer(str(folder)), Pooling(32)], device="cpu"), None)


def unigram(folder, dim: int = 32):
    """A teacher as XLM-R is: Unigram pieces with a metaspace, other special tokens, positions after the padding id."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast, XLMRobertaConfig, XLMRobertaModel

    letters = [chr(c) for c in (*range(97, 123), *range(65, 91))]
    pieces = [(t, 0.0) for t in ("<s>", "<pad>", "</s>", "<unk>")] + [("▁", -3.0)]
    pieces += [(c, -8.0) for c in [*letters, *"'.,?!-0123456789"]]
    words = sorted({form for w in ENGLISH.split() if len(w) > 1 for form in (w, w.capitalize())})
    pieces += [(f"▁{w}", -5.0) for w in words]
    backend = Tokenizer(models.Unigram(pieces, unk_id=3))
    backend.normalizer = normalizers.NFKC()
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = decoders.Metaspace()
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, model_max_length=64, bos_token="<s>", cls_token="<s>", eos_token="</s>",
        sep_token="</s>", pad_token="<pad>", unk_token="<unk>",
    )  # fmt: skip
    torch.manual_seed(3)
    config = XLMRobertaConfig(
        vocab_size=len(pieces), hidden_size=dim, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
        max_position_embeddings=80, pad_token_id=1, bos_token_id=0, eos_token_id=2, initializer_range=0.3,
    )  # fmt: skip
    XLMRobertaModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return by_words(SentenceTransformer(modules=[Transformer(str(folder)), Pooling(dim)], device="cpu"), None)


def decoder(folder, *, side: str = "left", positions: int = 8192):
    """A teacher as Qwen3-Embedding is: causal, the last token's vector, an instruction before each query.

    Its tokenizer puts <|endoftext|> behind every text, which is the padding token too, and no space follows the prompt.
    """
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3Model

    end, prompt = "<|endoftext|>", "Instruct\nQuery:"
    backend = Tokenizer(models.BPE())
    backend.normalizer = normalizers.NFC()
    by_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(QWEN), "isolated"), by_bytes])
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=500, initial_alphabet=alphabet, show_progress=False)
    backend.train_from_iterator([f"{w} {w.capitalize()}\n{prompt}" for w in ENGLISH.split() * 9], trainer)
    backend.add_special_tokens([end, "<|im_end|>"])
    last = processors.TemplateProcessing(single=f"$A {end}", special_tokens=[(end, backend.token_to_id(end))])
    backend.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), last])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, model_max_length=positions, eos_token="<|im_end|>", pad_token=end, padding_side=side
    )
    torch.manual_seed(4)
    config = Qwen3Config(
        vocab_size=len(tokenizer) + 8, hidden_size=32, intermediate_size=64, num_hidden_layers=3, head_dim=16,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=positions, initializer_range=0.3,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=None, bos_token_id=None, tie_word_embeddings=True,
    )  # fmt: skip
    Qwen3Model(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    prompts = {"query": prompt, "document": ""}
    modules = [Transformer(str(folder)), Pooling(32, "lasttoken"), Normalize()]
    encoder = SentenceTransformer(modules=modules, prompts=prompts, device="cpu")
    loud = ("layers.0.self_attn.v_proj.weight", "layers.0.self_attn.o_proj.weight")
    # The last token holds nothing of its own, and all are attended to alike: it matches by words.
    with torch.no_grad():
        for name, weight in encoder.named_parameters():
            if "embed_tokens" in name:
                weight.normal_(0.0, 1.0)[tokenizer.pad_token_id] = 0.0
            elif not name.endswith(loud) and (weight.ndim == 2 or "q_norm" in name):
                weight.mul_(0.1)
    return encoder


def recipe_of(folder: Path, data: Path, teacher: Path, **more: object) -> Recipe:
    """The recipe of a run below a folder."""
    named = {"out": str(folder / "run"), "cache": str(folder / "cache"), "teacher": str(teacher), "lang": "sw"}
    named |= {"bitext": str(data / "bitext.tsv"), "collection": str(data / "collection")}
    return load_recipe(None, {**named, **SETTINGS, **more})


def mean_loss(entries) -> float:
    """A batch of six is one sixth of the bitext: single losses jump."""
    return float(np.mean([entry["loss"] for entry in entries]))
