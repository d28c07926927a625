"""A run's documents in PostgreSQL: the answers of its own index, with penalties and of documents in X; refusals."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("psycopg", reason="the extra pgvector is not installed")

import psycopg

from optical.config.recipe import load_recipe
from optical.errors import DataError, Unavailable
from optical.pipeline import answer, embed, exported_documents, index, pgvector
from optical.pipeline.embed import load_teacher
from optical.pipeline.hubness import save_banks
from optical.pipeline.manifest import write_manifest
from optical.retrieval.pgvector.table import Table
from tests.pipeline.test_evaluate import ENGLISH, QUESTIONS, finished, in_x, models, write_collection  # noqa: F401 - fixtures
from tests.pipeline.test_hubness import SENTENCES
from tests.runs import DOCUMENTS, tiny_run

ASKED = ("who plants maize ?", "the dog", "rain in april", "zebra", "?")


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    return tiny_run(tmp_path_factory.mktemp("single"))


@pytest.fixture(scope="module")
def table(recipe, postgres):
    """Where the documents of the run are."""
    found = Table(postgres.database("runs"), None, "tiny")
    assert pgvector.export_pgvector(recipe, found)[1:4] == (len(DOCUMENTS), len(DOCUMENTS), 0)
    return found


def same_answers(recipe, table):
    """Of the run's own index and of the table."""
    with answer.opened(recipe) as own, answer.opened(recipe, table) as there:
        for question in ASKED:
            for depth in (1, 4, 100):
                one, other = own.answer(question, depth), there.answer(question, depth)
                assert [hit.score for hit in other] == pytest.approx([hit.score for hit in one], abs=1e-5)
                if depth == 100:  # at a smaller depth equal scores may be cut
                    assert sorted(hit.doc for hit in other) == sorted(hit.doc for hit in one)
        return there.answer("who plants maize ?", 1)[0].doc


def test_the_answers_are_those_of_the_run(recipe, table):
    assert same_answers(recipe, table)[:3] == DOCUMENTS[0]
    assert pgvector.export_pgvector(recipe, table)[1:4] == (len(DOCUMENTS), 0, 0)


def test_penalties_are_a_dimension_there_too(tmp_path, table):
    plain = tiny_run(tmp_path)
    save_banks(plain.folder, {"sw": SENTENCES})
    recipe = load_recipe(plain.folder / "recipe.toml", {"search.hubness": "sinkhorn"})
    index.index_run(recipe)
    own = table._replace(name="penalised")
    for expected in (len(DOCUMENTS), 0):
        assert pgvector.export_pgvector(recipe, own).written == expected
    same_answers(recipe, own)
    with pytest.raises(DataError, match=r"of another hubness: \{'method': 'sinkhorn', .*\}, where the run has None"):
        pgvector.export_pgvector(plain, own)
    with pytest.raises(DataError, match="of another hubness: "), answer.opened(plain, own):
        pass


