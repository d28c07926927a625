"""The word lists of a run: those that the recipe names, and the words of documents in X."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from optical.config.recipe import Recipe
from optical.data.bitext import Pair
from optical.data.collection import Collection
from optical.data.document_store import FullTexts
from optical.data.word_list import check_language, count_words, read_word_list
from optical.errors import DataError, RecipeError


class RunWords(NamedTuple):
    """Words of X for a run.

    Attributes:
        counts: Folded word -> occurrences; empty without a list.
        sources: File -> SHA-256, for the manifest; a collection is named by its checksum.
    """

    counts: Counter[str]
    sources: dict[str, str]


def read_word_lists(
    recipe: Recipe,
    pairs: Mapping[str, Sequence[Pair]],
    collections: Mapping[str, Collection | None],
    say: Callable[[str], None],
) -> RunWords:
    """Read the lists of all languages of a recipe, and refuse what is no list of its language.

    Args:
        recipe: Names the lists.
        pairs: Language -> bitext, which says what its words look like.
        collections: Language -> its collection.
        say: Told what was left out.

    Raises:
        DataError: A list that cannot be read, or of another language; no documents in X where their words are wanted.
        RecipeError: Words are listed, but no row may be composed.
    """
    options, found = recipe.vocabulary, RunWords(Counter(), {})
    if (options.words or options.words_from_collection) and options.compose == "off":
        raise RecipeError(
            'vocabulary.compose = "off" leaves nothing to do with the words of vocabulary.words; set it to "auto" or '
            '"on", or leave the words out'
        )
    for lang, own in pairs.items():
        lists = []
        if options.words:
            path = options.words.replace("{lang}", lang)
            listed = read_word_list(path)
            if listed.cut:
                say(f"word list: {listed.cut}")
            lists.append((path, listed.counts, listed.sources))
        if options.words_from_collection:
            collection = collections.get(lang)
            if collection is None or collection.docs_lang != lang:
                what = f"{collection.name} has {collection.docs_lang} documents" if collection else "there is none"
                raise DataError(
                    f"vocabulary.words_from_collection takes the words of documents in {lang}, and {what}; give a word "
                    "list or a folder of documents by --words"
                )
            counts = count_words(FullTexts(collection.docs))
            lists.append((f"the documents of {collection.name}", counts, {collection.name: collection.checksum}))
        for name, counts, sources in lists if own else ():
            english, foreign = (count_words(side) for side in zip(*own, strict=True))
            check_language(counts, english, foreign, name)
            found.counts.update(counts)
            found.sources.update(sources)
    return found
