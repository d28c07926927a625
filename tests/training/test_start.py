"""Which student is the start: a vocabulary that words were added to, or the encoder's own, by the development score."""

from __future__ import annotations

import numpy as np
import pytest

from optical.config.recipe import StudentOptions
from optical.config.vocabulary import Vocabulary
from optical.data.bitext import Pair
from optical.models.encoders import transformer
from optical.training.start import choose_start
from optical.training.trainer import Workspace
from optical.vocabulary import choose_mode
from tests.conftest import bert as made
from tests.training.distilled import ByQuery

PAIRS = [Pair(f"the child drinks zq {k}", f"the dog of kampala {k}") for k in range(4)]


@pytest.fixture
def teacher(tmp_path, monkeypatch):
    monkeypatch.setattr(choose_mode, "MULTILINGUAL", 0)
    return made(tmp_path / "bert")


def start(teacher, tmp_path, gain, mode="auto", dev=ByQuery):
    """The start, its facts and what was said, where the encoder's own words are better by ``gain``."""
    said: list[str] = []
    workspace = Workspace(tmp_path / "run", tmp_path / "cache", False, said.append)

    def score(student):
        return 0.5 + gain * ("kampala" not in student.tokenizer.get_vocab())

    options = StudentOptions(vocabulary=Vocabulary(mode=mode, min_count=1))
    student, facts = choose_start(teacher, PAIRS, options, workspace, None, dev and dev(score))
    return student, facts, "\n".join(said)


def test_the_encoders_own_words_are_kept_where_they_are_better(teacher, tmp_path):
    student, facts, said = start(teacher, tmp_path, 0.1)
    assert "kampala" not in student.tokenizer.get_vocab()
    assert facts["mode"] == "trim"
    assert facts["composes"] is False
    assert facts["mode_chosen_because"] in said.splitlines()[-1]
    assert "0.5989 with its own words, 0.4989 with words added, p = 0.00" in said
    rows, own = (transformer(e).auto_model.get_input_embeddings().weight.detach() for e in (student, teacher))
    dog = [e.tokenizer.get_vocab()["dog"] for e in (student, teacher)]
    np.testing.assert_array_equal(rows[dog[0]], own[dog[1]])


@pytest.mark.parametrize("gain", [0.0, -0.1, 1e-9])
def test_words_are_added_where_these_are_not_better(teacher, tmp_path, gain):
    student, facts, said = start(teacher, tmp_path, gain)
    assert "kampala" in student.tokenizer.get_vocab()
    assert facts["mode"] == "trim+extend"
    assert "composes" in facts
    assert facts["mode_stays_because"] in said


@pytest.mark.parametrize(("mode", "dev"), [("trim+extend", ByQuery), ("auto", None)])
def test_nothing_is_compared_where_the_mode_is_given_or_there_is_no_score(teacher, tmp_path, mode, dev):
    student, facts, said = start(teacher, tmp_path, 0.1, mode, dev)
    assert "kampala" in student.tokenizer.get_vocab()
    assert facts["mode"] == "trim+extend"
    assert "development score" not in said.replace("unseen words", "").split("vocabulary:")[0]
    assert "mode_stays_because" not in facts


def test_an_english_vocabulary_is_not_compared(teacher, tmp_path, monkeypatch):
    monkeypatch.setattr(choose_mode, "MULTILINGUAL", 60_000)
    student, facts, _ = start(teacher, tmp_path, 0.1)
    assert "kampala" in student.tokenizer.get_vocab()
    assert facts["mode"] == "extend"
