"""The whole chain with late interaction, and students of both kinds where optical is not installed."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from optical.evaluation import report
from optical.models import colbert_format, encoders
from optical.models.load import load_encoder
from optical.pipeline import answer, index
from tests.chain import mean_loss
from tests.runs import distilled, evaluated

ASKED = ["Nani anaandika barua?", "maji"]
WITHOUT_OPTICAL = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "optical":
            raise ImportError("optical must not be needed")
sys.meta_path.insert(0, Refuse())
try:
    import optical
except ImportError:
    pass
else:
    raise SystemExit("optical can be imported after all")
import numpy as np
from sentence_transformers import MultiVectorEncoder, SentenceTransformer
np.save("single.npy", SentenceTransformer({single!r}, device="cpu").encode({asked!r}))
tokens = MultiVectorEncoder({many!r}, device="cpu").encode_query({asked!r}, convert_to_numpy=True)
np.save("many.npy", np.concatenate(tokens))
"""


@pytest.mark.slow
def test_the_students_load_where_optical_is_not_installed(run, late, tmp_path):
    single, many = run[0].folder / "student", late[0].folder / "student"
    code = WITHOUT_OPTICAL.format(single=str(single), many=str(many), asked=ASKED)
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)
    here = load_encoder(single, "cpu").encode(ASKED)
    np.testing.assert_allclose(np.load(tmp_path / "single.npy"), here, atol=1e-6)
    tokens = encoders.encode_tokens(load_encoder(many, "cpu"), ASKED, query=True)
    np.testing.assert_allclose(np.load(tmp_path / "many.npy"), np.concatenate(tokens), atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(np.load(tmp_path / "many.npy"), axis=1), 1.0, atol=1e-5)


def test_late_interaction_goes_the_same_way(late):
    recipe, found = late
    ap = {system: scores.mean["AP"] for system, scores in found.scores.items()}
    assert ap[report.STUDENT] > ap[report.ZERO_SHOT] + 0.2
    losses = [e for e in json.loads((recipe.folder / "training.json").read_text()) if "loss" in e]
    assert mean_loss(losses[-3:]) < mean_loss(losses[:3])
    assert "scores" not in losses[-1], "there is no sentence vector to rank passages with"
    assert not (recipe.folder / "index").exists()
    assert answer.answer(answer.load_run(recipe), "Nani anaandika barua?", 2)[0].doc.id == "d2"
    assert evaluated(recipe).scores == found.scores
    own, shared = (
        encoders.encode_tokens(load_encoder(recipe.folder / name, "cpu"), ASKED, query=True)
        for name in ("student", "colbert")
    )
    np.testing.assert_allclose(np.concatenate(shared), np.concatenate(own), atol=1e-5)


def test_a_student_that_other_libraries_cannot_hold_is_finished(late, tmp_path, monkeypatch):
    recipe = late[0].model_copy(update={"out": str(tmp_path / "run")})
    monkeypatch.setattr(colbert_format, "ALLOWED", -1.0)
    said = []
    assert distilled(recipe, said.append, progress=False).scores == late[1].scores
    assert any(line.startswith("no folder for PyLate and Stanford's ColBERT: ") for line in said)
    assert not (recipe.folder / "colbert").exists()


@pytest.mark.parametrize(("precision", "off"), [("int8", 0.05), ("int4", 0.1)])
def test_an_index_of_tokens_gives_what_comparing_everything_gives(late, precision, off):
    recipe, found = late
    chosen = {"late_index": "on", "late_precision": precision}
    listed = recipe.model_copy(update={"search": recipe.search.model_copy(update=chosen)})
    assert index.index_run(listed) == [recipe.folder / "index"]
    assert json.loads((recipe.folder / "index" / "optical.json").read_text())["precision"] == precision
    said = []
    again = evaluated(listed, say=said.append)
    for system, scores in found.scores.items():
        # What is stored is whole numbers, so a near tie may turn, of sixteen steps more often.
        assert again.scores[system].mean["AP"] == pytest.approx(scores.mean["AP"], abs=off)
    assert "late interaction by lists finds 100.0 % of the exact first 100 (some questions)" in said
    answers = answer.load_run(listed)
    assert answers.late.lists is not None
    first = answer.answer(answers, "Nani anaandika barua?", 2)[0]
    assert first.doc.id == "d2"
    assert first.matches
    assert index.index_run(recipe) == []  # too few documents for one, by the rule
    assert not (recipe.folder / "index").exists()
    assert evaluated(recipe).scores == found.scores
