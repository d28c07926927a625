"""Where bitext and collections are, language by language, and what is said about what is not there."""

from __future__ import annotations

import json

import pytest

from optical.config.recipe import load_recipe
from optical.data.bitext import Pair
from optical.data.records import Query
from optical.errors import DataError
from optical.pipeline import inputs
from optical.pipeline.inputs import (
    Sides,
    check_apart,
    check_embeddable,
    check_english_documents,
    distinct,
    first_judged,
    judged,
    read_collections,
    read_inputs,
    run_collections,
    say_skipped,
    sides,
)

TEXTS = {
    "en": {"q0": "Who drinks water?", "q1": "Where is the market?", "q2": "Who cooks?"},
    "sw": {"q0": "Nani anakunywa maji?", "q1": "Soko liko wapi?", "q2": "Nani anapika?"},
    "so": {"q0": "Yaa biyo cabba?", "q1": "Suuqu waa xaggee?"},
}


def write_collection(folder, *langs: str, splits=None):
    folder.mkdir(parents=True)
    docs = [{"id": f"d{k}", "title": "", "text": f"text {k}"} for k in range(3)]
    (folder / "docs.jsonl").write_text("".join(json.dumps(doc) + "\n" for doc in docs), encoding="utf-8")
    for lang in langs:
        lines = (f"{name}\t{text}\n" for name, text in TEXTS[lang].items())
        (folder / f"queries.{lang}.tsv").write_text("".join(lines), encoding="utf-8")
    for split, queries in (splits or {"test": "012"}).items():
        (folder / f"qrels.{split}.tsv").write_text("".join(f"q{k} 0 d{k} 1\n" for k in queries), encoding="utf-8")
    return folder


@pytest.fixture
def data(tmp_path):
    """Bitext of two languages, a query of either among it, and a collection that both share."""
    for lang, pairs in {
        "sw": ["I drink water.\tNinakunywa maji.", "who cooks\tMpishi ni nani?", "Is it here?\tYaa biyo cabba?"],
        "so": ["Rain falls.\tRoob baa da'aya.", "Where?\tSuuqu waa xaggee", "Come in.\tSoo gal."],
    }.items():
        folder = tmp_path / "bitext" / lang
        folder.mkdir(parents=True)
        (folder / "a.tsv").write_text("\n".join([*pairs, "no tab"]), encoding="utf-8")
    write_collection(tmp_path / "collection", "en", "sw", "so")
    return tmp_path


def recipe_of(data, lang="sw,so", **more):
    named = {"bitext": str(data / "bitext"), "collection": str(data / "collection"), "out": str(data / "run")}
    return load_recipe(None, {"lang": lang, **named, **more})


def read(recipe):
    said = []
    return read_inputs(recipe, said.append), said


def test_each_language_has_its_own_pairs_without_the_queries_of_any(data):
    found, said = read(recipe_of(data))
    assert {lang: bitext.pairs for lang, bitext in found.bitexts.items()} == {
        "sw": [Pair("I drink water.", "Ninakunywa maji.")],
        "so": [Pair("Rain falls.", "Roob baa da'aya."), Pair("Come in.", "Soo gal.")],
    }
    assert found.pairs == [*found.bitexts["sw"].pairs, *found.bitexts["so"].pairs]
    assert "sw: bitext: 2 pairs left out, a side is a query of the collection" in said
    assert "so: bitext: 1 pairs left out, a side is a query of the collection" in said
    assert [line.split(" (")[0] for line in said if "wrong number" in line] == [
        "sw: bitext: 1 lines left out, wrong number of columns",
        "so: bitext: 1 lines left out, wrong number of columns",
    ]


def test_one_language_is_named_in_no_line(data):
    found, said = read(recipe_of(data, "so"))
    assert list(found.bitexts) == list(found.collections) == ["so"]
    assert said
    assert not [line for line in said if line.startswith("so")]


def test_a_collection_that_languages_share_is_read_once(data, monkeypatch):
    read = []
    original = inputs.read_collection
    monkeypatch.setattr(inputs, "read_collection", lambda *given: read.append(given) or original(*given))
    collections = read_collections(recipe_of(data))
    assert read == [(str(data / "collection"), ["en", "sw", "so"])]
    assert collections["sw"] is collections["so"]
    assert len(distinct(collections)) == 1


