"""A table of PostgreSQL: exact answers, only what changed is written, what is not ours is left, names are quoted."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

pytest.importorskip("psycopg", reason="the extra pgvector is not installed")

import psycopg

from optical.data.collection import Collection
from optical.data.records import Doc
from optical.embeddings.embedded_collection import EmbeddedCollection
from optical.embeddings.vectors import no_vectors
from optical.errors import DataError, Unavailable
from optical.retrieval.pgvector import table as tables
from optical.retrieval.pgvector import write
from optical.retrieval.pgvector.search import check, search
from optical.retrieval.pgvector.table import Table, connect, table_of, without_password

FACTS = {"teacher_fingerprint": "t" * 8, "collection_checksum": "c" * 8}
EVIL = 'a"; DROP TABLE "b'


@pytest.fixture(scope="module")
def url(postgres):
    return postgres.database("rows")


def embedded(texts: dict[str, str], vectors: np.ndarray) -> EmbeddedCollection:
    docs = [Doc(name, "", text) for name, text in texts.items()]
    known = no_vectors(len(docs))._replace(sentences=vectors.astype(np.float32))
    return EmbeddedCollection(Collection("drawn", docs, {}, {}, "c", {}), known, list(texts))


def drawn(count: int, size: int = 8, seed: int = 0) -> np.ndarray:
    found = np.random.default_rng(seed).standard_normal((count, size))
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def rows(url, name):
    """Id -> text and the version of the row, which PostgreSQL changes with every write."""
    with psycopg.connect(url) as connection:
        return {one: more for one, *more in connection.execute(f'SELECT id, text, xmin FROM "{name}"').fetchall()}


def ask(table, query, depth, facts=FACTS):
    with connect(table, autocommit=True) as connection:
        return search(connection, table, check(connection, table, facts), query, depth)


@pytest.mark.parametrize("count", [3, 700])
def test_the_ranking_is_that_of_exact_search(url, count):
    vectors, table = drawn(count), Table(url, None, f"drawn{count}")
    write.write_documents(table, embedded({f"d{n}": "x" for n in range(count)}, vectors), FACTS)
    for query in drawn(5, seed=1):
        exact = vectors @ query
        for depth in (1, 10, 2 * count):
            best = np.argsort(-exact, kind="stable")[:depth]
            found = ask(table, query, depth)
            assert [doc.id for doc, _ in found] == [f"d{n}" for n in best]
            np.testing.assert_allclose([score for _, score in found], exact[best], atol=2e-6)


def test_equal_scores_are_in_the_order_of_ids(url):
    table = Table(url, None, "equal")
    names = ["b", "a", "C", "d"]
    write.write_documents(table, embedded(dict.fromkeys(names, "x"), np.repeat(drawn(1), 4, axis=0)), FACTS)
    assert [doc.id for doc, _ in ask(table, drawn(1)[0], 3)] == ["C", "a", "b"]


def test_the_index_is_used_in_half_precision_where_the_server_has_it(url, postgres):
    table = Table(url, None, "used")
    write.write_documents(table, embedded({f"d{n}": "x" for n in range(700)}, drawn(700)), FACTS)
    with psycopg.connect(url) as connection:
        (made,) = connection.execute("SELECT indexdef FROM pg_indexes WHERE indexname LIKE 'used_emb%'").fetchone()
        expected = "halfvec" if tables.version_of(connection) >= (0, 7) else "embedding vector_ip_ops"
        assert "hnsw" in made
        assert expected in made
        kind = check(connection, table, FACTS).facts["index"]
        connection.execute("SET enable_seqscan = off")
        of, query = write.indexed(kind, 8).as_string(connection), "[" + ",".join(["1"] * 8) + "]"
        by = f"EXPLAIN SELECT id FROM used ORDER BY {of} <#> '{query}'::{kind}(8) LIMIT 5"
        assert "Index Scan using used_embedding" in str(connection.execute(by).fetchall())


def test_only_what_changed_is_written_and_what_is_gone_is_deleted(url):
    table, vectors = Table(url, None, "changing"), drawn(4)
    first = write.write_documents(table, embedded({"a": "1", "b": "2", "c": "3"}, vectors[:3]), FACTS)
    before = rows(url, "changing")
    again = write.write_documents(table, embedded({"a": "1", "b": "2", "c": "3"}, vectors[:3]), FACTS)
    assert (first[1:4], again[1:4]) == ((3, 3, 0), (3, 0, 0))
    assert rows(url, "changing") == before
    changed = embedded({"d": "4", "a": "1", "c": "changed"}, vectors[[3, 0, 1]])
    done = write.write_documents(table, changed, {**FACTS, "collection_checksum": "new"})
    after = rows(url, "changing")
    assert done[1:4] == (3, 2, 1)
    assert (after["a"], after["c"][0], sorted(after)) == (before["a"], "changed", ["a", "c", "d"])
    assert ask(table, vectors[1], 1, {**FACTS, "collection_checksum": "new"})[0][0] == Doc("c", "", "changed")
    with pytest.raises(DataError, match="is of another collection checksum: new, where the run has cccccccc; export"):
        ask(table, vectors[1], 1)


def test_an_export_that_is_stopped_leaves_what_was_there(url, monkeypatch):
    table, vectors = Table(url, None, "stopped"), drawn(3)
    write.write_documents(table, embedded({"a": "1", "b": "2"}, vectors[:2]), FACTS)
    before = rows(url, "stopped")
    monkeypatch.setattr(write, "_comment", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        write.write_documents(table, embedded({"a": "9", "c": "3"}, vectors[1:]), FACTS)
    assert rows(url, "stopped") == before


@pytest.mark.parametrize("name", [EVIL, "select", "Zürich schön", "with.dot", "%s {} $1"])
def test_names_are_quoted(url, name):
    table = Table(url, None, name)
    write.write_documents(table, embedded({"a": "1"}, drawn(1)), FACTS)
    assert write.write_documents(table, embedded({"a": "1"}, drawn(1)), FACTS).written == 0
    assert ask(table, drawn(1)[0], 3)[0][0].id == "a"


def test_a_schema_is_quoted_and_must_be_there(url):
    table = table_of(url, 'my schema;.my "table"', "-")
    with pytest.raises(
        Unavailable, match=r'InvalidSchemaName: schema "my schema;" does not exist.*nothing was changed'
    ):
        write.write_documents(table, embedded({"a": "1"}, drawn(1)), FACTS)
    with psycopg.connect(url) as connection:
        connection.execute('CREATE SCHEMA "my schema;"')
    write.write_documents(table, embedded({"a": "1"}, drawn(1)), FACTS)
    assert ask(table, drawn(1)[0], 3)[0][0].id == "a"


def test_text_is_kept_as_it_is_and_nul_is_one_message(url):
    table, odd = Table(url, None, "odd"), "\\N\t\n'; -- \U0001f327 \u202e %s"
    write.write_documents(table, embedded({odd: odd}, drawn(1)), FACTS)
    assert ask(table, drawn(1)[0], 1)[0][0] == Doc(odd, "", odd)
    with pytest.raises(DataError, match="document 'b' has a character NUL, which PostgreSQL cannot keep"):
        write.write_documents(table, embedded({odd: odd, "b": "x\0"}, drawn(2)), FACTS)


def test_metadata_is_kept_and_a_change_of_it_is_written(url):
    table, facts, one = Table(url, None, "metadata"), FACTS, embedded({"a": "1", "b": "2"}, drawn(2))
    fields = {"url": "https://h/?q='\"", "year": 1999, "tags": ["x", None], "of": {"ü": True}}
    for written in (2, 0):
        docs = [Doc("a", "", "1", json.dumps(fields)), Doc("b", "", "2")]
        kept = one._replace(collection=one.collection._replace(docs=docs))
        assert write.write_documents(table, kept, facts).written == written
    found = {doc.id: doc.metadata for doc, _ in ask(table, drawn(1)[0], 2)}
    assert found == {"a": fields, "b": {}}
    with psycopg.connect(url) as connection:
        rows = connection.execute("SELECT id FROM metadata WHERE metadata->>'year' = '1999'").fetchall()
    assert rows == [("a",)]
    assert write.write_documents(table, one, facts).written == 1
    nul = one._replace(collection=one.collection._replace(docs=[Doc("a", "", "1", json.dumps({"x": "\0"})), docs[1]]))
    with pytest.raises(DataError, match="document 'a' has a character NUL"):
        write.write_documents(table, nul, facts)


def test_what_is_not_ours_is_left_alone(url):
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE theirs (id text); COMMENT ON TABLE theirs IS 'orders'")
    with pytest.raises(DataError, match="theirs at postgresql.* is there already, and optical did not write it"):
        write.write_documents(Table(url, None, "theirs"), embedded({"a": "1"}, drawn(1)), FACTS)
    with pytest.raises(DataError, match="optical did not write theirs at .*; there is "):
        ask(Table(url, None, "theirs"), drawn(1)[0], 1)


@pytest.mark.parametrize(
    ("facts", "size", "says"),
    [
        ({"teacher_fingerprint": "other"}, 8, "of another teacher fingerprint: tttttttt, where the run has other"),
        ({"student_fingerprint": "s"}, 8, "of another student fingerprint: None, where the run has s"),
        ({"hubness": {"method": "csls"}}, 8, "of another hubness: None, where"),
        ({}, 9, "of another dimension: 8, where the run has 9; give another --name, or drop that table"),
    ],
)
def test_vectors_of_another_encoder_are_refused(url, facts, size, says):
    table = Table(url, None, "encoder")
    write.write_documents(table, embedded({"a": "1"}, drawn(1)), FACTS)
    with pytest.raises(DataError, match=says):
        write.write_documents(table, embedded({"a": "1"}, drawn(1, size)), {**FACTS, **facts})


def test_other_documents_do_not_replace_those_that_are_there(url):
    table = Table(url, None, "kept")
    write.write_documents(table, embedded({"a": "1"}, drawn(1)), FACTS)
    with pytest.raises(DataError, match="kept at .* holds 1 other documents, none of which is in this collection"):
        write.write_documents(table, embedded({"b": "1"}, drawn(1)), FACTS)


def test_more_dimensions_than_can_be_indexed_are_refused(url):
    with pytest.raises(DataError, match=r"pgvector 0\.\d.* indexes vectors of at most [24],000 dimensions.*4,001"):
        write.write_documents(Table(url, None, "wide"), embedded({"a": "1"}, drawn(1, 4001)), FACTS)
    with pytest.raises(DataError, match="there is no table wide"):
        ask(Table(url, None, "wide"), drawn(1, 4001)[0], 1)


def test_a_penalty_that_moved_is_written_again(url):
    table, facts = Table(url, None, "penalised"), {**FACTS, "hubness": {"method": "csls"}}
    vectors = np.hstack([drawn(3), [[0.1], [0.0], [-0.1]]])
    texts = {"a": "1", "b": "2", "c": "3"}
    write.write_documents(table, embedded(texts, vectors), facts)
    assert write.write_documents(table, embedded(texts, vectors), facts).written == 0
    vectors[0, -1] = 0.05
    assert write.write_documents(table, embedded(texts, vectors), facts).written == 1


def test_a_database_without_the_extension_is_one_message(postgres):
    table = Table(postgres.database("bare", extension=False), None, "t")
    with pytest.raises(DataError, match=r"the database of t at .* does not have .*pgvector\); run `CREATE EXTENSION"):
        connect(table)


def test_a_wrong_password_is_one_message_that_does_not_repeat_it(postgres, url):
    hba = postgres.folder / "pg_hba.conf"
    before = hba.read_text()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE ROLE locked LOGIN PASSWORD 'right'")
        hba.write_text("local all locked scram-sha-256\n" + before)
        connection.execute("SELECT pg_reload_conf()")
    for credentials, says in (("locked:s3cret@", "authentication failed"), ("locked@", "no password supplied")):
        told = None
        while told is None:  # until the server has read its file again
            try:
                connect(Table(url.replace("postgres@", credentials), None, "t")).close()
            except Unavailable as error:
                told = error
        assert re.search(f"cannot be reached .*{says}.*PGPASSWORD", str(told))
        assert "s3cret" not in str(told)
        assert not told.answered
    connect(Table(url.replace("postgres@", "locked:right@"), None, "t")).close()


def test_no_server_is_one_message():
    with pytest.raises(
        Unavailable, match="t at postgresql://me@127.0.0.1:1/db cannot be reached .*see that the server"
    ):
        connect(Table("postgresql://me:s3cret@127.0.0.1:1/db", None, "t"))
    with pytest.raises(DataError, match="the address of --url cannot be read") as told:
        connect(Table("postgresql://me:s3cret/x@127.0.0.1:1/db", None, "t"))
    assert "s3cret" not in str(told.value)


def test_a_table_is_named_by_table_or_schema_and_table():
    url = "postgresql://h/d"
    assert table_of(url, None, "my.run") == Table(url, None, "my.run")
    assert table_of(url, "a.b", "-") == Table(url, "a", "b")
    for name in ("a.b.c", ".", "a.", "x" * 64, "ü" * 32, "a\0"):
        with pytest.raises(DataError, match="is no name of a table: --name takes table or schema.table"):
            table_of(url, name, "-")
    for wrong in (None, "http://host:6333", "h/d"):
        with pytest.raises(DataError, match=r"PostgreSQL is reached by an address; received .*; add --url postgresql"):
            table_of(wrong, "a", "-")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://me:p@ss/w:rd@h:5432/d?x=1", "postgresql://me@h:5432/d?x=1"),
        ("postgresql://me@h/d", "postgresql://me@h/d"),
        ("postgresql://h/d?user=me&password=secret", "postgresql://h/d?user=me"),
        ("postgresql://h/d?password=secret&user=me", "postgresql://h/d?user=me"),
    ],
)
def test_a_password_is_never_shown(url, shown):
    assert without_password(url) == shown
    assert str(Table(url, "s", "t")) == f"s.t at {shown}"
