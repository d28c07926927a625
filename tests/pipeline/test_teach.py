"""A course: a tiny encoder learns which passage answers which question, and its folder is a teacher like any other."""

from __future__ import annotations

import json
import sys

import pytest
import torch

import optical
from optical import cli
from optical.config.teaching import Teaching
from optical.config.toml import load_options
from optical.errors import DataError, RecipeError
from optical.marker import MARKER
from optical.models import encoders
from optical.models.load import load_encoder
from optical.pipeline import teach
from optical.training import teacher
from tests.conftest import bert

ANIMALS = [
    "dog", "cat", "cow", "goat", "hen", "duck", "fox", "lion", "bear", "wolf", "frog", "crow", "bee", "ant", "owl",
    "rat", "pig", "ram", "ewe", "bat",
]  # fmt: skip
FOODS = ["rice", "fish", "milk", "corn", "bread", "meat", "grass", "leaves", "seeds", "fruit"]
PLACES = ["barn", "river", "forest", "market", "garden"]
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
    wordy(folder / "bert").save(str(folder / "start"))
    return folder


def wordy(folder, text: str = WORDS):
    """A random encoder whose tokens are above all their own words: small residual branches, faint positions."""
    encoder = bert(folder, text=text)
    with torch.no_grad():
        for name, weight in encoder.named_parameters():
            if "output.dense" in name or "position_embeddings" in name:
                weight.mul_(0.1)
    return encoder


def options(world, out, **changes) -> Teaching:
    named = {
        "collection": str(world / "collection"), "teacher": str(world / "start"), "out": str(out), "device": "cpu",
        "cache": str(world / "cache"), "steps": 30, "batch_size": 6, "learning_rate": 5e-3, "held_out": 8,
        "held_out_documents": 12, "evaluate_every": 20, "precision": "float32",
    }  # fmt: skip
    return load_options(Teaching, None, {**named, **changes})


@pytest.fixture(scope="module")
def finished(world, tmp_path_factory):
    """Two courses without held-out queries, measured on what they learnt: single vectors and projected tokens."""
    found = {}
    for late in (False, True):
        chosen = options(
            world, tmp_path_factory.mktemp("out") / "run", late_interaction=late, dimension=16,
            temperature=0.5 if late else 0.1, held_out=0, test=str(world / "collection"),
        )  # fmt: skip
        found[late] = (chosen, teach.teach_run(chosen, progress=False))
    return found


@pytest.mark.parametrize("late", [False, True])
def test_the_taught_encoder_beats_its_start(finished, late):
    _, (outcome,) = finished[late]
    systems = [teach.START, *[teach.PROJECTED] * late, teach.TAUGHT]
    assert list(outcome.scores) == systems
    ap = [scores.mean["AP"] for scores in outcome.scores.values()]
    assert ap[-1] > ap[-2] + 0.1  # than what training began with: the start, or its projection
    test = outcome.tests()[f"{teach.TAUGHT} - {systems[-2]}"]
    assert test.p_value < 0.05
    assert test.win > test.loss


