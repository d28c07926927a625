"""The development score of several languages: the mean of each one's, and nothing held out is trained on."""

from __future__ import annotations

import random

import numpy as np
import pytest

from optical.config.recipe import load_recipe
from optical.data.bitext import Pair
from optical.data.collection import Collection
from optical.data.records import Doc, Qrel, Query
from optical.embeddings.cache import document_vectors
from optical.embeddings.embedded_collection import unembedded
from optical.evaluation.measures import measure
from optical.models.encoders import Encoder, encode_queries, encode_sentences, score_fingerprint
from optical.models.towers import Towers
from optical.pipeline import dev_score
from optical.pipeline.dev_score import SetsScore, development_score, development_scores
from optical.retrieval.search import search

ENGLISH = [
    "i drink water .", "the children read books .", "where is the market ?", "the farmer plants maize .",
    "she cooks rice .", "the cow gives milk .", "who built this house ?", "the teacher writes a letter .",
    "rain falls in april .", "we sell fish .", "the river is long .", "the doctor helps the sick .",
]  # fmt: skip
# The first language keeps the English words, the second has letters that the teacher does not put together.
PAIRS = {
    "aa": [Pair(text, f"{text} indeed") for text in ENGLISH],
    "bb": [Pair(text, " ".join(word[::-1] for word in text.split()) + " q") for text in ENGLISH],
}

FEW = "too few or too alike for strata of unseen words and length"


def recipe_of(tmp_path, lang: str, **more):
    return load_recipe(None, {"lang": lang, "cache": str(tmp_path / "cache"), "training.held_out": 1, **more})


def both(encoder: Encoder) -> Towers:
    """A teacher that reads queries and documents alike."""
    return Towers(encoder, encoder)


def test_the_score_of_several_languages_is_the_mean_of_each(tmp_path, teacher):
    recipe, said = recipe_of(tmp_path, "aa,bb"), []
    score, left = development_scores(recipe, both(teacher), PAIRS, {}, said.append)
    single = {lang: development_score(recipe.of(lang), both(teacher), PAIRS[lang], None, said.append) for lang in PAIRS}
    alone = {lang: found[0](teacher) for lang, found in single.items()}
    assert len(set(alone.values())) == 2, "the two scores must differ for a mean to be seen"
    assert score(teacher) == pytest.approx(sum(alone.values()) / 2)
    assert left == {lang: found[1] for lang, found in single.items()}
    assert said[0].startswith("aa: development score: 1 held-out")
    assert said[1].startswith("bb: development score: 1 held-out")


def test_one_language_has_its_own_score_and_no_name(tmp_path, teacher):
    recipe, said = recipe_of(tmp_path, "aa"), []
    score, left = development_scores(recipe, both(teacher), {"aa": PAIRS["aa"]}, {}, said.append)
    expected, rest = development_score(recipe, both(teacher), PAIRS["aa"], None, said.append)
    assert score(teacher) == expected(teacher)
    assert left == {"aa": rest}
    assert said[0] == said[1]


def test_a_pair_that_is_not_trained_on_is_not_held_out(tmp_path, teacher):
    recipe = recipe_of(tmp_path, "aa")
    _, rest = development_score(recipe, both(teacher), PAIRS["aa"], None, lambda _: None)
    (held_out,) = set(PAIRS["aa"]) - set(rest)
    _, left = development_scores(recipe, both(teacher), {"aa": PAIRS["aa"]}, {}, lambda _: None, {held_out: 0.0})
    assert held_out in left["aa"]
    assert len(left["aa"]) == len(rest)


def test_a_pair_held_out_for_one_language_is_trained_on_for_none(tmp_path, teacher):
    recipe = recipe_of(tmp_path, "aa,bb")
    _, rest = development_score(recipe.of("aa"), both(teacher), PAIRS["aa"], None, lambda _: None)
    (held_out,) = set(PAIRS["aa"]) - set(rest)
    shared = {"aa": PAIRS["aa"], "bb": [*PAIRS["bb"], held_out]}
    _, left = development_scores(recipe, both(teacher), shared, {}, lambda _: None)
    assert held_out not in left["aa"] + left["bb"]


def test_a_language_with_too_few_pairs_has_no_part_in_the_mean(tmp_path, teacher):
    recipe, said = recipe_of(tmp_path, "aa,bb"), []
    score, left = development_scores(recipe, both(teacher), PAIRS | {"bb": PAIRS["bb"][:5]}, {}, said.append)
    alone, _ = development_score(recipe.of("aa"), both(teacher), PAIRS["aa"], None, said.append)
    assert score(teacher) == alone(teacher)
    assert left["bb"] == PAIRS["bb"][:5]
    assert "bb: too few pairs for a development score" in said
    nothing, _ = development_scores(recipe, both(teacher), {lang: p[:5] for lang, p in PAIRS.items()}, {}, said.append)
    assert nothing is None