def test_paths_with_the_language_in_them(data):
    for lang in ("sw", "so"):
        write_collection(data / "own" / lang, "en", lang)
    recipe = recipe_of(data, bitext=str(data / "bitext/{lang}/a.tsv"), collection=str(data / "own" / "{lang}"))
    found, _ = read(recipe)
    assert [bitext.sources.keys() for bitext in found.bitexts.values()] == [
        {str(data / "bitext" / lang / "a.tsv")} for lang in ("sw", "so")
    ]
    assert [collection.queries.keys() for collection in found.collections.values()] == [{"en", "sw"}, {"en", "so"}]
    assert len(distinct(found.collections)) == 2
    assert first_judged(load_recipe(None, {"lang": "so", "bitext": "a/{lang}"}), print).bitext == "a/so"


def test_a_language_without_a_collection_of_its_own_is_not_measured(data):
    write_collection(data / "own" / "so", "en", "so")
    collections = read_collections(recipe := recipe_of(data, collection=str(data / "own" / "{lang}")))
    assert collections["sw"] is None
    said = []
    assert list(judged(recipe, collections, said.append)) == ["so"]
    assert said == ["sw is not measured: no collection for 'sw'"]
    assert list(run_collections(recipe)) == ["so"]
    assert first_judged(recipe, said.append).lang == "so"
    assert said[-1] == "taking so of sw, so; another: --set lang=..."


def test_a_language_without_queries_is_named_and_the_others_are_measured(data):
    write_collection(data / "poor", "en", "so")
    recipe, said = recipe_of(data, collection=str(data / "poor")), []
    assert list(judged(recipe, read_collections(recipe), said.append)) == ["so"]
    assert said == ["sw is not measured: poor has no sw queries, only en, so; add queries.sw.tsv"]


def test_nothing_to_measure_although_there_is_a_collection_is_an_error(data):
    write_collection(data / "none", "en", splits={"dev": "0", "test": "12"})
    write_collection(data / "unjudged", "en", "sw", splits={"dev": "12", "test": "0"})
    (data / "unjudged" / "queries.sw.tsv").write_text("q1\tSoko liko wapi?\n", encoding="utf-8")
    for lang in ("sw", "sw,so"):
        recipe = recipe_of(data, lang, collection=str(data / "unjudged"))
        with pytest.raises(DataError, match=r"unjudged judges no sw query in 'test'; set search\.split: dev, test"):
            judged(recipe, read_collections(recipe), pytest.fail)
        recipe = recipe_of(data, lang, collection=str(data / "none"))
        with pytest.raises(DataError, match=r"none has no sw queries, only en; add queries\.sw\.tsv"):
            judged(recipe, read_collections(recipe), pytest.fail)
        with pytest.raises(DataError, match="has no split 'train', only dev, test"):
            judged(recipe_of(data, lang, **{"search.split": "train"}), read_collections(recipe), pytest.fail)


def turned(data, docs_lang, *langs, **splits):
    """A collection with documents in X."""
    folder = write_collection(data / "turned", *langs, splits=splits or None)
    (folder / "docs.jsonl").rename(folder / f"docs.{docs_lang}.jsonl")
    return recipe_of(data, collection=str(folder))


def test_english_documents_are_asked_in_x_and_those_in_x_in_english(data):
    recipe = recipe_of(data, "sw")
    (collection,) = run_collections(recipe).values()
    assert sides(collection, "sw", "test") == Sides("sw", "en")
    (collection,) = run_collections(turned(data, "sw", "en", "sw").of("sw")).values()
    assert sides(collection, "sw", "test") == Sides("en", "sw")
    only = collection._replace(queries={"sw": collection.queries["sw"]})
    assert sides(only, "sw", "test") == Sides("sw", "sw")
    unjudged = collection._replace(queries={"en": [Query("q9", "?")], "sw": collection.queries["sw"]})
    assert sides(unjudged, "sw", "test") == Sides("sw", "sw")


