"""Damage to a run: each kind ends in an error that names the file and says what to do, or changes no answer."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

import optical
from optical.config.probe import Probe
from optical.config.recipe import load_recipe
from optical.errors import OpticalError
from optical.pipeline import answer
from optical.pipeline.align import align_run
from optical.pipeline.bitext import reader_of
from optical.pipeline.embed import load_teacher
from optical.pipeline.evaluate import compare_with, evaluate_run
from optical.pipeline.export import export_router
from optical.pipeline.html_report import report_runs
from optical.pipeline.hub import contents
from optical.pipeline.index import index_run
from optical.pipeline.perturb import perturb_run
from optical.pipeline.probe_systems import systems_of
from optical.pipeline.run_folder import MEASURED, REPORTED, SEARCHED, check_read, kept
from optical.pipeline.verify import MANIFEST, note_files, read_manifest, sealed, verify_run
from tests.chain import OWN, PAIRS

QUESTION = "Nani anatoa maziwa?"
RESULTS = f"evaluation/{OWN}/results.json"


class Damage(NamedTuple):
    """What is done to a file of a run, and what has to be said of it.

    Attributes:
        file: Relative to the run.
        harm: Changes it.
        read: Parts that the verb reads: by search, evaluate or report.
        says: The remedy.
    """

    file: str
    harm: Callable[[Path], object]
    read: tuple[str, ...] = tuple(SEARCHED)
    says: str = "run the same `optical distill` again, or copy the folder again"


def cut(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def emptied(file: Path) -> None:
    file.write_bytes(b"")


def flipped(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 0x40
    file.write_bytes(data)


def zeroed(file: Path) -> None:
    file.write_bytes(bytes(file.stat().st_size))


def grown(file: Path) -> None:
    with file.open("ab") as end:
        end.write(b"\n")


def replaced(before: str, after: str) -> Callable[[Path], object]:
    """A word for another; the size may stay."""

    def harm(file: Path) -> None:
        text = file.read_text(encoding="utf-8")
        assert before in text
        file.write_text(text.replace(before, after), encoding="utf-8")

    return harm


def reversed_lines(file: Path) -> None:
    file.write_text("".join(reversed(file.read_text(encoding="utf-8").splitlines(keepends=True))), encoding="utf-8")


def reversed_vectors(file: Path) -> None:
    """The rows of a flat index of faiss, in the other order."""
    import faiss

    index = faiss.read_index(str(file))
    rows = index.reconstruct_n(0, index.ntotal)[::-1].copy()
    index.reset()
    index.add(rows)
    faiss.write_index(index, str(file))


def changed_json(**values: object) -> Callable[[Path], object]:
    def harm(file: Path) -> None:
        file.write_text(json.dumps(json.loads(file.read_text(encoding="utf-8")) | values), encoding="utf-8")

    return harm


def resealed(files: object) -> Callable[[Path], object]:
    """Other files in a manifest, whose own checksum is right again."""

    def harm(file: Path) -> None:
        made = json.loads(file.read_text(encoding="utf-8")) | {"files": files}
        file.write_text(sealed({name: one for name, one in made.items() if name != "checksum"}))

    return harm


def a_pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def gone(file: Path) -> None:
    file.unlink()


def a_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


INDEX, EVALUATE, REPORT = "run `optical index", "run `optical evaluate", "run `optical report"
NOTE = {"bytes": 0, "sha256": "0" * 64, "mtime_ns": 0}
WEIGHTS, POOLING = "student/model.safetensors", "student/1_Pooling/config.json"
TRANSPLANT, RECIPE = "transplant/model.safetensors", "put it back, or give what is changed by --set"
DAMAGES = {
    "weights cut": Damage(WEIGHTS, cut),
    "weights with a bit flipped": Damage(WEIGHTS, flipped),
    "weights zeroed": Damage(WEIGHTS, zeroed),
    "weights grown": Damage(WEIGHTS, grown),
    "weights gone": Damage(WEIGHTS, gone),
    "weights a folder": Damage(WEIGHTS, a_folder),
    "modules gone": Damage("student/modules.json", gone),
    "modules empty": Damage("student/modules.json", emptied),
    "pooling edited": Damage(POOLING, replaced("mean", "cls ")),
    "pooling gone": Damage(POOLING, gone),
    "config cut": Damage("student/config.json", cut),
    "tokenizer cut": Damage("student/tokenizer.json", cut),
    "tokenizer with a bit flipped": Damage("student/tokenizer.json", flipped),
    "tokenizer config gone": Damage("student/tokenizer_config.json", gone),
    "prompts edited": Damage("student/config_sentence_transformers.json", grown),
    "index ids reversed": Damage("index/docid", reversed_lines, says=INDEX),
    "index rows reversed": Damage("index/index", reversed_vectors, says=INDEX),
    "index with a bit flipped": Damage("index/index", flipped, says=INDEX),
    "index cut": Damage("index/index", cut, says=INDEX),
    "index gone": Damage("index/index", gone, says=INDEX),
    "index ids cut": Damage("index/docid", cut, says=INDEX),
    "index of another teacher": Damage("index/optical.json", changed_json(teacher_fingerprint="0" * 16), says=INDEX),
    "index of fewer documents": Damage("index/optical.json", changed_json(count=3), says=INDEX),
    "index manifest cut": Damage("index/optical.json", cut, says=INDEX),
    "manifest cut": Damage(MANIFEST, cut),
    "manifest empty": Damage(MANIFEST, emptied),
    "manifest gone": Damage(MANIFEST, gone),
    "manifest a list": Damage(MANIFEST, lambda file: file.write_text("[]")),
    "manifest nested beyond reading": Damage(MANIFEST, lambda file: file.write_text("[" * 100_000)),
    "another teacher in the manifest": Damage(MANIFEST, changed_json(teacher_fingerprint="0" * 16)),
    "another seed in the manifest": Damage(MANIFEST, changed_json(seed=1)),
    "manifest without checksums": Damage(MANIFEST, changed_json(files={})),
    "manifest with a bit flipped": Damage(MANIFEST, flipped),
    "files of a stranger that are a list": Damage(MANIFEST, resealed([])),
    "files of a stranger without notes": Damage(MANIFEST, resealed({WEIGHTS: 3})),
    "files of a stranger with notes of nothing": Damage(MANIFEST, resealed({WEIGHTS: {"bytes": None}})),
    "files of a stranger elsewhere": Damage(MANIFEST, resealed({"student/../../x": NOTE})),
    "a pipe for modules": Damage("student/modules.json", a_pipe),
    "recipe cut": Damage("recipe.toml", cut, says=RECIPE),
    "recipe empty": Damage("recipe.toml", emptied, says=RECIPE),
    "recipe with another seed": Damage("recipe.toml", replaced("seed = 0", "seed = 1"), says=RECIPE),
    "bank cut": Damage("bank.tsv", cut),
    "lexicon cut": Damage("lexicon-sw.tsv", cut, tuple(MEASURED)),
    "lexicon gone": Damage("lexicon-sw.tsv", gone, tuple(MEASURED)),
    "translations with a bit flipped": Damage("psq-sw.tsv", flipped, tuple(MEASURED)),
    "transplant with a bit flipped": Damage(TRANSPLANT, flipped, tuple(MEASURED)),
    "transplant gone": Damage(TRANSPLANT, gone, tuple(MEASURED)),
    "results cut": Damage(RESULTS, cut, tuple(REPORTED), EVALUATE),
    "results edited": Damage(RESULTS, replaced("0.", "1."), tuple(REPORTED), EVALUATE),
    "results gone": Damage(RESULTS, gone, tuple(REPORTED), EVALUATE),
    "rankings reversed": Damage(f"evaluation/{OWN}/student.trec", reversed_lines, tuple(REPORTED), EVALUATE),
    "table cut": Damage(f"evaluation/{OWN}/table.md", cut, tuple(REPORTED), EVALUATE),
    "history cut": Damage("training.json", cut, tuple(REPORTED)),
    "plans cut": Damage("plans.json", cut, tuple(REPORTED)),
}


@pytest.fixture(scope="module")
def folder(run, tmp_path_factory):
    """A copy of the finished run, whose files have other times."""
    folder = tmp_path_factory.mktemp("damage") / "run"
    shutil.copytree(run[0].folder, folder, copy_function=shutil.copy)
    kept(folder, *MEASURED, *REPORTED)
    return folder


@pytest.fixture
def file_of(folder):
    """Gives a file of the run, which is put back after the test."""
    saved = {}

    def give(name: str) -> Path:
        saved[name] = ((folder / name).read_bytes(), (folder / name).stat().st_mtime_ns)
        return folder / name

    yield give
    for name, (data, time) in saved.items():
        if (folder / name).is_dir():
            (folder / name).rmdir()
        elif not (folder / name).is_file():
            (folder / name).unlink(missing_ok=True)
        (folder / name).write_bytes(data)
        os.utime(folder / name, ns=(time, time))


def test_there_are_as_many_kinds_as_are_promised():
    assert len(DAMAGES) >= 30


@pytest.mark.parametrize("name", DAMAGES)
def test_it_ends_in_an_error_that_names_the_file_and_says_what_to_do(file_of, folder, name):
    damage = DAMAGES[name]
    file = file_of(damage.file)
    damage.harm(file)
    with pytest.raises(OpticalError) as error:
        kept(folder, *damage.read)
    assert str(file) in str(error.value)
    assert damage.says in str(error.value)


@pytest.mark.parametrize("name", ["weights with a bit flipped", "index ids reversed", "results edited"])
def test_a_time_that_was_set_back_hides_nothing_from_verify(file_of, folder, name):
    file = file_of(DAMAGES[name].file)
    time, size = file.stat().st_mtime_ns, file.stat().st_size
    DAMAGES[name].harm(file)
    os.utime(file, ns=(time, time))
    assert file.stat().st_size == size
    kept(folder, *SEARCHED, *REPORTED)
    files, damages = verify_run(folder)
    assert files > 30
    assert [damage.path for damage in damages] == [file]
    assert "checksum" in damages[0].problem


def test_a_whole_run_is_whole_wherever_it_is_copied_to(folder, file_of):
    files, damages = verify_run(folder)
    assert damages == []
    noted = set(read_manifest(folder)["files"])
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert there - noted == {name for name in there if name.endswith(".optical.json")} | {MANIFEST}
    assert files == len(noted) + 1
    time = (folder / WEIGHTS).stat().st_mtime_ns
    os.utime(folder / WEIGHTS)
    kept(folder)
    assert (folder / WEIGHTS).stat().st_mtime_ns == time, "its checksum would be taken every time"


def test_an_export_of_an_earlier_student_is_told(folder):
    (folder / "onnx").mkdir()
    (folder / "onnx" / "model.onnx").write_text("of the student before")
    (damage,) = verify_run(folder)[1]
    shutil.rmtree(folder / "onnx")
    assert str(damage) == f"{folder / 'onnx'} is of an earlier student; run `optical export {folder}`"


def test_a_card_is_its_owners_to_edit(folder, file_of):
    file = file_of("student/README.md")
    file.write_text("My own words.")
    kept(folder, *SEARCHED)
    assert verify_run(folder)[1] == []
    file.unlink()
    assert [damage.path for damage in verify_run(folder)[1]] == [file]


@pytest.mark.parametrize("name", ["report.html", "student/README.md", f"evaluation/{OWN}/table.md", "plans.json"])
def test_what_no_answer_is_made_of_harms_none(folder, file_of, run, name):
    recipe = run[0].model_copy(update={"out": str(folder)})
    expected = answer.answer(answer.load_run(recipe), QUESTION, 3)
    zeroed(file_of(name))
    kept(folder, *SEARCHED)
    found = answer.answer(answer.load_run(recipe), QUESTION, 3)
    assert [(hit.doc.id, hit.score) for hit in found] == [(hit.doc.id, hit.score) for hit in expected]


JOBS = {  # what is called from Python -> the damage that it has to tell
    "evaluate": (lambda recipe: evaluate_run(recipe), ["weights with a bit flipped", "index cut", "lexicon cut"]),
    "evaluate another": (
        lambda r: evaluate_run(r, r.home / "student"), ["weights with a bit flipped", "manifest gone"]
    ),
    "perturb": (lambda recipe: perturb_run(recipe, ["case"]), ["weights cut", "transplant with a bit flipped"]),
    "compare": (lambda recipe: compare_with(recipe, [], print), ["rankings reversed", "manifest gone"]),
    "index": (lambda recipe: index_run(recipe), ["pooling edited", "bank cut", "manifest gone", "manifest cut"]),
    "search": (
        answer.load_run,
        ["weights with a bit flipped", "index ids reversed", "index of another teacher", "manifest gone"],
    ),
    "align": (
        lambda recipe: align_run(recipe, "maji", "water"),
        ["weights zeroed", "transplant with a bit flipped", "manifest gone"],
    ),
    "report": (lambda r: report_runs([r], r.home / "page.html"), ["results edited", "plans cut", "manifest gone"]),
    "export": (export_router, ["weights with a bit flipped", "manifest gone"]),
    "send": (lambda recipe: contents(recipe, "me/sw"), ["weights with a bit flipped", "results edited"]),
    "load": (lambda r: optical.load(r.home), ["weights with a bit flipped", "manifest gone"]),
    "load the student": (
        lambda r: optical.load_student(r.home / "student"),
        ["weights with a bit flipped", "manifest gone", "manifest empty"],
    ),
    "take it for a teacher": (
        lambda r: load_teacher(r.model_copy(update={"teacher": str(r.home / "student")})),
        ["tokenizer cut", "manifest gone"],
    ),
    "distill from it": (
        lambda r: optical.distill(r.home / "student", bitext=PAIRS), ["weights cut", "manifest gone"]
    ),
    "distill it on": (
        lambda r: optical.distill(r.teacher, bitext=PAIRS, student=r.home / "student"),
        ["weights with a bit flipped", "manifest gone"],
    ),
    "teach it": (
        lambda r: optical.teach(r.home / "student", rows=[("who?", "a cow")]),
        ["weights with a bit flipped", "manifest gone"],
    ),
    "probe it": (
        lambda r: systems_of(str(r.home / "student"), Probe(task="xnli", test="sw")),
        ["pooling edited", "manifest gone"],
    ),
    "examine bitext by it": (lambda r: reader_of(str(r.home / "student")), ["pooling edited", "manifest gone"]),
}  # fmt: skip


@pytest.mark.parametrize(("job", "name"), [(job, name) for job, (_, names) in JOBS.items() for name in names])
def test_python_functions_tell_it_as_the_command_line_does(file_of, folder, job, name):
    damage = DAMAGES[name]
    file = file_of(damage.file)
    damage.harm(file)
    before = {*folder.rglob("*")}
    with pytest.raises(OpticalError) as error:
        JOBS[job][0](load_recipe(folder / "recipe.toml", {"out": str(folder)}))
    assert str(file) in str(error.value)
    assert damage.says in str(error.value)
    assert {*folder.rglob("*")} == before


def test_a_student_that_was_put_there_by_hand_is_read_as_it_is(folder, tmp_path):
    """A plain folder of sentence-transformers, and one that a copy of a student is in, beside anything."""
    for place in (tmp_path, tmp_path / "deep"):
        shutil.copytree(folder / "student", place / "student")
        (place / "manifest.json").write_text("{}")
    (tmp_path / "deep" / "recipe.toml").write_text("")
    (tmp_path / "deep" / "evaluation").mkdir()
    for place in (tmp_path, tmp_path / "deep"):
        assert optical.load_student(place / "student").encode("maji").shape == (32,)
        recipe = load_recipe(folder / "recipe.toml", {"teacher": str(place / "student")})
        assert load_teacher(recipe) is not None
    check_read(recipe.model_copy(update={"out": str(tmp_path / "none")}))


@pytest.mark.parametrize(("name", "harm"), [
    ("plans.json", lambda value: [{}]),
    ("plans.json", lambda value: [{**value[0], "plans": {"before training": None}}]),
    ("manifest.json", lambda value: {**value, "packages": None}), ("training.json", lambda value: {"history": 3}),
    (RESULTS, lambda value: {**value, "systems": {"student": 3}}),
    (RESULTS, lambda value: {**value, "systems": {name: {**one, "per_query": {**one["per_query"], "AP": {}}}
                                                  for name, one in value["systems"].items()}}),
])  # fmt: skip
def test_a_page_of_a_strangers_run_is_written_or_refused(folder, file_of, name, harm):
    """Its checksums are right, and its files hold something else."""
    file, manifest = file_of(name), file_of(MANIFEST)
    value = harm(json.loads(file.read_text()))
    file.write_text(sealed({**value}) if file == manifest else json.dumps(value))
    note_files(folder, [name])
    with pytest.raises(OpticalError, match="a file of the run is not as it was written"):
        report_runs([load_recipe(folder / "recipe.toml", {"out": str(folder)})], folder / "page.html")
    assert not (folder / "page.html").exists()


def test_results_of_another_student_are_refused(folder, file_of):
    changed_json(fingerprint="0" * 16)(file_of(RESULTS))
    file_of(MANIFEST)
    note_files(folder, [RESULTS])  # as if they had been written with the others
    with pytest.raises(OpticalError, match=r"results\.json is of another student.*optical evaluate"):
        report_runs([load_recipe(folder / "recipe.toml").model_copy(update={"out": str(folder)})], folder / "page.html")


def test_the_manifest_says_how_a_run_was_made_and_results_repeat_its_fingerprint(folder):
    made = read_manifest(folder)
    assert made["threads"] == 1
    assert made["processor"]
    assert json.loads((folder / RESULTS).read_text())["fingerprint"] == made["fingerprint"]
    assert np.all([set(note) == {"bytes", "sha256", "mtime_ns"} for note in made["files"].values()])