def test_sentences_to_be_found_are_read_by_the_encoder_of_documents(tmp_path, teacher, student):
    recipe = recipe_of(tmp_path, "aa")
    score, left = development_score(recipe, Towers(teacher, student), PAIRS["aa"], None, lambda _: None)
    (held_out,) = set(PAIRS["aa"]) - set(left)
    english = [held_out.english, *(pair.english for pair in left)]
    found = (encode_queries(teacher, [held_out.foreign]) @ encode_sentences(student, english, query=False).T)[0]
    assert score(teacher) == pytest.approx(1 / (1 + int((found > found[0]).sum())))
    alike, _ = development_score(recipe, both(teacher), PAIRS["aa"], None, lambda _: None)
    assert score_fingerprint(score) != score_fingerprint(alike)


@pytest.fixture
def documents():
    """Documents in bb, with questions in English and in bb, judged as dev."""
    docs = [Doc(f"d{k}", "", pair.foreign) for k, pair in enumerate(PAIRS["bb"])]
    queries = {lang: [Query(f"q{k}", getattr(PAIRS["bb"][k], side)) for k in (0, 3, 5)]
               for lang, side in (("en", "english"), ("bb", "foreign"))}  # fmt: skip
    qrels = {"dev": [Qrel(f"q{k}", f"d{k}", 1) for k in (0, 3, 5)], "test": [Qrel("q9", "d1", 1)]}
    return Collection("turned", docs, queries, qrels, "", {}, "bb")


def test_documents_in_x_are_embedded_anew_for_each_score(tmp_path, teacher, student, documents):
    recipe, said = recipe_of(tmp_path, "bb"), []
    score, left = development_score(recipe, both(teacher), PAIRS["bb"], unembedded(documents), said.append)
    assert (left, said) == (PAIRS["bb"], ["development score: MAP of 3 dev queries, 12 bb documents"])
    ids, texts = [doc.id for doc in documents.docs], [doc.text for doc in documents.docs]
    for encoder in (teacher, student):
        vectors = document_vectors(encoder, ids, texts, tmp_path / "own")
        run = search(teacher, documents.queries["en"], vectors, ids, 100)
        assert score(encoder) == measure(run, documents.qrels["dev"], ("AP",)).mean["AP"]
    assert not (tmp_path / "cache").exists(), "nothing is kept of a score"


def test_questions_in_x_are_the_encoders_own_where_no_english_one_is_judged(tmp_path, teacher, documents):
    recipe = recipe_of(tmp_path, "bb")
    own = documents._replace(queries={"bb": documents.queries["bb"]})
    score, _ = development_score(recipe, both(teacher), PAIRS["bb"], unembedded(own), lambda _: None)
    assert score(teacher) == 1.0, "each question is its document, word for word"
    english, _ = development_score(recipe, both(teacher), PAIRS["bb"], unembedded(documents), lambda _: None)
    assert english(teacher) < 1.0


def test_judged_documents_come_before_others(tmp_path, teacher, documents, monkeypatch):
    recipe, said = recipe_of(tmp_path, "bb"), []
    monkeypatch.setattr(dev_score, "MATES_AMONG", 5)
    development_score(recipe, both(teacher), PAIRS["bb"], unembedded(documents), said.append)
    assert said == ["development score: MAP of 3 dev queries, 5 bb documents"]
    monkeypatch.setattr(dev_score, "MATES_AMONG", 2)
    development_score(recipe, both(teacher), PAIRS["bb"], unembedded(documents), said.append)
    assert said[1] == "development score: MAP of 3 dev queries, 3 bb documents"


def test_documents_in_x_without_dev_queries_leave_held_out_pairs(tmp_path, teacher, documents):
    recipe, said = recipe_of(tmp_path, "bb"), []
    bare = documents._replace(qrels={"test": documents.qrels["test"]})
    score, left = development_score(recipe, both(teacher), PAIRS["bb"], unembedded(bare), said.append)
    expected, rest = development_score(recipe, both(teacher), PAIRS["bb"], None, said.append)
    assert (score(teacher), left) == (expected(teacher), rest)
    assert said[0] == said[1] == f"development score: 1 held-out sentences, {FEW}, find their translation among 12"


