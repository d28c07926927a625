"""The loop both trainings share: precision, the bar, and where to go on (the last is tested with the trainings)."""

from __future__ import annotations

import pytest

from optical.models.projection import projected
from optical.training import trainer
from tests.conftest import ENGLISH


def test_each_class_has_its_own_trainer(teacher):
    single, arguments = trainer.trainer_classes(teacher)
    late, late_arguments = trainer.trainer_classes(projected(teacher, [ENGLISH], 8))
    assert [c.__name__ for c in (single, arguments)] == [
        "SentenceTransformerTrainer", "SentenceTransformerTrainingArguments",
    ]  # fmt: skip
    assert [c.__name__ for c in (late, late_arguments)] == [
        "MultiVectorEncoderTrainer", "MultiVectorEncoderTrainingArguments",
    ]  # fmt: skip


@pytest.mark.parametrize("training", [False, True])
def test_a_development_score_leaves_the_mode_of_the_model(teacher, training):
    teacher.train(training)

    def score(encoder):
        encoder.eval()
        return 0.25

    assert trainer.Evaluator(score)(teacher, "folder", epoch=1) == {"dev": 0.25}
    assert teacher.training is training
