"""Where bitext and collections are, language by language, and what is said about what is not there."""

from __future__ import annotations

import json

import pytest

from optical.config.recipe import load_recipe
from optical.data.bitext import Pair
from optical.errors import DataError
from optical.pipeline import inputs
from optical.pipeline.inputs import (
    asked_of,
    check_apart,
    distinct,
    first_judged,
    read_collections,
    read_inputs,
    run_collections,
    say_skipped,
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


def test_several_sources_are_said_by_name_and_weight(data):
    more = data / "more.tsv"
    more.write_text("Play music.\tCheza muziki.\nwho cooks\tnani anapika?\n", encoding="utf-8")
    words = data / "words.tsv"
    words.write_text("Save\tHifadhi\n", encoding="utf-8")
    found, said = read(recipe_of(data, "sw", bitext=f"{data}/bitext,{more}@0.5,{words}@0"))
    assert said[-1] == "bitext: 2 pairs of bitext; 1 pairs of more, weight 0.5; 1 pairs of words, words alone"
    assert found.weights == {Pair("Play music.", "Cheza muziki."): 0.5, Pair("Save", "Hifadhi"): 0.0}


def test_each_language_has_its_own_dictionary(data):
    for lang, lines in {"sw": "water\tmaji\nhouse\tnyumba sana mno mno mno mno", "so": "rain\troob"}.items():
        (data / "lexicon" / lang).mkdir(parents=True)
        (data / "lexicon" / lang / "a.tsv").write_text(lines, encoding="utf-8")
    for path in ("lexicon", "lexicon/{lang}/a.tsv"):
        found, said = read(recipe_of(data, **{"vocabulary.lexicon": str(data / path)}))
        assert found.entries == [("water", "maji"), ("rain", "roob")]
        (line,) = [line for line in said if "explanation" in line]
        assert line.endswith(f"1 left out, an explanation, not a translation (first at {data}/lexicon/sw/a.tsv:2)")
    assert read(recipe_of(data))[0].dictionaries == {}


def test_a_language_without_a_collection_of_its_own_has_none(data):
    write_collection(data / "own" / "so", "en", "so")
    collections = read_collections(recipe := recipe_of(data, collection=str(data / "own" / "{lang}")))
    assert collections["sw"] is None
    said = []
    assert list(run_collections(recipe)) == ["so"]
    assert first_judged(recipe, said.append).lang == "so"
    assert said[-1] == "taking so of sw, so; another: --set lang=..."


def test_what_a_collection_leaves_out_is_said(data):
    collection = read_collections(recipe_of(data))["sw"]._replace(skipped={"a reason": 3, "another": 1})
    said = []
    say_skipped([collection], said.append)
    assert said == ["collection: 3 left out, a reason", "collection: 1 left out, another"]
    say_skipped([collection._replace(skipped={}, repeated=2)], said.append)
    assert said[2:] == ["collection: 2 with the title and text of an earlier document, all kept"]


def test_no_collection_at_all(data, monkeypatch):
    monkeypatch.chdir(data)
    recipe = recipe_of(data).model_copy(update={"collection": None})
    assert read_collections(recipe) == {"sw": None, "so": None}
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


def test_swapped_columns_are_suspected_aloud(tmp_path):
    lines = [("There are cows in the field that we have.", "Ng'ombe wako shambani kwetu sasa.")] * 1
    lines += [(f"This is the house of number {k} and it is big.", f"Nyumba namba {k} ni kubwa sana.") for k in range(9)]
    for name, columns in (("right", (0, 1)), ("swapped", (1, 0))):
        text = "".join(f"{pair[columns[0]]}\t{pair[columns[1]]}\n" for pair in lines)
        (tmp_path / f"{name}.tsv").write_text(text, encoding="utf-8")
        recipe, said = load_recipe(None, {"lang": "sw", "bitext": str(tmp_path / f"{name}.tsv")}), []
        read_inputs(recipe.model_copy(update={"collection": None}), said.append)
        assert [line for line in said if "swapped" in line and "awk" in line and "\n" not in line] == (
            [line for line in said if "warning" in line] if name == "swapped" else []
        )
        assert any("swapped" in line for line in said) == (name == "swapped")


def test_languages_that_ask_the_same_documents():
    shared, apart = {"lang": "sw,so", "collection": "docs"}, {"lang": "sw,so", "collection": "docs/{lang}"}
    assert asked_of(load_recipe(None, shared), "sw") == ["sw", "so"]
    assert asked_of(load_recipe(None, apart), "so") == ["so"]
