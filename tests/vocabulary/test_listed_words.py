"""Words that the bitext lacks: rows from a list and rows composed while reading, for every kind of tokenizer."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

from optical.config.vocabulary import Vocabulary
from optical.data.bitext import Pair
from optical.models.composing import compose_unseen, query_words, read_plainly
from optical.models.encoders import encode_batch, fingerprint, transformer
from optical.models.load import load_student
from optical.models.query_words import SLOT, QueryWords
from optical.models.save import save_encoder
from optical.vocabulary.listed_words import add_listed
from optical.vocabulary.transplant import embeddings, transplant

PAIRS = [
    Pair("the child drinks milk in Nairobi", "mtoto anakunywa maziwa Nairobi"),
    Pair("the children drink water", "watoto wanakunywa maji"),
    Pair("the child is in the house", "mtoto yuko nyumbani"),
    Pair("the dog drinks water of Kenyatta", "mbwa anakunywa maji ya Kenyatta"),
    Pair("who is in the house", "nani yuko nyumbani"),
]


@pytest.fixture
def made(teacher):
    return transplant(teacher, PAIRS, Vocabulary(mode="extend", romanise=False))


def composed(made):
    student = copy.deepcopy(made.student)
    compose_unseen(student, made.seen)
    return student


def rows_read(student, text: str):
    """The rows that the network is given for the tokens of a text."""
    seen, model = [], transformer(student).auto_model
    forward = model.forward
    model.forward = lambda **options: seen.append(options) or forward(**options)
    features = student.preprocess([text])
    with torch.no_grad():
        encode_batch(student, features)
    del model.forward
    if seen[0].get("inputs_embeds") is not None:
        return seen[0]["inputs_embeds"][0]
    return transformer(student).auto_model.get_input_embeddings()(seen[0]["input_ids"])[0].detach()


def test_a_slot_has_the_mean_of_the_rows_of_its_neighbours(made):
    student, words = composed(made), QueryWords(made.seen, made.student.tokenizer.backend_tokenizer)
    made_of = words.compositions(["nyumbanini"])[0]
    assert made_of is not None
    expected = made_of.weight @ embeddings(student)[made_of.ids]
    plain = rows_read(made.student, "mtoto yuko (nyumbanini), nani?")
    rows = rows_read(student, "mtoto yuko (nyumbanini), nani?")
    assert len(rows) < len(plain)
    ids = student.preprocess(["mtoto yuko (nyumbanini), nani?"])["input_ids"][0].tolist()
    (place,) = [k for k, i in enumerate(ids) if i in made.seen.slots]
    np.testing.assert_allclose(rows[place], expected, atol=1e-6)
    # The words before it are read as before, and so are those after it.
    before, after = place, len(rows) - place - 1
    torch.testing.assert_close(rows[:before], plain[:before])
    torch.testing.assert_close(rows[-after:], plain[-after:])


def test_texts_without_unseen_words_are_read_as_before(made):
    student = composed(made)
    texts = ["mtoto anakunywa maziwa", "Nairobi, Kenyatta 2010!", "the child is in the house", ""]
    torch.testing.assert_close(student.encode(texts), made.student.encode(texts), rtol=0, atol=0)


def test_the_words_of_the_english_side_and_strangers_are_left_to_the_pieces(made):
    words = QueryWords(made.seen, made.student.tokenizer.backend_tokenizer)
    assert words.compositions(["Kenyatta", "kenyatta", "zzqx", "Qbfgj"]) == [None] * 4
    assert not words.slotted(["Kenyatta zzqx", ""]).ids.size


def test_a_batch_reads_each_text_as_alone(made):
    student = composed(made)
    texts = ["nani yuko nyumbanini", "watotoni wanakunywani majini nyumbanini", "maji", "wanakunywani mbwa"]
    together = student.encode(texts, batch_size=4)
    alone = np.concatenate([student.encode([text]) for text in texts])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    # Slots that are cut off take no other text's row.
    student.max_seq_length = 5
    cut = student.encode(texts, batch_size=4)
    np.testing.assert_allclose(cut, np.concatenate([student.encode([text]) for text in texts]), atol=1e-5)


def test_saved_it_composes_again_and_loads_without_this_package(made, tmp_path):
    student, text = composed(made), ["nani yuko nyumbanini"]
    save_encoder(student, tmp_path / "student")
    np.testing.assert_array_equal(load_student(tmp_path / "student").encode(text), student.encode(text))
    assert fingerprint(load_student(tmp_path / "student")) == fingerprint(student) != fingerprint(made.student)
    plain = SentenceTransformer(str(tmp_path / "student"), device="cpu")
    np.testing.assert_array_equal(plain.encode(text), made.student.encode(text))
    read_plainly(student)
    assert query_words(student) is None
    np.testing.assert_array_equal(plain.encode(text), student.encode(text))


def test_off_adds_no_slot(teacher):
    off = transplant(teacher, PAIRS, Vocabulary(mode="extend", romanise=False, compose="off"))
    assert off.seen is None
    assert SLOT not in "".join(off.student.tokenizer.get_vocab())


def test_listed_words_are_tokens_with_the_rows_that_a_slot_would_have(made):
    student = composed(made)
    slotted = student.encode(["nani yuko nyumbanini", "Watotoni wanakunywa"])
    counts = {"nyumbanini": 3, "watotoni": 2, "mtoto": 9, "kenyatta": 2, "zzqx": 8, "wanakunywani": 1}
    listed = add_listed(student, made.seen, counts, most=2)
    assert (listed.words, listed.added, listed.known, listed.unlike, listed.left) == (6, 2, 2, 1, 1)
    assert listed.rows == len(student.tokenizer) - len(made.student.tokenizer)
    assert "2 added with composed rows" in listed.sentence()
    assert not query_words(student).slotted(["nani yuko nyumbanini", "Watotoni wanakunywa"]).ids.size
    np.testing.assert_allclose(student.encode(["nani yuko nyumbanini", "Watotoni wanakunywa"]), slotted, atol=1e-5)
    before = student.encode(["mtoto anakunywa maziwa", "wanakunywani"])
    read_plainly(student)
    np.testing.assert_array_equal(student.encode(["mtoto anakunywa maziwa"]), before[:1])
    assert not np.allclose(student.encode(["wanakunywani"]), before[1:])  # beyond the cap: pieces, without a slot


def test_a_student_that_was_extended_can_be_saved_and_loaded_plainly(made, tmp_path):
    student = composed(made)
    add_listed(student, made.seen, {"nyumbanini": 1}, most=10)
    save_encoder(student, tmp_path / "student")
    plain = SentenceTransformer(str(tmp_path / "student"), device="cpu")
    text = ["nani yuko (nyumbanini)"]
    np.testing.assert_array_equal(plain.encode(["nani yuko nyumbanini"]), student.encode(["nani yuko nyumbanini"]))
    assert load_student(tmp_path / "student").encode(text).shape == (1, 16)
