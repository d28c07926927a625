"""Whether a student composes the rows of unseen words, and the words of a list that get composed rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from optical.config.vocabulary import Vocabulary
from optical.evaluation.strata import better, by_query
from optical.models.composing import compose_unseen, query_words, read_plainly
from optical.models.encoders import DevScore, Encoder
from optical.vocabulary.listed_words import add_listed


def choose_composing(
    student: Encoder, options: Vocabulary, dev: DevScore | None, say: Callable[[str], None]
) -> dict[str, Any]:
    """Let a student that composes go on doing so or not, in place; the facts for a manifest.

    Where the options say ``auto`` and there is a development score, it is scored both ways before training, and
    composes unless that is worse, beyond chance where the score gives values by query.

    Args:
        student: A start; one that does not compose stays as it is.
        options: Of the vocabulary.
        dev: Higher is better.
        say: Told of the choice.
    """
    words = query_words(student)
    if words is None:
        return {"composes": False}
    if options.compose != "auto" or dev is None:
        return {"composes": True}
    composed = by_query(dev, student)
    read_plainly(student)
    plain = by_query(dev, student)
    composes = not better(plain, composed)
    if composes:
        compose_unseen(student, words.seen)
    chosen = "composed" if composes else "left to the teacher's pieces"
    reason = f"development score {composed.mean:.4f} with composed rows, {plain.mean:.4f} with the teacher's pieces"
    p_value = composed.minus(plain).p_value
    reason += "" if math.isnan(p_value) else f", p = {p_value:.4f}"
    say(f"unseen words are {chosen}: {reason}")
    return {"composes": composes, "composes_because": reason}


def add_words(
    encoders: Sequence[Encoder], words: Mapping[str, int], options: Vocabulary, say: Callable[[str], None]
) -> dict[str, Any]:
    """Give students rows for the words of a list, in place; the facts for a manifest.

    Args:
        encoders: The same student at different times, the last one last.
        words: Folded word -> occurrences in the list; none adds nothing.
        options: Of the vocabulary.
        say: Told what was added, or that the student does not compose.
    """
    facts: dict[str, Any] = {}
    counts = {word: count for word, count in words.items() if count >= options.words_min_count}
    for encoder in encoders if counts else ():
        own = query_words(encoder)
        if own is None:
            say("word list: not used, since unseen words are left to the teacher's pieces")
            return {}
        listed = add_listed(encoder, own.seen, counts, most=options.max_listed)
        facts = {"word_list": listed._asdict()}
        if encoder is encoders[-1]:
            say(listed.sentence())
    return facts
