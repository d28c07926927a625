"""The loss of a fine-tuned probe: the clean loss, and the same of worse input."""

from __future__ import annotations

import pytest
import torch

from optical.config.training import Robustness
from optical.training.pair_classifier import with_head
from optical.training.robust_classifier import RobustCrossEntropy

TEXTS = [["she cooks rice", "we sell fish ."], ["the cow gives milk", "a dog"]]
LABELS = torch.tensor([0, 1])


@pytest.fixture
def model(teacher):
    """An encoder with a head, without dropout."""
    return with_head(teacher, 2, 32, 0).eval()


def value(model, synonyms=(), **options):
    return float(RobustCrossEntropy(model, Robustness(**options), dict(synonyms))(TEXTS, LABELS).detach())


def clean(model):
    with torch.no_grad():
        scores = model(model.preprocess(list(zip(*TEXTS, strict=True))))["scores"]
    return float(torch.nn.functional.cross_entropy(scores, LABELS))


def test_adversaries_find_worse_pairs_than_noise_does(model):
    added = {method: value(model, method=method, radius=0.2) - clean(model) for method in ("noise", "fgm", "pgd")}
    assert added["pgd"] >= 0.99 * added["fgm"]
    assert min(added["pgd"], added["fgm"]) > max(clean(model), added["noise"])


def test_the_weight_is_of_the_perturbed_pairs_alone(model):
    one, half = (value(model, method="fgm", radius=0.2, weight=weight) for weight in (1.0, 0.5))
    assert one - half == pytest.approx((one - clean(model)) / 2, rel=1e-4)


def test_words_of_both_sentences_are_replaced(model):
    assert value(model, method="augment", rate=1.0) == pytest.approx(
        2 * clean(model), rel=1e-5
    )  # no word has a synonym
    seen = []
    read = model.preprocess
    model.preprocess = lambda pairs, **options: seen.append(pairs) or read(pairs, **options)
    changed = value(model, {"rice": ["maize"], "cow": ["dog"]}, method="augment", rate=1.0)
    assert seen[1] == [("she cooks maize", "the dog gives milk"), ("we sell fish .", "a dog")]
    assert changed != pytest.approx(2 * clean(model), rel=1e-5)
