"""What a run is made from: where a recipe's bitext and collection are, what is read there, and whose side a text is on.

Takes a recipe, gives clean pairs and a collection for each of its languages, says what was left out and which languages
meet in a search. Knows no model and no training.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from optical.config.recipe import Recipe
from optical.data.bitext import Bitext, Pair, read_bitext, unnamed_files, without
from optical.data.collection import Collection, queries_of, read_collection
from optical.data.collection_irds import IR_DATASETS
from optical.data.records import ENGLISH
from optical.errors import DataError

Say = Callable[[str], None]
SAMPLE = Path("data/sample")
DOWNLOADS = Path("data/bitext")
STUDENTS = "the student of a run embeds those in X, in `optical evaluate` and `optical index`"


class Inputs(NamedTuple):
    """What a run is made from.

    Attributes:
        bitexts: Language -> its pairs, of which no side is a query of a collection.
        collections: Language -> its collection, one object where languages share it; None where there is none.
    """

    bitexts: dict[str, Bitext]
    collections: dict[str, Collection | None]

    @property
    def pairs(self) -> list[Pair]:
        """The pairs of all languages, one language after the other."""
        return [pair for bitext in self.bitexts.values() for pair in bitext.pairs]


class Sides(NamedTuple):
    """The languages that meet in a search: English is the teacher's to embed, X is the student's.

    Attributes:
        queries: Of the queries that are asked.
        documents: Of the documents that are searched.
    """

    queries: str
    documents: str


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
    raise DataError(
        f"no bitext for the language {recipe.lang!r}: neither {DOWNLOADS / recipe.lang} nor a sample (there is one for "
        f"{', '.join(known) or 'none'}); give your own with --bitext (make: BITEXT=path), or fetch public bitext with "
        f"`make data LANG={recipe.lang}`"
    )


def collection_path(recipe: Recipe) -> str | None:
    """Where the collection of a recipe of one language is: named, or the sample's; None where it has none."""
    sample = SAMPLE / recipe.lang / "collection"
    return recipe.collection or (str(sample) if sample.is_dir() else None)


def read_inputs(recipe: Recipe, say: Say) -> Inputs:
    """Bitext without the collections' queries, and the collections; what was left out is said.

    Raises:
        DataError: A path that cannot be read, or a file that would be the bitext of two languages.
    """
    collections = read_collections(recipe)
    paths = {lang: bitext_path(recipe.of(lang)) for lang in recipe.langs}
    check_apart(paths)
    bitexts = {lang: read_bitext(path, lang) for lang, path in paths.items()}
    for lang, bitext in bitexts.items():
        told = labelled(recipe, lang, say)
        for reason, count in bitext.skipped.items():
            told(f"bitext: {count} lines left out, {reason} (first at {bitext.examples[reason]})")
    different = distinct(collections)
    say_skipped(different, say)
    asked = [q.text for collection in different for queries in collection.queries.values() for q in queries]
    for lang, bitext in bitexts.items():
        kept = without(bitext.pairs, asked)
        if left := len(bitext.pairs) - len(kept):
            labelled(recipe, lang, say)(f"bitext: {left} pairs left out, a side is a query of the collection")
        bitexts[lang] = bitext._replace(pairs=kept)
    return Inputs(bitexts, collections)


def read_collections(recipe: Recipe) -> dict[str, Collection | None]:
    """Language -> its collection, with queries in English and in X; None where a language has none.

    Languages with the same path get one object, which is read once and knows the queries of them all.
    """
    paths = _collection_paths(recipe)
    sharing = {path: [lang for lang, other in paths.items() if other == path] for path in paths.values() if path}
    read = {path: read_collection(path, ["en", *langs]) for path, langs in sharing.items()}
    return {lang: read[path] if path else None for lang, path in paths.items()}


def say_skipped(collections: Iterable[Collection], say: Say) -> None:
    """Say what was left out of the collections."""
    for collection in collections:
        for reason, count in collection.skipped.items():
            say(f"collection: {count} left out, {reason}")


def run_collections(recipe: Recipe) -> dict[str, Collection]:
    """The collections of a recipe that has to have one, whoever embeds them; languages without are left out.

    Raises:
        DataError: The recipe has none.
    """
    found = {lang: collection for lang, collection in read_collections(recipe).items() if collection}
    if not found:
        raise no_collection(recipe)
    return found


def first_collection(recipe: Recipe, say: Say, doing: str) -> tuple[str, Collection]:
    """The first language with a collection, and that collection; where there are others, that is said.

    Raises:
        DataError: There is no collection, or its documents are in a language that nobody embeds.
    """
    collections = run_collections(recipe)
    lang, collection = next(iter(collections.items()))
    check_embeddable(recipe, collection)
    if len(distinct(collections)) > 1:
        say(f"{doing} the documents of {lang}; others: --set lang=...")
    return lang, collection


def no_collection(recipe: Recipe) -> DataError:
    """What to raise where a recipe has to have a collection and has none."""
    return DataError(
        f"no collection for {recipe.lang!r}: give a folder with documents, queries and judgements by --collection "
        "(make: COLLECTION=path)"
    )


def check_english_documents(collection: Collection) -> None:
    """Refuse documents that are not the teacher's to embed.

    Raises:
        DataError: They are in X.
    """
    check_english(collection.name, collection.docs_lang)


def check_english(name: str, docs_lang: str, why: str = STUDENTS) -> None:
    """The same, of a collection that has not been read; ``why`` ends the message with what to do.

    Raises:
        DataError: The documents are in X.
    """
    if docs_lang != ENGLISH:
        raise DataError(f"the documents of {name} are in {docs_lang}, and here they have to be English: {why}")


