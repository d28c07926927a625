"""The whole chain on a few sentences with a tiny teacher, asserting numbers."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch

import optical
from optical.config.recipe import load_recipe
from optical.data.bitext import Pair
from optical.data.collection import read_collection
from optical.data.trec_run import read_run
from optical.embeddings.cache import teacher_vectors
from optical.errors import DataError, RecipeError
from optical.evaluation import report
from optical.models import colbert_format, encoders
from optical.pipeline import answer, bm25_rows, index, inputs
from optical.training import distillation
from optical.training.callbacks import Interrupted
from tests.conftest import ENGLISH, bert
from tests.runs import distilled, evaluated

OWN = "sample-collection-test"  # where a run keeps its own results, below evaluation/
PAIRS = [
    ("I drink water.", "Ninakunywa maji."),
    ("The children read books.", "Watoto wanasoma vitabu."),
    ("Where is the market?", "Soko liko wapi?"),
    ("The farmer plants maize.", "Mkulima anapanda mahindi."),
    ("She cooks rice.", "Anapika wali."),
    ("The cow gives milk.", "Ng'ombe anatoa maziwa."),
    ("Who built this house?", "Nani alijenga nyumba hii?"),
    ("The teacher writes a letter.", "Mwalimu anaandika barua."),
    ("Rain falls in April.", "Mvua inanyesha mwezi wa Aprili."),
    ("We sell fish.", "Tunauza samaki."),
    ("The river is long.", "Mto ni mrefu."),
    ("The doctor helps the sick.", "Daktari anawasaidia wagonjwa."),
    ("A dog guards the door.", "Mbwa analinda mlango."),
    ("They sing songs.", "Wanaimba nyimbo."),
    ("The moon shines.", "Mwezi unang'aa."),
    ("The farmer drinks milk.", "Mkulima anakunywa maziwa."),
    ("The children sing.", "Watoto wanaimba."),
    ("Where is the doctor?", "Daktari yuko wapi?"),
]
DOCUMENTS = [
    "the farmer plants maize .", "the cow gives milk .", "the teacher writes a letter .", "rain falls in april .",
    "the doctor helps the sick .", "a dog guards the door .", "they sing songs .", "the river is long .",
    "she cooks rice .", "we sell fish .", "the children read books .", "i drink water .",
]  # fmt: skip
QUESTIONS = {  # document -> (English, Swahili); none of them is in the bitext
    0: ("who plants maize ?", "Nani anapanda mahindi?"),
    1: ("who gives milk ?", "Nani anatoa maziwa?"),
    2: ("who writes a letter ?", "Nani anaandika barua?"),
    3: ("where falls rain ?", "Wapi mvua inanyesha?"),
    4: ("who helps the sick ?", "Nani anawasaidia wagonjwa?"),
    5: ("who guards the door ?", "Nani analinda mlango?"),
    6: ("who sing songs ?", "Nani wanaimba nyimbo?"),
    7: ("where is the river ?", "Mto wapi?"),
    8: ("who cooks rice ?", "Nani anapika wali?"),
    9: ("where we sell fish ?", "Wapi tunauza samaki?"),
}
SETTINGS = {
    "objective.scores": 1.0,  # off by default: here every reading of a collection is walked through
    "training.word_dropout": 0.0, "training.steps": 12, "training.batch_size": 6, "training.evaluate_every": 6,
    "training.warmup": 0.0,
    "training.learning_rate": 1e-3, "training.embedding_learning_rate": 1e-2, "training.min_words": 1,
}  # fmt: skip
# Words that occur once get no row, so that the transplant is poor and there is something left to learn.
MUCH_TO_LEARN = {
    "vocabulary.min_count": 2, "training.steps": 60, "training.evaluate_every": 20, "training.learning_rate": 3e-3,
    "training.embedding_learning_rate": 0.1,
}  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Bitext and a collection on disk, with the sixth question among the bitext."""
    folder = tmp_path_factory.mktemp("data") / "sample"
    folder.mkdir()
    leak = [QUESTIONS[5], ("A cow in the river.", "NANI, analinda mlango")]
    lines = [f"{english}\t{swahili}\n" for english, swahili in [*PAIRS, *leak]]
    (folder / "bitext.tsv").write_text("".join(lines) + "no tab here\n", encoding="utf-8")
    collection = folder / "collection"
    collection.mkdir()
    docs = [{"id": f"d{i}", "title": f"Text {i}", "text": text} for i, text in enumerate(DOCUMENTS)]
    (collection / "docs.jsonl").write_text("".join(json.dumps(d) + "\n" for d in docs), encoding="utf-8")
    for k, lang in enumerate(("en", "sw")):
        (collection / f"queries.{lang}.tsv").write_text(
            "".join(f"q{i}\t{texts[k]}\n" for i, texts in QUESTIONS.items()), encoding="utf-8"
        )
    for split, keep in (("dev", (0, 2, 4)), ("test", (1, 3, 5, 6, 7, 8, 9))):
        (collection / f"qrels.{split}.tsv").write_text("".join(f"q{i} 0 d{i} 1\n" for i in keep), encoding="utf-8")
    return folder


