"""The command line: helps, answers, and turns every bad input into one message: what, where, and how to mend it."""

from __future__ import annotations

import errno
import gzip
import hashlib
import json
import re
import shutil
import sys
from pathlib import Path

import pytest
import torch

from optical import cli
from optical.config.recipe import load_recipe, options
from optical.models import encoders
from optical.pipeline import distill, evaluate
from tests.pipeline.test_distill import MUCH_TO_LEARN, OWN, data, uncased  # noqa: F401 - data is a fixture

VERBS = ("distill", "transplant", "embed", "index", "search", "evaluate", "export", "data", "teach", "serve")


@pytest.fixture
def command(monkeypatch, capsys):
    """Call the program as a shell does: (exit code, standard output, standard error)."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["optical", *map(str, arguments)])
        monkeypatch.setattr(cli.console, "width", 200)
        capsys.readouterr()
        try:
            cli.main()
        except SystemExit as stop:
            code = stop.code
        else:
            code = 0
        out, err = capsys.readouterr()
        # The libraries' bars are switched off by the environment before they are imported; here they are imported.
        return code or 0, out, "\n".join(part for part in re.split(r"[\r\n]+", err) if part and "it/s]" not in part)

    monkeypatch.setenv("COLUMNS", "200")
    return call


@pytest.fixture(scope="module")
def finished(tmp_path_factory, data):  # noqa: F811
    """A finished run and the teacher it was made by."""
    folder = tmp_path_factory.mktemp("cli")
    torch.manual_seed(0)
    uncased(folder / "made").save(str(folder / "teacher"))
    named = {
        "lang": "sw", "teacher": str(folder / "teacher"), "bitext": str(data / "bitext.tsv"),
        "collection": str(data / "collection"), "out": str(folder / "run"), "cache": str(folder / "cache"),
        "training.batch_size": 6, "objective.scores": 1.0,
    }  # fmt: skip
    recipe = load_recipe(None, {**named, **MUCH_TO_LEARN})
    distill.distil(recipe, progress=False)
    return recipe


def snapshot(folder: Path) -> dict[str, str]:
    """Every file of a folder with its checksum."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def asked_for(recipe, **instead) -> list[str]:
    """Arguments of ``optical distill`` into the folder of the finished run."""
    named = {"lang": "sw", "teacher": recipe.teacher, "bitext": recipe.bitext, "collection": recipe.collection}
    named |= {"out": recipe.out, "set": f"cache={recipe.cache}"}
    named |= instead
    more = ["--set", "training.steps=2", "--set", "training.batch_size=6"]
    return ["distill", *more, *(word for name, value in named.items() for word in (f"--{name}", value))]


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_that_one_can_work_from(command, verb):
    code, out, _ = command(verb, "--help")
    assert code == 0
    assert f"optical {verb}" in out
    named = {
        "teach": "--collection",
        **dict.fromkeys(("index", "search", "evaluate", "export", "serve"), "Folder of a run"),
    }
    assert named.get(verb, "--lang") in out
    if verb in ("distill", "transplant"):
        assert [name for name in options() if name not in out] == []


def test_without_a_verb_the_help_lists_them(command):
    _, out, err = command()
    assert [verb for verb in VERBS if verb not in out + err] == []


def test_the_version(command):
    from optical import __version__

    assert command("--version")[:2] == (0, f"optical {__version__}\n")


def test_search_prints_titles_snippets_and_scores(command, finished):
    code, out, err = command("search", finished.out, "Nani anaandika barua?", "-k", "2")
    assert (code, err) == (0, "")
    assert "it/s" not in out
    first, snippet, second, _ = [line for line in out.splitlines() if line.strip()][:4]
    assert first.startswith("1. Text 2  d2  ")
    assert 0.0 < float(first.split()[-1]) <= 1.0001
    assert snippet.strip() == "the teacher writes a letter ."
    assert second.startswith("2. Text ")
    assert float(second.split()[-1]) <= float(first.split()[-1])


def test_evaluate_prints_the_table_of_the_run_and_names_the_folder(command, finished):
    code, out, _ = command("evaluate", finished.out)
    assert code == 0
    kept = json.loads((finished.folder / "evaluation" / "sample-collection-test" / "results.json").read_text())
    assert f"{kept['systems']['student']['mean']['AP']:.4f}" in out
    assert "MAP" in out
    assert "share of ceiling" in out
    assert "paired randomisation" in out


