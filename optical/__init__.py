"""Teach a retriever a new query language from parallel sentences alone.

A well-trained English encoder, the *teacher*, already knows which English document answers which English query. From
bitext, a *student* learns to put a sentence of language X where the teacher puts its English translation, token by
token, with an optimal-transport loss; the documents are embedded once, by the teacher, and never change::

    text -> encoder -> tokens -> cost -> Sinkhorn plan -> <P, C> -> trainer -> student
    collection -> teacher vectors (once) -> index -> student's queries -> run -> measures -> report

- :mod:`optical.config` holds the options of a run, :mod:`optical.data` reads bitext, collections and runs;
- :mod:`optical.models` loads and saves encoders, :mod:`optical.embeddings` keeps the vectors of documents;
- :mod:`optical.vocabulary` gives a teacher the words of X, :mod:`optical.training` trains, with the plans of
  :mod:`optical.transport`;
- :mod:`optical.retrieval` searches, :mod:`optical.evaluation` measures and compares;
- :mod:`optical.pipeline` does all of it in order, on a run folder, for the command line (:mod:`optical.cli`) and the
  search page (:mod:`optical.web`).

:func:`distill` and :func:`teach` train without a run folder, :func:`load_student` loads what they made; :func:`load`
loads a finished run, which searches.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from optical.version import __version__

if TYPE_CHECKING:
    from optical.config.recipe import Recipe
    from optical.data.bitext import Bitext
    from optical.evaluation.probe_results import ProbeResults
    from optical.models.encoders import Encoder
    from optical.pipeline.searcher import Searcher

    Sentences = str | PathLike[str] | Iterable[Any]

__all__ = ["__version__", "distill", "load", "load_student", "probe", "teach"]


def distill(
    teacher: str | Path | Encoder | tuple[str | Path | Encoder, str | Path | Encoder] = "all-MiniLM-L6-v2",
    *,
    student: str | Path | Encoder | None = None,
    bitext: Sentences | Mapping[str, Sentences],
    lang: str = "xx",
    documents: Any = None,
    words: str | Path | Iterable[str] | None = None,
    dev: Callable[[Encoder], float] | None = None,
    folder: str | Path | None = None,
    cache: str | Path | None = None,
    teacher_prompts: Mapping[str, str] | None = None,
    student_prompts: Mapping[str, str] | None = None,
    layers: int | None = None,
    vocabulary: Mapping[str, Any] | None = None,
    objective: Mapping[str, Any] | None = None,
    robustness: Mapping[str, Any] | None = None,
    training: Mapping[str, Any] | None = None,
    callbacks: Iterable[Any] = (),
    seed: int = 0,
    progress: bool = True,
) -> Encoder:
    """Distill a student that answers queries in X over documents embedded by the teacher.

    Args:
        teacher: A loaded sentence-transformers encoder, a folder, a hub id, or the name of the default teacher; or two,
            one of queries and one of documents (as in DPR), as a tuple or with a comma between. A model whose
            ``Router`` has a route for each is two as well. The student is made of the one of queries.
        student: Another encoder that reads X, which the student starts from: loaded, a folder, a hub id or a packaged
            name. A linear map takes its vectors into the teacher's space. Without it, the teacher itself.
        bitext: Pairs (English, X), in a list or any other iterable; records or a mapping of two columns with the names
            ``en`` and ``lang``; a DataFrame of pandas or a ``Dataset`` of ``datasets``; a path that
            :func:`optical.data.bitext.read_bitext` reads (``"a.tsv,b.tsv@0.5"`` draws the pairs of the second half as
            often); a list of several of these; or for one student of several languages a mapping, language code -> one
            of these. Small languages are then drawn more often than they are large, by
            ``training.language_temperature``. However they are given, pairs are cleaned by the same rules.
        lang: Language code of X; needed only where files, fields or columns are named by it. ``"sw,so"`` reads both
            from one path. Of a mapping by language, the keys are taken.
        documents: English passages that the student learns to rank as the teacher does, where ``objective`` has a
            weight for ``scores``; without them that objective is left out. Their names, where the bitext lacks them,
            are read by the teacher's pieces. Texts, mappings with a ``text`` (or ``body``, ``contents``, ``passage``)
            and perhaps a ``title``, a DataFrame of pandas, a ``Dataset`` of ``datasets``, or the path of a file or
            folder that :func:`optical.data.collection.stream_docs` reads.
        words: Words of X that the bitext may lack, one string each, or a path that
            :func:`optical.data.word_list.read_word_list` reads (``vocabulary.words``). Each that resembles words of
            the bitext gets a row composed from theirs.
        dev: A score, higher is better, that chooses the checkpoint; without it the last one is taken. An attribute
            ``fingerprint`` (a string) tells it from other scores when an interrupted call goes on, else its name does.
        folder: Where the student is saved, a new folder or that of an earlier student; without it nothing is kept.
        cache: Where the teacher's vectors are kept; without it they are computed again next time.
        teacher_prompts: What the teacher and the student read before a text, ``{"query": "query: ", "document":
            "passage: "}``; without it, what the teacher is saved with.
        student_prompts: The same of ``student``, which keeps prompts of its own.
        layers: Layers of the student, evenly taken from those it starts with; without it, all of them.
        vocabulary: Options of :class:`optical.config.recipe.Vocabulary`.
        objective: Options of :class:`optical.config.recipe.Objective`.
        robustness: Options of :class:`optical.config.recipe.Robustness`.
        training: Options of :class:`optical.config.recipe.Training`; ``{"report_to": "wandb"}`` names a tracker that
            transformers knows.
        callbacks: Functions that are called with a :class:`optical.training.callbacks.TrainingLog` at every log and
            development score, and end the training where they return True; or objects of
            ``transformers.TrainerCallback``.
        seed: Of all sampling and initialisation.
        progress: Show progress bars.

    Returns:
        A ``SentenceTransformer``, or a ``MultiVectorEncoder`` when the teacher is one.

    Raises:
        DataError: Bitext, teacher or folder that cannot be used.
        RecipeError: An unknown option, or a value out of range.
    """
    from optical.config.arguments import check_arguments
    from optical.config.recipe import load_recipe
    from optical.data.collection import stream_docs
    from optical.data.document_fields import texts_of
    from optical.data.in_memory import is_by_language
    from optical.files import check_place, check_replaceable

    sections = {"vocabulary": vocabulary, "objective": objective, "robustness": robustness, "training": training}
    sections |= {"teacher_prompts": teacher_prompts, "student_prompts": student_prompts}
    check_arguments("options", sections)
    check_arguments("score", {"dev": dev})
    check_arguments("words", {"words": words})
    paths = {name: one for name, one in (("documents", documents), ("words", words)) if isinstance(one, str | PathLike)}
    check_arguments("path", {"folder": folder, "cache": cache, **paths})
    given = {f"{name}.{key}": value for name, options in sections.items() for key, value in (options or {}).items()}
    listed_words: list[str] = []
    if isinstance(words, str | PathLike):
        given["vocabulary.words"] = os.fspath(words)
    elif words is not None:
        listed_words = list(words)
        for k, word in enumerate(listed_words):
            check_arguments("text", {f"words[{k}]": word}, required=True)
    lang = ",".join(map(str, cast("Mapping[str, Any]", bitext))) if is_by_language(bitext) else lang
    named = {} if student is None else {"student": _name(student)}
    recipe = load_recipe(None, {"lang": lang, "layers": layers, "seed": seed, **named, **given})
    for place in (folder, cache):
        if place is not None:
            check_place(Path(place))
    if folder is not None:
        check_replaceable(Path(folder))
    read = [doc.full for doc in stream_docs(os.fspath(documents))] if "documents" in paths else None
    texts = texts_of(documents) if read is None else read
    bitexts = _bitexts(bitext, recipe, logging.getLogger(__name__).warning if progress else lambda *_: None)

    from optical.data.names import names_in
    from optical.data.word_list import count_words
    from optical.data.words import tidy
    from optical.models import encoders
    from optical.models.linear_map import body_for
    from optical.models.load import load_encoder, load_towers
    from optical.models.prompts import with_prompts
    from optical.models.save import save_encoder
    from optical.models.towers import check_towers, names_of, prompted_towers
    from optical.pipeline.inputs import read_dictionaries
    from optical.pipeline.run_folder import check_part
    from optical.pipeline.word_lists import read_word_lists
    from optical.training import distillation
    from optical.training.callbacks import check_callbacks
    from optical.training.trainer import Workspace
    from optical.training.unseen import add_words

    told = check_callbacks(callbacks)
    names = names_of(teacher)
    for name in (*names, *(names_of(student) if student is not None else ())):
        check_part(Path(name))
    towers = load_towers(teacher)
    check_towers(towers, names)
    towers = prompted_towers(towers, recipe.teacher_prompts.model_dump(), names)
    body = None
    if student is not None:
        body = load_encoder(student)
        body = with_prompts(body, recipe.student_prompts.model_dump(), names_of(student)[0], "student_prompts")
        body = body_for(body, towers.queries)
    ranked = texts and not encoders.is_multi_vector(towers.documents)
    passages = [encoders.encode_sentences(towers.documents, texts, query=False)] if ranked else []
    with tempfile.TemporaryDirectory() as scratch:
        workspace = Workspace(Path(folder or scratch), Path(cache or scratch), progress, callbacks=told)
        pairs = {lang: one.pairs for lang, one in bitexts.items()}
        weights = {pair: weight for one in bitexts.values() for pair, weight in one.weights.items()}
        listed = read_word_lists(recipe, pairs, {}, workspace.say).counts + count_words(listed_words)
        dictionaries = read_dictionaries(recipe, pairs, lambda _: None)
        entries = [entry for dictionary in dictionaries.values() for entry in dictionary.entries]
        options = recipe.student_options._replace(entries=entries, weights=weights, names=names_in(map(tidy, texts)))
        done = distillation.distill(towers.queries, pairs, options, workspace, passages=passages, dev=dev, start=body)
    add_words([done.student], listed, recipe.vocabulary, lambda _: None)
    if folder is not None:
        save_encoder(done.student, Path(folder))
    done.trained.clear_checkpoints()
    return done.student


def load_student(folder: str | Path, device: str | None = None) -> Encoder:
    """Load the student of a folder, as :func:`distill` saves it, with rows composed for words that it never saw.

    Plain ``SentenceTransformer(folder)`` reads such words by the teacher's pieces.

    Args:
        folder: Of the student; in a run folder it is ``student``.
        device: ``cpu``, ``cuda``, ...; without it what torch finds.

    Raises:
        DataError: No encoder is there, its list of seen words is damaged, or a file of a run's student is not as it was
            written.
    """
    from optical.config.arguments import check_arguments
    from optical.pipeline.run_folder import check_part

    check_arguments("path", {"folder": folder})
    check_part(Path(folder))
    from optical.models.load import load_student

    return load_student(folder, device)


def load(
    run: str | PathLike[str],
    *,
    lang: str | None = None,
    collection: str | PathLike[str] | None = None,
    device: str | None = None,
) -> Searcher:
    """Load a finished run, to search and to encode with it.

    Args:
        run: Folder that ``optical distill`` left.
        lang: Of several languages, the one whose documents are searched; without it the first that has some.
        collection: Where its documents are now, if elsewhere than the recipe says.
        device: ``cpu``, ``cuda``, ...; without it what torch finds.

    Returns:
        A :class:`optical.pipeline.searcher.Searcher`; ``with optical.load("runs/sw") as run: run.search("...")`` lets
        go of it at the end.

    Raises:
        DataError: No finished run is there, or its index does not fit its documents.
        RecipeError: An argument of a wrong type.
    """
    from optical.config.arguments import check_arguments

    check_arguments("path", {"run": run}, required=True)
    check_arguments("path", {"collection": collection})
    check_arguments("text", {"lang": lang, "device": device})
    from optical.pipeline import searcher

    where = None if collection is None else os.fspath(collection)
    return searcher.load(os.fspath(run), {"lang": lang, "collection": where, "device": device})


def teach(
    teacher: str | Path | Encoder = "all-MiniLM-L6-v2",
    *,
    rows: Iterable[Sequence[str]],
    late_interaction: bool = False,
    dimension: int = 128,
    dev: Callable[[Encoder], float] | None = None,
    folder: str | Path | None = None,
    options: Mapping[str, Any] | None = None,
    callbacks: Iterable[Any] = (),
    progress: bool = True,
) -> Encoder:
    """Teach an English encoder to rank the right passage of a query first, so that it can be a teacher of students.

    Args:
        teacher: What training begins with: a loaded encoder, which stays as it is, a folder, a hub id, or the name of
            the default teacher.
        rows: Query, passage that answers it, and passages that do not, of which every row has the same number.
        late_interaction: Teach token vectors under MaxSim, not sentence vectors.
        dimension: Of projected token vectors, late interaction only; 0 adds no projection.
        dev: A score, higher is better, that chooses checkpoint and average; without it the last one is taken.
        folder: Where the encoder is saved, a new folder or that of an earlier one; without it nothing is kept.
        options: More options of :class:`optical.config.teaching.Teaching`: ``{"steps": 200, "batch_size": 64}``.
        callbacks: As in :func:`distill`.
        progress: Show progress bars.

    Returns:
        A ``SentenceTransformer``, or a ``MultiVectorEncoder`` for late interaction.

    Raises:
        DataError: Rows of different lengths or too few, a teacher or folder that cannot be used.
        RecipeError: An unknown option, or one that does not fit the encoder.
        Diverged: The loss is no number.
    """
    from optical.config.arguments import check_arguments
    from optical.config.teaching import Teaching
    from optical.config.toml import load_options
    from optical.files import check_place, check_replaceable

    check_arguments("options", {"options": options})
    check_arguments("path", {"folder": folder})
    check_arguments("score", {"dev": dev})
    check_arguments("rows", {"rows": rows}, required=True)
    given = {"late_interaction": late_interaction, "dimension": dimension, **dict(options or {})}
    chosen = load_options(Teaching, None, {"collection": "rows", **given})

    from optical.models.load import load_encoder
    from optical.models.prompts import with_prompts
    from optical.models.save import save_encoder
    from optical.models.towers import names_of
    from optical.pipeline.run_folder import check_part
    from optical.training import teacher as training
    from optical.training.callbacks import check_callbacks
    from optical.training.trainer import Workspace

    told, listed = check_callbacks(callbacks), list(rows)
    training.check_rows(listed)
    if folder is not None:
        check_place(Path(folder))
        check_replaceable(Path(folder))
    check_part(Path(names_of(teacher)[0]))
    start = load_encoder(teacher, chosen.device)
    start = with_prompts(start, chosen.teacher_prompts.model_dump(), names_of(teacher)[0])
    ranking = training.ranking_of(start, listed) if chosen.loss == "ranking" else None
    start = training.beginning(start, [row[1] for row in listed], chosen)
    with tempfile.TemporaryDirectory() as scratch:
        workspace = Workspace(Path(folder or scratch), Path(scratch), progress, callbacks=told)
        taught = training.teach(start, listed, chosen, workspace, dev=dev, ranking=ranking)
    if folder is not None:
        save_encoder(taught.encoder, Path(folder))
    taught.clear_checkpoints()
    return taught.encoder


def probe(
    model: str | PathLike[str] | Encoder,
    task: str,
    test: str | Sequence[str],
    *,
    data: str | PathLike[str] | None = None,
    against: str | PathLike[str] | Encoder | None = None,
    options: Mapping[str, Any] | None = None,
) -> ProbeResults:
    """Train a classifier of sentence pairs on an encoder in one language, and test it in others.

    Args:
        model: Folder of a run, whose teacher and student are both asked; or an encoder: a folder, a hub id, a packaged
            name, or one that is loaded.
        task: ``xnli``, ``pawsx``, ``sts`` or ``xquad-retrieval``.
        test: Languages that are tested, ``"sw,de"`` or a list.
        data: Folder, file or hub id of the pairs; without it the task's own on the hub.
        against: A second model, which all others are compared with.
        options: More options of :class:`optical.config.probe.Probe`: ``{"seeds": 5, "mixed": True}``.

    Returns:
        Scores, values of every item and tests; a notebook shows them as tables, as
        :func:`optical.evaluation.probe_results.tables` gives them.

    Raises:
        DataError: Pairs or models that cannot be used.
        RecipeError: An unknown option, or one that does not fit the task.
    """
    from optical.config.arguments import check_arguments
    from optical.config.probe import Probe
    from optical.config.toml import load_options

    check_arguments("path", {"data": data})
    check_arguments("options", {"options": options})
    langs = test if isinstance(test, str) else ",".join(test)
    place = None if data is None else os.fspath(data)
    chosen = load_options(Probe, None, {"task": task, "test": langs, "data": place, **dict(options or {})})
    from optical.pipeline import probe as pipeline_probe

    return pipeline_probe.probe(model, chosen, against)


def _name(encoder: Any) -> str:
    """The name of a model for a recipe, as names_of gives it; that of a loaded one says nothing."""
    return os.fspath(encoder) if isinstance(encoder, str | PathLike) else "the encoder given"


def _bitexts(bitext: Any, recipe: Recipe, say: Callable[..., None]) -> dict[str, Bitext]:
    """Language -> bitext, for one language or several; what is left out is said."""
    from optical.data.in_memory import bitext_of, is_by_language
    from optical.errors import RecipeError
    from optical.pipeline.inputs import check_apart

    by_language = is_by_language(bitext)
    if len(recipe.langs) > 1 and not by_language and not isinstance(bitext, str | PathLike):
        raise RecipeError(
            f"pairs do not say which of the languages {recipe.lang} they are in; give a mapping, language -> pairs"
        )
    given = cast("Mapping[str, Any]", bitext if by_language else dict.fromkeys(recipe.langs, bitext))
    given = {
        lang: os.fsdecode(one).replace("{lang}", lang) if isinstance(one, str | PathLike) else one
        for lang, one in given.items()
    }
    check_apart({lang: one for lang, one in given.items() if isinstance(one, str)})
    found = {lang: bitext_of(one, lang) for lang, one in given.items()}
    for one in found.values():
        for reason, count in one.skipped.items():
            say("%d pairs of the bitext left out, %s (first at %s)", count, reason, one.examples[reason])
    return found