def by_words(encoder):
    """The same encoder with the words loud and the random layers quiet: it matches by words, as a trained one would."""
    with torch.no_grad():
        for name, weight in encoder.named_parameters():
            if weight.ndim == 2:
                weight.mul_(0.1)
            if "word_embeddings" in name:
                weight.normal_(0.0, 1.0)
    return encoder


def uncased(folder):
    """A teacher as MiniLM is."""
    return by_words(bert(folder))


def cased(folder):
    """A teacher as mBERT is: WordPiece that keeps upper case."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import BertConfig, BertModel, BertTokenizer

    from tests.conftest import word_pieces

    folder.mkdir()
    upper = [chr(c) for c in range(65, 91)]
    words = {w.capitalize() for w in ENGLISH.split() if len(w) > 1 and w.isalpha()}
    (folder / "vocab.txt").write_text("\n".join([*word_pieces(), *upper, *sorted(words)]), encoding="utf-8")
    tokenizer = BertTokenizer(str(folder / "vocab.txt"), do_lower_case=False, model_max_length=64)
    torch.manual_seed(2)
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
        max_position_embeddings=64, initializer_range=0.3,
    )  # fmt: skip
    BertModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return by_words(SentenceTransformer(modules=[Transformer(str(folder)), Pooling(32)], device="cpu"))


def unigram(folder):
    """A teacher as XLM-R is: Unigram pieces with a metaspace, other special tokens, positions after the padding id."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast, XLMRobertaConfig, XLMRobertaModel

    letters = [chr(c) for c in (*range(97, 123), *range(65, 91))]
    pieces = [(t, 0.0) for t in ("<s>", "<pad>", "</s>", "<unk>")] + [("▁", -3.0)]
    pieces += [(c, -8.0) for c in [*letters, *"'.,?!-0123456789"]]
    words = sorted({form for w in ENGLISH.split() if len(w) > 1 for form in (w, w.capitalize())})
    pieces += [(f"▁{w}", -5.0) for w in words]
    backend = Tokenizer(models.Unigram(pieces, unk_id=3))
    backend.normalizer = normalizers.NFKC()
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = decoders.Metaspace()
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, model_max_length=64, bos_token="<s>", cls_token="<s>", eos_token="</s>",
        sep_token="</s>", pad_token="<pad>", unk_token="<unk>",
    )  # fmt: skip
    torch.manual_seed(3)
    config = XLMRobertaConfig(
        vocab_size=len(pieces), hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
        max_position_embeddings=80, pad_token_id=1, bos_token_id=0, eos_token_id=2, initializer_range=0.3,
    )  # fmt: skip
    XLMRobertaModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return by_words(SentenceTransformer(modules=[Transformer(str(folder)), Pooling(32)], device="cpu"))


