"""What a run is made from: where a recipe's bitext and collection are, and what is read there.

Takes a recipe, gives clean pairs and a collection, and says what was left out. Knows no model and no training.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from optical.errors import DataError
from optical.recipe import Recipe
from optical.text.bitext import Bitext, read_bitext, without
from optical.text.collection import Collection, queries_of, read_collection

Say = Callable[[str], None]
SAMPLE = Path("data/sample")
DOWNLOADS = Path("data/bitext")


def bitext_path(recipe: Recipe) -> str:
    """Where the recipe's bitext is: named, downloaded, or the sample's.

    Raises:
        DataError: None of the three.
    """
    if recipe.bitext:
        return recipe.bitext
    for folder in (DOWNLOADS / recipe.lang, SAMPLE / recipe.lang / "bitext"):
        if folder.is_dir():
            return str(folder)
    known = sorted(p.parent.name for p in SAMPLE.glob("*/bitext"))
    raise DataError(
        f"no bitext for the language {recipe.lang!r}: neither {DOWNLOADS / recipe.lang} nor a sample (there is one for "
        f"{', '.join(known) or 'none'}); give your own with --bitext (make: BITEXT=path), or fetch public bitext with "
        f"`make data LANG={recipe.lang}`"
    )


def collection_path(recipe: Recipe) -> str | None:
    """Where the recipe's collection is: named, or the sample's; None where the language has none."""
    sample = SAMPLE / recipe.lang / "collection"
    return recipe.collection or (str(sample) if sample.is_dir() else None)


def read_inputs(recipe: Recipe, say: Say) -> tuple[Bitext, Collection | None]:
    """Bitext without the collection's queries, and the collection; what was left out is said."""
    path = collection_path(recipe)
    collection = read_collection(path, ["en", recipe.lang]) if path else None
    bitext = read_bitext(bitext_path(recipe), recipe.lang)
    for reason, count in bitext.skipped.items():
        say(f"bitext: {count} lines left out, {reason} (first at {bitext.examples[reason]})")
    if collection is None:
        return bitext, None
    for reason, count in collection.skipped.items():
        say(f"collection: {count} left out, {reason}")
    kept = without(bitext.pairs, [q.text for queries in collection.queries.values() for q in queries])
    if len(kept) < len(bitext.pairs):
        say(f"bitext: {len(bitext.pairs) - len(kept)} pairs left out, a side is a query of the collection")
    return bitext._replace(pairs=kept), collection


def run_collection(recipe: Recipe) -> Collection:
    """The recipe's collection, with its English queries and those in X.

    Raises:
        DataError: The recipe has none.
    """
    path = collection_path(recipe)
    if path is None:
        raise DataError(
            f"no collection for {recipe.lang!r}: give a folder with documents, queries and judgements by "
            "--collection (make: COLLECTION=path)"
        )
    return read_collection(path, ["en", recipe.lang])


def check_split(recipe: Recipe, collection: Collection) -> None:
    """Before anything takes time: there are judged queries in X to measure on."""
    name, there = recipe.search.split, ", ".join(collection.qrels)
    if name not in collection.qrels:
        raise DataError(f"{collection.name} has no split {name!r}, only {there}; set search.split")
    if not queries_of(collection, recipe.lang, name):
        raise DataError(f"{collection.name} judges no {recipe.lang} query in {name!r}; set search.split: {there}")
