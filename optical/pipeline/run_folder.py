"""Check the folder of a run before any work: what a job would replace there has to be ours; write it whole."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from optical.config.recipe import Recipe
from optical.config.section import OfRun
from optical.errors import DataError, OpticalError
from optical.files import check_writable
from optical.generation import READY, settle
from optical.generation import next_generation as switched_whole
from optical.marker import marker_of
from optical.pipeline.verify import MANIFEST, check_files, note_files

Options = TypeVar("Options", bound=OfRun)
Say = Callable[[str], None]

RESULTS = [
    f"evaluation/*/{name}"
    for name in (
        "results.json",
        "table.md",
        "student.trec",
        "transplant-*.trec",
        "teacher-*.trec",
        "BM25-*.trec",
        "PSQ-*.trec",
    )
]
PERTURBED = ["evaluation/*/perturbed.json", "evaluation/*/perturbed.md"]
COMPARED = ["evaluation/*/comparison.md"]
DESCRIPTION = ["recipe.toml", "training.json", "manifest.json"]
PAGE = ["report.html", "plans.json"]
BANK = "bank.tsv"  # questions of the bitext by which hubness is measured: language, English, X
DISTILLED = [
    *DESCRIPTION, *PAGE, BANK, "lexicon-*.tsv", "psq-*.tsv", "transplant", "student", "index", "index-*", "evaluation",
]  # fmt: skip
TAUGHT = [*DESCRIPTION, "teacher", "evaluation"]
SEARCHED = ["index", "index-*"]  # what verbs read besides student and recipe
MEASURED = [*SEARCHED, "transplant", "lexicon-*.tsv", "psq-*.tsv"]
REPORTED = ["evaluation", "training.json", "plans.json"]
PARTS = [*DISTILLED, "teacher", "colbert", "router", "onnx", "mteb", "comparison.html"]


@contextlib.contextmanager
def next_generation(options: Options, say: Say, anew: Sequence[str] = ()) -> Iterator[tuple[Options, Say]]:
    """Make what a job writes into the folder of its run one change of it, by :mod:`optical.generation`.

    Within a job that does so already nothing is added.

    Args:
        options: Of the job.
        say: Its messages; paths in them, and in errors, are those that files have in the end.
        anew: ``DISTILLED`` or ``TAUGHT``, of which nothing is taken over.

    Returns:
        Options whose ``folder`` is where the next generation is made, and where to say something.

    Raises:
        DataError: Another job is writing the run.
    """
    home = options.home
    if options.folder != home:
        yield options, say
        return
    with switched_whole(home, PARTS, anew, note_files) as made:
        try:
            yield options.made_in(made), lambda line: say(line.replace(str(made), str(home)))
        except OpticalError as error:
            error.args = tuple(str(arg).replace(str(made), str(home)) for arg in error.args)
            raise


def kept(run: Path, *parts: str) -> Path:
    """Path of the recipe in the folder of a run, whose student and given parts are as they were written.

    Raises:
        DataError: The folder has none, or a file of these is missing or damaged.
    """
    settle(run)
    if not (run / "recipe.toml").is_file():
        raise DataError(
            f"{run}: no recipe.toml, so this is not a finished run; name a folder that `optical distill` left"
        )
    if (run / "student").exists() or (run / MANIFEST).exists():  # without either, that is told when it is looked for
        check_files(run, ["recipe.toml", "student", BANK, *parts])
    return run / "recipe.toml"


def threads_begun(run: Path) -> int | None:
    """Threads of the training that was stopped in the folder of a run; None where there is none, or none is noted.

    With others the same command would give another student (:mod:`optical.training.checkpoints` notes them).
    """
    lists = [(file.stat().st_mtime_ns, file) for file in run.glob("checkpoints-*/checkpoint-*/checkpoint.json")]
    for _, file in sorted(lists, reverse=True):
        with contextlib.suppress(OSError, ValueError, AttributeError):  # who goes on from it says what is wrong
            threads = json.loads(file.read_text(encoding="utf-8")).get("threads")
            return threads if isinstance(threads, int) and threads > 0 else None
    return None


def check_read(options: OfRun, *parts: str) -> None:
    """Refuse a run whose student or given parts are not as they were written; every job that reads a run asks here.

    Within the job that makes its next generation nothing is asked: it was when the job began. A student that was put
    into a folder by hand has nothing to be compared with.

    Raises:
        DataError: A file is missing or damaged.
    """
    if options.folder == options.home:
        settle(options.home)
        if _is_run(options.home) or (options.home / MANIFEST).exists():
            check_files(options.home, ["student", BANK, *parts])


def check_part(folder: Path) -> None:
    """Refuse a student or a teacher that is read by its own folder, where that is part of a run and not as written.

    Args:
        folder: Of any encoder; other names of some are let through.

    Raises:
        DataError: A file is missing or damaged, or the manifest of the run is.
    """
    if folder.is_dir() and _is_run(folder.parent):
        settle(folder.parent)
        check_files(folder.parent, [folder.name])


def _is_run(folder: Path) -> bool:
    """Whether a job of this program wrote a folder, also where the manifest, by which files are checked, is gone."""
    # Without hidden files a copy has no marker, and nor has an old run.
    return MANIFEST in marker_of(folder).files or all((folder / one).is_file() for one in DESCRIPTION[:2])


def read_files(run: Path) -> dict[Path, tuple[int, int]]:
    """Number and time of the files that answers are made of: others where a job wrote the run anew meanwhile."""
    found = {}
    for pattern in ("recipe.toml", "manifest.json", "student/**/*", "index*/**/*", "evaluation/*/results.json", READY):
        for file in run.glob(pattern):
            with contextlib.suppress(FileNotFoundError):
                status = file.stat()
                found[file] = (status.st_ino, status.st_mtime_ns)
    return found


def check_distill(recipe: Recipe) -> None:
    """Refuse a folder where the whole chain would replace something that this program did not write.

    Raises:
        DataError: It says what is in the way.
    """
    lexicons = [f"{name}-{lang}.tsv" for lang in recipe.langs for name in ("lexicon", "psq")]
    models = ["transplant", "student", *(["colbert"] if recipe.late_interaction else [])]
    check_writable(recipe.folder, [*DESCRIPTION, *PAGE, BANK, *lexicons, *RESULTS], [*models, *_indexes(recipe.langs)])


def check_transplant(run: Path) -> None:
    """Refuse a folder whose transplant this program did not write."""
    check_writable(run, [], ["transplant"])


def check_teach(run: Path) -> None:
    """Refuse a folder where teaching would replace something that this program did not write."""
    check_writable(run, [*DESCRIPTION, *RESULTS], ["teacher"])


def check_index(recipe: Recipe) -> None:
    """Refuse a folder where an index or the recipe would replace something that this program did not write."""
    check_writable(recipe.folder, ["recipe.toml"], _indexes(recipe.langs))


def check_evaluate(run: Path, names: list[str] = RESULTS) -> None:
    """Refuse a folder where results would replace something else: ``RESULTS``, ``PERTURBED`` or ``COMPARED``."""
    check_writable(run, names)


def _indexes(langs: Sequence[str]) -> list[str]:
    """Names of the index of a collection that all languages share, and of those of each language."""
    return ["index", *(f"index-{lang}" for lang in langs if len(langs) > 1)]


def check_results(recipe: Recipe, file: Path, results: Mapping[str, Any], made: Mapping[str, Any]) -> bool:
    """Whether results are of the run's own student on one collection, and not of another one by ``--student``.

    Args:
        recipe: Of the run.
        file: ``results.json``.
        results: Its contents.
        made: The manifest of the run.

    Raises:
        DataError: They are where those of its own student are, and of another one.
    """
    if not {"collection", "split"} <= results.keys():  # the summary of several languages
        return False
    known = recipe.model_copy(update={"search": recipe.search.model_copy(update={"split": results["split"]})})
    own = {evaluation_folder(known, results["collection"], lang, None).name for lang in recipe.langs}
    given, wanted = results.get("fingerprint"), made.get("fingerprint")  # both missing in older runs
    if file.parent.name in own and given and wanted and given != wanted:
        raise DataError(
            f"{file} is of another student than {recipe.folder / 'student'}: its fingerprint is {given}, not {wanted}; "
            f"run `optical evaluate {recipe.folder}`"
        )
    return file.parent.name in own


def evaluation_folder(recipe: Recipe, name: str, lang: str, student: Path | None) -> Path:
    """Where results are kept; ``lang`` is in the name where the recipe has several."""
    parts = [name.strip("/").replace("/", "-").replace(":", "-"), recipe.search.split]
    parts += [lang] if len(recipe.langs) > 1 else []
    return recipe.folder / "evaluation" / "-".join([*parts, *([student.resolve().name] if student else [])])
