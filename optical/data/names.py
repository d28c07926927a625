"""Names in English texts: words that are written with a capital where no sentence begins."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import islice

from optical.data.words import fold, words_inside

MOST = 50_000  # names, the most frequent: half a megabyte in a student's folder; those after them are rare in questions
MOST_READ = 50_000  # texts: half a minute; of a larger collection, names that only later texts have are left out
MOST_CHARACTERS = 1_000  # of a text, about as much as an encoder of 256 tokens reads
LEAST_SHARE = 0.8  # of its occurrences inside sentences in which a name has a capital
SHORTEST = 4  # letters: shorter ones are abbreviations, or words of another language
HEADLINE = 0.6  # share of words with a capital from which a text is a headline, where capitals say nothing


def names_in(texts: Iterable[str]) -> dict[str, int]:
    """Folded name -> occurrences inside sentences, the most frequent first, at most ``MOST``.

    Read are the beginnings of ``MOST_READ`` texts, one at a time. The thresholds are those of the measurement in
    experiments/LOG.md, 2026-11-29, "Names by spelling".

    Args:
        texts: English, with single spaces.
    """
    written: Counter[str] = Counter()
    for text in islice(texts, MOST_READ):
        words = words_inside(text[:MOST_CHARACTERS])
        if sum(word[0].isupper() for word in words) <= HEADLINE * len(words):
            written.update(words)
    capital, small = Counter(), Counter()
    for word, count in written.items():
        (capital if word[0].isupper() else small)[fold(word).removesuffix("'s")] += count
    names = {
        name: count
        for name, count in capital.items()
        if len(name) >= SHORTEST and count >= LEAST_SHARE * (count + small[name])
    }
    return dict(sorted(names.items(), key=lambda item: (-item[1], item[0]))[:MOST])