def check_embeddable(recipe: Recipe, collection: Collection) -> None:
    """Refuse documents that neither the teacher nor the student of the recipe knows.

    Raises:
        DataError: They are in a third language.
    """
    if collection.docs_lang not in (ENGLISH, *recipe.langs):
        raise DataError(_nobody_embeds(collection, recipe.lang))


def embeddable(
    recipe: Recipe, collections: Mapping[str, Collection], say: Say = lambda _: None
) -> dict[str, Collection]:
    """The collections whose documents somebody embeds; of several languages, the others are named.

    Raises:
        DataError: Nobody embeds any of them.
    """
    found, faults = {}, {}
    for lang, collection in collections.items():
        try:
            check_embeddable(recipe, collection)
            found[lang] = collection
        except DataError as error:
            faults[lang] = error
    if not found:
        raise next(iter(faults.values()))
    for lang, fault in faults.items():
        say(f"{lang} is not indexed: {fault}")
    return found


def sides(collection: Collection, lang: str, split: str) -> Sides:
    """Which languages meet when a run in X is measured: English documents are asked in X.

    Documents in X are asked in English where the split judges English queries, and in X otherwise.
    """
    if collection.docs_lang == ENGLISH:
        return Sides(lang, ENGLISH)
    english = ENGLISH in collection.queries and queries_of(collection, ENGLISH, split)
    return Sides(ENGLISH if english else lang, collection.docs_lang)


def distinct(collections: Mapping[str, Collection | None]) -> list[Collection]:
    """The collections, those that languages share once."""
    return list({id(collection): collection for collection in collections.values() if collection}.values())


def judged(recipe: Recipe, collections: Mapping[str, Collection | None], say: Say) -> dict[str, Collection]:
    """The collections of the languages that can be measured; of several languages, the others are named.

    Raises:
        DataError: There are collections, but none judges a query of its language in the split.
    """
    found, faults = {}, {}
    for lang, collection in collections.items():
        if collection is None:
            faults[lang] = f"no collection for {lang!r}"
        elif fault := _split_fault(recipe.search.split, lang, collection):
            faults[lang] = fault
        else:
            found[lang] = collection
    if not found and any(collections.values()):
        raise DataError(next(faults[lang] for lang, collection in collections.items() if collection))
    for lang, fault in faults.items() if found else ():
        say(f"{lang} is not measured: {fault}")
    return found


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


def first_judged(recipe: Recipe, say: Say) -> Recipe:
    """The recipe as it reads for one language, where there is use for one: the first that can be measured.

    Raises:
        DataError: There are collections, but none judges a query of its language in the split.
    """
    if len(recipe.langs) == 1:
        return recipe.of(recipe.lang)
    lang = next(iter(judged(recipe, read_collections(recipe), lambda _: None)), recipe.langs[0])
    say(f"taking {lang} of {', '.join(recipe.langs)}; another: --set lang=...")
    return recipe.of(lang)


def labelled(recipe: Recipe, lang: str, say: Say) -> Say:
    """The same, each line beginning with the language where the recipe has several."""
    return say if len(recipe.langs) == 1 else lambda text: say(f"{lang}: {text}")


def check_split(recipe: Recipe, collection: Collection) -> None:
    """Refuse a collection in which the recipe's one language has no side, or no judged query to go with it.

    Raises:
        DataError: It says which judgements there are.
    """
    if fault := _split_fault(recipe.search.split, recipe.lang, collection):
        raise DataError(fault)


def _split_fault(name: str, lang: str, collection: Collection) -> str:
    """Why nothing can be measured; empty when something can."""
    there = ", ".join(collection.qrels)
    if name not in collection.qrels:
        return f"{collection.name} has no split {name!r}, only {there}; set search.split"
    if collection.docs_lang != ENGLISH:
        return _foreign_fault(name, lang, collection)
    if lang not in collection.queries:
        return f"{collection.name} has no {lang} queries, only {', '.join(collection.queries)}; add queries.{lang}.tsv"
    if not queries_of(collection, lang, name):
        return f"{collection.name} judges no {lang} query in {name!r}; set search.split: {there}"
    return ""


def _foreign_fault(name: str, lang: str, collection: Collection) -> str:
    """The same for documents that are not English."""
    documents = collection.docs_lang
    if documents != lang:
        return _nobody_embeds(collection, lang)
    asked = sides(collection, lang, name).queries
    if asked in collection.queries and queries_of(collection, asked, name):
        return ""
    return (
        f"{collection.name} has {lang} documents, but judges no English and no {lang} query in {name!r}; add "
        f"queries.en.tsv, or set search.split: {', '.join(collection.qrels)}"
    )


def _nobody_embeds(collection: Collection, lang: str) -> str:
    documents = collection.docs_lang
    return (
        f"{collection.name} has {documents} documents, which nobody embeds: the teacher knows English, the student "
        f"{lang}; take English or {lang} documents, or a run in {documents}"
    )


def _collection_paths(recipe: Recipe) -> dict[str, str | None]:
    """Language -> path of its collection. Of several languages, one whose folder is not there has none."""
    paths = {lang: collection_path(recipe.of(lang)) for lang in recipe.langs}
    there = {
        lang: path if path and (path.startswith(IR_DATASETS) or Path(path).expanduser().exists()) else None
        for lang, path in paths.items()
    }
    return there if any(there.values()) else paths  # with none there, reading says what is missing