def test_documents_in_x_are_measured_for_x_alone(data):
    recipe, said = turned(data, "sw", "en", "so"), []
    collections = read_collections(recipe)
    assert list(judged(recipe, collections, said.append)) == ["sw"]
    assert said == [
        "so is not measured: turned has sw documents, which nobody embeds: the teacher knows English, the student so; "
        "take English or so documents, or a run in sw"
    ]
    for other in ("fi", "so"):
        alone = {"so": collections["so"]._replace(docs_lang=other, queries={"fi": [Query("q1", "?")]})}
        expected = f"turned has {other} documents, " + (
            "which nobody embeds" if other == "fi" else "but judges no English"
        )
        with pytest.raises(DataError, match=f"^{expected}"):
            judged(recipe.of("so"), alone, pytest.fail)


def test_who_needs_english_documents_refuses_others(data):
    collections = run_collections(turned(data, "sw", "en"))
    assert collections.keys() == {"sw", "so"}
    with pytest.raises(
        DataError, match="^the documents of turned are in sw, and here they have to be English: the stud"
    ):
        check_english_documents(collections["sw"])


def test_documents_in_a_third_language_are_nobodys(data):
    recipe = turned(data, "sw", "en")
    collection = run_collections(recipe)["so"]
    for lang in ("en", "sw", "so"):
        check_embeddable(recipe, collection._replace(docs_lang=lang))
    with pytest.raises(DataError, match="^turned has fi documents, which nobody embeds: the teacher knows English, "
                       "the student sw,so; take English or sw,so documents, or a run in fi$"):  # fmt: skip
        check_embeddable(recipe, collection._replace(docs_lang="fi"))


def test_what_a_collection_leaves_out_is_said(data):
    collection = read_collections(recipe_of(data))["sw"]._replace(skipped={"a reason": 3, "another": 1})
    said = []
    say_skipped([collection], said.append)
    assert said == ["collection: 3 left out, a reason", "collection: 1 left out, another"]


def test_no_collection_at_all(data, monkeypatch):
    monkeypatch.chdir(data)
    recipe = recipe_of(data).model_copy(update={"collection": None})
    assert read_collections(recipe) == {"sw": None, "so": None}
    assert judged(recipe, read_collections(recipe), pytest.fail) == {}
    with pytest.raises(DataError, match="no collection for 'sw,so': give a folder"):
        run_collections(recipe)
    with pytest.raises(DataError, match="nowhere"):
        read_collections(recipe_of(data, collection=str(data / "nowhere" / "{lang}")))


def test_a_file_that_does_not_name_its_language_is_of_one_language(data):
    with pytest.raises(DataError) as caught:
        read(recipe_of(data, "sw,xx"))
    text = str(caught.value)
    assert f"no bitext for 'xx' alone: {data / 'bitext'} has no folder xx" in text
    assert f"{data / 'bitext' / 'sw' / 'a.tsv'}, which does not say its language, would be that of sw too" in text
    assert "write {lang} into the path" in text
    file = str(data / "bitext" / "sw" / "a.tsv")
    with pytest.raises(DataError, match="no bitext for 'so' alone"):
        check_apart({"sw": file, "so": file})
    check_apart({"sw": file})


def test_moses_files_of_several_languages_share_their_english(data):
    folder = data / "moses"
    folder.mkdir()
    for lang, text in {"en": "One\nTwo\n", "sw": "Moja\nMbili\n", "so": "Kow\nLaba\n"}.items():
        (folder / f"c.{lang}").write_text(text, encoding="utf-8")
    for path in (str(folder), str(folder / "c"), f"{folder / 'c.en'},{folder / 'c'}.{{lang}}"):
        found, _ = read(recipe_of(data, bitext=path))
        assert [pair.foreign for pair in found.pairs] == ["Moja", "Mbili", "Kow", "Laba"]


def test_a_language_without_bitext_is_told_where_to_get_some(data, monkeypatch):
    monkeypatch.chdir(data)
    with pytest.raises(DataError, match="no bitext for the language 'sw'.*`make data LANG=sw`"):
        read(recipe_of(data).model_copy(update={"bitext": None}))
