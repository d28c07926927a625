"""Whose side a text is on, which collections can be measured or embedded, and what is said about the others."""

from __future__ import annotations

import pytest

from optical.data.collection import Collection
from optical.data.records import Qrel, Query
from optical.errors import DataError
from optical.pipeline.sides import (
    Sides,
    check_english,
    check_split,
    embeddable,
    judged,
    measurable,
    sides,
    unjudged,
)


def collection(name="small", *langs: str, docs_lang="en", **splits: str) -> Collection:
    """A collection without texts: queries q0, q1 and q2 in some languages, and the numbers of those a split judges."""
    queries = {lang: [Query(f"q{k}", f"{lang} {k}") for k in range(3)] for lang in langs}
    named = splits or {"test": "012"}
    qrels = {split: [Qrel(f"q{k}", f"d{k}", 1) for k in numbers] for split, numbers in named.items()}
    return Collection(name, [], queries, qrels, "0" * 64, {}, docs_lang)


def test_english_documents_are_asked_in_x_and_those_in_x_in_english():
    assert sides(collection("c", "en", "sw"), "sw", "test") == Sides("sw", "en")
    turned = collection("turned", "en", "sw", docs_lang="sw")
    assert sides(turned, "sw", "test") == Sides("en", "sw")
    only = turned._replace(queries={"sw": turned.queries["sw"]})
    assert sides(only, "sw", "test") == Sides("sw", "sw")
    unjudged = turned._replace(queries={"en": [Query("q9", "?")], "sw": turned.queries["sw"]})
    assert sides(unjudged, "sw", "test") == Sides("sw", "sw")


def test_a_language_without_a_collection_is_not_measured():
    said = []
    assert list(judged({"sw": None, "so": collection("c", "en", "so")}, "test", said.append)) == ["so"]
    assert said == ["sw is not measured: no collection for 'sw'"]
    assert judged({"sw": None, "so": None}, "test", pytest.fail) == {}


def test_a_language_without_queries_is_named_and_the_others_are_measured():
    poor, said = collection("poor", "en", "so"), []
    assert list(judged({"sw": poor, "so": poor}, "test", said.append)) == ["so"]
    assert said == ["sw is not measured: poor has no sw queries, of those wanted only en, so; add queries.sw.tsv"]


def test_nothing_to_measure_although_there_is_a_collection_is_an_error():
    none = collection("none", "en", dev="0", test="12")
    unjudged = collection("unjudged", "en", "sw", dev="12", test="0")
    unjudged.queries["sw"] = [Query("q1", "Soko liko wapi?")]
    for langs in (["sw"], ["sw", "so"]):
        with pytest.raises(DataError, match=r"^unjudged judges no sw query in 'test'; set search\.split: dev, test$"):
            judged(dict.fromkeys(langs, unjudged), "test", pytest.fail)
        with pytest.raises(DataError, match=r"^none has no sw queries, of those wanted only en; add queries\.sw\.tsv$"):
            judged(dict.fromkeys(langs, none), "test", pytest.fail)
        with pytest.raises(DataError, match="has no split 'train', only dev, test"):
            judged(dict.fromkeys(langs, none), "train", pytest.fail)
    with pytest.raises(DataError, match="^none has no sw queries"):
        judged({"so": None, "sw": none}, "test", pytest.fail)
    with pytest.raises(DataError, match="^none has no sw queries"):
        check_split(none, "sw", "test")
    check_split(none, "en", "test")


def test_documents_in_x_are_measured_for_x_alone():
    turned, said = collection("turned", "en", "so", docs_lang="sw"), []
    assert list(judged({"sw": turned, "so": turned}, "test", said.append)) == ["sw"]
    assert said == [
        "so is not measured: turned has sw documents, which nobody embeds: the teacher knows English, the student so; "
        "take English or so documents, or a run in sw"
    ]
    for other in ("fi", "so"):
        alone = {"so": turned._replace(docs_lang=other, queries={"fi": [Query("q1", "?")]})}
        expected = "which nobody embeds" if other == "fi" else "but judges no English"
        with pytest.raises(DataError, match=f"^turned has {other} documents, {expected}"):
            judged(alone, "test", pytest.fail)


def test_who_needs_english_documents_refuses_others():
    check_english("turned", "en")
    with pytest.raises(
        DataError, match="^the documents of turned are in sw, and here they have to be English: the stud"
    ):
        check_english("turned", "sw")


def test_documents_in_a_third_language_are_nobodys():
    for lang in ("en", "sw", "so"):
        assert list(embeddable({"sw": collection(docs_lang=lang)}, ["sw", "so"], pytest.fail)) == ["sw"]
    third = collection("turned", docs_lang="fi")
    message = (
        "turned has fi documents, which nobody embeds: the teacher knows English, the student sw,so; take English or "
        "sw,so documents, or a run in fi"
    )
    with pytest.raises(DataError, match=f"^{message}$"):
        embeddable({"sw": third, "so": third}, ["sw", "so"], pytest.fail)
    said = []
    assert list(embeddable({"sw": collection(), "so": third}, ["sw", "so"], said.append)) == ["sw"]
    assert said == [f"so is not indexed: {message}"]


def test_without_any_judgements_nothing_is_measured_and_what_must_measure_says_so():
    alone = collection("articles")._replace(qrels={})
    asked = collection("asked", "en", "sw")._replace(qrels={})
    assert judged({"sw": alone, "so": None}, "test", pytest.fail) == {}
    assert unjudged({"sw": alone, "so": asked, "tl": None}) == {}
    assert unjudged({"sw": asked, "so": collection("c", "so")}) == {"sw": asked}
    with pytest.raises(
        DataError, match=r"^nothing can be measured on articles, which has no judgements: name a folder"
    ):
        measurable({"sw": alone}, "test", pytest.fail)
    assert sides(asked, "sw", "test") == Sides("sw", "en")
    said = []
    assert list(judged({"sw": alone, "so": collection("c", "en", "so")}, "test", said.append)) == ["so"]
    assert said[0].startswith("sw is not measured: nothing can be measured on articles")
