"""The student before training: the words of X transplanted, and which of several such students is the start."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from optical.config.recipe import StudentOptions
from optical.data.bitext import Pair, split
from optical.data.dictionary import Entry
from optical.evaluation.strata import TESTABLE, Stratified, Stratum, better
from optical.models.composing import compose_unseen
from optical.models.encoders import DevScore, Encoder, encode_sentences, is_multi_vector
from optical.models.layers import keep_layers
from optical.models.linear_map import Body, LinearMap
from optical.training.body import in_teachers_space
from optical.training.trainer import Workspace
from optical.training.unseen import choose_composing
from optical.vocabulary.choose_mode import choose_mode
from optical.vocabulary.transplant import Transplant, english_cosines, size_of, transplant

JUDGED = 500  # held-out sentences that choose a vocabulary
AMONG = 2_000  # English sentences that each has to find its own among


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
    """Make the student before training; the facts for a manifest come with it.

    Where the options say ``auto``, the vocabulary is chosen by :func:`choose_vocabulary`, and whether unseen words are
    composed by :func:`optical.training.unseen.choose_composing`.
    """
    options, reason = choose_vocabulary(teacher, pairs, options, workspace, body)
    made = make_start(teacher, pairs, options, workspace, body)
    facts = made.report() | ({"mode_chosen_because": reason} if reason else {})
    return made.student, facts | choose_composing(made.student, options.vocabulary, dev, workspace.say)


def choose_vocabulary(
    teacher: Encoder, pairs: Sequence[Pair], options: StudentOptions, workspace: Workspace, body: Body | None
) -> tuple[StudentOptions, str]:
    """Choose between an encoder's own words of X and words that are added to them, where the mode is ``auto``.

    A tokenizer that reads X does not say whether the encoder knows the words: multilingual-e5-small as it is finds .60
    (MAP) with Marathi questions and .54 with aligned words, but .39 and .56 with Somali ones (experiments/LOG.md,
    2026-11-30). So sentences of X that neither start was made from have to find their English side among others, and
    words are added only where that is better beyond chance. Held-out sentences are of the bitext's own kind, which
    favours the added words; the passage that the teacher ranks first favours them more, since they imitate the teacher.

    Returns:
        The options with the mode, and what was measured; as they are, with no reason, where there is nothing to choose,
        too few pairs to tell, or late interaction.
    """
    encoder = body.encoder if body else teacher
    count = min(JUDGED, len(pairs) // 20)
    if options.vocabulary.mode != "auto" or count < TESTABLE or is_multi_vector(teacher):
        return options, ""
    choice = choose_mode(encoder.tokenizer, pairs, seed=options.seed)
    if choice.mode != "trim+extend":
        return options, ""
    rest, judged = split(pairs, count, options.seed)
    english = list(dict.fromkeys(p.english for p in [*judged, *rest[:AMONG]]))
    vectors = encode_sentences(teacher, english)
    row = {text: k for k, text in enumerate(english)}
    silent = workspace._replace(say=lambda _: None)

    def found(mode: str) -> Stratified:
        """Reciprocal rank of the English side for each sentence, among the others."""
        start = make_start(teacher, rest, _with_mode(options, mode), silent, body).student
        scores = encode_sentences(start, [p.foreign for p in judged]) @ vectors.T
        own = scores[np.arange(len(judged)), [row[p.english] for p in judged]]
        return Stratified((Stratum(1.0, 1.0 / (1 + (scores > own[:, None]).sum(axis=1))),))

    added, kept = found("trim+extend"), found("trim")
    mode = "trim+extend" if better(added, kept) else "trim"
    reason = (
        f"{count} held-out sentences find their English side among {len(english)} at a mean reciprocal rank of "
        f"{kept.mean:.3f} with the encoder's own words, {added.mean:.3f} with words added, p = "
        f"{kept.minus(added).p_value:.4f}"
    )
    workspace.say(f"vocabulary mode: {mode}, because {reason}")
    return _with_mode(options, mode), reason


def _with_mode(options: StudentOptions, mode: str) -> StudentOptions:
    return options._replace(vocabulary=options.vocabulary.model_copy(update={"mode": mode}))


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
            say(f"names: {len(seen.names):,} of the documents keep the teacher's pieces, also in small letters")
    if start.reason:
        say(f"vocabulary mode: {start.mode}, because {start.reason}")
    say(
        f"vocabulary: {start.added} words added, {start.size_before.rows} -> {start.size_after.rows} rows, from "
        f"{len(pairs)} pairs in {start.seconds:.0f} s; {start.fertility()}; cosine of teacher and student on English "
        f"sentences: mean {start.english.mean():.3f}, least {start.english.min():.3f}"
    )
    return Start(start, linear)