def fingerprints(recipe, teacher, *searched):
    """Of the development score over each collection, embedded by the teacher where it is English."""
    found = []
    for collection in searched:
        one = unembedded(collection)
        if collection.docs_lang == "en":
            ids, texts = [doc.id for doc in collection.docs], [doc.text for doc in collection.docs]
            one = one._replace(vectors=document_vectors(teacher, ids, texts, recipe.folder / "vectors"))
        score, _ = development_score(recipe, both(teacher), PAIRS["bb"], one, lambda _: None)
        found.append(score_fingerprint(score))
    return found


@pytest.mark.parametrize("lang", ["en", "bb"])
def test_a_development_score_is_known_by_what_it_measures(tmp_path, teacher, documents, lang):
    recipe = recipe_of(tmp_path, "bb", out=str(tmp_path / "run"))
    plain = documents._replace(docs_lang=lang, queries={"bb": documents.queries["bb"]})
    asked, docs, judged = plain.queries["bb"], list(plain.docs), plain.qrels["dev"]
    key, again, *others = fingerprints(
        recipe, teacher, plain, plain._replace(name="elsewhere"),
        plain._replace(queries={"bb": [asked[0]._replace(text="other"), *asked[1:]]}),
        plain._replace(docs=[*docs[:-1], docs[-1]._replace(text="other")]),
        plain._replace(docs=[*docs[:-1], docs[-1]._replace(id="other")]),
        plain._replace(qrels={"dev": [*judged[:-1], judged[-1]._replace(relevance=2)]}),
        plain._replace(qrels={"dev": judged[:-1]}),
        plain._replace(qrels={}),  # held-out pairs instead
    )  # fmt: skip
    assert again == key
    assert len({key, *others}) == 7


def test_the_mean_of_several_languages_is_known_by_each(tmp_path, teacher):
    recipe = recipe_of(tmp_path, "aa,bb")
    changed = PAIRS | {"bb": [Pair(english, f"{foreign} r") for english, foreign, *_ in PAIRS["bb"]]}
    key, again, other, one = (
        score_fingerprint(development_scores(recipe, both(teacher), pairs, {}, lambda _: None)[0])
        for pairs in (PAIRS, PAIRS, changed, PAIRS | {"bb": PAIRS["bb"][:5]})
    )
    assert key == again
    assert len({key, other, one}) == 3


@pytest.fixture
def many():
    """Forty of four hundred pairs are held out: in each half of unseen words, short and long ones."""
    common = ["maji", "mtoto", "kitabu", "soko", "nyumba", "mvua"]
    draw = random.Random(0)
    texts = [" ".join(draw.choices(common, k=draw.randint(2, 9))) for _ in range(400)]
    own = ["".join(draw.choices("bcdfgh", k=9)) if k % 9 == 0 else "" for k in range(400)]
    foreign = [f"{text} {word}".strip() for text, word in zip(texts, own, strict=True)]
    return [Pair(f"{draw.choice(ENGLISH)} {k}", text) for k, text in enumerate(foreign)]


def test_held_out_sentences_count_by_strata(tmp_path, teacher, many):
    recipe, said = recipe_of(tmp_path, "aa", **{"training.held_out": 40}), []
    score, left = development_score(recipe, both(teacher), many, None, said.append)
    found = score.measured(teacher)
    assert [weight for weight, _ in found.strata] == [0.25] * 4
    assert found.queries == 40 == len(many) - len(left)
    assert score(teacher) == found.mean == pytest.approx(np.mean([values.mean() for _, values in found.strata]))
    assert "10 short of seen words (25 %); 10 long of seen words (25 %); 10 short with an unseen word" in said[0]
    (own,) = score.sets
    plain = own._replace(strata=())
    assert score_fingerprint(SetsScore([plain])) != score_fingerprint(score)
    ap = dict(zip((q for _, asked in own.strata for q in asked), (v for _, s in found.strata for v in s), strict=True))
    assert [ap[query.id] for query in own.queries] == plain.measured(teacher).strata[0].values.tolist()


def test_a_language_of_strata_weighs_no_more_than_one_without(tmp_path, teacher, many):
    recipe = recipe_of(tmp_path, "aa,bb", **{"training.held_out": 40})
    score, _ = development_scores(recipe, both(teacher), {"aa": many, "bb": PAIRS["bb"]}, {}, lambda _: None)
    found = score.measured(teacher)
    assert [weight for weight, _ in found.strata] == [0.125] * 4 + [0.5]
    assert np.isnan(found.error), "one language has one query"


def test_documents_in_x_give_values_by_query(tmp_path, teacher, documents):
    score, _ = development_score(
        recipe_of(tmp_path, "bb"), both(teacher), PAIRS["bb"], unembedded(documents), lambda _: None
    )
    assert score.measured(teacher).queries == 3
    assert score(teacher) == score.measured(teacher).mean
