"""Rarity of tokens and translations of tokens: what a plan is told beside the vectors."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from optical.config.objective import Objective
from optical.data.bitext import Pair
from optical.embeddings.cache import teacher_vectors
from optical.errors import DataError
from optical.training.plan_terms import FLOOR, idf, translations
from tests.training.distilled import PAIRS, parameters, trained

BITEXT = [
    Pair("where is the market ?", "river long"), Pair("the market is long .", "river sick"),
    Pair("where is the dog ?", "moon long"), Pair("a dog is long .", "moon sick"),
]  # fmt: skip


def test_idf_is_the_logarithm_of_one_and_the_sentences_a_token_is_in():
    weights = idf([[1, 2, 2], [1, 3], [1]], 5)
    np.testing.assert_allclose(weights, np.log1p([3, 1, 3, 3, 3]), rtol=1e-6)


@pytest.fixture
def found(student, teacher, tmp_path):
    """Translations of the four pairs above."""
    return translations(student, teacher, BITEXT, _vectors(teacher, tmp_path))


def _vectors(teacher, tmp_path):
    return teacher_vectors(teacher, [p.english for p in BITEXT], tmp_path / "cache")


def test_a_word_costs_least_with_what_translates_it(found, student, teacher):
    ids = student.preprocess(["river long", "moon sick"])["input_ids"]
    cost = found.cost(ids, [0, 2])  # [CLS] river long [SEP] against [CLS] where is the market ? [SEP]
    assert cost.shape == (2, 4, 7)
    assert cost[0, 1, 1:6].argmin() == 3, "river: market"
    assert cost[1, 1, 1:6].argmin() == 3, "moon: dog"
    # "river" meets all words of two sentences, and the probabilities of those sum to 1.
    e = teacher.tokenizer(BITEXT[1].english)["input_ids"][1:-1]
    first, second = found.cost(ids[:1], [0])[0, 1, 1:6], found.cost(ids[:1], [1])[0, 1, 1:6]
    new = [k for k, i in enumerate(e) if i not in teacher.tokenizer(BITEXT[0].english)["input_ids"]]
    assert float((-first).exp().sum() + (-second[new]).exp().sum()) == pytest.approx(1.0, abs=5 * FLOOR)


def test_special_tokens_translate_each_other_and_what_was_never_seen_costs_the_same_with_all(found, student):
    ids = student.preprocess(["rice river"])["input_ids"]
    cost, floor = found.cost(ids, [0])[0], -math.log(FLOOR)
    special = torch.tensor([True, False, False, False, False, False, True])
    for k in (0, 3):  # [CLS], [SEP]
        assert (cost[k, special] == 0).all()
        assert cost[k, ~special].tolist() == pytest.approx([floor] * 5)
    assert cost[1].tolist() == pytest.approx([floor] * 7), "rice is in no sentence"
    assert cost[2, special].tolist() == pytest.approx([floor] * 2)
    assert cost.isfinite().all()
    assert cost.max() <= floor + 1e-5


def test_a_batch_costs_what_its_rows_cost_alone(found, student):
    features = student.preprocess(["river long", "moon"])
    both = found.cost(features["input_ids"], [2, 3])
    for k, text in enumerate(["river long", "moon"]):
        alone = found.cost(student.preprocess([text])["input_ids"], [k + 2])[0]
        n, m = alone.shape
        torch.testing.assert_close(both[k, :n, :m], alone)


def test_a_teacher_that_leaves_tokens_out_has_no_prior(student, teacher, tmp_path):
    vectors = _vectors(teacher, tmp_path)
    with pytest.raises(DataError, match=r"objective.prior needs a teacher that keeps every token"):
        translations(student, teacher, [Pair(p.english + " dog", p.foreign) for p in BITEXT], vectors)


def test_a_student_is_trained_by_the_prior(student, teacher, tmp_path):
    one, other = (
        trained(student, teacher, tmp_path / str(prior), pairs=PAIRS,
                objective=Objective(pooled=0.0, scores=0.0, prior=prior)).student
        for prior in (0.0, 0.05)
    )  # fmt: skip
    assert not torch.equal(parameters(one), parameters(other))
