"""ir_datasets ids, read by ir_datasets itself from files in its own formats, as if they had been downloaded."""

import gzip
import json
import re
import sys
from pathlib import Path

import pytest

from optical.data.collection import documents_of, read_collection, stream_docs
from optical.data.records import Doc, Qrel, Query
from optical.errors import DataError

ROOT = Path(__file__).parents[2]
pytest.importorskip("ir_datasets")

CLIRMATRIX = {"src_id": "77", "src_query": "Mto  Naili", "tgt_results": [["12", 6], ["13", 0], ["99", 2]]}


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text.encode()) if path.name.endswith(".gz") else text.encode())


def mmarco(home):
    """German questions; English passages and questions under the same ids; German passages, which nobody wants."""
    write(home / "mmarco" / "v2" / "german.queries.dev.tsv", "3\tWo ist der Nil?\n4\tUnbeurteilt\n5\tWer?\n")
    write(home / "mmarco" / "v2" / "german_collection.tsv", "0\tEin Fluss.\n1\tEin See.\n")
    write(home / "mmarco" / "v2" / "dutch.queries.dev.tsv", "3\tWaar ligt de Nijl?\n")
    write(home / "mmarco" / "qrels.dev.small.tsv", "3\t0\t0\t1\n5\t0\t1\t1\n")
    write(home / "msmarco-passage" / "irds_version.txt", "v2")
    write(home / "msmarco-passage" / "collection.tsv", "0\tA river.\n1\tA lake.\n2\t \n")
    write(home / "msmarco-passage" / "dev" / "small" / "queries.tsv", "3\tWhere is the Nile?\n5\tWho?\n")


def wikiclir(home):
    folder = home / "wikiclir" / "source" / "wiki-clir"
    write(
        folder / "english" / "wiki_en.queries",
        "8\tNile\tThe Nile is a river.\n9\tLake Victoria\tA lake.\n10\tOther\tx\n",
    )
    write(
        folder / "swahili" / "wiki_sw.documents", "1\tNaili\tNaili ni mto.\n2\tZiwa Viktoria\tZiwa kubwa.\n3\tTupu\t\n"
    )
    write(folder / "swahili" / "en2sw.rel", "8\t1\t2\n9\t2\t2\n9\t1\t1\n")


def clirmatrix(home):
    config = {
        "clirmatrix_docs": {
            f"docs/{lang}": {"url": "x://", "cache_path": f"{lang}.tsv.gz"} for lang in ("en", "sw", "tl")
        },
        "clirmatrix_bi139_base": {
            f"queries/{pair}/test1": {"url": "x://", "cache_path": f"{pair}.jsonl.gz"} for pair in ("sw_en", "en_sw")
        },
    }
    write(home / "clirmatrix" / "clirmatrix_downloads.json.gz", json.dumps(config))
    write(home / "clirmatrix" / "en.tsv.gz", "12\tNile The Nile is a river.\n13\tLake A lake.\n")
    write(home / "clirmatrix" / "sw.tsv.gz", "12\tNaili Naili ni mto.\n13\tZiwa Ziwa.\n")
    for pair in ("sw_en", "en_sw"):
        write(home / "clirmatrix" / f"{pair}.jsonl.gz", json.dumps(CLIRMATRIX) + "\n")


def others(home):
    """Persian passages of NeuMARCO for the English questions of MS MARCO: an id that this project says nothing of."""
    write(home / "neumarco" / "fa.tsv", "0\tرود\n1\tدریاچه\n0\tدوباره\n")
    write(home / "msmarco-passage" / "dev" / "small" / "qrels", "3\t0\t0\t1\n")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """The folder that ir_datasets reads, which it asks for when it is imported; nothing is fetched."""
    home = tmp_path_factory.mktemp("irds")
    for files in (mmarco, wikiclir, clirmatrix, others):
        files(home)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IR_DATASETS_HOME", str(home))
        for name in [name for name in sys.modules if name.partition(".")[0] == "ir_datasets"]:
            patch.delitem(sys.modules, name)
        import requests

        def offline(*_, **__):
            raise requests.exceptions.ConnectionError("no network")

        patch.setattr(requests, "get", offline)
        yield home
    for name in [name for name in sys.modules if name.partition(".")[0] == "ir_datasets"]:
        del sys.modules[name]


