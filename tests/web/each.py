"""A function that answers one question, for an application that asks for several."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from optical.retrieval.matches import Hit


def each(find: Callable[[str, int], list[Hit]]) -> Callable[[Sequence[str], int], list[list[Hit]]]:
    """Answers of each question, one after the other."""
    return lambda questions, k: [find(question, k) for question in questions]
