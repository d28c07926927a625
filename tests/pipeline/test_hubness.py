"""Penalties in a run: its bank, its index, its answers and its table, and what it refuses."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from optical.config.recipe import load_recipe
from optical.data.bitext import Pair
from optical.data.records import Qrel, Query
from optical.embeddings.vectors import Vectors
from optical.errors import DataError, RecipeError
from optical.evaluation import report
from optical.files import write_text
from optical.models import encoders
from optical.models.save import save_encoder
from optical.pipeline import answer
from optical.pipeline.dev_score import DevSet, SetsScore
from optical.pipeline.embed import embed_documents, load_teacher
from optical.pipeline.evaluate import evaluate_run
from optical.pipeline.hubness import check_hubness, choose, draw_banks, hubness_of, save_banks
from optical.pipeline.index import index_run
from optical.retrieval import hubness
from tests.chain import DOCUMENTS, PAIRS, recipe_of
from tests.conftest import bert
from tests.runs import by_words, tiny_run

SENTENCES = [Pair(f"{text[:-1]} {end}", text) for text in DOCUMENTS for end in ("?", ".")]
CSLS = {"search.hubness": "csls"}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run whose index is built again with penalties."""
    recipe = tiny_run(tmp_path_factory.mktemp("run"))
    save_banks(recipe.folder, {"sw": SENTENCES})
    recipe = load_recipe(recipe.folder / "recipe.toml", CSLS)
    index_run(recipe)
    return recipe


def expected(recipe, encoder, question, side="foreign"):
    """Products with all documents less their penalties, by hand."""
    _, vectors, ids = embed_documents(recipe, encoder, answer.first_collection(recipe, print, "")[1], False)
    bank = encoders.encode_queries(encoder, [getattr(pair, side) for pair in hubness_of(recipe).bank])
    documents = np.asarray(vectors.sentences)
    r = np.sort(documents @ bank.T, axis=1)[:, -10:].mean(axis=1) / 2
    scores = documents @ encoders.encode_queries(encoder, [question])[0] - r + r.mean()
    return {ids[k]: float(scores[k]) for k in np.argsort(-scores, kind="stable")}


def test_answers_are_less_their_penalties(run):
    loaded = answer.load_run(run)
    found = answer.answer(loaded, "who plants maize ?", 20)
    wanted = expected(run, loaded.student, "who plants maize ?")
    assert {hit.doc.id: hit.score for hit in found} == pytest.approx(wanted, abs=1e-5)
    assert loaded.dense_index.manifest["hubness"]["bank"] == 24


def test_every_row_asks_with_a_bank_of_its_own_language(run, monkeypatch):
    asked, one = [], hubness.penalties
    monkeypatch.setattr(hubness, "penalties", lambda m, bank, *rest: (asked.append(bank), one(m, bank, *rest))[1])
    found = evaluate_run(run)["sw"]
    teacher, bank = load_teacher(run), hubness_of(run).bank
    english, foreign = (encoders.encode_queries(teacher, list(side)) for side in zip(*bank, strict=True))
    assert not np.allclose(english, foreign)
    np.testing.assert_allclose(asked[0], english, atol=1e-6)  # the ceiling
    np.testing.assert_allclose(asked[1], foreign, atol=1e-6)  # the teacher as it is
    assert list(found.scores)[:2] == [report.CEILING, report.ZERO_SHOT]
    [trec] = [path.read_text(encoding="utf-8") for path in run.folder.glob("evaluation/*/student.trec")]
    scores = {line.split()[2]: float(line.split()[4]) for line in trec.splitlines() if line.startswith("q1 ")}
    wanted = expected(run, teacher, "who plants maize ?")
    assert scores == pytest.approx(wanted, abs=1e-4)


def test_penalties_of_another_student_are_refused(tmp_path):
    recipe = tiny_run(tmp_path)
    save_banks(recipe.folder, {"sw": SENTENCES})
    recipe = load_recipe(recipe.folder / "recipe.toml", CSLS)
    index_run(recipe)
    other = load_teacher(recipe)
    other[0].auto_model.get_input_embeddings().weight.data[-1] += 0.1
    save_encoder(other, recipe.folder / "student")
    with pytest.raises(DataError, match="penalties .* by another student than .* is now; run `optical index"):
        answer.load_run(recipe)
    index_run(recipe)
    answer.load_run(recipe)


def test_a_run_without_a_bank_is_refused_in_one_message(tmp_path):
    recipe = tiny_run(tmp_path)
    before = (recipe.folder / "index" / "optical.json").read_bytes()
    recipe = load_recipe(recipe.folder / "recipe.toml", CSLS)
    with pytest.raises(DataError, match=r"there is no .*bank.tsv, whose questions search.hubness asks by: distill"):
        index_run(recipe)
    write_text(recipe.folder / "bank.tsv", "sw\tone\ttwo\nsw\tone\n")
    with pytest.raises(DataError, match=r"language, English and X; at .*bank.tsv:2; distill again"):
        index_run(recipe)
    save_banks(recipe.folder, {"sw": SENTENCES[:19]})
    with pytest.raises(DataError, match="at least 20 questions or sentences of the bitext; there are 19"):
        index_run(recipe)
    assert (recipe.folder / "index" / "optical.json").read_bytes() == before


