"""Texts that are longer than an encoder reads are counted, and so are the tokens that it does not read."""

from __future__ import annotations

from optical.models.encoders import token_counts
from optical.models.reading import Reading, reading, together

LONG = "the moon " * 40  # 80 tokens, and two special ones
PROMPT = "who is "


def test_what_is_cut_is_counted(teacher):
    texts = ["the moon", LONG, "a dog", LONG + "the moon"]
    prompted = [PROMPT + text for text in texts]
    read = token_counts(teacher, prompted).tolist()
    assert read == [6, 64, 6, 64]
    found = reading(teacher, texts, read, PROMPT)
    assert found == Reading(4, 2, 6 + 84 + 6 + 86, 20 + 22, 64)
    assert found.said("documents", "teacher") == (
        "2 of 4 documents are longer than the 64 tokens the teacher reads; 23.1 % of the tokens are not read"
    )


def test_nothing_is_said_where_nothing_is_cut(teacher):
    found = reading(teacher, ["the moon", "a dog"], [4, 4], "")
    assert found == Reading(2, 0, 8, 0, 0)
    assert not found.said("documents", "teacher")
    assert reading(teacher, [], [], "") == Reading()


def test_a_tokenizer_reads_as_before_after_counting(teacher):
    before = teacher.preprocess(["the moon", LONG])["input_ids"].shape
    reading(teacher, [LONG], [64], "")
    assert teacher.preprocess(["the moon", LONG])["input_ids"].shape == before


def test_several_sets_add_up():
    assert together([Reading(3, 1, 90, 20, 40), Reading(2, 0, 10, 0, 0)]) == Reading(5, 1, 100, 20, 40)
    assert together([]) == Reading()
