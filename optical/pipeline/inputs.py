"""Bitext and collections of a run: where those of a recipe are, what is read there and what is left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from optical.config.recipe import Recipe
from optical.data.bitext import Bitext, Pair, read_bitext, without
from optical.data.bitext_languages import swapped
from optical.data.bitext_sources import unnamed_files
from optical.data.collection import Collection, read_collection
from optical.data.collection_irds import IR_DATASETS
from optical.data.dictionary import Dictionary, Entry, read_dictionary
from optical.data.names import MOST, names_in
from optical.data.records import ENGLISH
from optical.errors import DataError
from optical.limits import exists
from optical.pipeline.sides import embeddable, judged

SAMPLE = Path("data/sample")
DOWNLOADS = Path("data/bitext")
ASKED = "a side is a query of the collection"


class Inputs(NamedTuple):
    """Bitext and collections that a run is made from.

    Attributes:
        bitexts: Language -> its pairs, of which no side is a query of a collection.
        collections: Language -> its collection, one object where languages share it; None where there is none.
        dictionaries: Language -> its dictionary; empty where the recipe has none.
    """

    bitexts: dict[str, Bitext]
    collections: dict[str, Collection | None]
    dictionaries: dict[str, Dictionary]

    @property
    def bitext_pairs(self) -> dict[str, list[Pair]]:
        """Language -> its pairs."""
        return {lang: bitext.pairs for lang, bitext in self.bitexts.items()}

    @property
    def weights(self) -> dict[Pair, float]:
        """Pair -> how often it is drawn for each time that others are, where that is not 1."""
        return {pair: weight for bitext in self.bitexts.values() for pair, weight in bitext.weights.items()}

    @property
    def pairs(self) -> list[Pair]:
        """The pairs of all languages, one language after the other."""
        return [pair for bitext in self.bitexts.values() for pair in bitext.pairs]

    @property
    def entries(self) -> list[Entry]:
        """The entries of all dictionaries, one language after the other."""
        return [entry for dictionary in self.dictionaries.values() for entry in dictionary.entries]

    def names(self) -> list[str]:
        """The most frequent names of all English documents, folded; the documents are read for them."""
        counts: Counter[str] = Counter()
        for one in distinct(self.collections):
            counts.update(names_in(doc.text for doc in one.docs) if one.docs_lang == ENGLISH else {})
        return [name for name, _ in counts.most_common(MOST)]


def bitext_path(recipe: Recipe) -> str:
    """Where the bitext of a recipe of one language is: named, downloaded, or the sample's.

    Raises:
        DataError: None of the three.
    """
    if recipe.bitext:
        return recipe.bitext
    for folder in (DOWNLOADS / recipe.lang, SAMPLE / recipe.lang / "bitext"):
        if folder.is_dir():
            return str(folder)
    known = sorted(p.parent.name for p in SAMPLE.glob("*/bitext"))
    there = f" (there is one for {', '.join(known)})" if known else ""
    raise DataError(
        f"no bitext for the language {recipe.lang!r}: neither {DOWNLOADS / recipe.lang} nor a sample{there}; give your "
        f"own with --bitext (make: BITEXT=path), or fetch public bitext with `optical data --lang {recipe.lang}` "
        f"(`make data LANG={recipe.lang}`)"
    )


def collection_path(recipe: Recipe) -> str | None:
    """Where the collection of a recipe of one language is: named, or the sample's; None where it has none."""
    sample = SAMPLE / recipe.lang / "collection"
    return recipe.collection or (str(sample) if sample.is_dir() else None)


def read_inputs(recipe: Recipe, say: Callable[[str], None]) -> Inputs:
    """Bitext without the collections' queries, and the collections; what was left out is said.

    Raises:
        DataError: A path that cannot be read, or a file that would be the bitext of two languages.
    """
    collections = read_collections(recipe)
    paths = {lang: bitext_path(recipe.of(lang)) for lang in recipe.langs}
    check_apart(paths)
    bitexts = {lang: read_bitext(path, lang) for lang, path in paths.items()}
    of = {lang: f"{lang}: bitext" if len(bitexts) > 1 else "bitext" for lang in bitexts}
    for lang, bitext in bitexts.items():
        for reason, count in bitext.skipped.items():
            say(f"{of[lang]}: {count} lines left out, {reason} (first at {bitext.examples[reason]})")
        if swapped(bitext.pairs):
            say(
                f"{of[lang]}: warning: the columns seem to be swapped, for it is the {lang} side of {paths[lang]} that "
                "has the common words of English; English comes first: awk -F'\\t' '{print $2 \"\\t\" $1}' FILE"
            )
    different = distinct(collections)
    say_skipped(different, say)
    asked = [q.text for collection in different for queries in collection.queries.values() for q in queries]
    for lang, bitext in bitexts.items():
        kept, skipped = without(bitext.pairs, asked), bitext.skipped
        if left := len(bitext.pairs) - len(kept):
            say(f"{of[lang]}: {left} pairs left out, {ASKED}")
            skipped = {**skipped, ASKED: left}
        bitexts[lang] = bitext._replace(pairs=kept, skipped=skipped)
        if len(bitext.given) > 1 or bitext.weights:
            say(f"{of[lang]}: {'; '.join(map(_said, bitexts[lang].facts()))}")
    return Inputs(bitexts, collections, read_dictionaries(recipe, {x: one.pairs for x, one in bitexts.items()}, say))


