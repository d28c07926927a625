"""One cell of a grid: a row in one language with one seed, trained and measured on judgements or on held-out pairs.

Checkpoint and average are chosen on other held-out pairs, never by judgements: questions and longer sentences of X must
find the passage that the teacher ranks first for their English side, among the passages of all collections.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments import fingerprints, probes
from experiments import held_out as held_out_queries
from experiments.grid import Experiment, Row, more_of, recipe_of
from optical.config.recipe import Recipe
from optical.data.bitext import Pair, read_bitext, split, without
from optical.data.collection import judgements_of, queries_of, read_collection
from optical.data.records import Query
from optical.data.trec_run import Run
from optical.embeddings.embedded_collection import EmbeddedCollection
from optical.evaluation.measures import measure
from optical.evaluation.perturbations import perturb
from optical.evaluation.strata import Stratified, Stratum
from optical.files import checksum
from optical.models import encoders
from optical.models.encoders import Encoder
from optical.models.load import load_student
from optical.models.save import save_encoder
from optical.pipeline import embed
from optical.pipeline.dev_score import MeasuredScore
from optical.pipeline.inputs import read_dictionaries
from optical.pipeline.probe_systems import Vectors
from optical.pipeline.sides import check_english
from optical.retrieval.search import search
from optical.training.distillation import distill
from optical.training.mixture import mix, usable
from optical.training.start import make_start
from optical.training.trainer import Workspace
from optical.vocabulary.lexicon import bitext_lexicon

HELD_OUT = 150  # questions, and as many other sentences
LONGER = (8, 30)  # words of the other sentences
PASSAGES = 20_000  # that held-out sentences are searched among

Say = Callable[[str], None]


class Setting(NamedTuple):
    """Data that all cells of a language share.

    Attributes:
        lang: The language.
        pairs: Bitext without queries and without what is held out.
        held_out: Kinds of held-out pairs.
        searched: Collection name -> the collection with the teacher's vectors.
        lexicon: X words -> English words, for code-switched queries; empty unless they are measured.
        measured: What rows are measured on, by name: ``searched``, or held-out pairs over the same passages.
        english: The teacher's vectors of what probes learn from, which all cells share; filled by the first of them.
    """

    lang: str
    pairs: list[Pair]
    held_out: dict[str, list[Pair]]
    searched: dict[str, EmbeddedCollection]
    lexicon: dict[str, list[str]]
    measured: dict[str, EmbeddedCollection]
    english: Vectors


def setting(experiment: Experiment, recipe: Recipe, data: Path, say: Say) -> Setting:
    """Read the language's bitext and collections, hold out, embed the passages."""
    lang, teacher = recipe.lang, embed.teacher_towers(recipe)
    collections = {}
    for name in experiment.collections:
        # Held-out pairs are searched among all passages, whatever languages ask about them.
        if experiment.split == "held-out" or any((data / "clir" / name).glob(f"queries.{lang}.tsv*")):
            collections[name] = read_collection(str(data / "clir" / name), ["en", lang])
            check_english(name, collections[name].docs_lang, "every row has the same vectors of the documents")
    bitext = read_bitext(str(data / "bitext" / lang), lang).pairs
    asked = [q.text for c in collections.values() for queries in c.queries.values() for q in queries]
    pairs = without(bitext, asked)
    questions = [p for p in pairs if p.is_question and len(p.foreign.split()) > 2]
    others = [p for p in pairs if not p.is_question and LONGER[0] <= len(p.foreign.split()) <= LONGER[1]]
    kinds = {"questions": questions, "sentences": others}
    # Not the recipe's seed: all seeds of a row are chosen by the same development sets.
    held_out = {kind: split(some, HELD_OUT, 0)[1] for kind, some in kinds.items() if len(some) > 3 * HELD_OUT}
    away = {pair for some in held_out.values() for pair in some}
    searched = {
        name: embed.embed_documents(recipe, teacher.documents, collection) for name, collection in collections.items()
    }
    judged = searched
    if experiment.split == "held-out":
        apart = {kind: held_out_queries.draw([p for p in some if p not in away]) for kind, some in kinds.items()}
        judged = held_out_queries.as_collections(teacher.queries, apart, lang, list(searched.values()))
        away |= {pair for some in apart.values() for pair in some}
    rest = [p for p in pairs if p not in away]
    words = bitext_lexicon(rest) if any(p.startswith("codeswitch") for p in experiment.perturb) else {}
    say(f"{lang}: {len(rest)} pairs, {', '.join(f'{len(h)} {k} held out' for k, h in held_out.items())}")
    return Setting(lang, rest, held_out, searched, words, judged, Vectors())


