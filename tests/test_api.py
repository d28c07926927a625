"""The functions of the package itself: a student from pairs in memory, without a run folder."""

from __future__ import annotations

import numpy as np
import pytest

import optical
from optical.embeddings.cache import teacher_vectors
from optical.errors import DataError, RecipeError
from tests.chain import DOCUMENTS, PAIRS, uncased
from tests.conftest import bert


def test_the_student_is_near_the_teacher(tmp_path):
    teacher = uncased(tmp_path / "made")
    student = optical.distill(
        teacher,
        bitext=PAIRS,
        documents=DOCUMENTS,
        folder=tmp_path / "student",
        training={"steps": 12, "batch_size": 6, "learning_rate": 1e-3, "embedding_learning_rate": 1e-2, "warmup": 0.0},
        progress=False,
    )
    assert type(student) is type(teacher)
    target = teacher_vectors(teacher, [p[0] for p in PAIRS], tmp_path / "cache").sentences
    swahili = [p[1] for p in PAIRS]
    near = (student.encode(swahili, normalize_embeddings=True) * target).sum(axis=1).mean()
    far = (teacher.encode(swahili, normalize_embeddings=True) * target).sum(axis=1).mean()
    assert near > far + 0.2
    again = type(teacher)(str(tmp_path / "student"), device="cpu")
    np.testing.assert_allclose(again.encode(["maji"]), student.encode(["maji"]), atol=1e-6)
    assert not list((tmp_path / "student").glob("checkpoints-*"))


def test_it_makes_shallow_students(tmp_path):
    teacher = uncased(tmp_path / "made")
    student = optical.distill(teacher, bitext=PAIRS, layers=1, training={"steps": 0}, progress=False)
    assert student[0].auto_model.config.num_hidden_layers == 1
    assert teacher[0].auto_model.config.num_hidden_layers == 2
    with pytest.raises(RecipeError, match="layers = 0"):
        optical.distill(teacher, bitext=PAIRS, layers=0)


def test_it_keeps_nothing_without_a_folder_and_names_a_wrong_option(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    teacher = uncased(tmp_path / "made")
    before = set(tmp_path.rglob("*"))
    student = optical.distill(teacher, bitext=PAIRS, training={"steps": 1, "batch_size": 4}, progress=False)
    assert set(tmp_path.rglob("*")) == before
    assert len(student.tokenizer) > len(teacher.tokenizer)
    with pytest.raises(RecipeError, match=r"did you mean training\.steps"):
        optical.distill(teacher, bitext=PAIRS, training={"step": 1})


def test_it_does_not_empty_a_folder_of_something_else(tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years of work")
    with pytest.raises(DataError, match="thesis"):
        optical.distill(
            bert(tmp_path / "made"), bitext=PAIRS, folder=tmp_path / "thesis", training={"steps": 0}, progress=False
        )
    assert (tmp_path / "thesis" / "chapter.txt").read_text() == "years of work"
