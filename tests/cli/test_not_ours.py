"""Files of a user where a command would write: it refuses before any work, and they stay as they were."""

from __future__ import annotations

import shutil

import pytest

import optical
from optical.data import bitext_download
from optical.embeddings.embed import embed_collection
from tests.cli.conftest import snapshot
from tests.conftest import bert
from tests.runs import tiny_run

PAIRS = [("i drink water .", "ninakunywa maji .")] * 4
MINE = "years of work"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A finished run, single vectors."""
    return tiny_run(tmp_path_factory.mktemp("made"))


@pytest.fixture(scope="module")
def late(tmp_path_factory):
    """A finished run of late interaction."""
    return tiny_run(tmp_path_factory.mktemp("late"), late=True)


@pytest.fixture
def no_models(monkeypatch):
    """Loading a model fails the test: a refusal comes before any work."""
    monkeypatch.setattr(
        "optical.models.load._read_config", lambda *_: pytest.fail("a model was loaded before the refusal")
    )


def put(folder, name):
    """A file of the user's."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(MINE)
    return path


def refused(command, folder, name, *arguments):
    """The command refuses the file, which stays as everything else in the folder."""
    put(folder, name)
    before = snapshot(folder)
    code, out, err = command(*arguments)
    assert code == 1, (code, out, err)
    assert str(folder / name) in err
    assert "optical did not write it" in err
    after = snapshot(folder)
    assert {path: after.get(path) for path in before} == before
    assert not [path for path in after.keys() - before.keys() if not path.endswith(".optical.json")]


@pytest.mark.parametrize("name", ["student/thesis.doc", "transplant/thesis.doc", "index/thesis.doc", "recipe.toml",
    "training.json", "manifest.json", "lexicon-sw.tsv", "evaluation/sw-collection-test/results.json", "student",
    "evaluation", "student/student/modules.json", "student/modules.json"])  # fmt: skip
def test_distill(command, tmp_path, no_models, name):
    refused(command, tmp_path, name, "distill", "--lang", "sw", "--out", tmp_path, "--set", "training.steps=0")


def test_distill_where_the_folder_is_a_file_or_a_link(command, tmp_path, no_models):
    put(tmp_path, "home")
    code, _, err = command("distill", "--lang", "sw", "--out", tmp_path / "home")
    assert (code, (tmp_path / "home").read_text()) == (1, MINE)
    assert "home is in the way" in err
    put(tmp_path, "elsewhere/modules.json")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "student").symlink_to(tmp_path / "elsewhere")
    code, _, err = command("distill", "--lang", "sw", "--out", tmp_path / "run")
    assert (code, (tmp_path / "run" / "student" / "modules.json").read_text()) == (1, MINE)


def test_transplant(command, tmp_path, no_models):
    refused(command, tmp_path, "transplant/thesis.doc", "transplant", "--lang", "sw", "--out", tmp_path)


@pytest.mark.parametrize("name", ["teacher/thesis.doc", "recipe.toml", "evaluation/x/table.md"])
def test_teach(command, made, tmp_path, no_models, name):
    refused(command, tmp_path, name, "teach", "--collection", made.collection, "--out", tmp_path)


def copy_of(run, folder):
    return shutil.copytree(run.folder, folder / "run")


@pytest.mark.parametrize("name", ["student/thesis.doc", "index/thesis.doc", "evaluation/x/student.trec"])
def test_distill_into_a_run(command, made, tmp_path, no_models, name):
    run = copy_of(made, tmp_path)
    refused(command, run, name, "distill", "--recipe", run / "recipe.toml", "--out", run)


def test_index(command, made, tmp_path, no_models):
    run = copy_of(made, tmp_path)
    refused(command, run, "index/thesis.doc", "index", run)


@pytest.mark.parametrize(("name", "more"), [
    ("results.json", []), ("perturbed.md", ["--perturb", "typos"]), ("comparison.md", ["--run", "{run}/other.trec"]),
])  # fmt: skip
def test_evaluate(command, made, tmp_path, no_models, name, more):
    run = copy_of(made, tmp_path)
    (run / "other.trec").write_text("q1 Q0 d0 1 1.0 other\nq2 Q0 d2 1 1.0 other\n")
    arguments = [word.replace("{run}", str(run)) for word in more]
    refused(command, run, f"evaluation/{made.collection.split('/')[-1]}-test/{name}", "evaluate", run, *arguments)


