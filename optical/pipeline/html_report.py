"""Write ``report.html`` into a run folder: one page that shows a run, or several beside each other.

The page loads nothing and runs nothing: no script, no font, no picture from elsewhere. Every text of a document or a
question is escaped by the template.
"""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from optical.config.recipe import Recipe, write_recipe
from optical.data.bitext import Pair
from optical.data.collection import Collection
from optical.data.records import ENGLISH
from optical.data.words import split_words
from optical.errors import DataError
from optical.evaluation.report import CEILING, STUDENT
from optical.evaluation.significance import holm, randomisation
from optical.files import file_written_whole, strict_json, write_text
from optical.pipeline.inputs import read_collections
from optical.pipeline.report_sections import Bar, Chart, Results, RunPage, chart, read_run_page
from optical.pipeline.run_folder import REPORTED, check_read, next_generation
from optical.version import __version__

if TYPE_CHECKING:
    from optical.models.encoders import Encoder
    from optical.training.distillation import Distilled

PAGE, COMPARISON = "report.html", "comparison.html"
SENTENCES = 3  # whose plans are on the page
LENGTHS = range(3, 11)  # words of such a sentence


class Compared(NamedTuple):
    """The students of several runs on one collection.

    Attributes:
        title: Of the collection.
        bars: The first run's ceiling, where it has one, and each run's student under the name of the run.
        tests: Name of each other run -> its MAP less the first run's, p-value, queries won, tied and lost; empty where
            they were asked different questions.
    """

    title: str
    bars: list[Bar]
    tests: dict[str, dict[str, Any]]


def page_after_distill(
    recipe: Recipe,
    teacher: Encoder,
    distilled: Distilled,
    collections: Mapping[str, Collection | None],
    say: Callable[[str], None],
) -> None:
    """Keep some plans and write the page of a run that has just ended; whatever fails here, the run is complete."""
    from optical.pipeline import align

    try:
        students = {align.BEFORE: distilled.start, align.AFTER: distilled.student}
        learnt = [pair for pair, _ in distilled.mixture.trained(recipe.training)]
        # The prior takes a word alignment for each student, which is for `optical align` to wait for.
        asked = [] if recipe.objective.prior else sentences(collections, learnt)
        plans = align.plans_for_page(recipe, teacher, students, asked, learnt)
        write_text(recipe.folder / "plans.json", strict_json(plans))
        write_page(recipe, collections)
    except Exception as error:  # noqa: BLE001 - hours of training are not lost for a page
        say(f"no {PAGE}: {type(error).__name__}: {error}; the run is complete without it")


def sentences(collections: Mapping[str, Collection | None], learnt: Sequence[Pair]) -> list[Pair]:
    """Some sentences in both languages: questions of the collections, which nobody has trained on, or else the bitext.

    Languages take turns.
    """
    asked: list[list[Pair]] = []
    for lang, collection in collections.items():
        english = {q.id: q.text for q in collection.queries.get(ENGLISH, [])} if collection else {}
        own = collection.queries.get(lang, []) if collection else []
        asked.append([Pair(english[q.id], q.text) for q in own if q.id in english])
    turns = [pair for row in zip(*(one for one in asked if one), strict=False) for pair in row]
    fitting = (pair for pair in turns or learnt if len(split_words(pair.foreign)) in LENGTHS)
    return [pair for pair, _ in zip(fitting, range(SENTENCES), strict=False)]


def report_runs(
    recipes: Sequence[Recipe], out: Path | None = None, say: Callable[[str], None] = lambda _: None
) -> Path:
    """Write the page of a finished run, or one that compares several.

    Args:
        recipes: Of the runs.
        out: The file; None for ``report.html`` in the run folder, or ``comparison.html`` in that of the first run.
        say: Told what the runs do not have.

    Raises:
        DataError: A run folder whose files are damaged; a file that is no .html, is in the way or cannot be written.
    """
    if out is not None and out.suffix.lower() not in (".html", ".htm"):  # a file of that name may be anything
        raise DataError(f"the page is HTML, received {out}; name it {out.with_suffix('.html')}")
    several = len(recipes) > 1
    name = COMPARISON if several else PAGE
    path = out or recipes[0].folder / name
    for recipe in recipes:
        check_read(recipe, *REPORTED)
    pages = [_read(recipe, None if several else _collections(recipe, say)) for recipe in recipes]
    if not several:
        for sentence in pages[0].missing:
            say(sentence)
    with _as_written(recipes):
        text = render(pages)
    try:
        if out is None:
            with next_generation(recipes[0], say) as (made, _):
                write_text(made.folder / name, text)
        else:
            with file_written_whole(out, anyones=True) as unfinished:
                unfinished.write_text(text, encoding="utf-8")
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror}; name another file with --out") from error
    return path


