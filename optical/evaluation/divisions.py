"""Divide items into those that a classifier learns from and those that it is asked, so that nothing is in both.

Development sets of several languages are parallel: the item that is asked in X stands there in English too. Items are
therefore divided, not rows, and items that share a sentence (the three hypotheses of a premise) stay together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from optical.data.labelled_pairs import LabelledPair
from optical.data.words import fold_text
from optical.errors import DataError


class Division(NamedTuple):
    """One training of a classifier, and who is asked.

    Attributes:
        seed: Of the division.
        train: Ids of the items learnt from.
        test: Ids of the items asked.
    """

    seed: int
    train: list[str]
    test: list[str]


def groups_of(items: Mapping[str, LabelledPair]) -> dict[str, int]:
    """Id -> number of its group: items that share a sentence, or are linked by others that do, are of one group.

    Sentences that differ in case and punctuation only are the same.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    number: dict[str, int] = {}
    ends = [
        [number.setdefault(fold_text(text) or text, len(number)) for text in (pair.first, pair.second)]
        for pair in items.values()
    ]
    first, second = zip(*ends, strict=True)
    links = coo_matrix((np.ones(len(ends)), (first, second)), shape=(len(number), len(number)))
    _, component = connected_components(links, directed=False)
    return dict(zip(items, component[list(first)].tolist(), strict=True))


def sentences_of(pairs: Iterable[LabelledPair]) -> set[str]:
    """The sentences of both sides, without case and punctuation."""
    return {fold_text(text) for pair in pairs for text in (pair.first, pair.second)}


def divide(
    groups: Mapping[str, int], seeds: Iterable[int], folds: int, *, rows: int | None = None, only_first: bool = False
) -> list[Division]:
    """Deal the groups into parts of about one size for each seed; each part is asked by what learns from the others.

    Args:
        groups: Id -> group (:func:`groups_of`).
        seeds: One dealing each.
        folds: Parts.
        rows: Items learnt from at most, drawn by the seed.
        only_first: Ask the first part alone, where each training takes long.

    Raises:
        DataError: Fewer groups than parts.
    """
    names = sorted(set(groups.values()))
    if len(names) < folds:
        raise DataError(
            f"{len(groups)} items of {len(names)} groups that share a sentence cannot be divided into {folds} parts; "
            "give more pairs, or fewer folds"
        )
    found = []
    for seed in seeds:
        random = np.random.default_rng(seed)
        part = _parts(groups, random.permutation(names).tolist(), folds)
        for fold in range(1 if only_first else folds):
            train = [name for name, group in groups.items() if part[group] != fold]
            test = [name for name, group in groups.items() if part[group] == fold]
            found.append(Division(seed, draw(train, rows, random), test))
    return found


def _parts(groups: Mapping[str, int], order: Sequence[int], folds: int) -> dict[int, int]:
    """Group -> its part: each goes, in this order but the largest first, where there are fewest items."""
    sizes = dict.fromkeys(order, 0)
    for group in groups.values():
        sizes[group] += 1
    filled, part = [0] * folds, {}
    for group in sorted(order, key=lambda one: -sizes[one]):
        part[group] = filled.index(min(filled))
        filled[part[group]] += sizes[group]
    return part


def asked(groups: Mapping[str, int], items: int, seed: int) -> set[str]:
    """Ids of whole groups, drawn by the seed as long as there are no more than so many items; one group at least."""
    members: dict[int, list[str]] = {}
    for name, group in groups.items():
        members.setdefault(group, []).append(name)
    found: set[str] = set()
    for group in np.random.default_rng(seed).permutation(sorted(members)).tolist():
        if not found or len(found) + len(members[group]) <= items:
            found.update(members[group])
    return found


def draw(names: list[str], rows: int | None, random: np.random.Generator) -> list[str]:
    """At most so many of the names, in their order."""
    if rows is None or rows >= len(names):
        return list(names)
    return [names[k] for k in sorted(random.permutation(len(names))[:rows].tolist())]
