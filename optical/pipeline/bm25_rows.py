"""The BM25 rows of a report: English documents searched for the words of questions in X, and the student fused with it.

Questions are asked as they are, by a lexicon of the bitext word by word, and translated where translations are given.
Where BM25 cannot run, it is said why and there are no such rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from optical.config.recipe import Recipe
from optical.config.search import Search
from optical.data.bitext import Pair
from optical.data.collection import Collection
from optical.data.document_store import FullTexts, ids_of
from optical.data.records import Query
from optical.data.trec_run import Run, rank
from optical.errors import DataError
from optical.files import write_text
from optical.retrieval import fusion
from optical.retrieval.lexical import bm25
from optical.retrieval.lexical.translate import read_translations, translate_by_lexicon
from optical.training.augmentation import read_synonyms
from optical.vocabulary.lexicon import bitext_lexicon

UNTRANSLATED, BY_LEXICON, TRANSLATED = "BM25, untranslated", "BM25, bitext lexicon", "BM25, translated"
FUSED = "student and BM25"
HELD_IN_MEMORY = 2_000_000  # documents, up to which `auto` takes bm25s: some 5 GB while it indexes


def save_lexicons(recipe: Recipe, pairs: Mapping[str, Sequence[Pair]], langs: Iterable[str]) -> None:
    """Write the lexicons of the bitext into the folder of the run, for the languages that are measured."""
    if recipe.search.bm25 == "off" or bm25.available(recipe.search.bm25)[0] is None:
        return
    for lang in langs:
        words = sorted(bitext_lexicon(pairs[lang]).items())
        write_text(_lexicon_path(recipe.folder, lang), "".join(f"{word}\t{' '.join(found)}\n" for word, found in words))


def lexical_runs(
    recipe: Recipe, collection: Collection, queries: Sequence[Query], say: Callable[[str], None]
) -> dict[str, Run]:
    """Search by words: name of the row -> run, the most telling last; none where BM25 is off or cannot run.

    Args:
        recipe: Of one language.
        collection: With English documents.
        queries: In X.
        say: Told the engine, or why there is no row.

    Raises:
        DataError: The file of translations cannot be used.
        RecipeError: The engine that was asked for cannot run.
    """
    chosen = recipe.search.bm25
    if chosen == "off":
        return {}
    engine, sentence = bm25.available(chosen)
    if engine is None and chosen == bm25.AUTO:
        say(f"skipped: {sentence}")
        return {}
    if (engine, chosen) == (bm25.BM25S, bm25.AUTO) and len(collection.docs) > HELD_IN_MEMORY:
        say(
            f"BM25 skipped: bm25s holds the words of all {len(collection.docs)} documents in memory, some 2.4 kB each; "
            "run `make setup-bm25` for lucene, which does not, or set search.bm25 = bm25s"
        )
        return {}
    asked = _asked(recipe, queries)
    try:
        runs = _runs(recipe, collection, asked)
    except DataError as error:
        if chosen != bm25.AUTO:
            raise
        say(f"BM25 skipped: {error}")
        return {}
    say(sentence)
    return runs


def _runs(recipe: Recipe, collection: Collection, asked: Mapping[str, Sequence[Query]]) -> dict[str, Run]:
    ids, texts = ids_of(collection.docs), FullTexts(collection.docs)
    folder = Path(recipe.cache) / f"bm25-{collection.checksum[:16]}"
    runs = {}
    with bm25.opened(ids, texts, engine=recipe.search.bm25, folder=folder) as index:
        for name, some in asked.items():
            ranked = bm25.search(index, [(query.id, query.text) for query in some], recipe.search.depth)
            runs[name] = {query_id: rank(found) for query_id, found in ranked.found.items()}
    return runs


def fused(options: Search, student: Run, lexical: Mapping[str, Run]) -> dict[str, Run]:
    """The student with the last of the lexical runs as one more row; nothing where there is none or fusion is off."""
    if options.fusion == "off" or not lexical:
        return {}
    both = [student, list(lexical.values())[-1]]
    if options.fusion == "reciprocal":
        return {FUSED: fusion.reciprocal_rank(both, depth=options.depth)}
    weights = [1.0 - options.bm25_weight, options.bm25_weight]
    return {FUSED: fusion.interpolate(both, weights, normalisation=options.fusion, depth=options.depth)}


def _asked(recipe: Recipe, queries: Sequence[Query]) -> dict[str, Sequence[Query]]:
    asked: dict[str, Sequence[Query]] = {UNTRANSLATED: queries}
    path = _lexicon_path(recipe.folder, recipe.lang)
    if path.is_file() and path.stat().st_size:
        words = read_synonyms(path)
        asked[BY_LEXICON] = [Query(query.id, translate_by_lexicon(query.text, words)) for query in queries]
    if recipe.search.translations:
        asked[TRANSLATED] = read_translations(recipe.search.translations.replace("{lang}", recipe.lang), queries)
    return asked


def _lexicon_path(run: Path, lang: str) -> Path:
    return run / f"lexicon-{lang}.tsv"
