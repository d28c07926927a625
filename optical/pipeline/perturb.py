"""A finished run under stress: what is left of MAP when people type typos, lose diacritics, or mix languages.

Takes a recipe and kinds of perturbation, perturbs the judged queries in X at stated rates and seeds, searches with the
student and the transplant of the run, and reports each beside the same system on clean queries. Knows no training.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from optical.config.recipe import Recipe
from optical.data.collection import Collection, Query, judgements_of, queries_of
from optical.data.records import ENGLISH
from optical.embeddings.embedded_collection import EmbeddedCollection
from optical.errors import DataError
from optical.evaluation import report
from optical.evaluation.measures import Scores, measure
from optical.evaluation.perturbations import Lexicon, check, perturb, touched
from optical.evaluation.significance import Comparison, compare
from optical.models import encoders
from optical.models.encoders import Encoder
from optical.pipeline import evaluate, index
from optical.pipeline.inputs import Say, judged, read_inputs, run_collections, sides
from optical.pipeline.manifest import strict_json, write_text
from optical.retrieval.search import search_vectors
from optical.vocabulary.lexicon import bitext_lexicon

if TYPE_CHECKING:
    from rich.table import Table

RATES = (0.1, 0.2)
Measure = Callable[[Sequence[str]], Scores]  # texts of all queries, in their order -> what the system is worth on them


class Case(NamedTuple):
    """One kind of perturbation at one rate.

    Attributes:
        kind: One of :data:`optical.evaluation.perturbations.KINDS`.
        rate: Share of the words that the kind can touch.
        texts: The queries by seed, each in the order of the collection.
        touched: Share of all words that are not as they were, mean over queries and seeds.
    """

    kind: str
    rate: float
    texts: list[list[str]]
    touched: float


class Outcome(NamedTuple):
    """What one system makes of one case.

    Attributes:
        by_seed: MAP of each seed.
        mean: Scores with AP averaged over the seeds, query by query.
        change: These against the same system on clean queries: negative is lost.
    """

    by_seed: list[float]
    mean: Scores
    change: Comparison


class Stress(NamedTuple):
    """What was measured in one language.

    Attributes:
        collection: Its name.
        split: Which judgements.
        lang: Language of the queries.
        cases: What was done to the queries.
        clean: System -> scores on the queries as they are.
        outcomes: System -> one outcome a case.
        docs_lang: Language of the documents.
    """

    collection: str
    split: str
    lang: str
    cases: list[Case]
    clean: dict[str, Scores]
    outcomes: dict[str, list[Outcome]]
    docs_lang: str = ENGLISH

    def kept(self, system: str, outcome: Outcome) -> float | None:
        """Perturbed MAP as a share of the clean one; None where that is 0."""
        clean = self.clean[system].mean["AP"]
        return outcome.mean.mean["AP"] / clean if clean > 0 else None


def stress_run(
    recipe: Recipe,
    kinds: Sequence[str],
    rates: Sequence[float] = RATES,
    *,
    seeds: int = 3,
    student: Path | None = None,
    say: Say = lambda _: None,
) -> list[Stress]:
    """Measure the student of a finished run on perturbed queries, in each of its languages.

    The collection is searched exactly. A query that a seed leaves as it was keeps its vector, so whatever differs is
    the perturbation. English documents are embedded by the teacher for all systems, documents in X by each system; the
    queries are those in X, also where :func:`optical.pipeline.evaluate.evaluate` asks in English.

    Args:
        recipe: Of the run.
        kinds: Of :data:`optical.evaluation.perturbations.KINDS`. ``codeswitch`` reads the bitext of the recipe again.
        rates: Shares of the words that a kind can touch.
        seeds: How many times each kind at each rate is drawn, at least 1.
        student: Another student of the same teacher, alone.
        say: Told what goes on.

    Raises:
        RecipeError: An unknown kind or a rate outside [0, 1].
        DataError: The run cannot be read, or its collection judges no query in X.
    """
    for kind in kinds:
        for rate in rates:
            check(kind, rate)
    if seeds < 1 or not kinds or not rates:
        raise ValueError(f"nothing to measure; received {kinds}, {rates}, {seeds} seeds; give at least one of each")
    teacher = index.load_teacher(recipe)
    asked = _asked(recipe, judged(recipe, run_collections(recipe), say), say)
    bitexts = read_inputs(recipe, lambda _: None).bitexts if "codeswitch" in kinds else {}
    systems = _systems(recipe, student)
    found = []
    for lang, (collection, queries) in asked.items():
        own = recipe.of(lang)
        words = bitext_lexicon(bitexts[lang].pairs) if lang in bitexts else None
        wanted = [(kind, rate) for kind in dict.fromkeys(kinds) for rate in dict.fromkeys(rates)]
        cases = [perturbed(queries, kind, rate, seeds, words) for kind, rate in wanted]
        say(f"{lang}: {len(queries)} queries, {len(cases)} perturbations, {seeds} seeds each")
        searched = _searched(own, teacher, collection, systems)
        measures = {name: _measure(own, encoder, queries, cases, searched[name]) for name, encoder in systems.items()}
        texts, split = [query.text for query in queries], recipe.search.split
        result = stressed(collection.name, split, lang, texts, cases, measures, docs_lang=collection.docs_lang)
        folder = evaluate.evaluation_folder(recipe, collection.name, lang, student)
        write_text(folder / "perturbed.json", strict_json(as_dict(result)))
        write_text(folder / "perturbed.md", as_markdown(result))
        say(f"perturbed.json and perturbed.md are in {folder}")
        found.append(result)
    return found


def perturbed(queries: Sequence[Query], kind: str, rate: float, seeds: int, words: Lexicon | None) -> Case:
    """The queries under one kind at one rate; what becomes of a query depends on itself and the seed alone."""
    texts = [
        [
            perturb(q.text, kind, rate, np.random.default_rng((seed, zlib.crc32(q.text.encode()))), lexicon=words)
            for q in queries
        ]
        for seed in range(seeds)
    ]
    shares = [touched(q.text, text) for some in texts for q, text in zip(queries, some, strict=True)]
    return Case(kind, rate, texts, float(np.mean(shares)))


def stressed(
    collection: str, split: str, lang: str, texts: Sequence[str], cases: list[Case], measures: Mapping[str, Measure],
    *, docs_lang: str = ENGLISH,
) -> Stress:  # fmt: skip
    """Every system on the clean queries and on every case.

    Args:
        collection: Name of the collection.
        split: Name of the judgements.
        lang: Language of the queries.
        texts: The clean queries.
        cases: The perturbed ones.
        measures: System -> what it is worth on given texts.
        docs_lang: Language of the documents.
    """
    clean = {name: worth(texts) for name, worth in measures.items()}
    outcomes = {
        name: [_outcome([worth(some) for some in case.texts], clean[name]) for case in cases]
        for name, worth in measures.items()
    }
    return Stress(collection, split, lang, cases, clean, outcomes, docs_lang)


def _outcome(scores: Sequence[Scores], clean: Scores) -> Outcome:
    """AP averaged over seeds within each query, so that the test is over queries and seeds add no false evidence."""
    by_query = {q: float(np.mean([s.per_query["AP"][q] for s in scores])) for q in clean.per_query["AP"]}
    mean = Scores({"AP": float(np.mean(list(by_query.values())))}, {"AP": by_query}, clean.queries, clean.missing)
    return Outcome([s.mean["AP"] for s in scores], mean, compare(mean, clean))


def _asked(
    recipe: Recipe, collections: Mapping[str, Collection], say: Say
) -> dict[str, tuple[Collection, list[Query]]]:
    """Language -> its collection and the judged queries in it: words of X are perturbed, so those in English are not.

    Raises:
        DataError: No language has any, because its documents are in X and its queries English.
    """
    split, found, faults = recipe.search.split, {}, {}
    for lang, collection in collections.items():
        queries = queries_of(collection, lang, split) if lang in collection.queries else []
        if queries:
            found[lang] = collection, queries
            if sides(collection, lang, split).queries == ENGLISH:
                say(
                    f"{collection.name} is asked in English where nothing is perturbed; here its {len(queries)} {lang} "
                    "queries are asked, by the student"
                )
        else:
            faults[lang] = (
                f"{collection.name} has {lang} documents and judges only English queries in {split!r}, while words of "
                f"{lang} are perturbed; add judged queries in queries.{lang}.tsv, or evaluate without --perturb"
            )
    if not found and faults:
        raise DataError(next(iter(faults.values())))
    for lang, fault in faults.items():
        say(f"{lang} is not measured: {fault}")
    return found


def _searched(
    recipe: Recipe, teacher: Encoder, collection: Collection, systems: Mapping[str, Encoder]
) -> dict[str, EmbeddedCollection]:
    """System -> what it searches: English documents by the teacher for all of them, those in X by itself."""
    if collection.docs_lang == ENGLISH:
        return dict.fromkeys(systems, index.embed(recipe, teacher, collection, False))
    return {name: index.embed_by(recipe, encoder, collection, False) for name, encoder in systems.items()}


def _systems(recipe: Recipe, student: Path | None) -> dict[str, Encoder]:
    systems = {}
    if student is None and (recipe.folder / "transplant").is_dir():
        systems[report.TRANSPLANT] = encoders.load(recipe.folder / "transplant", recipe.device)
    systems[report.STUDENT] = encoders.load(student or recipe.folder / "student", recipe.device)
    return systems


def _measure(
    recipe: Recipe, encoder: Encoder, queries: Sequence[Query], cases: Sequence[Case], searched: EmbeddedCollection
) -> Measure:
    """MAP of texts that are the queries or one of the cases; each distinct text is encoded once."""
    texts = [[q.text for q in queries], *(some for case in cases for some in case.texts)]
    distinct = list(dict.fromkeys(text for some in texts for text in some))
    vectors = encoders.encode_queries(encoder, distinct)
    row = {text: k for k, text in enumerate(distinct)}
    ids = [q.id for q in queries]
    qrels = judgements_of(queries, searched.collection.qrels[recipe.search.split])

    def worth(some: Sequence[str]) -> Scores:
        rows = [row[text] for text in some]
        asked = vectors[rows] if isinstance(vectors, np.ndarray) else [vectors[k] for k in rows]
        run = search_vectors(asked, ids, searched.vectors, searched.ids, recipe.search.depth)
        return measure(run, qrels, ("AP",))

    return worth


def as_lines(stress: Stress) -> list[list[str]]:
    """The cells of the table, headings first; the clean row of each system before its perturbed ones."""
    rows = [["system", "kind", "rate", "words changed", "MAP", "seeds +-", "lost", "kept", "p"]]
    for system, clean in stress.clean.items():
        rows.append([system, "none", "", "", f"{clean.mean['AP']:.4f}", "", "", "", ""])
        for case, outcome in zip(stress.cases, stress.outcomes[system], strict=True):
            kept, ap = stress.kept(system, outcome), outcome.mean.mean["AP"]
            # With one seed there is no spread to tell.
            spread = f"{np.std(outcome.by_seed, ddof=1):.4f}" if len(outcome.by_seed) > 1 else ""
            cells = [f"{case.rate:g}", f"{100 * case.touched:.1f} %", f"{ap:.4f}", spread]
            cells += [f"{clean.mean['AP'] - ap:+.4f}", "" if kept is None else f"{100 * kept:.1f} %"]
            rows.append([system, case.kind, *cells, f"{outcome.change.p_value:.4f}"])
    return rows


def title(stress: Stress) -> str:
    """What the table is about."""
    queries = next(iter(stress.clean.values())).queries
    seeds = len(stress.cases[0].texts)
    drawn = "1 seed" if seeds == 1 else f"{seeds} seeds"
    over = "" if stress.docs_lang == ENGLISH else f" over {stress.docs_lang} documents"
    return (
        f"{stress.collection} ({stress.split}): {queries} {stress.lang} queries{over}, perturbed with {drawn}; "
        "p of a paired randomisation test on AP averaged over them"
    )


def as_markdown(stress: Stress) -> str:
    """The table, for a file."""
    head, *body = as_lines(stress)
    lines = [head, ["---", "---", *["---:"] * (len(head) - 2)], *body]
    return title(stress) + "\n\n" + "\n".join("| " + " | ".join(cells) + " |" for cells in lines) + "\n"


def as_table(stress: Stress) -> Table:
    """The table for a terminal."""
    from rich import box
    from rich.table import Table

    head, *body = as_lines(stress)
    # Nine columns in a terminal of 80: names and headings may wrap, numbers never.
    table = Table(title=title(stress), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 0))
    for k, cell in enumerate(head):
        width = max(len(word) for cells in body for word in (cells[k].split() if k == 0 else [cells[k]]) or [""])
        table.add_column(cell, justify="left" if k < 2 else "right", min_width=width, overflow="fold")
    for cells in body:
        table.add_row(*cells, style="bold" if cells[1] == "none" else "")
    return table


def as_dict(stress: Stress) -> dict[str, Any]:
    """Everything, for a JSON file: means, seeds, tests, per-query values, and the perturbed queries themselves.

    The documents' language is told unless it is English.
    """
    systems = {
        system: {
            "clean": clean._asdict(),
            "perturbed": [
                {
                    **{"kind": case.kind, "rate": case.rate, "by_seed": outcome.by_seed},
                    **{"scores": outcome.mean._asdict(), "kept": stress.kept(system, outcome)},
                    "test": outcome.change._asdict(),
                }
                for case, outcome in zip(stress.cases, stress.outcomes[system], strict=True)
            ],
        }
        for system, clean in stress.clean.items()
    }
    head = {"collection": stress.collection, "split": stress.split, "lang": stress.lang}
    head |= {} if stress.docs_lang == ENGLISH else {"docs_lang": stress.docs_lang}
    return {**head, "cases": [case._asdict() for case in stress.cases], "systems": systems}
