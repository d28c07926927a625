"""What each job writes into the folder of a run, checked before any work: what is not ours there is refused."""

from __future__ import annotations

from optical.config.recipe import Recipe
from optical.config.teaching import Teaching
from optical.files import check_writable

RESULTS = [
    f"evaluation/*/{name}"
    for name in ("results.json", "table.md", "student.trec", "transplant-*.trec", "teacher-*.trec", "BM25-*.trec")
]
PERTURBED = ["evaluation/*/perturbed.json", "evaluation/*/perturbed.md"]
COMPARED = ["evaluation/*/comparison.md"]
DESCRIPTION = ["recipe.toml", "training.json", "manifest.json"]


def check_distill(recipe: Recipe) -> None:
    """Refuse a folder where the whole chain would replace something that this program did not write.

    Raises:
        DataError: It says what is in the way.
    """
    lexicons = [f"lexicon-{lang}.tsv" for lang in recipe.langs]
    models = ["transplant", "student", *(["colbert"] if recipe.late_interaction else [])]
    check_writable(recipe.folder, [*DESCRIPTION, *lexicons, *RESULTS], [*models, *_indexes(recipe)])


def check_transplant(recipe: Recipe) -> None:
    """The same before the transplant alone."""
    check_writable(recipe.folder, [], ["transplant"])


def check_teach(options: Teaching) -> None:
    """The same before an encoder is taught."""
    check_writable(options.folder, [*DESCRIPTION, *RESULTS], ["teacher"])


def check_index(recipe: Recipe) -> None:
    """The same before a run is indexed."""
    check_writable(recipe.folder, ["recipe.toml"], _indexes(recipe))


def check_evaluate(recipe: Recipe, names: list[str] = RESULTS) -> None:
    """The same before results are written: ``RESULTS``, ``PERTURBED`` or ``COMPARED``."""
    check_writable(recipe.folder, names)


def _indexes(recipe: Recipe) -> list[str]:
    """Of one collection that all languages share, or of each language."""
    return ["index", *(f"index-{lang}" for lang in recipe.langs if len(recipe.langs) > 1)]