def message(path, langs=("en", "sw")):
    with pytest.raises(DataError) as caught:
        read_collection(path, langs)
    return str(caught.value)


def test_mmarco_is_asked_over_the_english_passages(home):
    collection = read_collection("irds:mmarco/v2/de/dev/small", ["en", "de"])
    assert (collection.name, collection.docs_lang) == ("mmarco/v2/de/dev/small", "en")
    assert collection.docs == [Doc("0", "", "A river."), Doc("1", "", "A lake.")]
    assert collection.queries == {
        "en": [Query("3", "Where is the Nile?"), Query("5", "Who?")],
        "de": [Query("3", "Wo ist der Nil?"), Query("5", "Wer?")],
    }
    assert collection.qrels == {"test": [Qrel("3", "0", 1), Qrel("5", "1", 1)]}
    assert collection.skipped == {"empty document, never found": 1}
    assert list(stream_docs("irds:mmarco/v2/de/dev/small")) == collection.docs


def test_mmarco_of_another_code_or_without_the_ceiling(home):
    assert list(read_collection("irds:mmarco/v2/de/dev/small", ["de"]).queries) == ["de"]
    dutch = read_collection("irds:mmarco/v2/dt/dev/small", ["nl"])
    assert dutch.queries == {"nl": [Query("3", "Waar ligt de Nijl?")]}
    assert dutch.skipped == {"empty document, never found": 1, "judgement without a query": 1}


def test_wikiclir_has_english_queries_and_documents_in_x(home):
    collection = read_collection("irds:wikiclir/sw", ["en", "sw"])
    assert (collection.name, collection.docs_lang) == ("wikiclir/sw", "sw")
    assert collection.docs == [
        Doc("1", "Naili", "Naili ni mto."),
        Doc("2", "Ziwa Viktoria", "Ziwa kubwa."),
        Doc("3", "", "Tupu"),
    ]
    assert collection.queries == {"en": [Query("8", "Nile"), Query("9", "Lake Victoria")]}
    assert collection.qrels == {"test": [Qrel("8", "1", 2), Qrel("9", "2", 2), Qrel("9", "1", 1)]}
    assert collection.skipped == {}
    assert list(stream_docs("irds:wikiclir/sw")) == collection.docs


def test_clirmatrix_names_the_documents_first(home):
    collection = read_collection("irds:clirmatrix/en/bi139-base/sw/test1", ["en", "sw"])
    assert collection.docs_lang == documents_of("irds:clirmatrix/en/bi139-base/sw/test1").lang == "en"
    assert [doc.text for doc in collection.docs] == ["Nile The Nile is a river.", "Lake A lake."]
    assert collection.queries == {"sw": [Query("77", "Mto Naili")]}
    assert collection.qrels == {"test": [Qrel("77", "12", 6), Qrel("77", "13", 0)]}
    assert collection.skipped == {"judgement of an unknown document": 1}
    other = read_collection("irds:clirmatrix/sw/bi139-base/en/test1", ["en", "sw"])
    assert (other.docs_lang, list(other.queries), other.docs[0].id) == ("sw", ["en"], "12")


def test_any_other_id_is_in_the_languages_that_ir_datasets_states(home):
    path = "irds:neumarco/fa/dev/small"
    assert documents_of(path).lang == "fa"
    assert message(path, ["en", "fa"]) == (
        f"document id '0' used twice (first on line 1): {path}:3; give each document an id of its own, which judgements"
        " can name"
    )
    write(home / "neumarco" / "fa.tsv", "0\tرود\n1\tدریاچه\n")
    collection = read_collection(path, ["en", "fa"])
    assert (collection.docs_lang, list(collection.queries)) == ("fa", ["en"])
    assert collection.skipped == {"query without judgement": 1}