def recipe_of(folder, data, teacher, **more):
    named = {"out": str(folder / "run"), "cache": str(folder / "cache"), "teacher": str(teacher), "lang": "sw"}
    named |= {"bitext": str(data / "bitext.tsv"), "collection": str(data / "collection")}
    return load_recipe(None, {**named, **SETTINGS, **more})


def mean_loss(entries) -> float:
    """A batch of six is one sixth of the bitext: single losses jump."""
    return float(np.mean([entry["loss"] for entry in entries]))


@pytest.fixture(scope="module")
def run(tmp_path_factory, data):
    """The recipe of one finished run, its report, and what it said."""
    folder = tmp_path_factory.mktemp("chain")
    torch.manual_seed(0)
    uncased(folder / "made").save(str(folder / "teacher"))
    recipe, said = recipe_of(folder, data, folder / "teacher", **MUCH_TO_LEARN), []
    return recipe, distilled(recipe, said.append, progress=False), said


def test_the_student_beats_zero_shot_and_its_start(run):
    recipe, found, _ = run
    ap = {system: scores.mean["AP"] for system, scores in found.scores.items()}
    words = [bm25_rows.UNTRANSLATED, bm25_rows.BY_LEXICON, bm25_rows.FUSED]
    assert list(ap) == [report.CEILING, report.ZERO_SHOT, report.TRANSPLANT, report.STUDENT, *words]
    assert ap[report.STUDENT] > ap[report.ZERO_SHOT] + 0.3
    assert ap[report.STUDENT] > ap[report.TRANSPLANT] + 0.3
    assert found.share(report.STUDENT) > 0.7
    development = json.loads((recipe.folder / "manifest.json").read_text())["development"]
    assert development["best"] > development["start"] + 0.3


def test_the_loss_falls_and_is_logged_by_objective(run):
    history = json.loads((run[0].folder / "training.json").read_text())
    losses = [entry for entry in history if "loss" in entry]
    assert losses[-1]["loss"] < 0.5 * losses[0]["loss"]
    assert {"ot", "pooled", "scores", "plan_error", "plan_steps"} <= losses[-1].keys()
    assert all(0 <= entry["plan_error"] < 0.1 for entry in losses)
    assert [entry["step"] for entry in history if "eval_dev" in entry] == [20, 40, 60]


def test_every_file_of_a_run_is_there(run):
    recipe, found, said = run
    folder = recipe.folder
    assert (folder / "recipe.toml").is_file()
    assert load_recipe(folder / "recipe.toml") == recipe
    evaluation = folder / "evaluation" / OWN
    words = [bm25_rows.UNTRANSLATED, bm25_rows.BY_LEXICON, bm25_rows.FUSED]
    for system, scores in found.scores.items():
        trec = read_run(evaluation / f"{system.replace(', ', '-').replace(' ', '-')}.trec")
        if system in words[:2]:
            assert set().union(*trec.values()) <= {f"d{k}" for k in range(len(DOCUMENTS))}
            continue
        assert trec.keys() == scores.per_query["AP"].keys() == {f"q{i}" for i in (1, 3, 5, 6, 7, 8, 9)}
        assert all(len(ranking) == len(DOCUMENTS) for ranking in trec.values())
    kept = json.loads((evaluation / "results.json").read_text(encoding="utf-8"))
    student = kept["systems"][report.STUDENT]
    assert np.mean(list(student["per_query"]["AP"].values())) == pytest.approx(student["mean"]["AP"], abs=1e-6)
    assert kept["tests"].keys() == {f"student - {s}" for s in (report.ZERO_SHOT, report.TRANSPLANT, *words)}
    table = (evaluation / "table.md").read_text(encoding="utf-8")
    assert f"| student | sw | {student['mean']['AP']:.4f} |" in table
    assert any(str(evaluation) in line for line in said)
    assert not list(folder.glob("checkpoints-*")), "checkpoints stay behind"
    assert not list(folder.rglob("*.tmp"))