@pytest.mark.parametrize("late", [False, True])
def test_the_folder_says_what_it_was_made_of(finished, world, late):
    chosen, (outcome,) = finished[late]
    assert load_options(Teaching, chosen.folder / "recipe.toml") == chosen
    manifest = json.loads((chosen.folder / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["teacher"] == str(world / "start")
    assert manifest["pairs"] == len(ANIMALS) * 2 + 2
    assert manifest["collection"]["name"] == outcome.title.split(",")[0]
    (folder,) = (chosen.folder / "evaluation").iterdir()
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    assert results["fingerprint"] == manifest["fingerprint"]
    table = (folder / "table.md").read_text(encoding="utf-8")
    assert f"| {teach.TAUGHT} | {outcome.scores[teach.TAUGHT].mean['AP']:.4f} |" in table
    assert f"{teach.TAUGHT} - {list(outcome.scores)[-2]}: MAP +" in table
    assert {path.name for path in folder.glob("*.trec")} >= {"start.trec", "taught.trec"}
    assert sorted(path.name for path in chosen.folder.iterdir()) == [
        MARKER, "evaluation", "manifest.json", "recipe.toml", "teacher", "training.json",
    ]  # fmt: skip


def test_the_saved_encoder_is_an_ordinary_one_of_the_projected_dimension(finished):
    from sentence_transformers import MultiVectorEncoder, SentenceTransformer

    chosen, _ = finished[True]
    read = load_encoder(chosen.folder / "teacher", "cpu")
    alone = MultiVectorEncoder(str(chosen.folder / "teacher"), device="cpu")
    for each in (read, alone):
        assert encoders.encode_tokens(each, ["the dog"], query=True)[0].shape == (4, 16)
    assert read.max_seq_length == SentenceTransformer(str(chosen.teacher), device="cpu").max_seq_length
    assert isinstance(load_encoder(finished[False][0].folder / "teacher", "cpu"), SentenceTransformer)


def test_a_late_interaction_teacher_has_students(finished, tmp_path):
    """The chain from a taught folder: transplant, projected tokens as targets, a student that moves to them."""
    from optical.config.objective import Objective
    from optical.config.recipe import StudentOptions
    from optical.config.training import Training
    from optical.data.bitext import Pair
    from optical.training.distillation import train_student
    from optical.training.mixture import Mixture
    from optical.training.trainer import Workspace
    from optical.vocabulary.transplant import transplant

    teacher = load_encoder(finished[True][0].folder / "teacher", "cpu")
    bitext = [Pair(f"the {animal} eats {food}", f"k{animal} s{food}") for animal in ANIMALS for food in FOODS[:3]]
    student = transplant(teacher, bitext).student
    assert encoders.encode_batch(student, student.preprocess(["kdog srice"])).tokens.vectors.shape[-1] == 16
    training = Training(steps=15, batch_size=8, averaging=False, precision="float32", learning_rate=1e-3)
    options = StudentOptions(objective=Objective(scores=0.0), training=training)
    workspace = Workspace(tmp_path / "run", tmp_path / "cache", progress=False)
    told = train_student(student, teacher, Mixture(bitext, None, {}), options, workspace)
    losses = [entry["loss"] for entry in told.history if "loss" in entry]
    assert losses[-1] < 0.9 * losses[0]
    assert encoders.encode_tokens(told.encoder, ["kdog"], query=True)[0].shape[1] == 16


def test_held_out_queries_choose_and_are_reported(world, tmp_path):
    said = []
    chosen = options(world, tmp_path / "run", steps=4, evaluate_every=2, late_interaction=True, dimension=8)
    (outcome,) = teach.teach_run(chosen, said.append, progress=False)
    assert "held out" in outcome.title
    facts = json.loads((tmp_path / "run" / "manifest.json").read_text(encoding="utf-8"))["development"]
    assert facts["best"] >= facts["start"]
    assert outcome.scores[teach.TAUGHT].mean["AP"] == pytest.approx(facts["best"], abs=1e-6)
    assert any("pairs to learn from" in line for line in said)


def test_a_late_interaction_start_keeps_its_own_tokens(world, tmp_path, finished):
    start = finished[True][0].folder / "teacher"
    chosen = options(
        world, tmp_path / "run", teacher=str(start), steps=2, late_interaction=True, dimension=8, held_out=0
    )
    assert teach.teach_run(chosen, progress=False) == []
    taught = load_encoder(tmp_path / "run" / "teacher", "cpu")
    assert encoders.encode_tokens(taught, ["the dog"], query=True)[0].shape[1] == 16


def test_a_late_interaction_start_asked_for_sentence_vectors_is_one_message(world, tmp_path, finished):
    chosen = options(world, tmp_path / "run", teacher=str(finished[True][0].folder / "teacher"))
    with pytest.raises(RecipeError, match="is a late-interaction encoder; .* set late_interaction = true"):
        teach.teach_run(chosen, progress=False)


def test_training_reads_max_tokens_and_the_saved_encoder_what_the_start_read(world, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(teacher, "train", lambda task, *_, **__: (seen.append(task.encoder.max_seq_length), 1 / 0))
    with pytest.raises(ZeroDivisionError):
        teach.teach_run(options(world, tmp_path / "a", max_tokens=10), progress=False)
    with pytest.raises(ZeroDivisionError):
        teach.teach_run(options(world, tmp_path / "a", max_tokens=1000), progress=False)
    assert seen == [10, 64]


@pytest.mark.parametrize(
    ("missing", "says"),
    [("qrels.tsv", "no judgements in"), ("queries.en.tsv", "no queries in en"), ("docs.jsonl", "no documents in")],
)
def test_a_collection_without_a_part_is_one_message(world, tmp_path, missing, says):
    folder = write_collection(tmp_path / "collection")
    (folder / missing).unlink()
    with pytest.raises(DataError, match=says):
        teach.teach_run(options(world, tmp_path / "run", collection=str(folder)), progress=False)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("place", ["collection", "test"])
def test_documents_in_another_language_are_one_message_before_anything_is_loaded(world, tmp_path, monkeypatch, place):
    folder = write_collection(tmp_path / "foreign")
    (folder / "docs.jsonl").rename(folder / "docs.sw.jsonl")
    monkeypatch.setattr("optical.models.load._read_config", lambda *_: pytest.fail("the encoder was loaded"))
    with pytest.raises(DataError, match="^the documents of .*foreign are in sw, and here they have to be English: .*"
                       r"whose documents are English \(docs.jsonl\), or .*`optical distill --lang sw`$"):  # fmt: skip
        teach.teach_run(options(world, tmp_path / "run", **{place: str(folder)}), progress=False)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--set", "stepz=3"], "unknown option stepz; did you mean steps?"),
        (["--set", "margin=1"], "margin = 1: Input should be less than 1"),
        (["--set", "batch_size=500"], "do not make one batch of 500 whose passages are all different"),
        (["--set", "dimension=64", "--set", "late_interaction=true"], "got dimension = 64 for vectors of 32"),
        (["--set", "split=train"], "has no judgements called 'train'; it has: test"),
        (["--collection", "nowhere"], "no such collection: nowhere"),
        (["--teacher", "./nowhere"], "no such model folder"),
    ],
)
def test_every_bad_input_is_one_message(world, tmp_path, monkeypatch, capsys, arguments, says):
    base = ["optical", "teach", "--collection", str(world / "collection"), "--teacher", str(world / "start")]
    base += ["--out", str(tmp_path / "run"), "--set", f"cache={world / 'cache'}", "--set", "device=cpu"]
    monkeypatch.setattr(sys, "argv", [*base, *arguments])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 1
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    assert len(errors) == 1
    assert says in errors[0]


def test_no_collection_is_said_with_the_name_of_the_option(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["optical", "teach"])
    with pytest.raises(SystemExit):
        cli.main()
    assert "collection is missing" in capsys.readouterr().err


ROWS = [
    (f"what does the {a} eat", f"the {a} eats {FOODS[k % 10]}", f"the {ANIMALS[k - 7]} eats")
    for k, a in enumerate(ANIMALS)
]


@pytest.mark.parametrize("late", [False, True])
def test_the_python_api_teaches_from_rows_and_leaves_the_start_as_it_was(world, tmp_path, late):
    start = load_encoder(world / "start")
    before = encoders.fingerprint(start)
    options = {"steps": 4, "batch_size": 4, "learning_rate": 1e-2, "max_tokens": 8, "precision": "float32"}
    taught = optical.teach(
        start, rows=iter(ROWS), late_interaction=late, dimension=8, folder=tmp_path / "taught", options=options,
        progress=False,
    )  # fmt: skip
    assert encoders.fingerprint(start) == before
    assert encoders.is_multi_vector(taught) == late
    assert taught.max_seq_length == start.max_seq_length  # max_tokens holds while training
    again = load_encoder(tmp_path / "taught")
    assert encoders.fingerprint(again) == encoders.fingerprint(taught) != before
    if late:
        assert encoders.encode_tokens(again, ["a dog"], query=True)[0].shape[1] == 8


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([], "no row to learn from"),
        ([("q", "p", "n"), ("q", "p")], r"row 2 is .*as the first row has \(1\)"),
        (["query"], "row 1"),
        ([("q", None)], "row 1"),
    ],
)
def test_rows_that_are_no_table_are_one_message(world, rows, says):
    with pytest.raises(DataError, match=says):
        optical.teach(world / "start", rows=rows)


def test_the_python_api_names_a_wrong_option(world):
    with pytest.raises(RecipeError, match="steps"):
        optical.teach(world / "start", rows=ROWS, options={"stepz": 3})


def test_a_taught_encoder_keeps_the_prompts_that_it_was_taught_with(world, tmp_path):
    given = {"teacher_prompts": '{query = "who ", document = "in "}', "steps": 1, "batch_size": 4, "held_out": 2}
    given |= {"collection": str(world / "collection"), "teacher": str(world / "start"), "device": "cpu"}
    given |= {"out": str(tmp_path / "run"), "cache": str(tmp_path / "cache")}
    options = load_options(Teaching, None, given)
    teach.teach_run(options, progress=False)
    assert load_encoder(tmp_path / "run" / "teacher", "cpu").prompts == {"query": "who ", "document": "in "}
    assert load_options(Teaching, tmp_path / "run" / "recipe.toml") == options
