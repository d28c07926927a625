"""The whole transplant on tiny teachers: rows, ids after reloading, the report, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

from optical.config.vocabulary import Vocabulary
from optical.data.bitext import Pair, read_bitext
from optical.errors import DataError
from optical.models.encoders import as_multi_vector
from optical.models.load import load_encoder
from optical.vocabulary import choose_mode, extended_rows
from optical.vocabulary import transplant as transplanting
from optical.vocabulary.transplant import english_cosines, transplant
from optical.vocabulary.word_boundaries import piece_texts

SAMPLE = Path(__file__).parents[2] / "data" / "sample" / "sw"
PAIRS = [
    Pair("the child drinks water", "mtoto anakunywa maji"),
    Pair("the cat drinks milk", "paka anakunywa maziwa"),
    Pair("the dog drinks water", "mbwa anakunywa maji"),
    Pair("children drink milk", "watoto wanakunywa maziwa"),
    Pair("who is the child?", "mtoto ni nani?"),
    Pair("who wrote?", "nani aliandika?"),
    Pair("the house in Nairobi", "nyumba ya Nairobi"),
    Pair("the child in the house", "mtoto nyumbani"),
    Pair("Narendra wrote", "नरेंद्र aliandika"),
]
PERSONS = {"wana": "children", "tuna": "who", "nina": "the", "kina": "house", "mnali": "cat", "wali": "dog"}
HARD = ["Mtoto anakunywa maji.", "mtoto wa Nairobi", "watakunywa?", "ng’ombe ng'ombe", "Ọjọ́", "नरेंद्र नरें", "日本", ""]


def matrix(encoder) -> np.ndarray:
    return encoder[0].auto_model.get_input_embeddings().weight.detach().numpy()


@pytest.mark.parametrize("mode", ["extend", "replace", "trim", "trim+extend", "auto", "off"])
def test_the_teacher_is_untouched_and_the_student_reloads_the_same(teacher, tmp_path, mode):
    weights, vocabulary = matrix(teacher).copy(), teacher.tokenizer.backend_tokenizer.to_str()
    student = transplant(teacher, PAIRS, Vocabulary(mode=mode, size=100, piece_types=2)).student
    np.testing.assert_array_equal(matrix(teacher), weights)
    assert teacher.tokenizer.backend_tokenizer.to_str() == vocabulary
    student.save(str(tmp_path))
    again = SentenceTransformer(str(tmp_path), device="cpu")
    assert again.tokenizer(HARD)["input_ids"] == student.tokenizer(HARD)["input_ids"]
    np.testing.assert_allclose(again.encode(HARD), student.encode(HARD), rtol=1e-5, atol=1e-6)
    assert again.max_seq_length == teacher.max_seq_length


def test_rows_of_the_teacher_stay_and_words_mean_their_translations(bert):
    done = transplant(bert, PAIRS, steps=10)
    old, new, vocab = matrix(bert), matrix(done.student), done.student.tokenizer.get_vocab()
    np.testing.assert_array_equal(new[: len(old)], old)
    assert len(new) == len(done.student.tokenizer) == len(old) + done.added + len(done.seen.slots)

    def nearest(word):
        unit = old / np.maximum(np.linalg.norm(old, axis=1, keepdims=True), 1e-9)  # [PAD] is zero
        return bert.tokenizer.convert_ids_to_tokens(int((unit @ new[vocab[word]]).argmax()))

    assert [nearest(w) for w in ("maji", "maziwa", "nani")] == ["water", "milk", "who"]
    assert "nairobi" in bert.tokenizer.get_vocab()
    assert done.student.tokenizer("Nairobi")["input_ids"] == bert.tokenizer("Nairobi")["input_ids"]


def test_rows_of_every_kind_of_teacher(teacher):
    """Words get rows of their own, spare rows of the teacher's matrix too, and its own rows stay."""
    more = [Pair("is water", "ni maji"), Pair("is (water", "ni (maji"), Pair("is", "ni")] * 2
    done = transplant(teacher, [*PAIRS, *more, Pair("is born", "ni kuzaliwa")], steps=10)
    base, tokenizer = teacher.tokenizer, done.student.tokenizer
    old, new = matrix(teacher), matrix(done.student)
    np.testing.assert_array_equal(new[: len(base)], old[: len(base)])
    assert len(new) == max(len(old), len(tokenizer))
    assert done.added == len(tokenizer) - len(base) - len(done.seen.slots) > 0
    assert done.overwritten == 0
    after_space, inside, once = (
        tokenizer(text, add_special_tokens=False)["input_ids"][-1] for text in ("ni maji", "x (maji", "ni kuzaliwa")
    )
    assert not np.allclose(new[once], old[: len(base)].mean(axis=0))
    np.testing.assert_array_equal(new[after_space], new[inside])
    unit = old[: len(base)] / np.maximum(np.linalg.norm(old[: len(base)], axis=1, keepdims=True), 1e-9)
    nearest = int((unit @ new[inside]).argmax())
    assert piece_texts(base.backend_tokenizer, base.convert_ids_to_tokens([nearest])) == ["water"]


