"""Whether a student composes is decided by the development score; listed words are added at the end."""

from __future__ import annotations

import re

import numpy as np
import pytest

from optical.config.vocabulary import Vocabulary
from optical.data.bitext import Pair
from optical.evaluation.strata import Stratified, Stratum
from optical.models.composing import compose_unseen, query_words
from optical.training.unseen import add_words, choose_composing
from optical.vocabulary.transplant import transplant
from tests.conftest import bert
from tests.training.distilled import ByQuery

PAIRS = [Pair(f"the children {k} drink", f"{w} {k} ni") for k, w in enumerate(("maji", "mtoto", "watoto", "kitabu"))]


@pytest.fixture
def start(tmp_path):
    made = transplant(bert(tmp_path / "bert"), PAIRS, Vocabulary(mode="extend"))
    compose_unseen(made.student, made.seen)
    return made.student


@pytest.mark.parametrize(
    ("compose", "gain", "composes"), [("auto", 1, True), ("auto", 0, True), ("auto", -1, False), ("on", -1, True)]
)
def test_it_composes_unless_that_is_worse(start, compose, gain, composes):
    said = []
    facts = choose_composing(
        start, Vocabulary(compose=compose), lambda student: 0.5 + 0.1 * gain * bool(query_words(student)), said.append
    )
    assert bool(query_words(start)) is composes is facts["composes"]
    assert bool(said) is (compose == "auto")
    if said:
        assert "0.5000 with the teacher's pieces" in said[0]


@pytest.mark.parametrize(("loss", "composes"), [(0.05, True), (0.3, False)])
def test_it_composes_unless_that_is_worse_beyond_chance(start, loss, composes):
    noise, said = np.random.default_rng(0).normal(size=50) / 2, []
    dev = ByQuery(lambda student: 0.0)
    dev.measured = lambda student: Stratified((Stratum(1.0, 0.5 - (loss + noise) * bool(query_words(student))),))
    facts = choose_composing(start, Vocabulary(compose="auto"), dev, said.append)
    assert bool(query_words(start)) is composes is facts["composes"]
    assert re.search(r"with the teacher's pieces, p = 0\.\d{4}$", said[0])


def test_without_a_score_it_composes(start):
    assert choose_composing(start, Vocabulary(), None, print) == {"composes": True}
    assert query_words(start)


def test_words_of_a_list_are_added_to_all_and_counted_once(start):
    said, size = [], len(start.tokenizer)
    facts = add_words([start], {"majini": 2, "vitabuni": 1}, Vocabulary(words_min_count=2), said.append)
    assert len(start.tokenizer) == size + 1
    assert facts["word_list"]["added"] == facts["word_list"]["words"] == 1
    assert len(said) == 1
    assert add_words([start], {}, Vocabulary(), said.append) == {}


def test_a_student_that_does_not_compose_gets_no_words(start):
    choose_composing(start, Vocabulary(), lambda student: -bool(query_words(student)), lambda _: None)
    said, size = [], len(start.tokenizer)
    assert add_words([start], {"majini": 2}, Vocabulary(), said.append) == {}
    assert len(start.tokenizer) == size
    assert "not used" in said[0]
