"""Teachers of two encoders on the command line: the pair, the folder of both sides, and what cannot be used."""

from __future__ import annotations

import json

import pytest
from sentence_transformers import SentenceTransformer

from tests.cli.conftest import asked_for, snapshot
from tests.conftest import bert
from tests.runs import tiny_run
from tests.towers import saved_pair, saved_router


def saved(folder, **shape) -> str:
    bert(folder / "made", **shape).save(str(folder / "model"))
    return str(folder / "model")


def with_own_code(folder) -> str:
    path = saved(folder)
    config = json.loads((folder / "model" / "config.json").read_text())
    own = {"model_type": "own", "auto_map": {"AutoConfig": "own.Config", "AutoModel": "own.Model"}}
    (folder / "model" / "config.json").write_text(json.dumps(config | own))
    return path


BAD = {  # what is wrong -> the teacher, and words of the message
    "no query route": (
        lambda folder: saved_router(folder, routes=("other", "document")), "router is a Router without a query route"
    ),
    "no document route": (
        lambda folder: saved_router(folder, routes=("query", "other")), "router is a Router without a document route"
    ),
    "dimensions": (
        lambda folder: f"{saved(folder / 'a')},{saved(folder / 'b', dim=16)}",
        "model) have 32 dimensions and those of documents (",
    ),
    "own code": (with_own_code, "comes with code of its own (trust_remote_code), which is never run here"),
    "a third name": (lambda folder: f"{saved(folder)},b,c", "3 names in the teacher"),
    "an empty name": (lambda folder: f"{saved(folder)},", "an empty name in the teacher"),
    "a missing one": (lambda folder: f"{saved(folder)},{folder / 'absent'}", "absent: no such model folder"),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_a_teacher_that_cannot_be_used_is_one_message(command, finished, tmp_path, what):
    make, words = BAD[what]
    teacher = make(tmp_path / "teacher")
    before = snapshot(finished.folder.parent)
    code, _, err = command(*asked_for(finished, teacher=teacher))
    assert code == 1
    assert err.count("error: ") == 1
    assert words in " ".join(err.split())
    assert "Traceback" not in err
    assert snapshot(finished.folder.parent) == before


def test_teach_takes_one_encoder(command, finished, tmp_path):
    pair = saved_pair(tmp_path / "teacher")
    code, _, err = command(
        "teach", "--collection", finished.collection, "--teacher", pair, "--out", tmp_path / "out", "--set", "split=dev"
    )
    assert code == 1
    assert "here one has to read both" in " ".join(err.split())
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("late", [False, True])
def test_export_of_both_sides_is_checked_and_can_be_a_teacher(command, finished, tmp_path, late):
    run = tiny_run(tmp_path / "tiny", late=late).folder if late else finished.folder
    code, out, err = command("export", run, "--to", "router", "--out", tmp_path / "both")
    assert (code, err) == (0, "")
    flat = " ".join(out.split())
    assert "loaded again by sentence-transformers: vectors of " in flat
    assert f"Student and teacher are in {tmp_path / 'both'}" in flat
    kind = "MultiVectorEncoder" if late else "SentenceTransformer"
    assert f"sentence_transformers.{kind}({str(tmp_path / 'both')!r})" in flat
    if late:
        return
    assert SentenceTransformer(str(tmp_path / "both"), device="cpu").encode_document(["a"]).shape == (1, 32)
    common = ["--lang", "so", "--teacher", tmp_path / "both", "--bitext", finished.bitext]
    code, out, _ = command("transplant", *common, "--out", tmp_path / "new")
    assert code == 0
    (tmp_path / "both" / "mine.txt").write_text("mine")
    code, _, err = command("export", run, "--to", "router", "--out", tmp_path / "both")
    assert code == 1
    assert "is in the way" in err
