"""Choose how a teacher gets the words of X, from how well its own tokenizer reads X."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from optical.data.bitext import Pair, split
from optical.vocabulary.fertility import LEAST, MOST, SHARE, fit

MULTILINGUAL = 60_000  # pieces of the smallest vocabulary of many languages; English ones have 30,000 to 50,000
UNKNOWN = 0.01  # share of unknown tokens from which a tokenizer does not read X
# Tokens per word of X for each of English. multilingual-e5-small: 1.15 (German) to 1.49 (Finnish), but Zulu 2.0 and
# Yoruba 2.3; all-MiniLM-L6-v2: 1.57 (Yoruba) to 3.2 (Marathi).
MORE_THAN_ENGLISH = 1.5


class Choice(NamedTuple):
    """A mode of the vocabulary, and why.

    Attributes:
        mode: ``trim+extend`` where the tokenizer has pieces of many languages and reads X, else ``extend``.
        reason: What was measured, in words.
    """

    mode: Literal["extend", "trim+extend"]
    reason: str


def choose_mode(base: Any, pairs: Sequence[Pair], *, seed: int = 0) -> Choice:
    """Choose between ``extend`` and ``trim+extend`` by the teacher's tokenizer, on sentences of the bitext.

    A tokenizer reads X where next to nothing is unknown and a word of X takes few more tokens than one of English does.
    If it has the pieces of many languages, most of them are of others and can go. Else its pieces are all for the
    documents and stay, as those of one that hardly saw X do. Words are added in every case.

    Args:
        base: The teacher's tokenizer.
        pairs: Bitext; the sentences that the student's fertility is measured on are measured, or all of a few pairs.
        seed: Which pairs are held out.
    """
    if len(base) < MULTILINGUAL:
        return Choice("extend", f"the encoder's tokenizer has {len(base)} pieces, few to leave any out")
    if len(pairs) >= LEAST:
        pairs = split(pairs, min(MOST, int(SHARE * len(pairs))), seed)[1]
    x, english = fit(base, [p.foreign for p in pairs]), fit(base, [p.english for p in pairs])
    measured = (
        f"of its tokens on {x.words} words of X {100 * x.unknown_rate:.2f} % are unknown, and a word takes "
        f"{x.tokens_per_word:.2f}, one of English {english.tokens_per_word:.2f}"
    )
    if x.words and x.unknown_rate < UNKNOWN and x.tokens_per_word <= MORE_THAN_ENGLISH * english.tokens_per_word:
        return Choice("trim+extend", f"the encoder's tokenizer reads X ({measured})")
    return Choice("extend", f"the encoder's tokenizer does not read X well ({measured})")
