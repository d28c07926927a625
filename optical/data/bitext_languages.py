"""Which languages and scripts the two sides of bitext are in, and whether the two stand where they should."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from optical.data.words import fold, script_of, split_words

# Function words of English that are rare in other languages: "in", "an", "was", "at", "men" would not do.
_ENGLISH_WORDS = frozenset(
    split_words(
        "the of and to is that for it with are this be from have not what how do does did which you they their or when "
        "where why can will would there if but has had were been these could should into about because than your"
    )
)
# Share of these words in an English side: prose has some .3, captions .15, the other side of ten languages .013.
LEAST_ENGLISH = 0.08
SAMPLE = 2_000  # pairs from all over the bitext that tell languages and scripts
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\ufdd0-\ufdef\ufffe\uffff]")  # the detector takes none of them


class Side(NamedTuple):
    """One side of bitext.

    Attributes:
        english: Share of running words that are function words of English.
        scripts: Script -> share of the letters, the commonest first.
        languages: Code -> share of the text, the commonest first; None where the detector is not installed.
    """

    english: float
    scripts: dict[str, float]
    languages: dict[str, float] | None


def describe(texts: Sequence[str]) -> Side:
    """Describe one side of bitext by texts from all over it."""
    texts = texts[:: max(1, len(texts) // SAMPLE)]
    letters = Counter(script for text in texts for c in text if (script := script_of(c)))
    scripts = {
        script.capitalize(): n / letters.total() for script, n in letters.most_common() if n > letters.total() / 1000
    }
    return Side(english_share(texts), scripts, _languages(texts))


def english_share(texts: Iterable[str]) -> float:
    """Share of the running words of some texts that are function words of English."""
    words = [fold(word) for text in texts for word in split_words(text)]
    return sum(word in _ENGLISH_WORDS for word in words) / max(1, len(words))


def swapped(pairs: Sequence[tuple[str, str]]) -> bool:
    """Whether the side that should be English is the other one, by the function words of English."""
    pairs = pairs[:: max(1, len(pairs) // SAMPLE)]
    english, foreign = (english_share(side) for side in zip(*pairs, strict=True)) if pairs else (0.0, 0.0)
    return foreign >= LEAST_ENGLISH and foreign > 4 * english


def _languages(texts: Sequence[str]) -> dict[str, float] | None:
    """Code -> share of the text, by CLD2."""
    try:
        import pycld2
    except ImportError:
        return None
    _, _, found = pycld2.detect(_CONTROLS.sub(" ", "\n".join(texts)).encode(), bestEffort=True)
    return {code: share / 100 for _, code, share, _ in found if code != "un" and share}