def test_export_leaves_graphs_that_find_what_torch_finds_and_says_so(command, finished, tmp_path):
    code, out, err = command("export", finished.out, "--out", tmp_path / "onnx")
    assert (code, err) == (0, "")
    kept = json.loads((tmp_path / "onnx" / "report.json").read_text())
    command("evaluate", finished.out)
    told = json.loads((finished.folder / "evaluation" / OWN / "results.json").read_text())
    ap = {name: system["scores"]["mean"]["AP"] for name, system in kept["systems"].items()}
    assert ap["torch"] == ap["ONNX fp32"] == told["systems"]["student"]["mean"]["AP"]
    assert list(ap) == ["torch", "ONNX fp32", "ONNX int8"]
    assert kept["count"] == told["systems"]["student"]["queries"]
    assert all(f"{value:.4f}" in out for value in ap.values())
    assert "ONNX int8 - torch: MAP" in out
    assert f"OnnxEncoder.load('{tmp_path / 'onnx'}')" in "".join(out.split("\n"))
    code, _, err = command("export", finished.out, "--out", finished.folder)  # not over the run itself
    assert code == 1
    assert "would be replaced as a whole" in err
    assert (finished.folder / "recipe.toml").is_file()


def test_distill_ends_by_naming_the_folder_and_the_next_commands(command, finished, tmp_path):
    code, out, _ = command(*asked_for(finished, out=str(tmp_path / "new")))
    assert code == 0
    flat = " ".join(out.split())
    assert f"The run is in {tmp_path / 'new'}" in flat
    assert f"optical search {tmp_path / 'new'}" in flat
    assert f"optical evaluate {tmp_path / 'new'}" in flat
    assert "teacher as it is" in out
    assert load_recipe(tmp_path / "new" / "recipe.toml").training.steps == 2


@pytest.mark.usefixtures("with_bfloat16")
def test_transplant_embed_and_index_alone(command, finished, tmp_path):
    common = ["--lang", "sw", "--teacher", finished.teacher, "--set", f"cache={tmp_path / 'cache'}"]
    code, out, _ = command("transplant", *common, "--bitext", finished.bitext, "--out", tmp_path / "grown")
    assert code == 0
    assert "words_added" in out
    assert (tmp_path / "grown" / "transplant" / "modules.json").is_file()
    code, out, _ = command("embed", *common, "--collection", finished.collection)
    assert code == 0
    assert "12 documents are in" in out
    assert "bfloat16 beside float32" not in out
    (shards,) = (tmp_path / "cache").glob("documents-*")
    code, out, _ = command("embed", *common, "--collection", finished.collection, "--set", "search.compute=bfloat16")
    assert code == 0
    assert "bfloat16 beside float32, the first 12 documents: 1 - cosine is " in " ".join(out.split())
    (shards / "optical.json").unlink()  # as shards lie that were copied together
    code, out, _ = command("embed", "--finish", shards)
    assert (code, "12 documents are in" in out) == (0, True)
    shutil.rmtree(shards / "shard-00000")
    code, _, err = command("embed", "--finish", shards)
    assert code == 1
    assert "holds no shard" in err
    code, out, _ = command("index", finished.out)
    assert code == 0
    assert str(finished.folder / "index") in "".join(out.split())


def write(path: Path, content: bytes | str) -> str:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)


def moses(folder: Path) -> str:
    write(folder / "c.en", "one two\nthree four\nfive six\n")
    write(folder / "c.sw", "moja mbili\ntatu nne\n")
    return f"{folder / 'c.en'},{folder / 'c.sw'}"


def other_collection(folder: Path) -> str:
    (folder / "other").mkdir()
    write(folder / "other" / "docs.jsonl", '{"id": "d1", "title": "", "text": "a text"}\n')
    write(folder / "other" / "queries.sw.tsv", "q1\tswali\n")
    write(folder / "other" / "qrels.test.tsv", "q1 0 unknown 1\n")
    return str(folder / "other")


def gpt(folder: Path) -> str:
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(n_layer=1, n_head=2, n_embd=8, vocab_size=20, n_positions=16)
    GPT2LMHeadModel(config).save_pretrained(folder / "gpt")
    return str(folder / "gpt")