def development(setting: Setting, teacher: Encoder, late: bool) -> MeasuredScore:
    """The mean reciprocal rank of the teacher's first passage; the kinds of held-out pairs are its strata."""
    parts = list(setting.searched.values())
    ids = [f"{k}-{i}" for k, part in enumerate(parts) for i in part.ids][:PASSAGES]
    scores = []
    for some in setting.held_out.values():
        queries = [Query(f"q{k}", p.foreign) for k, p in enumerate(some)]
        english = [Query(f"q{k}", p.english) for k, p in enumerate(some)]
        if late:  # token vectors of several collections do not lie in one file: the largest collection is searched
            part = max(parts, key=lambda p: len(p.ids))
            first = search(teacher, english, part.vectors, part.ids, 1)
            scores.append(_ranks_late(queries, part, {q: next(iter(found)) for q, found in first.items()}))
        else:
            documents = np.concatenate([np.asarray(part.vectors.sentences) for part in parts])[: len(ids)]
            right = (encoders.encode_queries(teacher, [q.text for q in english]) @ documents.T).argmax(axis=1)
            scores.append(_ranks([q.text for q in queries], documents, right))
    sentences = (side for kind, some in setting.held_out.items() for pair in some for side in (kind, *pair[:2]))
    vectors = (part.vectors.folder.name for part in parts)
    measured = [str(late), *(checksum(some) for some in (sentences, vectors, ids))]
    weight = 1 / max(1, len(scores))
    return MeasuredScore(
        lambda encoder: Stratified(tuple(Stratum(weight, score(encoder)) for score in scores)), checksum(measured)
    )


def _ranks(texts: list[str], documents: np.ndarray, right: np.ndarray) -> Callable[[Encoder], np.ndarray]:
    def score(encoder: Encoder) -> np.ndarray:
        found = encoders.encode_queries(encoder, texts) @ documents.T
        own = found[np.arange(len(right)), right][:, None]
        return 1.0 / (1 + (found > own).sum(axis=1))

    return score


def _ranks_late(
    queries: list[Query], part: EmbeddedCollection, right: dict[str, str]
) -> Callable[[Encoder], np.ndarray]:
    def score(encoder: Encoder) -> np.ndarray:
        run = search(encoder, queries, part.vectors, part.ids, 100)
        ranks = [list(run[q]).index(d) + 1 if d in run[q] else np.inf for q, d in right.items()]
        return np.array([1.0 / rank for rank in ranks])

    return score


def drawn(pairs: Sequence[Pair], count: int | None, recipe: Recipe) -> list[Pair]:
    """The pairs that a cell trains on: of the right length, and when there are too many, by a hash of the pair."""
    able = usable(pairs, recipe.training)
    if count is None or count >= len(able):
        return able
    order = sorted(able, key=lambda p: hashlib.sha256(f"{p.english}\t{p.foreign}".encode()).digest())
    chosen = set(order[:count])
    return [p for p in able if p in chosen]


def run_cell(
    experiment: Experiment, row: Row, seed: int, setting: Setting, data: Path, folder: Path, say: Say
) -> dict[str, Any]:
    """Train and measure one cell; per-query values are kept for the tests."""
    recipe = recipe_of(experiment, row, setting.lang, seed)
    teacher = embed.load_teacher(recipe)
    every, weights = _every_language(setting, row, data)
    some = {lang: drawn(pairs, row.pairs or experiment.pairs, recipe) for lang, pairs in every.items()}
    dev = development(setting, teacher, recipe.late_interaction)
    start = _start(recipe, teacher, mix(some if experiment.transplant == "drawn" else every, recipe.training).pairs)
    begun = time.perf_counter()
    workspace = Workspace(
        folder / f"training-{_name(row.name)}-{setting.lang}-{seed}", recipe.cache_folder, progress=False
    )
    passages = [] if recipe.late_interaction else [_passages(setting)]
    options = recipe.student_options._replace(weights=weights)
    done = distill(teacher, some, options, workspace, passages=passages, dev=dev, start=start)
    seconds, trained = round(time.perf_counter() - begun, 1), done.trained
    say(f"{row.name} {setting.lang} seed {seed}: {trained.sentence}, {seconds} s")
    found: dict[str, Any] = {"dev": trained.facts}
    found |= {"pairs": len(done.mixture.pairs), "seconds": seconds}
    found |= {"ap": measured(done.student, setting, experiment.perturb)}
    if experiment.probes:
        langs = tuple(dict.fromkeys((setting.lang, *experiment.watched)))
        folders = [data / "nli" / name for name in experiment.probes]
        asked = probes.probed(done.student, teacher, langs, folders, setting.english, experiment.probe_items)
        found |= {"probe": asked}
    trained.clear_checkpoints()
    return found