def test_trimmed_and_extended_is_extended_with_fewer_rows(teacher):
    """The same tokens with the same rows, for both sides of the bitext; none for what neither side uses."""
    pairs = [Pair(p.english, f"{p.foreign} ni") for p in PAIRS]
    extended, both = (transplant(teacher, pairs, Vocabulary(mode=mode), steps=5) for mode in ("extend", "trim+extend"))
    assert both.mode == "trim+extend"
    assert len(both.student.tokenizer) == len(matrix(both.student)) < len(extended.student.tokenizer)
    assert (both.added, both.pieces, both.aligned) == (extended.added, extended.pieces, extended.aligned)
    texts = [text for pair in pairs for text in pair] + ["maji", "(maji)", "the child"]
    rows = []
    for student in (extended.student, both.student):
        ids = [i for text in texts for i in student.tokenizer(text)["input_ids"]]
        rows.append((student.tokenizer.convert_ids_to_tokens(ids), matrix(student)[ids]))
    assert rows[0][0] == rows[1][0]
    np.testing.assert_allclose(rows[0][1], rows[1][1], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(both.english, extended.english, atol=1e-5)


def test_auto_says_what_it_chose_and_why(bert, xlmr, monkeypatch):
    monkeypatch.setattr(choose_mode, "MULTILINGUAL", 0)
    done = transplant(bert, PAIRS, Vocabulary(mode="auto"))
    assert done.mode == done.report()["mode"] == "extend"
    assert "does not read X well" in done.report()["mode_chosen_because"]
    english = [Pair(p.english, p.english.replace("water", "maji")) for p in PAIRS]
    done = transplant(xlmr, english, Vocabulary(mode="auto"))
    assert done.mode == "trim+extend"
    assert done.size_after.rows < done.size_before.rows
    assert "mode_chosen_because" not in transplant(bert, PAIRS, Vocabulary(mode="extend")).report()


def test_a_piece_that_x_hardly_uses_keeps_its_row_and_one_that_x_uses_changes(bert):
    """ "dog" stands once in X by mistake; "in" is a word of X for "house" that English hardly uses here."""
    pairs = [*PAIRS, Pair("the cat drinks", "dog anakunywa"), *[Pair("house", "in")] * 9]
    done = transplant(bert, pairs)
    vocab, old, new = bert.tokenizer.get_vocab(), matrix(bert), matrix(done.student)
    np.testing.assert_array_equal(new[vocab["dog"]], old[vocab["dog"]])
    np.testing.assert_allclose(new[vocab["in"]], old[vocab["house"]], rtol=0.2, atol=0.01)
    assert done.overwritten == done.report()["teacher_rows_overwritten"] == 1
    assert (new[: len(old)] != old).any(axis=1).sum() == 1


def test_a_piece_that_both_sides_use_as_much_stays_the_teachers(bert):
    pairs = [Pair("milk", "in"), Pair("in", "maji")] * 20
    done = transplant(bert, pairs)
    row = bert.tokenizer.get_vocab()["in"]
    np.testing.assert_array_equal(matrix(done.student)[row], matrix(bert)[row])
    np.testing.assert_allclose(done.english, 1, atol=1e-6)
    assert done.overwritten == 0


def test_cosines_with_the_teacher_are_one_until_a_row_of_english_changes(bert):
    sentences = [p.english for p in PAIRS]
    done = transplant(bert, PAIRS)
    assert len(done.english) == len(set(sentences))
    np.testing.assert_allclose(done.english, 1, atol=1e-6)
    weight = done.student[0].auto_model.get_input_embeddings().weight
    with torch.no_grad():
        weight[bert.tokenizer.get_vocab()["milk"]] *= -1
    cosines = english_cosines(bert, done.student, ["the cat drinks milk", "who is the child?"])
    assert cosines[0] < 0.999 < cosines[1]
    vectors = [e.encode(["the cat drinks milk"], normalize_embeddings=True)[0] for e in (bert, done.student)]
    assert cosines[0] == pytest.approx(vectors[0] @ vectors[1], abs=1e-6)


def test_sentences_that_both_read_alike_are_not_encoded(bert, monkeypatch):
    student = transplant(bert, [*PAIRS, *[Pair("house", "in")] * 9]).student  # the row of "in" changes
    sentences = ["the house in Nairobi", "the cat drinks milk", "who is the child?", "born in Kenya"]
    cosines = english_cosines(bert, student, sentences)
    encoded = []
    unit_vectors = transplanting._unit_vectors
    monkeypatch.setattr(
        transplanting, "_unit_vectors", lambda e, texts: encoded.append(texts) or unit_vectors(e, texts)
    )
    np.testing.assert_allclose(english_cosines(bert, student, sentences, same_network=True), cosines, atol=1e-6)
    assert encoded == [["born in Kenya", "the house in Nairobi"]] * 2


def test_late_interaction_models_are_compared_by_their_mean_token(bert):
    done = transplant(as_multi_vector(bert), PAIRS)
    assert done.english.shape == (len(PAIRS),)
    np.testing.assert_allclose(done.english, 1, atol=1e-6)
    changed = transplant(as_multi_vector(bert), [*PAIRS, *[Pair("house", "in")] * 9])
    assert changed.english.min() < 0.9999  # "the house in Nairobi"


def test_the_vocabulary_comes_from_all_pairs_and_its_fit_from_held_out_ones(bert):
    pairs = [Pair(f"the water {n}", f"{'abcdefghij'[n // 10]}uma{'klmnopqrst'[n % 10]}o maji") for n in range(100)]
    done = transplant(bert, pairs, Vocabulary(piece_types=0))
    vocab = done.student.tokenizer.get_vocab()
    assert all(p.foreign.split()[0] in vocab for p in pairs)
    assert done.before.words == done.after.words == 10
    # Half the held-out words are "maji"; the others are in no other sentence and stay six pieces.
    assert done.before.tokens_per_word == (4 + 6) / 2
    assert done.after.tokens_per_word == (1 + 6) / 2


@pytest.mark.parametrize("mode", ["extend", "replace", "trim", "trim+extend", "auto", "off"])
def test_the_fit_of_every_mode_is_measured_on_held_out_sentences(bert, mode):
    pairs = [Pair(p.english, f"{p.foreign} {'abcdefgh'[n]}") for n in range(8) for p in PAIRS]
    done = transplant(bert, pairs, Vocabulary(mode=mode, size=120))
    assert done.before.words == done.after.words > 0
    assert (done.after == done.before) == (mode in ("trim", "off"))
    assert done.after.tokens_per_word == 1 or not mode.endswith("extend")


@pytest.mark.slow
def test_on_the_sample_minilm_keeps_english_and_fits_held_out_swahili_better():
    teacher, pairs = load_encoder("all-MiniLM-L6-v2", "cpu"), read_bitext(str(SAMPLE / "bitext"), "sw").pairs
    done = transplant(teacher, pairs)
    report = done.report()
    assert len(done.english) == 200
    assert report["english_cosine_mean"] >= 0.98
    # The English of the sample says "lake" more often than its Swahili, where the word means "its".
    assert english_cosines(teacher, done.student, ["what would happen to the lake"]).min() > 0.99
    assert 1.05 < report["tokens_per_word_after"] < report["tokens_per_word_before"]


def test_one_pair_of_words_is_the_mixture_by_hand(bert):
    """One X word against two English ones: t is 1/2 each, so the mean of their rows."""
    done = transplant(bert, [Pair("water milk", "maji")])
    vocab, old = bert.tokenizer.get_vocab(), matrix(bert)
    row = matrix(done.student)[done.student.tokenizer.get_vocab()["maji"]]
    np.testing.assert_allclose(row, (old[vocab["water"]] + old[vocab["milk"]]) / 2, rtol=1e-5)


def test_english_punctuation_is_not_mixed_into_words(bert):
    done = transplant(bert, [Pair("water!", "maji")])
    row = matrix(done.student)[done.student.tokenizer.get_vocab()["maji"]]
    np.testing.assert_allclose(row, matrix(bert)[bert.tokenizer.get_vocab()["water"]], rtol=1e-4)


def test_a_word_that_is_also_a_beginning_keeps_its_own_meaning(bert):
    """ "wana" begins three verbs of drinking, and as a word it is "house"."""
    verbs = [Pair("drinks drinks", f"{p}{s}") for p in ("wana", "tuna") for s in ("kunywa", "meza", "fyonza")]
    done = transplant(
        bert, [*verbs, *[Pair(f"house {n}", f"wana {n}") for n in range(9)]], Vocabulary(piece_types=2, romanise=False)
    )
    vocab = done.student.tokenizer.get_vocab()
    old, row = matrix(bert), matrix(done.student)[vocab["wana"]]
    nearest = (old @ row / np.maximum(np.linalg.norm(old, axis=1), 1e-9)).argmax()
    assert done.pieces
    assert bert.tokenizer.convert_ids_to_tokens(int(nearest)) == "house"
    assert done.student.tokenizer.tokenize("wanameza") == ["wanameza"]


def test_all_written_forms_of_a_word_share_a_row(mbert):
    done = transplant(mbert, [*PAIRS, Pair("water is born", "Maji ni")])
    vocab = done.student.tokenizer.get_vocab()
    np.testing.assert_array_equal(matrix(done.student)[vocab["Maji"]], matrix(done.student)[vocab["maji"]])


def test_written_forms_are_counted_together(mbert):
    done = transplant(mbert, [Pair("water", "Maji"), Pair("milk", "maji")])
    old, vocab = matrix(mbert), mbert.tokenizer.get_vocab()
    row = matrix(done.student)[done.student.tokenizer.get_vocab()["maji"]]
    np.testing.assert_allclose(row, (old[vocab["water"]] + old[vocab["milk"]]) / 2, rtol=1e-5)


def test_the_report_is_flat_and_counts_rows(bert):
    done = transplant(bert, PAIRS)
    report = done.report()
    assert all(v is None or isinstance(v, (int, float, str)) for v in report.values())
    added = len(done.student.tokenizer) - len(bert.tokenizer)
    assert report["words_added"] + report["pieces_added"] == added - len(done.seen.slots)
    assert report["held_out_words"] == 0  # too few pairs
    assert report["tokens_per_word_before"] is report["tokens_per_word_after"] is None
    assert report["unknown_rate_before"] is report["unknown_rate_after"] is None
    assert "न" in report["letters_romanised"]
    assert transplant(bert, PAIRS, Vocabulary(romanise=False)).report()["letters_romanised"] == ""


def test_off_copies_and_replace_trains_a_vocabulary_on_x(bert):
    off = transplant(bert, PAIRS, Vocabulary(mode="off"))
    assert off.added == off.aligned == 0
    np.testing.assert_array_equal(matrix(off.student), matrix(bert))
    replaced = transplant(bert, PAIRS * 3, Vocabulary(mode="replace", size=100))
    vocab, old = replaced.student.tokenizer.get_vocab(), matrix(bert)
    assert len(vocab) == len(matrix(replaced.student)) == replaced.added
    np.testing.assert_array_equal(matrix(replaced.student)[vocab["[CLS]"]], old[bert.tokenizer.get_vocab()["[CLS]"]])


def test_random_rows_are_seeded_and_align_nothing(teacher):
    first, again, other = (
        transplant(teacher, PAIRS, Vocabulary(rows="random", piece_types=2), seed=seed) for seed in (0, 0, 1)
    )
    aligned = transplant(teacher, PAIRS, Vocabulary(piece_types=2))
    count = len(teacher.tokenizer)
    np.testing.assert_array_equal(matrix(first.student), matrix(again.student))
    np.testing.assert_array_equal(matrix(first.student)[:count], matrix(teacher)[:count])
    assert first.aligned == 0
    assert first.student.tokenizer(HARD)["input_ids"] == aligned.student.tokenizer(HARD)["input_ids"]
    assert not np.isclose(matrix(first.student)[count:], matrix(other.student)[count:]).any(axis=1).all()


def test_all_written_forms_of_a_word_share_a_random_row(mbert):
    done = transplant(mbert, [*PAIRS, Pair("water is born", "Maji ni")], Vocabulary(rows="random"))
    vocab, new = done.student.tokenizer.get_vocab(), matrix(done.student)
    np.testing.assert_array_equal(new[vocab["Maji"]], new[vocab["maji"]])
    assert not np.allclose(new[vocab["maji"]], new[vocab["mtoto"]])


def test_random_rows_of_a_replaced_vocabulary_spare_the_special_tokens(bert):
    done = transplant(bert, PAIRS * 3, Vocabulary(mode="replace", size=100, rows="random"))
    vocab, old = done.student.tokenizer.get_vocab(), matrix(bert)
    assert done.aligned == 0
    np.testing.assert_array_equal(matrix(done.student)[vocab["[SEP]"]], old[bert.tokenizer.get_vocab()["[SEP]"]])
    assert not np.allclose(matrix(done.student)[vocab["a"]], old.mean(axis=0))


@pytest.mark.parametrize("mode", ["extend", "replace"])
@pytest.mark.parametrize("alignment", ["ibm1", "symmetric", "ot"])
def test_every_alignment_gives_words_their_translations(bert, mode, alignment, monkeypatch):
    monkeypatch.setattr(transplanting, "TOP", 1)
    words = {"maji": "water", "maziwa": "milk", "nyumba": "house", "mbwa": "dog"}
    pairs = [Pair(f"{words[a]} {words[b]}", f"{a} {b}") for a in words for b in words if a != b]
    done = transplant(bert, pairs, Vocabulary(mode=mode, size=200, alignment=alignment))
    vocab, old = bert.tokenizer.get_vocab(), matrix(bert)
    rows = matrix(done.student)[[done.student.tokenizer.get_vocab()[w] for w in words]]
    np.testing.assert_allclose(rows, old[[vocab[w] for w in words.values()]], rtol=1e-5)


@pytest.mark.parametrize("options", [{"lean": 0}, {"piece_types": 0}, {"lean": 0, "piece_types": 0}])
@pytest.mark.parametrize("romanise", [True, False])
@pytest.mark.parametrize("alignment", ["ibm1", "symmetric", "ot"])
def test_back_off_and_romanisation_switch_off_together(bert, options, romanise, alignment):
    plain = transplant(bert, PAIRS, Vocabulary(piece_types=2, alignment=alignment, romanise=romanise))
    done = transplant(bert, PAIRS, Vocabulary(alignment=alignment, romanise=romanise, **{"piece_types": 2, **options}))
    assert plain.pieces > 0
    assert done.pieces == (0 if options.get("piece_types") == 0 else plain.pieces)
    assert (done.romanised != "") == romanise
    assert np.isfinite(matrix(done.student)).all()


def test_without_leaning_a_row_is_the_mixture_alone(bert):
    """ "walikunywa" and "tulikunywa" share an end, which draws one to the other unless lean is 0."""
    pairs = [Pair("drinks", "walikunywa"), Pair("water", "tulikunywa"), Pair("cat", "wasema"), Pair("dog", "tusema")]
    vocab, old = bert.tokenizer.get_vocab(), matrix(bert)
    rows = {}
    for lean in (0.0, 1.0):
        done = transplant(bert, pairs, Vocabulary(lean=lean, piece_types=0))
        rows[lean] = matrix(done.student)[done.student.tokenizer.get_vocab()["walikunywa"]]
    np.testing.assert_allclose(rows[0.0], old[vocab["drinks"]], rtol=1e-5)
    assert not np.allclose(rows[1.0], old[vocab["drinks"]], rtol=1e-2)


def test_the_student_trains(bert):
    student = transplant(bert, PAIRS).student
    vector = student(student.preprocess(["maji"]))["sentence_embedding"]
    vector[0, 0].backward()  # the sum over a layer norm is a constant
    weight = student[0].auto_model.get_input_embeddings().weight
    assert torch.isfinite(weight.grad).all()
    assert weight.grad[student.tokenizer.get_vocab()["maji"]].any()


def test_an_encoder_that_has_every_word_already_stays_as_it_is(bert):
    known = [Pair("the child drinks", "the dog drinks")]  # no word of X to add or to mix
    grown = transplant(bert, known, Vocabulary(min_count=2, piece_types=2))
    assert grown.added == 0
    np.testing.assert_array_equal(matrix(grown.student), matrix(bert))


def test_no_pairs_are_refused(bert):
    with pytest.raises(DataError, match="needs bitext"):
        transplant(bert, [])


@pytest.mark.parametrize("mode", ["extend", "trim+extend"])
def test_a_word_of_x_that_is_in_a_prompt_leaves_the_prompt_its_rows(teacher, mode):
    """X says "house" four times, English never does, so X would get the row that the prompt is read with."""
    often = [Pair("the dog drinks", f"house {w} mbwa") for w in ("hapa", "hapo", "huko", "kule")]
    free = transplant(teacher, [*PAIRS[:6], *often], Vocabulary(mode=mode), steps=5).student
    prompts = {"query": "house: ", "clustering": "hapa: "}
    prompted = SentenceTransformer(modules=list(teacher), prompts=prompts, device="cpu")
    kept = transplant(prompted, [*PAIRS[:6], *often], Vocabulary(mode=mode), steps=5).student

    def rows(encoder):
        return matrix(encoder)[encoder.tokenizer("house: ", add_special_tokens=False)["input_ids"]]

    np.testing.assert_array_equal(rows(kept), rows(teacher))
    assert not np.array_equal(rows(free), rows(teacher))
    # A prompt that nothing here is read with leaves X its words.
    assert len(kept.tokenizer(" hapa", add_special_tokens=False)["input_ids"]) == 1


def test_the_parts_of_a_word_come_nearer_to_its_row_when_they_are_fitted(bert, monkeypatch):
    verbs = {"kunywa": "drinks", "andika": "wrote", "zaliwa": "born"}
    pairs = [Pair(f"{who} {verbs[v]}", f"{p}{v}") for p, who in PERSONS.items() for v in verbs]

    def distance() -> float:
        student = transplant(bert, pairs, Vocabulary(romanise=False)).student
        rows, backend = matrix(student), student.tokenizer.backend_tokenizer
        words = {p.foreign: [piece.id for piece in backend.model.tokenize(p.foreign)] for p in pairs}
        assert all(len(pieces) <= 2 for pieces in words.values())
        vocab = student.tokenizer.get_vocab()
        return float(
            np.mean([np.linalg.norm(rows[pieces].mean(axis=0) - rows[vocab[w]]) for w, pieces in words.items()])
        )

    fitted = distance()
    monkeypatch.setattr(extended_rows, "fit_pieces", lambda rows, falls, of, free, known: rows[free])
    assert fitted < 0.9 * distance()
