"""Probe encoders by retrieval: questions in several languages over the English passages of one collection (XQuAD)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from optical.config.probe import Probe
from optical.data.collection import Collection, judgements_of, queries_of, read_collection
from optical.data.document_store import FullTexts, ids_of
from optical.data.records import Qrel, Query
from optical.data.trec_run import Run
from optical.embeddings.vectors import no_vectors
from optical.errors import RecipeError
from optical.evaluation.measures import measure
from optical.evaluation.probe_results import Outcome, ProbeResults
from optical.models.encoders import encode_sentences
from optical.pipeline.probe_inputs import lexicons, perturbed_texts, script_of_texts
from optical.pipeline.probe_systems import Vectors, all_systems, lexicon_of_run
from optical.pipeline.sides import check_english, check_split
from optical.retrieval.search import search_vectors

DEPTH = 1000  # documents ranked


def probe_retrieval(
    model: Any, options: Probe, against: Any | None = None, say: Callable[[str], None] = lambda _: None
) -> ProbeResults:
    """Average precision of questions in each language over English passages, which each system reads itself.

    Raises:
        DataError: A collection without judged questions in a language, or models that cannot be used.
    """
    collection, split, queries = _asked(options)
    words = lexicons(options, lambda lang: lexicon_of_run(model, lang))
    texts = perturbed_texts(options, {lang: [q.text for q in asked] for lang, asked in queries.items()}, words)
    systems, baseline = all_systems(model, against, options)
    vectors, outcomes = Vectors(), list[Outcome]()
    for system in systems:
        read = no_vectors(len(collection.docs))
        read = read._replace(sentences=encode_sentences(system.documents, FullTexts(collection.docs), query=False))
        for lang, asked in queries.items():
            if (encoder := system.reader(lang)) is None:
                continue
            for kind in ("", *options.kinds):
                becoming = [{}] if not kind else [to for (x, k, _), to in texts.items() if (x, k) == (lang, kind)]
                runs = [
                    search_vectors(
                        vectors(encoder, [become.get(query.text, query.text) for query in asked]),
                        [query.id for query in asked], read, ids_of(collection.docs), DEPTH,
                    )
                    for become in becoming
                ]  # fmt: skip
                if runs:
                    outcomes.append(
                        _outcome(system.name, lang, kind, runs, judgements_of(asked, collection.qrels[split]))
                    )
        say(f"{system.name}: {len(collection.docs):,} passages, questions in {len(queries)} languages")
    groups = {name: k for k, name in enumerate(dict.fromkeys(q.id for asked in queries.values() for q in asked))}
    scripts = {lang: script_of_texts(query.text for query in asked) for lang, asked in queries.items()}
    return ProbeResults(
        "xquad-retrieval", "MAP", options.train, 0.0, options.seeds, outcomes, groups, scripts, baseline
    )


def _asked(options: Probe) -> tuple[Collection, str, dict[str, list[Query]]]:
    """The collection, its split, and the judged questions of each language.

    Raises:
        DataError: No collection, documents that are not English, or a language without judged questions.
    """
    if options.data is None:
        raise RecipeError(
            "xquad-retrieval needs a collection: a folder with docs.jsonl, queries.LANG.tsv and qrels.tsv; "
            "give it by --data"
        )
    collection = read_collection(options.data, [*dict.fromkeys((options.train, *options.langs))])
    check_english(collection.name, collection.docs_lang, "questions in several languages meet them")
    split = options.split if options.split in collection.qrels else next(iter(collection.qrels), options.split)
    for lang in options.langs:
        check_split(collection, lang, split)
    there = [lang for lang in dict.fromkeys((options.train, *options.langs)) if lang in collection.queries]
    return collection, split, {lang: queries_of(collection, lang, split) for lang in there}


def _outcome(system: str, lang: str, kind: str, runs: Sequence[Run], qrels: Sequence[Qrel]) -> Outcome:
    """Average precision by question, mean over the runs, which are of one seed each."""
    found = [measure(run, qrels, ("AP",)) for run in runs]
    values = {name: float(np.mean([one.per_query["AP"][name] for one in found])) for name in found[0].per_query["AP"]}
    return Outcome(system, (lang, lang), kind, values, [one.mean["AP"] for one in found])