def test_late_interaction_is_refused_before_any_work(tmp_path, teacher):
    for method in ("csls", "sinkhorn", "centre"):
        with pytest.raises(RecipeError, match=f"search.hubness = '{method}' penalises single vectors"):
            check_hubness(method, encoders.as_multi_vector(teacher))
    for method in ("none", "auto"):
        check_hubness(method, encoders.as_multi_vector(teacher))
    check_hubness("csls", teacher)


def test_the_bank_takes_questions_first_and_no_more_than_asked_for(tmp_path):
    pairs = [Pair(*pair) for pair in PAIRS]
    recipe = recipe_of(tmp_path, tmp_path, tmp_path, **{"search.hubness_bank": 20})

    def draw(some):
        return draw_banks(recipe, {"sw": some})["sw"]

    assert draw(pairs)[:3] == [pair for pair in pairs if pair.is_question]
    assert set(draw(pairs)) == set(pairs)
    many = [*pairs, *(Pair(f"Question {k}?", f"Swali {k}?") for k in range(40))]
    drawn = draw(many)
    assert len(drawn) == 20
    assert all(pair.is_question for pair in drawn)
    assert drawn != [pair for pair in many if pair.is_question][:20]
    longer = [*pairs[:3], Pair("Where?", "Wapi " * 30 + "?"), Pair("It is long.", "Ni ndefu " * 30)]
    assert draw(longer) == [longer[2], longer[3], *longer[:2]]


def test_languages_share_a_bank(tmp_path):
    recipe = recipe_of(tmp_path, tmp_path, tmp_path, lang="sw,so", **{"search.hubness_bank": 20, **CSLS})
    banks = draw_banks(recipe, {"sw": [Pair(*pair) for pair in PAIRS], "so": SENTENCES})
    save_banks(recipe.folder, banks)
    kept = hubness_of(recipe).bank
    assert kept == [*banks["sw"], *banks["so"]]
    assert len(kept) == 18 + 20
    with pytest.raises(DataError, match="at least 20 questions or sentences of the bitext; there are 18"):
        draw_banks(recipe, {"sw": [Pair(*pair) for pair in PAIRS]})


def dev_score(encoder, right):
    """Questions, documents that are somewhat like them, and one that is more like all of them than any of these."""
    queries = [Query(f"q{k}", f"who {text}") for k, text in enumerate(DOCUMENTS)]
    bank = encoders.encode_queries(encoder, [pair.foreign for pair in SENTENCES])
    noise = np.random.default_rng(0).normal(size=(len(queries), bank.shape[1])) / bank.shape[1] ** 0.5
    vectors = 0.4 * encoders.encode_queries(encoder, [query.text for query in queries]) + 0.9 * noise
    vectors = np.vstack([vectors, bank.mean(axis=0)])
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    ids = [f"d{k}" for k in range(len(vectors))]
    found = Vectors(np.zeros((0, 1), np.float16), np.zeros(len(ids) + 1, np.int64), vectors, Path("made"))
    qrels = [Qrel(query.id, right(k), 1) for k, query in enumerate(queries)]
    return SetsScore([DevSet(queries, found, ids, qrels), DevSet(queries[:6], found, ids, qrels[:6])])


def test_auto_takes_what_gains_beyond_chance_and_says_why(tmp_path):
    teacher = by_words(bert(tmp_path / "teacher"))
    recipe = recipe_of(tmp_path, tmp_path, tmp_path, **{"search.hubness": "auto"})
    banks = {"sw": SENTENCES}
    fair = dev_score(teacher, lambda k: f"d{k}")
    chosen = choose(recipe, teacher, fair, banks)
    assert chosen.method != "none"
    assert chosen.scores[chosen.method] == max(chosen.scores.values()) > chosen.scores["none"] + 0.1
    assert chosen.scores["none"] == pytest.approx(np.mean([one.measured(teacher).mean for one in fair.sets]), abs=1e-4)
    assert re.fullmatch(rf"development score 0\.\d+ without, 0\.\d+ with {chosen.method}, p = 0\.0\d+", chosen.reason)
    assert choose(recipe, teacher, dev_score(teacher, lambda _: "d12"), banks).method == "none", "the hub is right"
    assert choose(recipe, teacher, None, banks).reason.startswith("there is no development score")
    assert choose(recipe, teacher, fair, {"sw": SENTENCES[:19]}).reason.startswith("the bank has 19 questions")
    assert choose(recipe, encoders.as_multi_vector(teacher), fair, banks).reason.startswith("late interaction")
    asked = recipe_of(tmp_path, tmp_path, tmp_path, **CSLS)
    assert choose(asked, teacher, fair, banks) == ("csls", "as asked for", {})


def test_what_a_run_chose_is_what_auto_means(run):
    automatic = run.model_copy(update={"search": run.search.model_copy(update={"hubness": "auto"})})
    assert hubness_of(automatic).method == "none"
    manifest = json.loads((run.folder / "manifest.json").read_text(encoding="utf-8"))
    (run.folder / "manifest.json").write_text(json.dumps({**manifest, "hubness": {"method": "centre"}}))
    assert hubness_of(automatic).method == "centre"
    assert hubness_of(run).method == "csls"
    assert len(hubness_of(automatic).bank) == 24
