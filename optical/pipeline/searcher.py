"""A finished run in Python: questions answered, texts encoded, plans shown, measures read; made for notebooks too."""

from __future__ import annotations

import json
import shlex
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, overload

import numpy as np

from optical.config.arguments import check_arguments
from optical.config.recipe import Recipe, load_recipe
from optical.data.words import cut
from optical.errors import DataError, RecipeError
from optical.evaluation.report import Report, from_dict
from optical.evaluation.tables import Table, html
from optical.models import encoders
from optical.pipeline import preflight
from optical.pipeline.align import Plans, align_run
from optical.pipeline.answer import LoadedRun, answer_all, load_run
from optical.pipeline.evaluate import evaluation_folder
from optical.pipeline.run_folder import SEARCHED, check_results, kept
from optical.pipeline.verify import check_files, read_manifest
from optical.retrieval.matches import Hit

SHOWN = 200  # characters of a passage in a table


class Hits(list[Hit]):
    """The passages of a question, best first; a notebook shows them as a table.

    Attributes:
        question: As it was asked.
    """

    def __init__(self, question: str, hits: Iterable[Hit]) -> None:
        """Keep a question and its passages."""
        super().__init__(hits)
        self.question = question

    def table(self) -> Table:
        """A row for each passage: rank, score, title, text, id."""
        rows = []
        for rank, hit in enumerate(self, start=1):
            text = hit.doc.text[slice(*hit.span)] if hit.span else hit.doc.text
            rows.append((str(rank), f"{hit.score:.4f}", hit.doc.title, cut(text, SHOWN), hit.doc.id))
        return Table(self.question, ("", "score", "title", "passage", "id"), rows, left=5)

    def __repr__(self) -> str:
        """A line for each passage."""
        lines = [f"{len(self)} passages for {self.question!r}"]
        for rank, hit in enumerate(self, start=1):
            lines.append(f"{rank}. {hit.doc.title or cut(hit.doc.text, 60)}  {hit.doc.id}  {hit.score:.4f}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return html(self.table())


class Searcher:
    """A finished run that is loaded once for any number of questions; threads may share it.

    It holds the student, the index and its documents; ``close`` or the end of a ``with`` lets go of them, as the end of
    the object itself does.

    Attributes:
        recipe: Of the run.
    """

    def __init__(self, recipe: Recipe) -> None:
        """Load a run.

        Raises:
            DataError: See :func:`optical.pipeline.answer.load_run`.
        """
        preflight.before_search(recipe)
        self.recipe = recipe
        self._loaded: LoadedRun | None = load_run(recipe)
        self._one_at_a_time = threading.RLock()  # encoders and their tokenizers are not for several threads at once

    @overload
    def search(self, questions: str, k: int = 5) -> Hits: ...  # pyright: ignore[reportOverlappingOverload] - a str
    @overload
    def search(self, questions: Iterable[str], k: int = 5) -> list[Hits]: ...
    def search(self, questions: str | Iterable[str], k: int = 5) -> Hits | list[Hits]:
        """Search for a question, or for several.

        Args:
            questions: In X; one text, or any number of them.
            k: How many passages for each.

        Returns:
            The passages, best first; of several questions a list of these in their order.

        Raises:
            DataError: A question that is empty, too long or no text.
            RecipeError: A ``k`` that is no number from 1 on.
        """
        if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
            raise RecipeError(f"k = {k!r}: give the number of passages, 1 or more")
        asked = [preflight.checked_question(text) for text in _texts("questions", questions)]
        with self._one_at_a_time:
            answers = answer_all(self._run, asked, int(k)) if asked else []
        found = [Hits(text, hits) for text, hits in zip(asked, answers, strict=True)]
        return found[0] if isinstance(questions, str) else found

    def encode(self, texts: str | Iterable[str]) -> np.ndarray | list[np.ndarray]:
        """Encode questions by the student, with its prompt.

        Args:
            texts: In X; one is a list of one.

        Returns:
            Unit vectors ``(n, d)``; of late interaction a list of ``(t, d)``, a row for each token.
        """
        with self._one_at_a_time:
            return encoders.encode_queries(self._run.student, _texts("texts", texts))

    def align(self, foreign: str, english: str) -> Plans:
        """Show which words of a sentence of X go to which of its translation, before and after training.

        Args:
            foreign: A sentence of X.
            english: Its translation.
        """
        check_arguments("text", {"foreign": foreign, "english": english}, required=True)
        with self._one_at_a_time:
            return Plans(align_run(self.recipe, foreign, english))

    def report(self) -> Report:
        """The measures of the last evaluation on this collection; a notebook shows them as a table of systems.

        Raises:
            DataError: There was none.
        """
        run = self._run
        file = evaluation_folder(self.recipe, run.collection.name, run.lang, None) / "results.json"
        made = read_manifest(self.recipe.folder)
        check_files(self.recipe.folder, [file.relative_to(self.recipe.folder).as_posix()])
        try:
            results = json.loads(file.read_text(encoding="utf-8"))
            check_results(self.recipe, file, results, made)
            return from_dict(results)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{file}: no measures ({type(error).__name__}); measure with `optical evaluate "
                f"{shlex.quote(str(self.recipe.folder))}`, which needs judged questions"
            ) from error

    @property
    def _run(self) -> LoadedRun:
        if self._loaded is None:
            raise DataError(f"the searcher of {self.recipe.folder} is closed; load it again by optical.load")
        return self._loaded

    def close(self) -> None:
        """Let go of student, index and documents."""
        self._loaded = None

    def __enter__(self) -> Searcher:
        """Give the searcher itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    def __repr__(self) -> str:
        """The run, its languages and its documents."""
        name = f"Searcher({str(self.recipe.folder)!r})"
        if self._loaded is None:
            return f"{name}, closed"
        documents = self._loaded.collection
        return f"{name}: {self.recipe.lang}, {len(documents.docs):,} documents of {documents.name}"


def load(run: str | Path, options: dict[str, Any]) -> Searcher:
    """Load the run of a folder; ``options`` change its recipe, None leaves an option as it is.

    Raises:
        DataError: No finished run is there, or what it searches is not.
        RecipeError: An option that is wrong.
    """
    given = {name: value for name, value in options.items() if value is not None}
    return Searcher(load_recipe(kept(Path(run), *SEARCHED), {**given, "out": str(run)}))


def _texts(name: str, given: Any) -> Sequence[str]:
    if isinstance(given, bytes) or not isinstance(given, Iterable):
        raise DataError(f"{name}: {type(given).__name__} is no text; give a text, or a list of texts")
    texts = [given] if isinstance(given, str) else list(given)
    for number, text in enumerate(texts):
        if not isinstance(text, str):
            raise DataError(f"{name}[{number}] is {type(text).__name__} {repr(text)[:60]}, no text; give texts")
    return texts
