"""Export a run's documents to PostgreSQL, and ask them there by the run's student."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from optical.config.recipe import Recipe
from optical.data.passages import PASSAGES
from optical.errors import DataError
from optical.models.encoders import Encoder, is_multi_vector
from optical.pipeline.exported_documents import OWN, Asking, asking, embedded_for_export
from optical.pipeline.inputs import first_collection
from optical.retrieval.matches import Hit
from optical.retrieval.pgvector import table as tables
from optical.retrieval.pgvector.search import check, search
from optical.retrieval.pgvector.table import Kept, Table, connect, explained
from optical.retrieval.pgvector.write import Written, write_documents

if TYPE_CHECKING:
    from psycopg import Connection


def table_of(recipe: Recipe, url: str | None, name: str | None) -> Table:
    """The table that options name; without a name, it is called as the folder of the run."""
    return tables.table_of(url, name, recipe.folder.resolve().name)


def export_pgvector(recipe: Recipe, table: Table, say: Callable[[str], None] = lambda _: None) -> Written:
    """Make a table hold the documents of a finished run with their vectors: only what has changed is written.

    Args:
        recipe: Of the run.
        table: New, or written by us with vectors by the same encoder.
        say: Told of progress.

    Raises:
        DataError: Late interaction, something else is there, the teacher is not the run's any more, or the database has
            no pgvector.
        Unavailable: The server does not answer, or refuses; nothing was changed.
    """
    connect(table).close()  # before documents are embedded
    embedded, facts = embedded_for_export(recipe, say, _check_single)
    return write_documents(table, embedded, facts, say)


class AskedTable:
    """A finished run and its documents in PostgreSQL: a connection that is lost is made again at the next question."""

    def __init__(self, run: Asking, table: Table, connection: Connection, kept: Kept) -> None:
        """Take a connection to the database, and what the table says of itself."""
        self.run, self.table = run, table
        self._connection, self._kept = connection, kept

    def answer_all(self, questions: Sequence[str], depth: int) -> list[list[Hit]]:
        """Passages for each question, best first, without matches. Not for several threads at once.

        Raises:
            Unavailable: The server does not answer, or refuses; it may do so at the next question.
        """
        queries = self.run.encode(questions)
        if self._connection.closed:
            self._connection = connect(self.table, autocommit=True)
        with explained(self.table):
            return [
                self.run.hits(lambda k, query=query: search(self._connection, self.table, self._kept, query, k), depth)
                for query in queries
            ]

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


@contextmanager
def opened(recipe: Recipe, table: Table, say: Callable[[str], None] = lambda _: None) -> Iterator[AskedTable]:
    """The student of a finished run and a connection, made once for any number of questions; closed at the end.

    Args:
        recipe: Of the run, whose student asks.
        table: Written by :func:`export_pgvector`.
        say: Told which language's documents are searched, where each has its own.

    Raises:
        DataError: Late interaction, no such table, or one of other documents, another teacher or another student.
        Unavailable: The server does not answer, or refuses.
    """
    lang, collection = first_collection(recipe, say, "searching")
    connection = connect(table, autocommit=True)
    try:
        run = asking(recipe, lang, collection)
        _check_single(run.student)
        with explained(table):
            kept = check(connection, table, run.facts, OWN)
        there = AskedTable(
            run.of_passages(kept.facts["rows"] if PASSAGES in kept.facts else 0), table, connection, kept
        )
    except BaseException:
        connection.close()
        raise
    try:
        yield there
    finally:
        there.close()


def _check_single(encoder: Encoder) -> None:
    """Refuse late interaction."""
    if is_multi_vector(encoder):
        raise DataError(
            "PostgreSQL takes one vector a document, and this run has one a token (late_interaction); search it by its "
            "own index, or export it --to qdrant"
        )