@pytest.mark.parametrize("out", [None, "elsewhere"])
def test_export_onnx(command, made, tmp_path, no_models, out):
    run = copy_of(made, tmp_path)
    folder = tmp_path / out if out else run / "onnx"
    refused(command, folder, "thesis.doc", "export", run, *(["--out", folder] if out else []))


@pytest.mark.parametrize("out", [None, "elsewhere"])
def test_export_colbert(command, late, tmp_path, no_models, out):
    run = copy_of(late, tmp_path)
    folder = tmp_path / out if out else run / "colbert"
    refused(command, folder, "artifact.metadata", "export", run, "--to", "colbert", *(["--out", folder] if out else []))


@pytest.mark.parametrize("name", ["meta.json", "collection/mine"])
def test_export_qdrant(command, made, tmp_path, no_models, name):
    pytest.importorskip("qdrant_client")
    run, mine = copy_of(made, tmp_path), put(tmp_path / "home", name)
    code, _, err = command("export", run, "--to", "qdrant", "--path", tmp_path / "home")
    assert (code, mine.read_text()) == (1, MINE)
    assert "Qdrant did not write it" in err
    assert [path for path in (tmp_path / "home").rglob("*") if path.is_file()] == [mine]


def test_data(command, tmp_path, monkeypatch):
    monkeypatch.setattr(bitext_download, "_load_dataset", lambda: pytest.fail("the hub was asked before the refusal"))
    refused(command, tmp_path, "parallel-sentences-talks.tsv.gz", "data", "--lang", "sw", "--out", tmp_path)


@pytest.mark.parametrize("name", ["shard-00000/thesis.doc", "optical.json"])
def test_embedding_a_collection(tmp_path, name):
    mine = put(tmp_path / "home", name)
    encoder = bert(tmp_path / "made")
    with pytest.raises(optical.errors.DataError, match="did not write it"):
        embed_collection(encoder, iter(lambda: pytest.fail("a document was read"), None), tmp_path / "home")
    assert [path for path in (tmp_path / "home").rglob("*") if path.is_file()] == [mine]
    assert mine.read_text() == MINE


def test_finishing_an_embedded_collection(command, tmp_path):
    encoder = bert(tmp_path / "made")
    embed_collection(encoder, [("d0", "rice"), ("d1", "maize")], tmp_path / "home")
    for name in (".optical.json", "optical.json"):
        (tmp_path / "home" / name).unlink()
    refused(command, tmp_path / "home", "optical.json", "embed", "--finish", tmp_path / "home")


@pytest.mark.parametrize("name", ["thesis.doc", "modules.json", "checkpoints-thesis/thesis.doc"])
def test_the_python_api(tmp_path, no_models, name):
    mine = put(tmp_path / "home", name)
    with pytest.raises(optical.errors.DataError, match="did not write it"):
        optical.distill("no teacher", bitext=PAIRS, folder=tmp_path / "home", training={"steps": 0})
    with pytest.raises(optical.errors.DataError, match="did not write it"):
        optical.teach("no teacher", rows=PAIRS, folder=tmp_path / "home", options={"steps": 0})
    assert mine.read_text() == MINE
    assert [path for path in (tmp_path / "home").rglob("*") if path.is_file()] == [mine]


def test_what_is_in_nobodys_way_stays_beside_a_run(command, made, tmp_path):
    home = tmp_path / "home"
    mine = [put(home, name) for name in ("thesis.doc", "notes/a.txt", "checkpoints-thesis/b.txt", "student-old/c")]
    shutil.copy(made.folder / "recipe.toml", tmp_path)
    bitext = tmp_path / "bitext.tsv"
    bitext.write_text("".join(f"i drink water {k} .\tninakunywa maji {k} .\n" for k in range(8)))
    arguments = ["distill", "--recipe", tmp_path / "recipe.toml", "--bitext", bitext, "--out", home]
    for _ in range(2):  # the second time, the run is in its own way, which is fine
        code, _, err = command(*arguments, "--set", "training.steps=2", "--set", "training.batch_size=4",
            "--set", "training.min_words=1")  # fmt: skip
        assert code == 0, err
        assert [path.read_text() for path in mine] == [MINE] * len(mine)
    assert (home / "student" / "modules.json").is_file()
    assert [path.name for path in home.glob("checkpoints-*")] == ["checkpoints-thesis"]
    assert not list(home.glob(".*.tmp"))
