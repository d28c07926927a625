"""Hubness in a run: the bank of questions that it keeps, and how its documents are penalised by it.

The bank is drawn from the bitext that the student is trained on, so no pair held out for the development score is in
it. Whoever asks, asks with a bank of its own language: the student and the transplant with the side in X, the teacher
on English questions with the English side.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from optical.config.recipe import Recipe
from optical.data.bitext import Pair, split
from optical.data.lines import lines
from optical.data.records import ENGLISH
from optical.embeddings.vectors import Vectors
from optical.errors import DataError, RecipeError
from optical.evaluation.significance import holm
from optical.evaluation.strata import LEVEL
from optical.files import checksum, write_text
from optical.models.encoders import DevScore, Encoder, encode_sentences, fingerprint, is_multi_vector
from optical.pipeline.dev_score import SetsScore
from optical.pipeline.run_folder import BANK
from optical.retrieval.hubness import LEAST, METHODS, check_bank, penalised

NONE, AUTO = "none", "auto"


class Hubness(NamedTuple):
    """The penalties of the documents of a run.

    Attributes:
        method: Of :data:`optical.retrieval.hubness.METHODS`, or ``none``.
        bank: Pairs whose sides stand for questions; empty where the method is none.
    """

    method: str
    bank: Sequence[Pair]

    def facts(self, asking: Encoder, lang: str) -> dict[str, Any] | None:
        """Describe the penalties for an index; None where there are none.

        Args:
            asking: Encoder of the questions.
            lang: Their language.
        """
        if self.method == NONE:
            return None
        texts = self._texts(lang)
        return {
            "method": self.method,
            "bank": len(texts),
            "bank_checksum": checksum(texts),
            "asked_by": fingerprint(asking, "query"),
        }

    def penalised(self, asking: Encoder, lang: str, documents: Vectors) -> Vectors:
        """The documents as they are searched, with penalties where the method is not none.

        Raises:
            RecipeError: Late interaction.
            DataError: The bank is too small.
        """
        if self.method == NONE:
            return documents
        check_hubness(self.method, asking)
        return penalised(self.method, encode_sentences(asking, self._texts(lang)), documents)

    def _texts(self, lang: str) -> list[str]:
        return [pair.english if lang == ENGLISH else pair.foreign for pair in self.bank]


def check_hubness(method: str, encoder: Encoder) -> None:
    """Refuse a method for late interaction, whose score is a sum over tokens.

    Raises:
        RecipeError: It is not none and not auto, and the encoder gives token vectors.
    """
    if method not in (NONE, AUTO) and is_multi_vector(encoder):
        raise RecipeError(
            f"search.hubness = {method!r} penalises single vectors; a late-interaction run has a vector a token: set "
            "search.hubness = none"
        )


def draw_banks(recipe: Recipe, pairs: Mapping[str, Sequence[Pair]]) -> dict[str, list[Pair]]:
    """Draw the bank of each language: questions where there are enough, then sentences as long as those trained on.

    Args:
        recipe: How many, the seed, and the method.
        pairs: Language -> its pairs without those held out.

    Raises:
        DataError: The recipe names a method, and there are too few pairs for it.
    """
    drawn = {lang: _draw(own, recipe) for lang, own in pairs.items()}
    if recipe.search.hubness not in (NONE, AUTO):
        check_bank(sum(map(len, drawn.values())))
    return drawn


def save_banks(run: Path, banks: Mapping[str, Sequence[Pair]]) -> None:
    """Keep the banks in the folder of a run, as one."""
    rows = [f"{lang}\t{pair.english}\t{pair.foreign}\n" for lang, own in banks.items() for pair in own]
    write_text(run / BANK, "".join(rows))


def _draw(pairs: Sequence[Pair], recipe: Recipe) -> list[Pair]:
    shortest, longest = recipe.training.min_words, recipe.training.max_words
    questions = [pair for pair in pairs if pair.is_question]
    others = [p for p in pairs if not p.is_question and shortest <= len(p.foreign.split()) <= longest]
    found: list[Pair] = []
    for some in (questions, others):
        wanted = recipe.search.hubness_bank - len(found)
        found += split(some, wanted, recipe.seed)[1] if len(some) > wanted else some
    return found


class Chosen(NamedTuple):
    """A method, why it was taken, and for ``auto`` the development scores that it was chosen by."""

    method: str
    reason: str
    scores: dict[str, float]


def choose(recipe: Recipe, student: Encoder, dev: DevScore | None, banks: Mapping[str, Sequence[Pair]]) -> Chosen:
    """The method of a run; for ``auto`` the best on the development score, if it is better than none beyond chance.

    Beyond chance: a paired randomisation test on the development queries, p < .05 after Holm's correction for the
    methods tried. The held-out questions are not in the bank.

    Args:
        recipe: What is asked for.
        student: Who asks.
        dev: The development score.
        banks: Language -> pairs whose side in X stands for questions.
    """
    bank = [pair for own in banks.values() for pair in own]
    if recipe.search.hubness != AUTO:
        return Chosen(recipe.search.hubness, "as asked for", {})
    if is_multi_vector(student):
        return Chosen(NONE, "late interaction has a vector a token", {})
    if len(bank) < LEAST:
        return Chosen(NONE, f"the bank has {len(bank)} questions or sentences, {LEAST} are needed", {})
    if not isinstance(dev, SetsScore):
        return Chosen(NONE, "there is no development score over documents that the teacher embeds", {})
    asked = encode_sentences(student, [pair.foreign for pair in bank])
    found = {NONE: dev.measured(student)}
    found |= {method: dev.measured(student, partial(penalised, method, asked)) for method in METHODS}
    gains = {method: found[method].minus(found[NONE]) for method in METHODS}
    p_values = dict(zip(METHODS, holm([gain.p_value for gain in gains.values()]), strict=True))
    scores = {method: round(score.mean, 4) for method, score in found.items()}
    best = max(METHODS, key=lambda method: found[method].mean)
    told = f"development score {scores[NONE]:.4f} without, {scores[best]:.4f} with {best}, p = {p_values[best]:.3f}"
    return Chosen(best if gains[best].mean > 0 and p_values[best] < LEVEL else NONE, told, scores)


def hubness_of(recipe: Recipe) -> Hubness:
    """Make the penalties of a finished run's documents, as its recipe asks or as training chose.

    Raises:
        DataError: The run has no bank, or a damaged one.
    """
    method = recipe.search.hubness
    method = _chosen(recipe.folder) if method == AUTO else method
    return Hubness(method, [] if method == NONE else _read_bank(recipe.folder / BANK))


def _chosen(run: Path) -> str:
    """The method that a run chose for itself; none for a run made before there was a choice."""
    try:
        kept = json.loads((run / "manifest.json").read_text(encoding="utf-8"))
        return kept["hubness"]["method"]
    except (OSError, ValueError, KeyError, TypeError):
        return NONE


def _read_bank(path: Path) -> list[Pair]:
    if not path.is_file():
        raise DataError(
            f"there is no {path}, whose questions search.hubness asks by: distill the run again, or set "
            "search.hubness = none"
        )
    rows = [(number, line.split("\t")) for number, line in lines(path) if line.strip()]
    for number, row in rows:
        if len(row) != 3:
            raise DataError(f"a line of the bank is language, English and X; at {path}:{number}; distill again")
    return [Pair(english, foreign) for _, (_, english, foreign) in rows]
