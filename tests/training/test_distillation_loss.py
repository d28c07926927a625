"""The distillation loss: each objective is asked, weighted, on its own rows; perturbed input adds to the loss."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from optical.config.objective import WEIGHTS, Objective
from optical.config.training import Robustness
from optical.embeddings.cache import teacher_vectors
from optical.models.encoders import encode_batch
from optical.training.distillation_loss import BETWEEN_TOKENS, DistillationLoss
from optical.training.losses.ot import ot
from optical.training.losses.pooled import pooled
from optical.training.plan_terms import PlanTerms, Rarity

SENTENCES = ["i drink water .", "where is the market ?", "the cow gives milk .", "rain falls in april ."]
NONE = {"ot": 0.0, "pooled": 0.0, "scores": 0.0}


@pytest.fixture
def asked(student, teacher, tmp_path):
    """A function: objective options -> losses of the four sentences, and the module that gave them."""
    vectors = teacher_vectors(teacher, SENTENCES, tmp_path / "cache")
    documents = torch.nn.functional.normalize(torch.randn(6, 32), dim=-1).numpy()

    def ask(objective, rows=(0, 1, 2, 3), **more):
        loss = DistillationLoss(student, vectors, documents, Objective(**{**NONE, **objective}), **more)
        features = student.preprocess([SENTENCES[k] for k in rows])
        return loss([features], torch.tensor(rows)), loss

    return ask


@pytest.mark.parametrize("name", WEIGHTS)
def test_every_objective_is_behind_the_door_and_is_weighted(asked, student, name):
    once, _ = asked({name: 1.0})
    twice, _ = asked({name: 2.0})
    assert once.keys() == {name}
    assert float(once[name].detach()) > 0
    torch.testing.assert_close(2 * once[name], twice[name])
    once[name].backward()
    gradient = student[0].auto_model.get_input_embeddings().weight.grad
    assert gradient.isfinite().all()
    assert float(gradient.abs().sum()) > 0


def test_the_recipe_has_a_weight_for_every_objective():
    assert {*BETWEEN_TOKENS, *NONE, "contrastive"} <= Objective.model_fields.keys()
    assert {*BETWEEN_TOKENS, *NONE, "contrastive"} == set(WEIGHTS)


def test_several_objectives_are_those_of_each_alone(asked):
    together, _ = asked(dict.fromkeys(WEIGHTS, 0.5))
    for name in WEIGHTS:
        alone, _ = asked({name: 0.5})
        torch.testing.assert_close(together[name], alone[name])


@pytest.mark.parametrize(
    "options",
    [{"masses": "norm"}, {"marginals": "unbalanced"}, {"marginals": "partial", "share": 0.5}, {"solver": "exact"},
     {"solver": "ipot", "epsilon": 0.5}, {"epsilon": (0.2, 0.02)}],
)  # fmt: skip
def test_the_options_of_transport_reach_it(asked, options):
    plain, _ = asked({"ot": 1.0, "epsilon": 0.1})
    other, loss = asked({"ot": 1.0, "epsilon": 0.1, **options})
    assert float(other["ot"]) > 0
    assert abs(float(other["ot"]) - float(plain["ot"])) > 1e-5
    assert loss.plan[0] >= 0


def test_rare_tokens_weigh_more_under_idf_masses(asked, student, teacher, tmp_path):
    vectors = teacher_vectors(teacher, SENTENCES, tmp_path / "cache")
    size = len(student.tokenizer)
    even = Rarity(torch.ones(size), [np.ones(len(vectors.of(k)), dtype=np.float32) for k in range(4)])
    skewed = even._replace(foreign=torch.rand(size) + 0.01)
    uniform, _ = asked({"ot": 1.0})
    same, _ = asked({"ot": 1.0, "masses": "idf"}, terms=PlanTerms(even))
    other, _ = asked({"ot": 1.0, "masses": "idf"}, terms=PlanTerms(skewed))
    torch.testing.assert_close(same["ot"], uniform["ot"])
    assert abs(float(other["ot"]) - float(uniform["ot"])) > 1e-4


@pytest.mark.parametrize("method", ["fgm", "pgd", "noise"])
@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_perturbed_input_adds_its_loss_and_its_gradient(asked, student, method, norm):
    robustness = Robustness(method=method, norm=norm, radius=0.3, weight=0.5)
    clean, _ = asked({"pooled": 1.0})
    both, _ = asked({"pooled": 1.0}, robustness=robustness)
    torch.testing.assert_close(both["pooled"], clean["pooled"])
    assert float(both["robust"]) != pytest.approx(0.5 * float(clean["pooled"]), rel=1e-3)
    if method != "noise":
        assert float(both["robust"]) > 0.5 * float(clean["pooled"]), "the worst shift is worse than none"
    both["robust"].backward()
    assert float(student[0].auto_model.get_input_embeddings().weight.grad.abs().sum()) > 0


def test_the_worst_shift_leaves_no_gradient_behind(asked, student):
    losses, _ = asked({"pooled": 1.0, "ot": 1.0}, robustness=Robustness(method="pgd", steps=2))
    assert all(parameter.grad is None for parameter in student.parameters())
    assert set(losses) == {"pooled", "ot", "robust"}


def test_a_student_that_several_processes_wrap_is_shifted_too(asked, student):
    noisy = Robustness(method="noise")
    alone, loss = asked({"pooled": 1.0}, robustness=noisy)

    class Wrapped(torch.nn.Module):  # as DistributedDataParallel holds it
        def __init__(self):
            super().__init__()
            self.module = student

        def forward(self, features):
            return self.module(features)

    loss.model = Wrapped()
    again = loss([student.preprocess(SENTENCES)], torch.arange(4))
    assert torch.equal(again["robust"], alone["robust"])


def test_the_same_batch_is_perturbed_alike_and_another_seed_otherwise(asked):
    noisy = Robustness(method="noise", radius=0.5)
    first, again, other = (asked({"pooled": 1.0}, robustness=noisy, seed=s)[0]["robust"] for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_health_is_the_spread_of_the_student_beside_the_teachers(asked, student, teacher, monkeypatch):
    _, loss = asked({"pooled": 1.0})
    with torch.no_grad():
        ours, theirs = (encode_batch(model, model.preprocess(SENTENCES)).sentence for model in (student, teacher))

    def spread(vectors):
        unit = torch.nn.functional.normalize(vectors, dim=-1)
        return 1 - float((unit @ unit.T)[~torch.eye(4, dtype=torch.bool)].mean())

    assert loss.health.finite
    assert loss.health.spread == pytest.approx(spread(ours) / spread(theirs), rel=1e-2)
    alone, loss = asked({"pooled": 1.0}, rows=(0,))
    assert math.isnan(loss.health.spread)
    with torch.no_grad():
        student[0].auto_model.get_input_embeddings().weight.zero_()
    _, loss = asked({"pooled": 1.0})
    assert loss.health.spread < 0.5


def test_objectives_are_taken_about_the_mean_of_the_teachers_vectors(asked, student, teacher, tmp_path):
    vectors = teacher_vectors(teacher, SENTENCES, tmp_path / "cache")
    y, x = vectors.batch([0, 1, 2, 3]), encode_batch(student, student.preprocess(SENTENCES))
    sentence = y.sentence.mean(dim=0)
    token = torch.from_numpy(np.asarray(vectors.tokens[:], dtype=np.float32)).mean(dim=0)
    assert sentence.norm() > 0.1
    found, loss = asked({"pooled": 1.0, "ot": 1.0, "centre": True})
    unit = torch.nn.functional.normalize(x.sentence, dim=-1)
    torch.testing.assert_close(found["pooled"], pooled(unit - sentence, y.sentence - sentence))
    near, far = (t._replace(vectors=t.vectors - token) for t in (x.tokens, y.tokens))
    torch.testing.assert_close(found["ot"], ot(near, far).loss)
    assert loss.health == asked({"pooled": 1.0})[1].health


def test_a_ranking_is_the_same_about_any_mean(asked):
    torch.testing.assert_close(asked({"scores": 1.0, "centre": True})[0], asked({"scores": 1.0})[0])