def _said(source: Mapping[str, Any]) -> str:
    """A source of bitext in words."""
    weight = "" if source["weight"] == 1 else f", weight {source['weight']:g}" if source["weight"] else ", words alone"
    return f"{source['pairs']:,} pairs of {source['name']}{weight}"


def read_dictionaries(
    recipe: Recipe, pairs: Mapping[str, Sequence[Pair]], say: Callable[[str], None]
) -> dict[str, Dictionary]:
    """Language -> its dictionary, compared with its bitext; what was left out is said.

    Raises:
        DataError: See :func:`optical.data.dictionary.read_dictionary`.
    """
    found = {}
    for lang, own in pairs.items():
        if path := recipe.of(lang).vocabulary.lexicon:
            found[lang] = read_dictionary(path, lang, own)
            for reason, count in found[lang].skipped.items():
                say(f"{path}: {count} left out, {reason} (first at {found[lang].examples[reason]})")
    return found


def read_collections(recipe: Recipe) -> dict[str, Collection | None]:
    """Language -> its collection, with queries in English and in X; None where a language has none.

    Languages with the same path get one object, which is read once and has the queries of them all.
    """
    paths = _collection_paths(recipe)
    sharing = {path: [lang for lang, other in paths.items() if other == path] for path in paths.values() if path}
    read = {path: read_collection(path, [ENGLISH, *langs]) for path, langs in sharing.items()}
    return {lang: read[path] if path else None for lang, path in paths.items()}


def say_skipped(collections: Iterable[Collection], say: Callable[[str], None]) -> None:
    """Say what was left out of the collections."""
    for collection in collections:
        for reason, count in collection.skipped.items():
            say(f"collection: {count} left out, {reason}")
        if collection.repeated:
            say(f"collection: {collection.repeated} with the title and text of an earlier document, all kept")


def run_collections(recipe: Recipe) -> dict[str, Collection]:
    """The collections of a recipe that has to have one, whoever embeds them; languages without are left out.

    Raises:
        DataError: The recipe has none.
    """
    found = {lang: collection for lang, collection in read_collections(recipe).items() if collection}
    if not found:
        raise no_collection(recipe.lang)
    return found


def first_collection(recipe: Recipe, say: Callable[[str], None], doing: str) -> tuple[str, Collection]:
    """The first language with a collection, and that collection; where there are others, that is said.

    Raises:
        DataError: There is no collection, or its documents are in a language that nobody embeds.
    """
    collections = run_collections(recipe)
    lang, collection = next(iter(collections.items()))
    embeddable({lang: collection}, recipe.langs)
    if len(distinct(collections)) > 1:
        say(f"{doing} the documents of {lang}; others: --set lang=...")
    return lang, collection


def asked_of(recipe: Recipe, lang: str) -> list[str]:
    """The languages of a run whose questions are asked of the same documents as those of ``lang``."""
    return [one for one in recipe.langs if collection_path(recipe.of(one)) == collection_path(recipe.of(lang))]


def first_judged(recipe: Recipe, say: Callable[[str], None]) -> Recipe:
    """The recipe as it reads for one language, where there is use for one: the first that can be measured.

    Raises:
        DataError: There are collections, but none judges a query of its language in the split.
    """
    if len(recipe.langs) == 1:
        return recipe.of(recipe.lang)
    measured = judged(read_collections(recipe), recipe.search.split, lambda _: None)
    lang = next(iter(measured), recipe.langs[0])
    say(f"taking {lang} of {', '.join(recipe.langs)}; another: --set lang=...")
    return recipe.of(lang)


def no_collection(lang: str) -> DataError:
    """Return the error to raise where the languages of a recipe have to have a collection and have none."""
    return DataError(
        f"no collection for {lang!r}: give a folder with documents, queries and judgements by --collection "
        "(make: COLLECTION=path), or documents alone by --docs (make: DOCS=path)"
    )


def distinct(collections: Mapping[str, Collection | None]) -> list[Collection]:
    """The collections, those that languages share once."""
    return list({id(collection): collection for collection in collections.values() if collection}.values())


def check_apart(paths: Mapping[str, str]) -> None:
    """Refuse a file that would be the bitext of two languages: a folder without one's own folder gives all it has.

    Args:
        paths: Language -> path of its bitext.

    Raises:
        DataError: A file of two columns, or another that does not say its language, is read for two of them.
    """
    taken: dict[Path, str] = {}
    for lang, path in paths.items() if len(paths) > 1 else ():
        for file in unnamed_files(path, lang):
            other = taken.setdefault(file, lang)
            if other != lang:
                raise DataError(
                    f"no bitext for {lang!r} alone: {path} has no folder {lang}, and {file}, which does not say its "
                    f"language, would be that of {other} too; put the files of each language into a folder of its "
                    "name, or write {lang} into the path where the language stands"
                )


def _collection_paths(recipe: Recipe) -> dict[str, str | None]:
    """Language -> path of its collection. Of several languages, one whose folder is not there has none."""
    paths = {lang: collection_path(recipe.of(lang)) for lang in recipe.langs}
    there = {
        lang: path if path and (path.startswith(IR_DATASETS) or exists(path)) else None for lang, path in paths.items()
    }
    return there if any(there.values()) else paths  # with none there, reading says what is missing
