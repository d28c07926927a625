"""Which vocabulary a student begins with: the encoder's own words, or words added to these, by held-out sentences."""

from __future__ import annotations

import numpy as np
import pytest

from optical.config.recipe import StudentOptions
from optical.config.vocabulary import Vocabulary
from optical.data.bitext import Pair
from optical.training import start as starting
from optical.training.start import choose_start
from optical.training.trainer import Workspace
from optical.vocabulary import choose_mode
from tests.conftest import bert as made

PAIRS = [Pair(f"the child drinks zq {k}", f"the dog of kampala {k}") for k in range(160)]


@pytest.fixture
def teacher(tmp_path, monkeypatch):
    monkeypatch.setattr(choose_mode, "MULTILINGUAL", 0)
    return made(tmp_path / "bert")


@pytest.fixture
def start(teacher, tmp_path, monkeypatch):
    """The start, its facts and what was said; encoders find the right sentence with or without added words."""

    def encode(encoder, texts):
        numbers = np.array([int(text.split()[-1]) for text in texts])
        if encoder is not teacher and ("kampala" in encoder.tokenizer.get_vocab()) is not encode.added_are_right:
            numbers = (numbers + encode.off) % len(PAIRS)
        return np.eye(len(PAIRS))[numbers]

    monkeypatch.setattr(starting, "encode_sentences", encode)

    def begin(added_are_right, mode="auto", pairs=PAIRS, off=1):
        encode.added_are_right, encode.off = added_are_right, off
        said: list[str] = []
        workspace = Workspace(tmp_path / "run", tmp_path / "cache", False, said.append)
        options = StudentOptions(vocabulary=Vocabulary(mode=mode))
        student, facts = choose_start(teacher, pairs, options, workspace, None, None)
        return "kampala" in student.tokenizer.get_vocab(), facts, "\n".join(said)

    return begin


def test_the_encoders_own_words_are_kept_where_they_find_more(start):
    added, facts, said = start(added_are_right=False)
    assert not added
    assert facts["mode"] == "trim"
    assert facts["composes"] is False
    assert "8 held-out sentences find their English side among 160" in said
    assert "of 1.000 with the encoder's own words, 0.500 with words added, p = 0.0" in facts["mode_chosen_because"]
    assert said.splitlines()[0] == f"vocabulary mode: trim, because {facts['mode_chosen_because']}"


def test_words_are_added_where_these_find_less(start):
    added, facts, said = start(added_are_right=True)
    assert added
    assert facts["mode"] == "trim+extend"
    assert "0.500 with the encoder's own words, 1.000 with words added" in said


def test_words_that_find_no_more_are_not_added(start):
    added, facts, said = start(added_are_right=True, off=0)
    assert not added
    assert facts["mode"] == "trim"
    assert "1.000 with the encoder's own words, 1.000 with words added, p = 1.0000" in said


@pytest.mark.parametrize(("mode", "pairs"), [("trim+extend", PAIRS), ("auto", PAIRS[:119])])
def test_nothing_is_compared_where_the_mode_is_given_or_pairs_are_few(start, mode, pairs):
    added, facts, said = start(added_are_right=False, mode=mode, pairs=pairs)
    assert added
    assert facts["mode"] == "trim+extend"
    assert "find their English side" not in said


def test_an_english_vocabulary_is_not_compared(start, monkeypatch):
    monkeypatch.setattr(choose_mode, "MULTILINGUAL", 60_000)
    added, facts, said = start(added_are_right=False)
    assert added
    assert facts["mode"] == "extend"
    assert "find their English side" not in said
