"""Commands that make something, and what they say to bad input: what is wrong, where, and how to mend it."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
from pathlib import Path

import pytest
import torch

from optical.config import threads
from optical.config.recipe import load_recipe
from optical.models.encoders import as_multi_vector, transformer
from optical.pipeline import rerun
from optical.pipeline.run_folder import threads_begun
from optical.vocabulary.tokenizer import wrap
from tests.chain import OWN, unigram
from tests.cli.conftest import asked_for, snapshot, write
from tests.conftest import bert
from tests.runs import tiny_run


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
    assert "is in the way" in err
    assert (finished.folder / "recipe.toml").is_file()


def test_distill_ends_by_naming_the_folder_and_the_next_commands(command, finished, tmp_path):
    code, out, _ = command(*asked_for(finished, out=str(tmp_path / "new")))
    assert code == 0
    flat = " ".join(out.split())
    assert f"The run is in {tmp_path / 'new'}" in flat
    assert f"optical search {tmp_path / 'new'}" in flat
    assert f"optical evaluate {tmp_path / 'new'}" in flat
    assert "teacher as it is" in out
    assert "where seconds went" in flat
    rows = re.findall(r"^ *(\w.*?) +([\d.]+) +([\d.]+) *$", out.partition("where seconds went")[2], re.MULTILINE)
    assert rows[-1][0] == "all"
    assert abs(sum(float(row[1]) for row in rows[:-1]) - float(rows[-1][1])) < 0.1 * len(rows)
    assert load_recipe(tmp_path / "new" / "recipe.toml").training.steps == 2


def test_transplant_says_what_too_few_pairs_do_not_show(command, finished, tmp_path):
    few = tmp_path / "few.tsv"
    few.write_text("".join(Path(finished.bitext).read_text(encoding="utf-8").splitlines(keepends=True)[:10]), "utf-8")
    code, out, _ = command(
        "transplant", "--lang", "sw", "--teacher", finished.teacher, "--bitext", few, "--out", tmp_path / "grown",
        "--lexicon", write(tmp_path / "words.tsv", "the moon\tmwezi\nto drink\tkunywa\n"),
    )  # fmt: skip
    assert code == 0
    assert "tokens per word not measured: too few pairs to hold any out" in " ".join(out.split())
    assert "tokens_per_word_after: not measured" in out
    assert "held_out_words: 0" in out
    assert "words_from_lexicon: " in out


@pytest.mark.usefixtures("with_bfloat16")
def test_transplant_embed_and_index_alone(command, finished, tmp_path):
    common = ["--lang", "sw", "--teacher", finished.teacher, "--set", f"cache={tmp_path / 'cache'}"]
    code, out, _ = command("transplant", *common, "--bitext", finished.bitext, "--out", tmp_path / "grown")
    assert code == 0
    assert "words_added" in out
    assert "english_cosine_mean: " in out
    assert (tmp_path / "grown" / "transplant" / "modules.json").is_file()
    listed = ["--words", write(tmp_path / "words.txt", "majini\nmtotoni\nwatotoni\nzzqx\n")]
    code, out, _ = command("transplant", *common, *listed, "--bitext", finished.bitext, "--out", tmp_path / "grown")
    assert code == 0
    assert "word list: 4 words, " in out
    assert (tmp_path / "grown" / "transplant" / "seen-words.json").is_file()
    code, out, _ = command("embed", *common, "--collection", finished.collection)
    assert code == 0
    assert "12 documents are in" in out
    assert "bfloat16 beside float32" not in out
    assert "not read" not in out
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


def late_encoder(folder: Path) -> str:
    as_multi_vector(bert(folder / "made")).save(str(folder / "late"))
    return str(folder / "late")


def no_room(folder: Path) -> str:
    """An encoder whose Unigram pieces know no spaces, so that no whole word can be told from its parts."""
    from tokenizers import Tokenizer, pre_tokenizers

    encoder = unigram(folder / "made")
    backend = Tokenizer.from_str(encoder.tokenizer.backend_tokenizer.to_str())
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    transformer(encoder).processor = wrap(encoder.tokenizer, backend)
    encoder.save(str(folder / "no-room"))
    return str(folder / "no-room")


BAD = {  # what is wrong -> (option, how it is made, what the message has to say)
    "missing bitext": ("bitext", lambda f: str(f / "none.tsv"), ["none.tsv", "no such file"]),
    "a folder without bitext": ("bitext", empty, ["empty", ".tsv"]),
    "not UTF-8": ("bitext", foul_utf8, ["b.tsv:2", "UTF-8"]),
    "damaged gzip": ("bitext", lambda f: write(f / "b.tsv.gz", gzip.compress(b"a\tb\n" * 99)[:-9]), ["b.tsv.gz"]),
    "a side empty everywhere": (
        "bitext", lambda f: write(f / "b.tsv", "one\t\ntwo\t \n"), ["empty everywhere", "b.tsv"],
    ),
    "Moses files of different length": ("bitext", moses, ["c.en", "c.sw", "3", "2"]),
    "a binary word list": ("words", lambda f: write(f / "w.txt", b"maji\nmto\0to\n"), ["w.txt:2", "byte 0"]),
    "a word list of another script": ("words", lambda f: write(f / "w.txt", "вода\nмир\n"), ["w.txt", "CYRILLIC"]),
    "half a Hunspell dictionary": ("words", lambda f: write(f / "w.dic", "1\nmaji\n"), ["w.dic", "no w.aff"]),
    "wrong column count": (
        "bitext", lambda f: write(f / "b.tsv", "a\tb\tc\nd\te\tf\n"), ["b.tsv:1", "two columns", "cut"],
    ),
    "fewer pairs than a batch": (
        "bitext", lambda f: write(f / "b.tsv", "a cat\tpaka mmoja\nthe dog\tmbwa huyo\n"),
        ["2 sentence pairs", "batch_size"],
    ),
    "qrels that name no known document": ("collection", other_collection, ["unknown", "d1", "other"]),
    "missing collection": ("collection", lambda f: str(f / "none"), ["no such collection", "none"]),
    "a language with no bitext": ("lang", lambda f: "zz", ["'zz'", "BITEXT", "make data LANG=zz"]),
    "a teacher that is a decoder": ("teacher", gpt, ["GPT2LMHeadModel", "not an encoder"]),
    "a teacher folder without a model": ("teacher", empty, ["no config.json", "empty"]),
    "a teacher that is not there": ("teacher", lambda f: str(f / "no" / "such" / "model"), ["no/such/model"]),
    "a teacher with a damaged config": ("teacher", damaged, ["config.json", "not JSON"]),
    "a student that is not there": ("student", lambda f: str(f / "no" / "such" / "model"), ["no/such/model"]),
    "a student that is a decoder": ("student", gpt, ["GPT2LMHeadModel", "not an encoder"]),
    "a student of another class": ("student", late_encoder, ["late interaction", "late_interaction = true"]),
    "a student without room for words": (
        "student", no_room, ["no words can be added", "encoder's tokenizer", "vocabulary.mode"],
    ),
    "prompts of a student that is none": (
        "set", lambda f: "student_prompts.query=query: ", ["student_prompts", "set teacher_prompts"],
    ),
    "an unknown recipe key": ("set", lambda f: "training.stepps=3", ["training.stepps", "mean training.steps?"]),
    "a prompt of a name that nothing reads": (
        "set", lambda f: "teacher_prompts.passage=passage: ", ["teacher_prompts.passage", "unknown option"],
    ),
    "a prompt that leaves no room for a text": (
        "set", lambda f: "teacher_prompts.query=" + "where is the market ? " * 20,
        ["the query prompt", "reads 64", "set a shorter teacher_prompts.query"],
    ),
    "a dictionary that is not there": ("lexicon", lambda f: str(f / "none.tsv"), ["none.tsv", "no such dictionary"]),
    "a binary dictionary": ("lexicon", lambda f: write(f / "l.tsv", b"a\0\tb"), ["l.tsv:1", "binary"]),
    "a dictionary with swapped columns": (
        "lexicon", lambda f: write(f / "l.tsv", "maji\twater\nsoko\tmarket\n"), ["l.tsv:1", "swapped", "awk"],
    ),
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


def test_prompts_that_a_student_cannot_carry_are_refused_by_their_own_name(command, finished, tmp_path):
    bert(tmp_path / "made").save(str(tmp_path / "body"))
    long = "student_prompts.query=" + "where is the market ? " * 20
    before = snapshot(finished.folder)
    code, _, err = command(*asked_for(finished, student=str(tmp_path / "body")), "--set", long)
    assert code == 1
    assert len(err.strip().splitlines()) == 1, err
    assert "set a shorter student_prompts.query" in err
    assert snapshot(finished.folder) == before


def test_transplant_takes_another_encoder_and_says_how_near_it_is(command, finished, tmp_path):
    unigram(tmp_path / "made", dim=24).save(str(tmp_path / "body"))
    code, out, err = command(
        "transplant", "--lang", "sw", "--teacher", finished.teacher, "--student", tmp_path / "body", "--bitext",
        finished.bitext, "--out", tmp_path / "run", "--set", f"cache={tmp_path / 'cache'}", "--set",
        f"collection={finished.collection}",
    )  # fmt: skip
    assert (code, err) == (0, "")
    assert "linear map of 24 to 32 dimensions: mean cosine with the teacher on 1 held-out" in " ".join(out.split())
    assert "map_sentences: 18" in out
    assert (tmp_path / "run" / "transplant" / "1_Dense").is_dir()


def test_an_unknown_key_of_a_recipe_file_names_the_line(command, tmp_path):
    path = write(tmp_path / "r.toml", 'lang = "sw"\n[objective]\nepsilom = 0.1\n')
    code, _, err = command("distill", "--recipe", path)
    assert code == 1
    assert f"{path}:3: unknown option objective.epsilom; did you mean objective.epsilon?" in err


def test_a_default_teacher_with_the_wrong_checksum_is_refused(command, finished, monkeypatch):
    monkeypatch.setattr("optical.models.packaged_teachers.DEFAULT_TEACHER_SHA256", "0" * 64)
    before = snapshot(finished.folder)
    code, _, err = command(*asked_for(finished, teacher="all-MiniLM-L6-v2"))
    assert code == 1
    assert "sha256" in err
    assert "0" * 64 in err
    assert "model.safetensors" in err
    assert snapshot(finished.folder) == before


def test_export_for_colbert_takes_a_late_run_only(command, tmp_path):
    late = tiny_run(tmp_path / "late", late=True)
    code, out, err = command("export", late.folder, "--to", "colbert")
    assert (code, err) == (0, "")
    assert f"The student is in {late.folder / 'colbert'}" in " ".join(out.split())
    code, _, err = command("export", tiny_run(tmp_path / "single").folder, "--to", "colbert")
    assert code == 1
    assert "no ColBERT" in err
    code, _, err = command("export", late.folder, "--to", "colbert", "--shards", 2)
    assert code == 2


def test_documents_alone_are_distilled_for_searched_and_not_measured(command, finished, tmp_path):
    articles = write(
        tmp_path / "articles.csv", "Title;Body;URL\nMaize;the farmer plants maize .;https://h/1\nDog;a dog .;\n"
    )
    asked = [word.replace("--collection", "--docs") for word in asked_for(finished, out=str(tmp_path / "new"))]
    asked[asked.index("--docs") + 1] = str(articles)
    code, out, _ = command(*asked)
    flat = " ".join(out.split())
    assert code == 0
    assert "Not measured: how well questions find their documents (articles has no judgements). The development" in flat
    assert f"Next: optical search {tmp_path / 'new'} 'your question' optical serve {tmp_path / 'new'}" in flat
    assert "optical evaluate" not in flat
    code, out, err = command("search", tmp_path / "new", "Nani anapanda mahindi?", "-k", 2)
    assert (code, err) == (0, "")
    assert "URL: https://h/1" in out
    before = snapshot(tmp_path / "new")
    code, _, err = command("evaluate", tmp_path / "new")
    assert code == 1
    assert err.startswith("error: nothing can be measured on articles, which has no judgements")
    assert snapshot(tmp_path / "new") == before


@pytest.mark.parametrize("verb", ["distill", "embed"])
def test_documents_and_a_collection_are_not_both_searched(command, finished, tmp_path, verb):
    code, out, err = command(verb, "--lang", "sw", "--docs", "articles", "--collection", finished.collection)
    assert code == 2
    assert "give one of them" in " ".join((out + err).replace("│", " ").split())


@pytest.fixture
def untold(monkeypatch):
    """No variable says how many threads; what the program sets is taken back."""
    for name in (threads.VARIABLE, *threads.LIBRARIES):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setattr(threads, "MOMENT", 0.0)
    yield
    threads.use_threads(1)


@pytest.mark.parametrize("verb", ["distill", "teach"])
def test_a_training_that_was_stopped_goes_on_with_its_threads_unless_told_otherwise(command, untold, tmp_path, verb):
    for step, count in ((2, 2), (4, 7)):
        folder = tmp_path / "run" / "checkpoints-1a" / f"checkpoint-{step}"
        folder.mkdir(parents=True)
        write(folder / "checkpoint.json", json.dumps({"threads": count}))
        os.utime(folder / "checkpoint.json", (step, step))
    missing = {"distill": ["--lang", "sw", "--bitext"], "teach": ["--collection"]}[verb]
    words = [verb, *missing, tmp_path / "none", "--out", tmp_path / "run"]
    code, out, err = command(*words)
    assert (code, err.startswith("error: ")) == (1, True)
    assert re.search(r"^threads: 7 of \d+ cores; as when this began", out)
    code, out, err = command(*words, "--set", "threads=3")
    assert (code, out, torch.get_num_threads()) == (1, "", 3)


def test_a_checkpoint_that_is_damaged_says_nothing_of_threads(tmp_path):
    folder = tmp_path / "checkpoints-1a" / "checkpoint-2"
    folder.mkdir(parents=True)
    for text in ("[]", "{", '{"threads": "7"}', '{"threads": 0}', "{}"):
        write(folder / "checkpoint.json", text)
        assert threads_begun(tmp_path) is None


def test_a_run_is_made_again_with_its_threads(command, untold, finished, monkeypatch):
    monkeypatch.setattr(rerun, "rerun", lambda *_, **__: rerun.Rerun(["a"], [], {}, {}))
    code, out, err = command("rerun", finished.folder)
    assert (code, torch.get_num_threads()) == (0, 1), err
    assert "as when this began" in out