def write_page(recipe: Recipe, collections: Mapping[str, Collection | None]) -> None:
    """Write the page of a run whose collections are open."""
    write_text(recipe.folder / PAGE, render([_read(recipe, collections)]))


def _read(recipe: Recipe, collections: Mapping[str, Collection | None] | None) -> RunPage:
    with _as_written([recipe]):
        return read_run_page(recipe, collections)


@contextlib.contextmanager
def _as_written(recipes: Sequence[Recipe]) -> Iterator[None]:
    """Say of files that hold something else than a page shows whose they are; a stranger's may have any checksums."""
    from jinja2 import UndefinedError

    try:
        yield
    except (
        LookupError,
        TypeError,
        ValueError,
        ArithmeticError,
        AttributeError,
        StopIteration,
        UndefinedError,
    ) as error:
        folders = ", ".join(shlex.quote(str(one.folder)) for one in recipes)
        raise DataError(
            f"{folders}: a file of the run is not as it was written ({type(error).__name__}: {error}); copy the folder "
            "again, or measure again: optical evaluate RUN"
        ) from error


def _collections(recipe: Recipe, say: Callable[[str], None]) -> dict[str, Collection | None] | None:
    try:
        return read_collections(recipe)
    except DataError as error:
        say(f"no texts of questions and passages: {error}")
        return None


def render(pages: Sequence[RunPage]) -> str:
    """The page as HTML."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string((Path(__file__).parent / "report_page.html").read_text(encoding="utf-8"))
    pages = _named_apart(pages)
    shown: dict[str, Any] = {"runs": pages, "optical": __version__, "student": STUDENT}
    shown |= {"recipe_text": write_recipe(pages[0].recipe)}
    if len(pages) > 1:
        shown |= {"compared": [*_compared(pages)], "options": _different_options(pages), "curves": _curves(pages)}
    return template.render(shown).lstrip()


def _named_apart(pages: Sequence[RunPage]) -> list[RunPage]:
    """Runs whose folders have one name are called by their paths."""
    names = [page.name for page in pages]
    return [p if names.count(p.name) == 1 else p._replace(name=str(p.recipe.home)) for p in pages]


def _compared(pages: Sequence[RunPage]) -> Iterator[Compared]:
    """Each collection that two runs or more were measured on."""
    groups: dict[tuple[Any, ...], dict[str, Results]] = {}
    for page in pages:
        for results in page.results:
            groups.setdefault(results.key, {}).setdefault(page.name, results)
    for by_run in groups.values():
        if len(by_run) > 1:
            (first, base), *others = by_run.items()
            ceiling = base.bar(CEILING)
            bars = [bar._replace(system=name) for name, one in by_run.items() if (bar := one.bar(STUDENT))]
            tests = {name: test for name, one in others if (test := _test(one, base))}
            for test, adjusted in zip(tests.values(), holm([one["p_value"] for one in tests.values()]), strict=True):
                test["p_holm"] = adjusted
            yield Compared(f"{base.title}; compared with {first}", [*([ceiling] if ceiling else []), *bars], tests)


def _test(one: Results, base: Results) -> dict[str, Any] | None:
    """The paired test of two students, as results keep it; None where they were asked different questions."""
    if one.per_query.keys() != base.per_query.keys():
        return None
    differences = np.array([one.per_query[query] - base.per_query[query] for query in base.per_query])
    counts = {"win": int((differences > 0).sum()), "loss": int((differences < 0).sum())}
    found = {"difference": float(differences.mean()), "p_value": randomisation(differences), **counts}
    return {**found, "tie": len(differences) - counts["win"] - counts["loss"]}


def _different_options(pages: Sequence[RunPage]) -> dict[str, list[str]]:
    """Dotted name of each option that is not the same in all runs -> its value in each; folders aside."""
    flat = [dict(_flat(page.recipe.model_dump())) for page in pages]
    names = [name for name in flat[0] if name not in ("out", "cache")]
    values = {name: [str(one[name]) for one in flat] for name in names}
    return {name: row for name, row in values.items() if len(set(row)) > 1}


def _flat(options: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in options.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _curves(pages: Sequence[RunPage]) -> Chart | None:
    """The development scores of several runs."""
    return chart("Development score", {p.name: [(float(x), y) for x, y, _ in p.dev] for p in pages if p.dev})