def test_the_manifest_says_what_the_run_was_made_of(run, data):
    manifest = json.loads((run[0].folder / "manifest.json").read_text(encoding="utf-8"))
    bitext = data / "bitext.tsv"
    assert manifest["bitext"] == {str(bitext): hashlib.sha256(bitext.read_bytes()).hexdigest()}
    checksum = read_collection(data / "collection", ["en", "sw"]).checksum
    assert manifest["collection"] == {"name": "sample/collection", "checksum": checksum}
    assert manifest["seed"] == 0
    assert manifest["pairs"] == len(PAIRS)
    assert manifest["transplant"]["tokens_per_word_after"] is None  # of 18 pairs none is held out
    assert any("tokens per word not measured: too few pairs" in line for line in run[2])
    assert manifest["transplant"]["english_cosine_mean"] >= 0.98
    assert any("English sentences: mean 1.000, least 1.000" in line for line in run[2])
    assert len(manifest["teacher_fingerprint"]) == 16
    assert manifest["packages"]["torch"] == torch.__version__
    assert {"read", "documents", "transplant", "training", "index, search, measures"} <= manifest["seconds"].keys()


def test_pairs_equal_to_a_query_are_left_out_and_said(run):
    recipe, _, said = run
    pairs = inputs.read_inputs(recipe, lambda _: None).pairs
    assert pairs == [Pair(*p) for p in PAIRS]
    assert "bitext: 2 pairs left out, a side is a query of the collection" in said
    assert any("wrong number of columns" in line and "bitext.tsv:21" in line for line in said)


def test_evaluate_gives_the_same_table_again(run):
    recipe, found, _ = run
    again = evaluated(recipe)
    assert report.table(again) == report.table(found)
    assert again.scores == found.scores


def test_evaluate_takes_another_student(run):
    recipe, found, _ = run
    own = recipe.folder / "evaluation" / OWN
    before = {path.name: path.read_bytes() for path in own.iterdir()}
    other = evaluated(recipe, recipe.folder / "transplant")
    words = [bm25_rows.UNTRANSLATED, bm25_rows.BY_LEXICON, bm25_rows.FUSED]
    assert list(other.scores) == [report.CEILING, report.ZERO_SHOT, report.STUDENT, *words]
    assert other.scores[report.STUDENT] == found.scores[report.TRANSPLANT]
    assert {path.name: path.read_bytes() for path in own.iterdir()} == before, "the run's own results were overwritten"
    kept = json.loads((own.with_name(f"{OWN}-transplant") / "results.json").read_text(encoding="utf-8"))
    assert kept["systems"][report.STUDENT]["mean"] == other.scores[report.STUDENT].mean


def test_a_question_is_answered_with_documents(run):
    found = answer.answer(answer.load_run(run[0]), "Nani anaandika barua?", 3)
    assert len(found) == 3
    assert found[0].doc.id == "d2"
    assert found[0].doc.title == "Text 2"
    scores = [one.score for one in found]
    assert scores == sorted(scores, reverse=True)


def test_an_index_of_other_documents_is_refused(run, data, tmp_path):
    shutil.copytree(data / "collection", tmp_path / "collection")
    with (tmp_path / "collection" / "docs.jsonl").open("a") as file:
        file.write('{"id": "new", "title": "", "text": "a new one"}\n')
    recipe = run[0].model_copy(update={"collection": str(tmp_path / "collection")})
    with pytest.raises(DataError, match="optical index"):
        answer.load_run(recipe)


