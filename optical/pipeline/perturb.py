"""Measure the student and the transplant of a finished run on perturbed queries: what is left of MAP."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from optical.config.recipe import Recipe
from optical.config.search import Search
from optical.data.collection import Collection, judgements_of, queries_of
from optical.data.records import ENGLISH, Query
from optical.embeddings.embedded_collection import EmbeddedCollection
from optical.evaluation.measures import Scores, measure
from optical.evaluation.perturbations import check
from optical.evaluation.perturbed_results import (
    Measure,
    PerturbedQueries,
    PerturbedResults,
    as_dict,
    measure_perturbed,
    perturb_queries,
    table,
)
from optical.evaluation.tables import page
from optical.files import strict_json, write_text
from optical.models import encoders
from optical.models.encoders import Encoder
from optical.pipeline.embed import embed_documents, teacher_towers
from optical.pipeline.evaluate import load_systems
from optical.pipeline.hubness import hubness_of
from optical.pipeline.inputs import read_inputs, run_collections
from optical.pipeline.run_folder import (
    MEASURED,
    PERTURBED,
    check_evaluate,
    check_read,
    evaluation_folder,
    next_generation,
)
from optical.pipeline.sides import measurable, sides, without_faults
from optical.retrieval.search import search_vectors
from optical.vocabulary.lexicon import bitext_lexicon

RATES = (0.1, 0.2)


def perturb_run(
    recipe: Recipe,
    kinds: Sequence[str],
    rates: Sequence[float] = RATES,
    *,
    seeds: int = 3,
    student: Path | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> list[PerturbedResults]:
    """Measure the student of a finished run on perturbed queries, in each of its languages.

    The collection is searched exactly. A query that a seed leaves as it was keeps its vector, so whatever differs is
    the perturbation. English documents are embedded by the teacher for all systems, documents in X by each system; the
    queries are those in X, also where :func:`optical.pipeline.evaluate.evaluate_run` asks in English.

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
    check_evaluate(recipe.folder, PERTURBED)
    check_read(recipe, *MEASURED)
    embedder = teacher_towers(recipe).documents
    split = recipe.search.split
    asked = _asked(measurable(run_collections(recipe), split, say), split, say)
    bitexts = read_inputs(recipe, lambda _: None).bitexts if "codeswitch" in kinds else {}
    systems, hubness = load_systems(recipe, student), hubness_of(recipe)
    found = []
    for lang, (collection, queries) in asked.items():
        own = recipe.of(lang)
        words = bitext_lexicon(bitexts[lang].pairs) if lang in bitexts else None
        wanted = [(kind, rate) for kind in dict.fromkeys(kinds) for rate in dict.fromkeys(rates)]
        cases = [perturb_queries(queries, kind, rate, seeds, words) for kind, rate in wanted]
        say(f"{lang}: {len(queries)} queries, {len(cases)} perturbations, {seeds} seeds each")
        shared = embed_documents(own, embedder, collection, False) if collection.docs_lang == ENGLISH else None
        searched = {n: shared or embed_documents(own, one, collection, False) for n, one in systems.items()}
        searched = {
            name: one._replace(vectors=hubness.penalised(systems[name], lang, one.vectors))
            for name, one in searched.items()
        }
        measures = {
            name: _measure(own.search, encoder, queries, cases, searched[name]) for name, encoder in systems.items()
        }
        texts = [query.text for query in queries]
        found.append(
            measure_perturbed(collection.name, split, lang, texts, cases, measures, docs_lang=collection.docs_lang)
        )
    with next_generation(recipe, say) as (recipe, say):
        for lang, result in zip(asked, found, strict=True):
            folder = evaluation_folder(recipe, result.collection, lang, student)
            write_text(folder / "perturbed.json", strict_json(as_dict(result)))
            write_text(folder / "perturbed.md", page(table(result)))
            say(f"perturbed.json and perturbed.md are in {folder}")
    return found


def _asked(
    collections: Mapping[str, Collection], split: str, say: Callable[[str], None]
) -> dict[str, tuple[Collection, list[Query]]]:
    """Language -> its collection and the judged queries in X, whose words are perturbed.

    Raises:
        DataError: No language has any, because its documents are in X and its queries English.
    """
    asked = {lang: queries_of(c, lang, split) if lang in c.queries else [] for lang, c in collections.items()}
    for lang, collection in collections.items():
        if asked[lang] and sides(collection, lang, split).queries == ENGLISH:
            say(
                f"{collection.name} is asked in English where nothing is perturbed; here its {len(asked[lang])} {lang} "
                "queries are asked, by the student"
            )
    faults = {
        lang: f"{collection.name} has {lang} documents and judges only English queries in {split!r}, while words of "
        f"{lang} are perturbed; add judged queries in queries.{lang}.tsv, or evaluate without --perturb"
        for lang, collection in collections.items()
        if not asked[lang]
    }
    found = without_faults(collections, faults, "measured", say) if collections else {}
    return {lang: (collection, asked[lang]) for lang, collection in found.items()}


def _measure(
    options: Search,
    encoder: Encoder,
    queries: Sequence[Query],
    cases: Sequence[PerturbedQueries],
    searched: EmbeddedCollection,
) -> Measure:
    """A function from texts, the queries or one of the cases, to their MAP; each distinct text is encoded once."""
    texts = [[q.text for q in queries], *(some for case in cases for some in case.texts)]
    distinct = list(dict.fromkeys(text for some in texts for text in some))
    vectors = encoders.encode_queries(encoder, distinct)
    row = {text: k for k, text in enumerate(distinct)}
    ids = [q.id for q in queries]
    qrels = judgements_of(queries, searched.collection.qrels[options.split])

    def worth(some: Sequence[str]) -> Scores:
        rows = [row[text] for text in some]
        asked = vectors[rows] if isinstance(vectors, np.ndarray) else [vectors[k] for k in rows]
        run = search_vectors(asked, ids, searched.vectors, searched.ids, options.depth)
        return measure(run, qrels, ("AP",))

    return worth
