"""The fine-tuned probe: an encoder with a new head learns labels of pairs."""

from __future__ import annotations

import logging

import torch
from torch import nn

from optical.config.probe import FineTuning
from optical.data.labelled_pairs import LabelledPair
from optical.models.encoders import transformer
from optical.training.pair_classifier import fine_tune, predict, with_head

WORDS = ("farmer", "teacher", "doctor", "children", "cow", "river", "house", "market")
PAIRS = [LabelledPair(float(b == "dog"), f"the {a}", f"a {b} sings") for a in WORDS for b in ("dog", "moon")]
OPTIONS = FineTuning(steps=30, batch_size=8, learning_rate=1e-2, max_tokens=32)


def test_a_head_is_learnt_the_encoder_stays_and_the_seed_decides(teacher, caplog):
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    with caplog.at_level(logging.WARNING):
        one, again, other = (fine_tune(teacher, PAIRS[:10], 2, OPTIONS, seed) for seed in (3, 3, 4))
    asked = [[pair[k] for pair in PAIRS[10:]] for k in (1, 2)]
    assert predict(one, *asked) == [int(pair.gold) for pair in PAIRS[10:]]
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())
    weights = [model.state_dict() for model in (one, again, other)]
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())
    assert not all(torch.equal(value, weights[2][name]) for name, value in weights[0].items())
    assert "LOAD REPORT" not in caplog.text


def test_the_embedding_matrix_may_stay_as_it_is(teacher):
    few = OPTIONS.model_copy(update={"steps": 2})
    before = transformer(teacher).auto_model.get_input_embeddings().weight
    for trained in (True, False):
        model = fine_tune(teacher, PAIRS, 2, few.model_copy(update={"embeddings": trained}), 0)
        after = transformer(model).auto_model.get_input_embeddings().weight
        assert torch.equal(before, after) is not trained


def test_pairs_are_cut_at_the_limit_of_the_encoder(teacher):
    assert with_head(teacher, 3, 1000, 0).max_length == teacher.max_seq_length == 64
    assert with_head(teacher, 3, 16, 0).max_length == 16


def test_another_loss_may_be_given(teacher):
    seen = []

    class Nothing(nn.Module):
        def __init__(self, model):
            super().__init__()
            self.model = model

        def forward(self, texts, labels):
            seen.append((len(texts), len(labels)))
            return self.model(self.model.preprocess(list(zip(*texts, strict=True))))["scores"].sum() * 0.0

    fine_tune(teacher, PAIRS, 2, FineTuning(steps=2, batch_size=4), 0, Nothing)
    assert seen == [(2, 4), (2, 4)]
