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

:func:`distill` and :func:`teach` train without a run folder, :func:`load_student` loads what they made.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from optical.version import __version__

if TYPE_CHECKING:
    from optical.config.recipe import Recipe
    from optical.data.bitext import Bitext
    from optical.models.encoders import Encoder

    Sentences = str | Path | Iterable[tuple[str, str]]

__all__ = ["__version__", "distill", "load_student", "teach"]


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
        bitext: Pairs (English, X), or a path that :func:`optical.data.bitext.read_bitext` reads (``"a.tsv,b.tsv@0.5"``
            draws the pairs of the second half as often); for one student of several languages a mapping, language code
            -> pairs or path. Small languages are then drawn more often than they are large, by
            ``training.language_temperature``.
        lang: Language code of X; needed only where ``bitext`` is a path whose files are named by language. ``"sw,so"``
            reads both from one path. Of a mapping, the keys are taken.
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
        training: Options of :class:`optical.config.recipe.Training`.
        seed: Of all sampling and initialisation.
        progress: Show progress bars.

    Returns:
        A ``SentenceTransformer``, or a ``MultiVectorEncoder`` when the teacher is one.

    Raises:
        DataError: Bitext, teacher or folder that cannot be used.
        RecipeError: An unknown option, or a value out of range.
    """
    from optical.config.recipe import load_recipe
    from optical.data.collection import stream_docs
    from optical.data.document_fields import texts_of
    from optical.data.names import names_in
    from optical.data.word_list import count_words
    from optical.data.words import tidy
    from optical.files import check_replaceable
    from optical.models import encoders
    from optical.models.linear_map import body_for
    from optical.models.load import load_encoder, load_towers
    from optical.models.prompts import with_prompts
    from optical.models.save import save_encoder
    from optical.models.towers import check_towers, names_of, prompted_towers
    from optical.pipeline.inputs import read_dictionaries
    from optical.pipeline.word_lists import read_word_lists
    from optical.training import distillation
    from optical.training.trainer import Workspace
    from optical.training.unseen import add_words

    sections = {"vocabulary": vocabulary, "objective": objective, "robustness": robustness, "training": training}
    sections |= {"teacher_prompts": teacher_prompts, "student_prompts": student_prompts}
    given = {f"{name}.{key}": value for name, options in sections.items() for key, value in (options or {}).items()}
    named = {} if student is None else {"student": names_of(student)[0]}
    if isinstance(words, str | Path):
        given["vocabulary.words"] = str(words)
    given_words = () if words is None or isinstance(words, str | Path) else words
    lang = ",".join(map(str, bitext)) if isinstance(bitext, Mapping) else lang
    recipe = load_recipe(None, {"lang": lang, "layers": layers, "seed": seed, **named, **given})
    if folder is not None:
        check_replaceable(Path(folder))
    names, towers = names_of(teacher), load_towers(teacher)
    check_towers(towers, names)
    towers = prompted_towers(towers, recipe.teacher_prompts.model_dump(), names)
    body = None
    if student is not None:
        body = load_encoder(student)
        body = with_prompts(body, recipe.student_prompts.model_dump(), names_of(student)[0], "student_prompts")
        body = body_for(body, towers.queries)
    read = isinstance(documents, str | Path)
    texts = [doc.full for doc in stream_docs(documents)] if read else texts_of(documents)
    ranked = texts and not encoders.is_multi_vector(towers.documents)
    passages = [encoders.encode_sentences(towers.documents, texts, query=False)] if ranked else []
    with tempfile.TemporaryDirectory() as scratch:
        workspace = Workspace(Path(folder or scratch), Path(cache or scratch), progress)
        bitexts = _bitexts(bitext, recipe)
        pairs = {lang: one.pairs for lang, one in bitexts.items()}
        weights = {pair: weight for one in bitexts.values() for pair, weight in one.weights.items()}
        listed = read_word_lists(recipe, pairs, {}, workspace.say).counts + count_words(given_words)
        dictionaries = read_dictionaries(recipe, pairs, lambda _: None)
        entries = [entry for dictionary in dictionaries.values() for entry in dictionary.entries]
        options = recipe.student_options._replace(entries=entries, weights=weights, names=names_in(map(tidy, texts)))
        done = distillation.distill(towers.queries, pairs, options, workspace, passages=passages, dev=dev, start=body)
    add_words([done.student], listed, recipe.vocabulary, lambda _: None)
    if folder is not None:
        save_encoder(done.student, Path(folder))
    return done.student


def load_student(folder: str | Path, device: str | None = None) -> Encoder:
    """Load the student of a folder, as :func:`distill` saves it, with rows composed for words that it never saw.

    Plain ``SentenceTransformer(folder)`` reads such words by the teacher's pieces.

    Args:
        folder: Of the student; in a run folder it is ``student``.
        device: ``cpu``, ``cuda``, ...; without it what torch finds.

    Raises:
        DataError: No encoder is there, or its list of seen words is damaged.
    """
    from optical.models.load import load_student

    return load_student(folder, device)


def teach(
    teacher: str | Path | Encoder = "all-MiniLM-L6-v2",
    *,
    rows: Iterable[Sequence[str]],
    late_interaction: bool = False,
    dimension: int = 128,
    dev: Callable[[Encoder], float] | None = None,
    folder: str | Path | None = None,
    options: Mapping[str, Any] | None = None,
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
        progress: Show progress bars.

    Returns:
        A ``SentenceTransformer``, or a ``MultiVectorEncoder`` for late interaction.

    Raises:
        DataError: Rows of different lengths or too few, a teacher or folder that cannot be used.
        RecipeError: An unknown option, or one that does not fit the encoder.
        Diverged: The loss is no number.
    """
    from optical.config.teaching import Teaching
    from optical.config.toml import load_options
    from optical.files import check_replaceable
    from optical.models.load import load_encoder
    from optical.models.prompts import with_prompts
    from optical.models.save import save_encoder
    from optical.models.towers import names_of
    from optical.training import teacher as training
    from optical.training.trainer import Workspace

    given = {"late_interaction": late_interaction, "dimension": dimension, **dict(options or {})}
    chosen = load_options(Teaching, None, {"collection": "rows", **given})
    listed = list(rows)
    training.check_rows(listed)
    if folder is not None:
        check_replaceable(Path(folder))
    start = load_encoder(teacher, chosen.device)
    start = with_prompts(start, chosen.teacher_prompts.model_dump(), names_of(teacher)[0])
    ranking = training.ranking_of(start, listed) if chosen.loss == "ranking" else None
    start = training.beginning(start, [row[1] for row in listed], chosen)
    with tempfile.TemporaryDirectory() as scratch:
        workspace = Workspace(Path(folder or scratch), Path(scratch), progress)
        taught = training.teach(start, listed, chosen, workspace, dev=dev, ranking=ranking)
    if folder is not None:
        save_encoder(taught.encoder, Path(folder))
    return taught.encoder


def _bitexts(bitext: Sentences | Mapping[str, Sentences], recipe: Recipe) -> dict[str, Bitext]:
    """Language -> bitext, given as pairs or as a path, for one language or several."""
    from optical.data.bitext import Bitext, Pair, read_bitext
    from optical.pipeline.inputs import check_apart

    if not isinstance(bitext, str | Path | Mapping) and len(recipe.langs) > 1:
        raise ValueError(
            f"pairs do not say which of the languages {recipe.lang} they are in; give a mapping, language -> pairs"
        )
    given = cast(
        "Mapping[str, Sentences]", bitext if isinstance(bitext, Mapping) else dict.fromkeys(recipe.langs, bitext)
    )
    paths = {lang: str(one).replace("{lang}", lang) for lang, one in given.items() if isinstance(one, str | Path)}
    check_apart(paths)
    return {
        lang: read_bitext(paths[lang], lang)
        if isinstance(one, str | Path)
        else Bitext([Pair(*pair) for pair in one], {}, {}, {})
        for lang, one in given.items()
    }