def test_an_index_by_another_teacher_is_not_searched(run, tmp_path):
    recipe, found, _ = run
    bert(tmp_path / "made", text="other words " + ENGLISH).save(str(tmp_path / "teacher"))
    other = evaluated(recipe.model_copy(update={"teacher": str(tmp_path / "teacher")}))
    fresh = recipe.model_copy(update={"teacher": str(tmp_path / "teacher"), "out": str(tmp_path / "fresh")})
    expected = evaluated(fresh, recipe.folder / "student")
    assert other.scores[report.CEILING] == expected.scores[report.CEILING]
    evaluated(recipe)


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


def test_the_students_load_where_optical_is_not_installed(run, late, tmp_path):
    single, many = run[0].folder / "student", late[0].folder / "student"
    code = WITHOUT_OPTICAL.format(single=str(single), many=str(many), asked=ASKED)
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)
    here = encoders.load(single, "cpu").encode(ASKED)
    np.testing.assert_allclose(np.load(tmp_path / "single.npy"), here, atol=1e-6)
    tokens = encoders.encode_tokens(encoders.load(many, "cpu"), ASKED, query=True)
    np.testing.assert_allclose(np.load(tmp_path / "many.npy"), np.concatenate(tokens), atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(np.load(tmp_path / "many.npy"), axis=1), 1.0, atol=1e-5)


@pytest.fixture(scope="module")
def late(tmp_path_factory, data):
    """The recipe and the report of a finished run with late interaction."""
    folder = tmp_path_factory.mktemp("late")
    uncased(folder / "made").save(str(folder / "teacher"))
    recipe = recipe_of(folder, data, folder / "teacher", late_interaction=True)
    return recipe, distilled(recipe, progress=False)


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
        encoders.encode_tokens(encoders.load(recipe.folder / name, "cpu"), ASKED, query=True)
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
    assert answers.late.index is not None
    first = answer.answer(answers, "Nani anaandika barua?", 2)[0]
    assert first.doc.id == "d2"
    assert first.matches
    assert index.index_run(recipe) == []  # too few documents for one, by the rule
    assert not (recipe.folder / "index").exists()
    assert evaluated(recipe).scores == found.scores


@pytest.mark.parametrize("kind", [cased, unigram])
def test_other_architectures_go_the_same_way(kind, tmp_path, data):
    kind(tmp_path / "made").save(str(tmp_path / "teacher"))
    recipe = recipe_of(tmp_path, data, tmp_path / "teacher")
    found = distilled(recipe, progress=False)
    ap = {system: scores.mean["AP"] for system, scores in found.scores.items()}
    assert ap[report.STUDENT] > ap[report.ZERO_SHOT] + 0.2
    losses = [e for e in json.loads((recipe.folder / "training.json").read_text()) if "loss" in e]
    assert mean_loss(losses[-3:]) < mean_loss(losses[:3])
    development = json.loads((recipe.folder / "manifest.json").read_text())["development"]
    assert development["best"] >= development["start"]
    assert evaluated(recipe).scores == found.scores


@pytest.mark.parametrize("kind", [uncased, unigram])
def test_a_trimmed_student_of_fewer_layers_goes_the_same_way(kind, tmp_path, data):
    kind(tmp_path / "made").save(str(tmp_path / "teacher"))
    more = {"training.steps": 4, "layers": 1, "vocabulary.mode": "trim", "training.averaging": False}
    recipe, said = recipe_of(tmp_path, data, tmp_path / "teacher", **more), []
    distilled(recipe, said.append, progress=False)
    student = encoders.load(recipe.folder / "student")
    facts = json.loads((recipe.folder / "manifest.json").read_text())["transplant"]
    assert student[0].auto_model.config.num_hidden_layers == 1
    assert len(student.tokenizer) == facts["rows_after"] <= facts["rows_before"]
    assert facts["parameters_after"] == sum(p.numel() for p in student.parameters())
    assert any(f"0 words added, {facts['rows_before']} -> {facts['rows_after']} rows" in line for line in said)