def test_one_document_more_is_one_row_more(tmp_path, table):
    recipe, own = tiny_run(tmp_path), table._replace(name="growing")
    pgvector.export_pgvector(recipe, own)
    with (tmp_path / "collection" / "docs.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps({"id": "new", "title": "", "text": "zebra zebra"}) + "\n")
    with pytest.raises(DataError, match="growing at .* is of another collection checksum"), answer.opened(recipe, own):
        pass
    assert pgvector.export_pgvector(recipe, own)[1:4] == (len(DOCUMENTS) + 1, 1, 0)
    with answer.opened(recipe, own) as there:
        assert there.answer("zebra", 100)[0].doc.id == "new"


def test_documents_in_x_are_the_students(finished, tmp_path, table, monkeypatch):
    recipe, own = finished(write_collection(tmp_path / "turned", "xx", ["en"])), table._replace(name="turned")
    write_manifest(recipe, load_teacher(recipe), {})
    monkeypatch.setattr(embed, "teacher_towers", lambda *_: pytest.fail("the teacher was loaded"))
    assert pgvector.export_pgvector(recipe, own).written == len(ENGLISH)
    with answer.opened(recipe, own) as there:
        best = there.answer(in_x(QUESTIONS[2]), 8)[0]
    assert (best.doc.id, best.doc.text) == ("d2", in_x(ENGLISH[2]))


def test_another_teacher_is_refused(tmp_path, table):
    recipe = tiny_run(tmp_path)
    manifest = recipe.folder / "manifest.json"
    manifest.write_text(json.dumps({"teacher_fingerprint": "f" * 16}), encoding="utf-8")
    with pytest.raises(DataError, match="is of another teacher fingerprint"), answer.opened(recipe, table):
        pass
    with pytest.raises(DataError, match="is not the one that taught this student"):
        pgvector.export_pgvector(recipe, table)


def test_late_interaction_is_refused_before_documents_are_embedded(tmp_path, table, monkeypatch):
    recipe = tiny_run(tmp_path, late=True)
    monkeypatch.setattr(exported_documents, "embed_documents", lambda *_: pytest.fail("documents were embedded"))
    with pytest.raises(DataError, match="PostgreSQL takes one vector a document, and this run has one a token"):
        pgvector.export_pgvector(recipe, table)
    with pytest.raises(DataError, match="own index, or export it --to qdrant"), answer.opened(recipe, table):
        pass


def test_a_server_that_is_not_there_is_said_before_anything_is_loaded(recipe, monkeypatch):
    for module, name in ((embed, "teacher_towers"), (exported_documents, "load_student")):
        monkeypatch.setattr(module, name, lambda *_: pytest.fail("a model was loaded"))
    gone = Table("postgresql://127.0.0.1:1/db", None, "t")
    with pytest.raises(Unavailable, match="cannot be reached"):
        pgvector.export_pgvector(recipe, gone)
    with pytest.raises(Unavailable, match="cannot be reached"), answer.opened(recipe, gone):
        pass


def test_a_connection_that_is_lost_is_made_again_at_the_next_question(recipe, table):
    with answer.opened(recipe, table) as there:
        first = there.answer("milk", 3)
        with psycopg.connect(table.url, autocommit=True) as other:
            other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND "
                "application_name = 'optical'"
            )
        with pytest.raises(Unavailable, match="tiny at .* does not do what was asked") as told:
            there.answer("milk", 3)
        assert not told.value.answered
        assert there.answer("milk", 3) == first


def test_the_command_line_exports_and_searches(recipe, table, command):
    place = ("--url", table.url.replace("postgres@", "postgres:s3cret@"), "--name", "public.from cli")
    code, out, err = command("export", recipe.folder, "--to", "pgvector", *place, "--set", "seed=0")
    assert (code, err) == (0, "")
    assert "9 documents are in public.from cli at postgresql://postgres@/runs" in out
    assert "s3cret" not in out
    where = f"--engine pgvector --url '{table.url}' --name 'public.from cli' --set seed=0"
    told = [line.strip() for line in out.splitlines() if line.startswith("  optical")]
    assert told == [f"optical search {recipe.folder} 'your question' {where}", f"optical serve {recipe.folder} {where}"]
    asked = ("search", recipe.folder, "who writes a letter ?", "-k", 2)
    own, there = command(*asked), command(*asked, "--engine", "pgvector", *place)
    assert there[:2] == own[:2]
    for options, code, says in (
        (("--engine", "pgvector"), 1, "PostgreSQL is reached by an address; received none"),
        (("--engine", "pgvector", *place[:2], "--path", "x"), 2, "only --engine qdrant has a folder"),
        (place, 2, "only --engine qdrant or pgvector has a place"),
    ):
        found, _, err = command(*asked, *options)
        assert (found, says in err) == (code, True)
    code, _, err = command("export", recipe.folder, "--to", "pgvector", *place, "--shards", 2)
    assert (code, "these options are for --to qdrant" in err) == (2, True)


def test_passages_are_searched_and_documents_answered(tmp_path, table):
    recipe, own = tiny_run(tmp_path, **{"search.passages": 16}), table._replace(name="passages")
    done = pgvector.export_pgvector(recipe, own)
    assert done.documents > len(DOCUMENTS)
    assert pgvector.export_pgvector(recipe, own).written == 0
    same_answers(recipe, own)
    with answer.opened(recipe) as mine, answer.opened(recipe, own) as there:
        one, other = mine.answer("the river is long", 1), there.answer("the river is long", 1)
    assert (other[0].doc, other[0].span) == (one[0].doc, one[0].span)
    assert (other[0].doc.id, bool(other[0].span)) == ("d8", True)
    whole = recipe.model_copy(update={"search": recipe.search.model_copy(update={"passages": "off"})})
    with pytest.raises(DataError, match="of another passages: 16, where the run has None; give another --name"):
        pgvector.export_pgvector(whole, own)