def empty(folder: Path) -> str:
    (folder / "empty").mkdir()
    return str(folder / "empty")


def damaged(folder: Path) -> str:
    (folder / "damaged").mkdir()
    write(folder / "damaged" / "config.json", '{"architectures": [')
    return str(folder / "damaged")


def foul_utf8(folder: Path) -> str:
    return write(folder / "b.tsv", b"good\tnzuri\nbad\tmb\xffaya\n")


BAD = {  # what is wrong -> (option, how it is made, what the message has to say)
    "missing bitext": ("bitext", lambda f: str(f / "none.tsv"), ["none.tsv", "No such file"]),
    "a folder without bitext": ("bitext", empty, ["empty", ".tsv"]),
    "not UTF-8": ("bitext", foul_utf8, ["b.tsv:2", "UTF-8"]),
    "damaged gzip": ("bitext", lambda f: write(f / "b.tsv.gz", gzip.compress(b"a\tb\n" * 99)[:-9]), ["b.tsv.gz"]),
    "a side empty everywhere": (
        "bitext", lambda f: write(f / "b.tsv", "one\t\ntwo\t \n"), ["empty everywhere", "b.tsv"],
    ),
    "Moses files of different length": ("bitext", moses, ["c.en", "c.sw", "3", "2"]),
    "wrong column count": (
        "bitext", lambda f: write(f / "b.tsv", "a\tb\tc\nd\te\tf\n"), ["b.tsv:1", "two columns", "cut"],
    ),
    "fewer pairs than a batch": (
        "bitext", lambda f: write(f / "b.tsv", "a cat\tpaka mmoja\nthe dog\tmbwa huyo\n"),
        ["2 sentence pairs", "batch_size"],
    ),
    "qrels that name no known document": ("collection", other_collection, ["unknown", "d1", "other"]),
    "missing collection": ("collection", lambda f: str(f / "none"), ["No such collection", "none"]),
    "a language with no bitext": ("lang", lambda f: "zz", ["'zz'", "BITEXT", "make data LANG=zz"]),
    "a teacher that is a decoder": ("teacher", gpt, ["GPT2LMHeadModel", "not an encoder"]),
    "a teacher folder without a model": ("teacher", empty, ["no config.json", "empty"]),
    "a teacher that is not there": ("teacher", lambda f: str(f / "no" / "such" / "model"), ["no/such/model"]),
    "a teacher with a damaged config": ("teacher", damaged, ["config.json", "not JSON"]),
    "an unknown recipe key": ("set", lambda f: "training.stepps=3", ["training.stepps", "mean training.steps?"]),
    "a wrong type": ("set", lambda f: "training.steps=many", ["training.steps", "many"]),
    "a split that is not there": ("set", lambda f: "search.split=dve", ["'dve'", "dev, test"]),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_bad_input_gets_one_message_and_leaves_an_earlier_run_as_it_was(what, command, finished, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where there is no sample
    option, make, says = BAD[what]
    instead = {option: make(tmp_path)}
    if option == "lang":
        arguments = ["distill", "--lang", instead["lang"], "--teacher", finished.teacher, "--out", finished.out]
    elif option == "set":
        arguments = [*asked_for(finished), "--set", instead["set"]]
    else:
        arguments = asked_for(finished, **instead)
    before = snapshot(finished.folder)
    code, _, err = command(*arguments)
    assert code == 1
    assert err.startswith("error: ")
    assert "Traceback" not in err
    assert len(err.strip().splitlines()) == 1, err
    assert [part for part in says if part not in err] == []
    assert snapshot(finished.folder) == before


def test_an_unknown_key_of_a_recipe_file_names_the_line(command, tmp_path):
    path = write(tmp_path / "r.toml", 'lang = "sw"\n[objective]\nepsilom = 0.1\n')
    code, _, err = command("distill", "--recipe", path)
    assert code == 1
    assert f"{path}:3: unknown option objective.epsilom; did you mean objective.epsilon?" in err


def test_a_setting_without_a_value(command):
    code, _, err = command("distill", "--lang", "sw", "--set", "training.steps")
    assert code == 2
    assert "NAME=VALUE" in err


@pytest.mark.parametrize("verb", ["search", "evaluate", "index", "export"])
def test_a_folder_that_is_no_run(command, tmp_path, verb):
    code, _, err = command(verb, tmp_path / "none", *(["swali"] if verb == "search" else []))
    assert code == 1
    assert str(tmp_path / "none") in err
    assert "Traceback" not in err


@pytest.mark.parametrize("verb", ["search", "evaluate", "export"])
def test_a_run_without_a_student(command, finished, tmp_path, verb):
    write(tmp_path / "recipe.toml", (finished.folder / "recipe.toml").read_text())
    code, _, err = command(verb, tmp_path, *(["swali"] if verb == "search" else []))
    assert code == 1
    assert str(tmp_path / "student") in err


def test_a_student_of_other_dimension_is_refused_in_one_message(command, finished, tmp_path):
    from tests.conftest import bert

    bert(tmp_path / "made", dim=16).save(str(tmp_path / "narrow"))
    before = snapshot(finished.folder)
    code, _, err = command("evaluate", finished.out, "--student", tmp_path / "narrow")
    assert code == 1
    assert "error: " in err
    assert snapshot(finished.folder) == before


def test_a_default_teacher_with_the_wrong_checksum_is_refused(command, finished, monkeypatch):
    monkeypatch.setattr(encoders, "DEFAULT_TEACHER_SHA256", "0" * 64)
    before = snapshot(finished.folder)
    code, _, err = command(*asked_for(finished, teacher="all-MiniLM-L6-v2"))
    assert code == 1
    assert "sha256" in err
    assert "0" * 64 in err
    assert "model.safetensors" in err
    assert snapshot(finished.folder) == before


def disk_full(kind: str):
    """What the libraries raise on a full disk: each its own."""
    from safetensors import SafetensorError

    return {
        "python": OSError(errno.ENOSPC, "No space left on device", "runs/sw"),
        "numpy": OSError("1024 requested and 0 written"),
        "safetensors": SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
        "torch": RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 576 vs 534"),
        "tokenizers": Exception("No space left on device (os error 28)"),
    }[kind]


@pytest.mark.parametrize("kind", ["python", "numpy", "safetensors", "torch", "tokenizers"])
def test_a_full_disk_while_the_student_is_saved(kind, command, finished, monkeypatch):
    from sentence_transformers import SentenceTransformer

    def save(self, path, *args, **kwargs):
        (Path(path) / "half").write_text("half of a model")
        raise disk_full(kind)

    monkeypatch.setattr(SentenceTransformer, "save", save)
    before = snapshot(finished.folder)
    # Without steps the trainer does not come in between, which saves checkpoints by the same method.
    code, _, err = command(*asked_for(finished), "--set", "training.steps=0")
    assert code == 1
    assert "space" in err
    assert "Traceback" not in err
    assert len(err.strip().splitlines()) == 1
    assert snapshot(finished.folder) == before


def test_a_full_disk_while_teacher_vectors_are_written(command, finished, tmp_path, monkeypatch):
    from optical.embeddings import cache

    def write_all(folder, *_):
        (folder / "tokens.npy").write_bytes(b"half")
        raise disk_full("python")

    monkeypatch.setattr(cache, "_write_all", write_all)
    before = snapshot(finished.folder)
    code, _, err = command(*asked_for(finished, set=f"cache={tmp_path / 'cache'}"))
    assert code == 1
    assert "No space left" in err
    assert snapshot(finished.folder) == before
    assert [file for file in snapshot(tmp_path / "cache") if not file.startswith("documents-")] == []


def test_a_full_disk_while_a_run_is_written(command, finished, monkeypatch):
    def write_run(*_):
        raise disk_full("python")

    monkeypatch.setattr(evaluate, "write_run", write_run)
    before = snapshot(finished.folder)
    assert command("evaluate", finished.out)[0] == 1
    assert snapshot(finished.folder) == before


def test_ctrl_c_outside_training_says_stopped(command, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(distill, "read_inputs", interrupted)
    code, _, err = command("distill", "--lang", "sw")
    assert code == 130
    assert "stopped" in err


def test_a_bug_shows_its_trace(command, monkeypatch):
    def bug(*_):
        raise ZeroDivisionError

    monkeypatch.setattr(distill, "read_inputs", bug)
    with pytest.raises(ZeroDivisionError):
        command("distill", "--lang", "sw")
