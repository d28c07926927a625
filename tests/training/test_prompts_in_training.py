"""A student learns from sentences with the prompt of a query before them, as its teacher reads the English side."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from optical.config.objective import Objective
from optical.data.bitext import Pair
from optical.models.encoders import as_multi_vector, encode_queries
from optical.models.prompts import with_prompts
from tests.training.distilled import PAIRS, parameters, trained, training

PROMPTS = {"query": "where is "}


@pytest.mark.parametrize("late", [False, True])
def test_training_with_a_prompt_is_training_on_texts_that_have_it(student, teacher, tmp_path, late):
    student, teacher = (as_multi_vector(e) if late else e for e in (student, teacher))
    objective = Objective(scores=0.0, epsilon=0.1, pooled=0.0) if late else Objective(scores=0.0, epsilon=0.1)
    how = training(word_dropout=0.0, question_repeats=1)
    written = [Pair("where is " + p.english, "where is " + p.foreign) for p in PAIRS]
    by_text = trained(student, teacher, tmp_path / "a", how=how, pairs=written, objective=objective)
    prompted = [with_prompts(e, PROMPTS) for e in (student, teacher)]
    by_prompt = trained(*prompted, tmp_path / "b", how=how, objective=objective)
    without = trained(student, teacher, tmp_path / "c", how=how, objective=objective)
    torch.testing.assert_close(parameters(by_prompt.student), parameters(by_text.student), rtol=0, atol=1e-6)
    assert (parameters(by_prompt.student) - parameters(without.student)).abs().max() > 1e-4
    found = encode_queries(by_prompt.student, ["maji"])[0]
    np.testing.assert_allclose(found, encode_queries(by_text.student, ["where is maji"])[0], atol=1e-5)


@pytest.mark.parametrize("masses", ["uniform", "norm", "idf"])
def test_a_prompt_that_is_not_pooled_trains_with_any_masses(student, teacher, tmp_path, masses):
    prompted = [with_prompts(e, PROMPTS) for e in (student, teacher)]
    for encoder in prompted:
        encoder.set_pooling_include_prompt(False)
    objective = Objective(scores=0.0, epsilon=0.1, masses=masses)
    result = trained(*prompted, tmp_path / "run", how=training(word_dropout=0.5), objective=objective)
    assert all(np.isfinite(entry["loss"]) for entry in result.history if "loss" in entry)
    assert (parameters(result.student) - parameters(student)).abs().max() > 1e-4