def test_queries_that_do_not_say_their_language(home, monkeypatch):
    import ir_datasets

    for docs, langs, expected in (("fa", ["en", "fa"], "en"), ("en", ["en", "sw"], "sw"), ("en", ["en"], "en")):
        dataset = ir_datasets.load("neumarco/fa/dev/small")
        part = type("Part", (), {"queries_lang": lambda _: None, "docs_lang": lambda _, lang=docs: lang})()
        for name in ("docs_iter", "queries_iter", "qrels_iter", "has_docs", "has_queries", "has_qrels"):
            setattr(part, name, getattr(dataset, name))
        monkeypatch.setattr(ir_datasets, "load", lambda _, part=part: part)
        assert list(read_collection("irds:some/set", langs).queries) == [expected]
        monkeypatch.undo()


def test_ids_that_cannot_be_used(home):
    assert message("irds:mmarco/v2/dee/dev/small") == (
        "no such ir_datasets id: mmarco/v2/dee/dev/small; the nearest is mmarco/v2/de/dev/small; look it up with:"
        " ir_datasets list"
    )
    assert message("irds:qqqqqqqqqqqq") == "no such ir_datasets id: qqqqqqqqqqqq; look it up with: ir_datasets list"
    assert message("irds:clirmatrix/en/bi139-base/so/test1") == (
        "no such ir_datasets id: clirmatrix/en/bi139-base/so/test1; write clirmatrix/<documents>/bi139-base/<queries>/"
        "test1, with codes of its 139 languages"
    )
    expected = "no queries and no qrels in irds:mmarco/v2/de; choose an id with all three, such as a test or dev part"
    assert message("irds:mmarco/v2/de") == expected
    assert message("irds:msmarco-passage/eval/small").startswith("no qrels in irds:msmarco-passage/eval/small;")
    assert message("irds:wikiclir/sw", ["fi"]).startswith("no queries in fi: irds:wikiclir/sw; ask for a language that")
    assert "a language that is there (de)" in message("irds:mmarco/v2/de/dev/small", ["sw"])


def test_without_a_network_or_with_broken_files(home):
    offline = message("irds:mmarco/v2/fr/dev/small", ["fr"])
    assert offline.startswith("cannot get irds:mmarco/v2/fr/dev/small (no network); check the network and the space in")
    assert "placed there by hand" in offline
    whole = (home / "clirmatrix" / "en.tsv.gz").read_bytes()
    for broken in (whole[:-12], whole[:20] + b"xxxxx" + whole[25:], b"no gzip"):
        (home / "clirmatrix" / "tl.tsv.gz").write_bytes(broken)
        with pytest.raises(DataError, match=r"^cannot get irds:clirmatrix/tl"):
            list(stream_docs("irds:clirmatrix/tl"))
    write(home / "wikiclir" / "source" / "wiki-clir" / "finnish" / "wiki_fi.documents", "1\tonly\n")
    with pytest.raises(DataError, match=r"^cannot get irds:wikiclir/fi"):
        list(stream_docs("irds:wikiclir/fi"))


def test_without_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "ir_datasets", None)
    assert message("irds:wikiclir/sw") == (
        "ir_datasets is not installed, so irds:wikiclir/sw cannot be read; install the extra irds of optical"
    )


def test_the_documented_ids_have_the_documented_sizes_and_sides(home):
    import ir_datasets

    seen = 0
    for line in (ROOT / "docs" / "collections.md").read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        match = re.match(r"`([a-z0-9/<>-]+)`(?:; ([a-z]{2}) )?", cells[0]) if len(cells) == 10 else None
        if not match or not cells[4].replace(",", "").isdigit():
            continue
        dataset = ir_datasets.load(match[1].replace("<lang>", match[2] or ""))
        counts = (dataset.docs_metadata(), dataset.queries_metadata(), dataset.qrels_metadata())
        assert [f"{one['count']:,}" for one in counts] == cells[4:7], match[1]
        english = documents_of(f"irds:{match[1].replace('<lang>', match[2] or '')}").lang == "en"
        assert not cells[3] or cells[3].startswith("English" if english else "X"), match[1]
        seen += 1
    assert seen == 12
