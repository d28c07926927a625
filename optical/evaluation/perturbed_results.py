"""Scores that systems lose when their queries are perturbed: each beside itself on the queries as they are.

The same queries are perturbed several times, once for each seed. Average precision is averaged over the seeds within
each query, so a query counts once in the test, however many seeds there are.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from optical.data.records import ENGLISH, Query
from optical.data.words import Lexicon
from optical.evaluation.measures import Scores
from optical.evaluation.perturbations import perturb, touched
from optical.evaluation.significance import Comparison, compare
from optical.evaluation.tables import Table

Measure = Callable[[Sequence[str]], Scores]  # texts of all queries, in their order -> scores of a system on them


class PerturbedQueries(NamedTuple):
    """The queries under one kind of perturbation at one rate.

    Attributes:
        kind: One of :data:`optical.evaluation.perturbations.KINDS`.
        rate: Share of the words that the kind can change.
        texts: For each seed the text of every query, in the order of the collection.
        touched: Share of all words that were changed, mean over queries and seeds.
    """

    kind: str
    rate: float
    texts: list[list[str]]
    touched: float


class PerturbedScores(NamedTuple):
    """One system on the queries under one perturbation.

    Attributes:
        by_seed: MAP of each seed.
        mean: Scores with AP averaged over the seeds, query by query.
        change: These against the same system on the queries as they are; a loss is negative.
    """

    by_seed: list[float]
    mean: Scores
    change: Comparison


class PerturbedResults(NamedTuple):
    """All systems on all perturbations of the queries of one language.

    Attributes:
        collection: Its name.
        split: Name of the judgements.
        lang: Language of the queries.
        cases: The perturbed queries, one for each kind and rate.
        clean: System -> scores on the queries as they are.
        outcomes: System -> its scores for each of the cases.
        docs_lang: Language of the documents.
    """

    collection: str
    split: str
    lang: str
    cases: list[PerturbedQueries]
    clean: dict[str, Scores]
    outcomes: dict[str, list[PerturbedScores]]
    docs_lang: str = ENGLISH

    def kept(self, system: str, scores: PerturbedScores) -> float | None:
        """MAP under perturbation as a share of the MAP without; None where that is 0."""
        clean = self.clean[system].mean["AP"]
        return scores.mean.mean["AP"] / clean if clean > 0 else None


def perturb_queries(
    queries: Sequence[Query], kind: str, rate: float, seeds: int, lexicon: Lexicon | None
) -> PerturbedQueries:
    """Perturb queries once for each seed; what becomes of a query depends on its text and the seed alone."""
    texts = [
        [
            perturb(q.text, kind, rate, np.random.default_rng((seed, zlib.crc32(q.text.encode()))), lexicon=lexicon)
            for q in queries
        ]
        for seed in range(seeds)
    ]
    shares = [touched(q.text, text) for some in texts for q, text in zip(queries, some, strict=True)]
    return PerturbedQueries(kind, rate, texts, float(np.mean(shares)))


def measure_perturbed(
    collection: str,
    split: str,
    lang: str,
    texts: Sequence[str],
    cases: list[PerturbedQueries],
    measures: Mapping[str, Measure],
    *,
    docs_lang: str = ENGLISH,
) -> PerturbedResults:
    """Measure every system on the queries as they are and on each perturbation of them.

    Args:
        collection: Name of the collection.
        split: Name of the judgements.
        lang: Language of the queries.
        texts: The queries as they are.
        cases: The perturbed ones.
        measures: System -> function from texts to its scores on them.
        docs_lang: Language of the documents.
    """
    clean = {name: score(texts) for name, score in measures.items()}
    outcomes = {
        name: [_over_seeds([score(some) for some in case.texts], clean[name]) for case in cases]
        for name, score in measures.items()
    }
    return PerturbedResults(collection, split, lang, cases, clean, outcomes, docs_lang)


def _over_seeds(scores: Sequence[Scores], clean: Scores) -> PerturbedScores:
    """AP averaged over the seeds within each query, and tested against the queries as they are."""
    by_query = {q: float(np.mean([s.per_query["AP"][q] for s in scores])) for q in clean.per_query["AP"]}
    mean = Scores({"AP": float(np.mean(list(by_query.values())))}, {"AP": by_query}, clean.queries, clean.missing)
    return PerturbedScores([s.mean["AP"] for s in scores], mean, compare(mean, clean))


def table(results: PerturbedResults) -> Table:
    """For each system a row without perturbation, then one for each kind and rate."""
    head = ["system", "kind", "rate", "words changed", "MAP", "seeds +-", "lost", "kept", "p"]
    rows = []
    for system, clean in results.clean.items():
        rows.append([system, "none", "", "", f"{clean.mean['AP']:.4f}", "", "", "", ""])
        for case, outcome in zip(results.cases, results.outcomes[system], strict=True):
            kept, ap = results.kept(system, outcome), outcome.mean.mean["AP"]
            spread = f"{np.std(outcome.by_seed, ddof=1):.4f}" if len(outcome.by_seed) > 1 else ""
            cells = [f"{case.rate:g}", f"{100 * case.touched:.1f} %", f"{ap:.4f}", spread]
            cells += [f"{clean.mean['AP'] - ap:+.4f}", "" if kept is None else f"{100 * kept:.1f} %"]
            rows.append([system, case.kind, *cells, f"{outcome.change.p_value:.4f}"])
    unperturbed = [k for k, row in enumerate(rows) if row[1] == "none"]
    return Table(_title(results), head, rows, left=2, bold=unperturbed, framed=False)


def _title(results: PerturbedResults) -> str:
    queries = next(iter(results.clean.values())).queries
    seeds = len(results.cases[0].texts)
    drawn = "1 seed" if seeds == 1 else f"{seeds} seeds"
    over = "" if results.docs_lang == ENGLISH else f" over {results.docs_lang} documents"
    return (
        f"{results.collection} ({results.split}): {queries} {results.lang} queries{over}, perturbed with {drawn}; "
        "p of a paired randomisation test on AP averaged over them"
    )


def as_dict(results: PerturbedResults) -> dict[str, Any]:
    """Everything for a JSON file: means, seeds, tests, per-query values, and the perturbed queries themselves.

    The language of the documents is left out when it is English.
    """
    systems = {
        system: {
            "clean": clean._asdict(),
            "perturbed": [
                {
                    **{"kind": case.kind, "rate": case.rate, "by_seed": outcome.by_seed},
                    **{"scores": outcome.mean._asdict(), "kept": results.kept(system, outcome)},
                    "test": outcome.change._asdict(),
                }
                for case, outcome in zip(results.cases, results.outcomes[system], strict=True)
            ],
        }
        for system, clean in results.clean.items()
    }
    head = {"collection": results.collection, "split": results.split, "lang": results.lang}
    head |= {} if results.docs_lang == ENGLISH else {"docs_lang": results.docs_lang}
    return {**head, "cases": [case._asdict() for case in results.cases], "systems": systems}
