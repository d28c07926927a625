"""The student before training: the words of X transplanted, and which of several such students is the start."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from optical.config.recipe import StudentOptions
from optical.data.bitext import Pair
from optical.data.dictionary import Entry
from optical.evaluation.strata import better, by_query
from optical.models.composing import compose_unseen
from optical.models.encoders import DevScore, Encoder
from optical.models.layers import keep_layers
from optical.models.linear_map import Body, LinearMap
from optical.training.body import in_teachers_space
from optical.training.trainer import Workspace
from optical.training.unseen import choose_composing
from optical.vocabulary.transplant import Transplant, english_cosines, size_of, transplant


class Start(NamedTuple):
    """A student before training.

    Attributes:
        transplant: Of the teacher, or of another encoder, put into the teacher's space.
        linear: What put it there; None for a student of the teacher itself.
    """

    transplant: Transplant
    linear: LinearMap | None

    @property
    def student(self) -> Encoder:
        """The student."""
        return self.transplant.student

    def report(self) -> dict[str, float | int | str | None]:
        """The figures of the transplant, and how well the map fits."""
        if self.linear is None:
            return self.transplant.report()
        fit = {"map_cosine_held_out": round(self.linear.cosine, 4), "map_sentences": self.linear.fitted}
        return {**self.transplant.report(), **fit, "map_ridge": self.linear.ridge}


def choose_start(
    teacher: Encoder,
    pairs: Sequence[Pair],
    options: StudentOptions,
    workspace: Workspace,
    body: Body | None,
    dev: DevScore | None,
) -> tuple[Encoder, dict[str, Any]]:
    """Make the student before training, by the development score where the options say ``auto``; the facts too.

    An encoder that reads X may know its words better than the bitext does: multilingual-e5-small scores .60 on Marathi
    as it is and .54 with aligned words, but .39 and .56 on Somali (experiments/LOG.md, 2026-11-29). So where the mode
    is ``auto`` and words were added to the vocabulary of such an encoder, its own words are kept instead if that is
    better beyond chance.
    """
    made = make_start(teacher, pairs, options, workspace, body)
    facts = made.report() | choose_composing(made.student, options.vocabulary, dev, workspace.say)
    if options.vocabulary.mode != "auto" or made.transplant.mode != "trim+extend" or dev is None:
        return made.student, facts
    trimmed = options._replace(vocabulary=options.vocabulary.model_copy(update={"mode": "trim"}))
    own = make_start(teacher, pairs, trimmed, workspace._replace(say=lambda _: None), body)
    added, kept = by_query(dev, made.student), by_query(dev, own.student)
    p_value = kept.minus(added).p_value
    reason = f"development score {kept.mean:.4f} with its own words, {added.mean:.4f} with words added"
    reason += "" if math.isnan(p_value) else f", p = {p_value:.4f}"
    if not better(kept, added):
        workspace.say(f"vocabulary mode: trim+extend stays: {reason}")
        return made.student, facts | {"mode_stays_because": reason}
    workspace.say(f"vocabulary mode: trim instead: {reason}")
    return own.student, own.report() | {"mode_chosen_because": reason, "composes": False}


def make_start(
    teacher: Encoder, pairs: Sequence[Pair], options: StudentOptions, workspace: Workspace, body: Body | None = None
) -> Start:
    """Make the student before training: transplant the words of X, and keep the layers that are asked for.

    It is made of the teacher, or of a body, which is then put into the teacher's space.
    """
    linear, say = None, workspace.say
    entries = [Entry(*entry) for entry in options.entries]
    how: dict[str, Any] = {"entries": entries, "seed": options.seed, "compare": body is None}
    start = transplant(body.encoder if body else teacher, pairs, options.vocabulary, **how)
    if options.layers is not None:
        shallow = keep_layers(start.student, options.layers)
        start = start._replace(student=shallow, size_after=size_of(shallow))
    if body is not None:
        student, linear = in_teachers_space(start.student, teacher, pairs, options, workspace)
        english = english_cosines(teacher, student, [p.english for p in pairs], seed=options.seed)
        start = start._replace(student=student, size_after=size_of(student), english=english)
    if start.seen is not None:
        seen = start.seen.with_names(options.names)
        start = start._replace(seen=seen)
        compose_unseen(start.student, seen)
        if seen.names:
            say(f"names: {len(seen.names):,} of the documents, which the bitext lacks, keep the teacher's pieces")
    if start.reason:
        say(f"vocabulary mode: {start.mode}, because {start.reason}")
    say(
        f"vocabulary: {start.added} words added, {start.size_before.rows} -> {start.size_after.rows} rows, from "
        f"{len(pairs)} pairs in {start.seconds:.0f} s; {start.fertility()}; cosine of teacher and student on English "
        f"sentences: mean {start.english.mean():.3f}, least {start.english.min():.3f}"
    )
    return Start(start, linear)