def _every_language(setting: Setting, row: Row, data: Path) -> tuple[dict[str, list[Pair]], dict[Pair, float]]:
    """Language -> the bitext that a row's student is made from, without any query of the measured language; weights."""
    parts = [*setting.searched.values(), *setting.measured.values()]
    asked = [q.text for part in parts for queries in part.collection.queries.values() for q in queries]
    asked += [pair.english for some in setting.held_out.values() for pair in some]
    others = {lang: read_bitext(str(data / "bitext" / lang), lang).pairs for lang in row.beside}
    own, weights = setting.pairs, {}
    if more := more_of(row, setting.lang, data):
        bitext = read_bitext([f"{path}@{weight}" for path, weight in more.items()], setting.lang)
        own, weights = list(dict.fromkeys([*own, *without(bitext.pairs, asked)])), bitext.weights
    known = set(setting.pairs)  # which keep their weight
    weights = {pair: weight for pair, weight in weights.items() if pair not in known}
    return {setting.lang: own, **{lang: without(pairs, asked) for lang, pairs in others.items()}}, weights


def baselines(experiment: Experiment, row: Row, setting: Setting, data: Path) -> dict[str, Any]:
    """The teacher on English and on X, and the row's student before training."""
    recipe = recipe_of(experiment, row, setting.lang, experiment.seeds[0])
    teacher = embed.load_teacher(recipe)
    every, _ = _every_language(setting, row, data)
    if experiment.transplant == "drawn":
        every = {lang: drawn(pairs, row.pairs or experiment.pairs, recipe) for lang, pairs in every.items()}
    start = _start(recipe, teacher, mix(every, recipe.training).pairs)
    return {
        "ceiling": measured(teacher, setting, lang="en"),
        "zero-shot": measured(teacher, setting),
        "start": measured(start, setting, experiment.perturb),
    }


def measured(
    encoder: Encoder, setting: Setting, perturbations: Sequence[str] = (), lang: str | None = None
) -> dict[str, dict[str, float]]:
    """Collection, or ``collection kind@rate`` for perturbed queries -> query -> AP."""
    found = {}
    for name, part in setting.measured.items():
        split_name = "test" if "test" in part.collection.qrels else next(iter(part.collection.qrels))
        asked = {q.id for q in queries_of(part.collection, setting.lang, split_name)}
        queries = [q for q in part.collection.queries[lang or setting.lang] if q.id in asked]
        qrels = judgements_of(queries, part.collection.qrels[split_name])
        for kind in ("", *perturbations):
            texts = [Query(q.id, _perturbed(q, kind, setting.lexicon)) for q in queries] if kind else queries
            run: Run = search(encoder, texts, part.vectors, part.ids, 1000)
            found[f"{name} {kind}".strip()] = measure(run, qrels, ("AP",)).per_query["AP"]
    return found


def _perturbed(query: Query, kind: str, words: dict[str, list[str]]) -> str:
    name, _, rate = kind.partition("@")
    # By the query alone: every row reads the same perturbed questions.
    random = np.random.default_rng(int(hashlib.sha256(f"{kind} {query.id}".encode()).hexdigest()[:8], 16))
    return perturb(query.text, name, float(rate), random, lexicon=words)


def _passages(setting: Setting) -> np.ndarray:
    return np.concatenate([np.asarray(part.vectors.sentences) for part in setting.searched.values()])


def _start(recipe: Recipe, teacher: Encoder, pairs: Sequence[Pair]) -> Encoder:
    """The student before training, from the cache where it is there."""
    body = embed.load_body(recipe, teacher)
    options = recipe.student_options._replace(seed=0)  # all seeds of a row begin with the same student
    dictionaries = read_dictionaries(recipe, dict.fromkeys(recipe.langs, pairs), lambda _: None)
    made_of = [encoders.fingerprint(teacher), recipe.vocabulary.model_dump_json(), str(recipe.layers)]
    made_of += [digest for one in dictionaries.values() for digest in one.sources.values()]
    if body is not None:  # its map is fitted to sentences of the lengths that are trained on
        made_of += [
            encoders.fingerprint(body.encoder),
            recipe.training.model_dump_json(include={"min_words", "max_words"}),
        ]
        made_of += [fingerprints.code("optical.training.body")]
    key = checksum(
        [*made_of, fingerprints.code("optical.vocabulary.transplant"), fingerprints.code("optical.models.layers")]
        + [f"{p.english}\t{p.foreign}" for p in pairs]
    )
    folder = recipe.cache_folder / f"transplant-{key[:16]}"
    if not (folder / "modules.json").is_file():
        workspace = Workspace(folder, recipe.cache_folder, progress=False)
        options = options._replace(entries=[entry for one in dictionaries.values() for entry in one.entries])
        save_encoder(make_start(teacher, pairs, options, workspace, body).student, folder)
    return load_student(folder, recipe.device)


def _name(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-")
