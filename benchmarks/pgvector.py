"""PostgreSQL with pgvector: recall of its index, its size, and milliseconds of a question there."""

from __future__ import annotations

import os
import statistics
import time

import numpy as np

from benchmarks.dense import some_vectors
from benchmarks.timing import CannotRunError, Options, markdown
from optical.data.collection import Collection
from optical.data.records import Doc
from optical.embeddings.embedded_collection import EmbeddedCollection
from optical.embeddings.vectors import no_vectors
from optical.errors import DataError
from optical.retrieval.pgvector.search import check, search
from optical.retrieval.pgvector.table import connect, table_of
from optical.retrieval.pgvector.write import write_documents

TABLE = "optical benchmark"  # dropped at the end
FACTS = {"teacher_fingerprint": "benchmark", "collection_checksum": "benchmark"}


def run(options: Options) -> str:
    """Markdown: of the server that OPTICAL_BENCH_POSTGRES=postgresql://... names."""
    try:
        table = table_of(os.environ.get("OPTICAL_BENCH_POSTGRES"), TABLE, TABLE)
        connect(table).close()
    except DataError as error:
        raise CannotRunError(str(error)) from error
    vectors, queries, what = some_vectors()
    docs = [Doc(f"d{n}", "", "") for n in range(len(vectors))]
    collection = Collection("drawn", docs, {}, {}, "", {})
    known = no_vectors(len(docs))._replace(sentences=vectors)
    start = time.perf_counter()
    write_documents(table, EmbeddedCollection(collection, known, [doc.id for doc in docs]), FACTS)
    written = time.perf_counter() - start
    exact = np.argsort(-queries @ vectors.T, axis=1, kind="stable")
    rows = []
    with connect(table, autocommit=True) as connection:
        kept = check(connection, table, FACTS)
        (size,) = connection.execute(
            "SELECT pg_relation_size(indexrelid) FROM pg_index WHERE indrelid = to_regclass(%s) AND NOT indisprimary",
            [table.identifier.as_string(connection)],
        ).fetchone() or (0,)
        for depth in (10, 100):
            times, hits = [], []
            for query, best in zip(queries, exact, strict=True):
                start = time.perf_counter()
                found = search(connection, table, kept, query, depth)
                times.append(1000 * (time.perf_counter() - start))
                hits.append(len({doc.id for doc, _ in found} & {f"d{n}" for n in best[:depth]}) / depth)
            rows.append([depth, f"{np.mean(hits):.4f}", f"{statistics.median(times):.1f}"])
        connection.execute('DROP TABLE "optical benchmark"')
    about = (
        f"{len(vectors)} {what}, {len(queries)} queries one by one; pgvector {'.'.join(map(str, kept.version))}, an "
        f"index of {kept.facts['index']}, {size / len(vectors):.0f} bytes a vector; written and indexed in "
        f"{written:.1f} s."
    )
    return f"## pgvector\n\n{about}\n\n{markdown(['k', 'recall', 'ms'], rows)}\n"