def test_without_a_collection_nothing_is_measured(tmp_path, data, monkeypatch):
    monkeypatch.chdir(tmp_path)
    uncased(tmp_path / "made").save(str(tmp_path / "teacher"))
    recipe = recipe_of(tmp_path, data, tmp_path / "teacher", **{"training.steps": 2})
    said = []
    assert distilled(recipe.model_copy(update={"collection": None}), said.append, progress=False) is None
    assert (recipe.folder / "student" / "modules.json").is_file()
    assert any("held-out" in line for line in said)


def test_a_collection_with_one_split_needs_no_dev(tmp_path, data):
    shutil.copytree(data / "collection", tmp_path / "collection")
    (tmp_path / "collection" / "qrels.dev.tsv").unlink()
    uncased(tmp_path / "made").save(str(tmp_path / "teacher"))
    more = {"training.steps": 2, "collection": str(tmp_path / "collection")}
    assert distilled(recipe_of(tmp_path, data, tmp_path / "teacher", **more), progress=False) is not None


def test_a_split_that_is_not_there_stops_before_any_work(tmp_path, data):
    with pytest.raises(DataError, match="no split 'train', only dev, test"):
        distilled(recipe_of(tmp_path, data, tmp_path / "no teacher needed", **{"search.split": "train"}))


def test_the_python_api(tmp_path):
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


def test_the_python_api_makes_shallow_students(tmp_path):
    teacher = uncased(tmp_path / "made")
    student = optical.distill(teacher, bitext=PAIRS, layers=1, training={"steps": 0}, progress=False)
    assert student[0].auto_model.config.num_hidden_layers == 1
    assert teacher[0].auto_model.config.num_hidden_layers == 2
    with pytest.raises(RecipeError, match="layers = 0"):
        optical.distill(teacher, bitext=PAIRS, layers=0)


def test_the_python_api_keeps_nothing_without_a_folder_and_names_a_wrong_option(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    teacher = uncased(tmp_path / "made")
    before = set(tmp_path.rglob("*"))
    student = optical.distill(teacher, bitext=PAIRS, training={"steps": 1, "batch_size": 4}, progress=False)
    assert set(tmp_path.rglob("*")) == before
    assert len(student.tokenizer) > len(teacher.tokenizer)
    with pytest.raises(RecipeError, match=r"did you mean training\.steps"):
        optical.distill(teacher, bitext=PAIRS, training={"step": 1})


def test_the_python_api_does_not_empty_a_folder_of_something_else(tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years of work")
    with pytest.raises(DataError, match="thesis"):
        optical.distill(
            bert(tmp_path / "made"), bitext=PAIRS, folder=tmp_path / "thesis", training={"steps": 0}, progress=False
        )
    assert (tmp_path / "thesis" / "chapter.txt").read_text() == "years of work"


def test_an_interrupted_chain_goes_on_and_ends_the_same(tmp_path, data, monkeypatch):
    """Ctrl-C in the middle leaves a checkpoint and nothing else; the same call ends as if never interrupted."""
    uncased(tmp_path / "made").save(str(tmp_path / "teacher"))
    whole = recipe_of(tmp_path, data, tmp_path / "teacher", out=str(tmp_path / "whole"))
    expected = distilled(whole, progress=False)
    halved = recipe_of(tmp_path, data, tmp_path / "teacher")
    original = distillation.DistillationLoss.forward
    calls = []

    def forward(self, features, labels):
        calls.append(1)
        if len(calls) == 4:
            os.kill(os.getpid(), signal.SIGINT)
        return original(self, features, labels)

    monkeypatch.setattr(distillation.DistillationLoss, "forward", forward)
    with pytest.raises(Interrupted, match="the same command goes on"):
        distilled(halved, progress=False)
    assert len(calls) == 4
    assert [p.name.split("-")[0] for p in halved.folder.iterdir()] == ["checkpoints"]
    found = distilled(halved, progress=False)
    assert len(calls) == 12, "training began anew"
    assert found.scores == expected.scores
