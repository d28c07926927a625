"""A course: a tiny encoder learns which passage answers which question, and its folder is a teacher like any other."""

from __future__ import annotations

import json

import pytest
import torch

from optical import course, encoders
from optical.recipe import load_options
from optical.syllabus import Teaching
from tests.conftest import bert

ANIMALS = "dog cat cow goat hen duck fox lion bear wolf frog crow bee ant owl rat pig ram ewe bat".split()
FOODS = "rice fish milk corn bread meat grass leaves seeds fruit".split()
PLACES = "barn river forest market garden".split()
WORDS = " ".join(["what does the eat ? where lives near a and in . who is it", *ANIMALS, *FOODS, *PLACES])


def write_collection(folder, *, questions: int = 2, animals=ANIMALS):
    """One passage an animal, several questions a passage, one question with two passages, one document judged 0."""
    folder.mkdir(parents=True)
    docs, queries, qrels = [], [], []
    for k, animal in enumerate(animals):
        text = f"the {animal} lives near the {PLACES[k % 5]} . it eats {FOODS[k % 10]} and {FOODS[(3 * k + 1) % 10]}"
        docs.append({"id": f"d{k}", "title": "", "text": text})
        asked = [f"what does the {animal} eat ?", f"where lives the {animal} ?", f"who is the {animal}"][:questions]
        for j, query in enumerate(asked):
            queries.append(f"q{k}-{j}\t{query}")
            qrels.append(f"q{k}-{j}\t0\td{k}\t1")
    queries.append("both\tdog and cat")
    qrels += ["both\t0\td0\t1", "both\t0\td1\t1", f"q0-0\t0\td{len(animals) - 1}\t0"]
    (folder / "docs.jsonl").write_text("\n".join(map(json.dumps, docs)), encoding="utf-8")
    (folder / "queries.en.tsv").write_text("\n".join(queries) + "\n", encoding="utf-8")
    (folder / "qrels.tsv").write_text("\n".join(qrels) + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A folder with a collection and a single-vector encoder that knows its words."""
    folder = tmp_path_factory.mktemp("course")
    write_collection(folder / "collection")
    torch.manual_seed(0)
    bert(folder / "bert", text=WORDS).save(str(folder / "start"))
    return folder


def options(world, out, **changes) -> Teaching:
    named = {
        "collection": str(world / "collection"), "teacher": str(world / "start"), "out": str(out), "device": "cpu",
        "cache": str(world / "cache"), "steps": 40, "batch_size": 6, "learning_rate": 2e-3, "held_out": 8,
        "held_out_documents": 12, "evaluate_every": 20, "precision": "float32",
    }  # fmt: skip
    return load_options(Teaching, None, {**named, **changes})


@pytest.mark.parametrize("late", [False, True])
def test_a_course_beats_its_start(world, tmp_path, late):
    chosen = options(world, tmp_path / "run", late_interaction=late, dimension=16, test=str(world / "collection"))
    outcomes = course.teach(chosen, progress=False)
    for outcome in outcomes:
        print(outcome.title, {n: s.mean["AP"] for n, s in outcome.scores.items()})
