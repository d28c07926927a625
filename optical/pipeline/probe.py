"""Probe encoders: a classifier learns from pairs in one language and is asked in others, mixed and perturbed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple, TypeAlias

import numpy as np

from optical.config.probe import Probe
from optical.data.labelled_pairs import LabelledPair
from optical.evaluation import frozen_classifier
from optical.evaluation.divisions import Division
from optical.evaluation.probe_results import Outcome, ProbeResults, classified, correlated, one_answer
from optical.pipeline.probe_inputs import (
    Perturbed,
    ProbeData,
    check_perturbations,
    lexicons,
    perturbed_texts,
    read_probe,
)
from optical.pipeline.probe_retrieval import probe_retrieval
from optical.pipeline.probe_systems import Model, System, Vectors, all_systems, lexicon_of_run
from optical.training.augmentation import read_synonyms
from optical.training.pair_classifier import fine_tune, predict
from optical.training.robust_classifier import RobustCrossEntropy

Answer: TypeAlias = Callable[[Sequence[str], Sequence[str], tuple[str, str]], Sequence[float]]
"""First sentences, second sentences and their languages -> classes, or scores."""
MEASURES = {"xnli": "accuracy", "pawsx": "accuracy", "sts": "Spearman"}


class Case(NamedTuple):
    """Where a system is asked.

    Attributes:
        langs: Of the first sentence and of the second.
        kind: Perturbation; empty for none.
    """

    langs: tuple[str, str]
    kind: str


def probe(
    model: Model,
    options: Probe,
    against: Model | None = None,
    say: Callable[[str], None] = lambda _: None,
    vectors: Vectors | None = None,
) -> ProbeResults:
    """Ask the encoders of a run, or one encoder, and perhaps others to compare them with.

    Args:
        model: Folder of a run, a model's folder or hub id, a packaged name, a loaded encoder, or a system made of some.
        options: What is asked, in which languages.
        against: A second one; the last encoder of it is what all others are compared with.
        say: Told what goes on.
        vectors: Of an earlier probe, whose texts are not encoded again; new ones are added.

    Raises:
        DataError: Pairs or models that cannot be used; pairs are read before models.
        RecipeError: An unknown perturbation, code-switching without sentence pairs, two models of one name.
    """
    check_perturbations(options)
    if options.task == "xquad-retrieval":
        return probe_retrieval(model, options, against, say)
    data = read_probe(options)
    words = lexicons(options, lambda lang: lexicon_of_run(model, lang))
    for note in data.notes:
        say(note)
    systems, baseline = all_systems(model, against, options)
    sentences = {lang: [text for pair in pairs.values() for text in pair[1:]] for lang, pairs in data.pairs.items()}
    vectors = Vectors() if vectors is None else vectors
    texts, outcomes = perturbed_texts(options, sentences, words), list[Outcome]()
    for system in systems:
        learn = {"sts": _similarity}.get(options.task, _fine_tuned if options.fine_tune else _frozen)
        outcomes += _asked(system, options, data, texts, learn(system, options, data, vectors), say)
    learnt = float(np.mean([len(division.train) for division in data.divisions]))
    alike = one_answer(outcomes, data.chance)
    for note in alike:
        say(note)
    return ProbeResults(
        options.task, MEASURES[options.task], options.train, learnt, options.seeds, outcomes, data.groups, data.scripts,
        baseline, (*data.notes, *alike), data.chance, options.fine_tune,
        options.robustness.method.replace("none", ""),
    )  # fmt: skip


def _asked(
    system: System,
    options: Probe,
    data: ProbeData,
    texts: Perturbed,
    learn: Callable[[Division], Answer],
    say: Callable[[str], None],
) -> list[Outcome]:
    """The outcomes of a system, of the classifier that each division gives."""
    cases = list(_cases(system, options, data, {(lang, kind) for lang, kind, _ in texts}))
    answers: dict[Case, dict[int, dict[str, float]]] = {case: {} for case in cases}
    for number, division in enumerate(data.divisions):
        answer = learn(division)
        for case in cases:
            first, second = (data.pairs[lang] for lang in case.langs)
            ids = [name for name in division.test if name in first and name in second]
            if not ids:
                continue
            become = texts.get((case.langs[0], case.kind, division.seed), {})
            firsts = [become.get(text, text) for name in ids if (text := first[name].first)]
            seconds = [become.get(text, text) for name in ids if (text := second[name].second)]
            said = answer(firsts, seconds, case.langs)
            answers[case].setdefault(division.seed, {}).update(zip(ids, said, strict=True))
        say(f"{system.name}: {number + 1} of {len(data.divisions)} divisions, {len(cases)} languages and cases each")
    found = []
    for case, by_seed in answers.items():
        gold = _gold(data, case)
        if data.task.classes:
            classes = [{name: int(value) for name, value in one.items()} for one in by_seed.values()]
            found.append(classified(system.name, case.langs, case.kind, gold, classes))
        else:
            found.append(correlated(system.name, case.langs, case.kind, gold, list(by_seed.values())))
    return found


def _cases(system: System, options: Probe, data: ProbeData, perturbed: set[tuple[str, str]]) -> Iterator[Case]:
    """Every language that the system reads; mixed pairs and perturbations where they are asked."""
    langs = [lang for lang in data.pairs if system.reader(lang) is not None]
    for lang in langs:
        yield Case((lang, lang), "")
    if options.mixed:
        yield from (Case((a, b), "") for a in langs for b in langs if a != b)
    yield from (Case((lang, lang), kind) for lang in langs for kind in options.kinds if (lang, kind) in perturbed)


def _gold(data: ProbeData, case: Case) -> dict[str, float]:
    """Item -> its label; in mixed pairs without those whose label is another in the other language."""
    first, second = (data.pairs[lang] for lang in case.langs)
    return {name: pair.gold for name, pair in first.items() if name in second and second[name].gold == pair.gold}


def _frozen(system: System, options: Probe, data: ProbeData, vectors: Vectors) -> Callable[[Division], Answer]:
    """Logistic regression on frozen vectors; each side is read by who reads its language."""

    def read(lang: str, texts: Sequence[str]) -> np.ndarray:
        encoder = system.reader(lang)
        assert encoder is not None
        return vectors(encoder, list(texts))

    def learn(division: Division) -> Answer:
        pairs = [data.learnt[name] for name in division.train]
        inputs = frozen_classifier.features(*(read(options.train, side) for side in _sides(pairs)))
        groups = np.array([data.groups[name] for name in division.train])
        classifier = frozen_classifier.fit(inputs, np.array([int(pair.gold) for pair in pairs]), groups)

        def answer(firsts: Sequence[str], seconds: Sequence[str], langs: tuple[str, str]) -> Sequence[float]:
            asked = frozen_classifier.features(read(langs[0], firsts), read(langs[1], seconds))
            return classifier.predict(asked).tolist()

        return answer

    return learn


def _similarity(system: System, options: Probe, data: ProbeData, vectors: Vectors) -> Callable[[Division], Answer]:
    """The cosine of both vectors; nothing is learnt."""

    def answer(firsts: Sequence[str], seconds: Sequence[str], langs: tuple[str, str]) -> Sequence[float]:
        sides = zip(langs, (firsts, seconds), strict=True)
        first, second = (vectors(one, list(texts)) for lang, texts in sides if (one := system.reader(lang)) is not None)
        return (first * second).sum(axis=1).tolist()

    return lambda _: answer


def _fine_tuned(system: System, options: Probe, data: ProbeData, vectors: Vectors) -> Callable[[Division], Answer]:
    """The encoder itself with a head, trained; it reads both sentences of a pair at once, in any language."""
    robust = options.robustness
    synonyms = read_synonyms(robust.synonyms) if robust.method == "augment" and robust.synonyms else {}

    def learn(division: Division) -> Answer:
        pairs = [data.learnt[name] for name in division.train]
        loss_of = None
        if robust.method != "none":
            loss_of = partial(RobustCrossEntropy, options=robust, synonyms=synonyms, seed=division.seed)
        trained = fine_tune(system.encoder, pairs, len(data.task.classes), options.fine_tuning, division.seed, loss_of)
        return lambda firsts, seconds, _: predict(trained, firsts, seconds)

    return learn


def _sides(pairs: Sequence[LabelledPair]) -> tuple[list[str], list[str]]:
    return [pair.first for pair in pairs], [pair.second for pair in pairs]
