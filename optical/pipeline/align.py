"""Show the transport plan between a sentence of X and its English translation, before and after training, by word.

The plan is that of the objective ``ot`` of the run, by its own options and the same solver. Masses of the pieces of a
word are summed, so that both sides are words; special tokens and signs have mass too, and stand for themselves.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float

from optical.config.recipe import Recipe
from optical.data.bitext import Pair
from optical.data.words import tidy
from optical.embeddings.cache import teacher_vectors
from optical.embeddings.vectors import Vectors
from optical.errors import DataError, RecipeError
from optical.evaluation.tables import Table, html
from optical.files import file_written_whole
from optical.models.encoders import Encoder, encode_batch
from optical.models.load import load_student
from optical.models.prompts import query_prompt
from optical.pipeline.embed import load_teacher
from optical.pipeline.inputs import read_inputs
from optical.pipeline.run_folder import check_read
from optical.retrieval.matches import word_spans
from optical.training.distillation_loss import NO_TERMS, DistillationLoss, centre_of
from optical.training.mixture import mix
from optical.training.plan_terms import plan_terms

BEFORE, AFTER = "before training", "after training"
CENTRE_FROM = 1_000  # sentences, of which the centre of the teacher's vectors is taken: the mean of some 20,000 tokens
PICTURES = ("svg", "png", "pdf")


class WordPlan(NamedTuple):
    """The transport plan between the words of two sentences.

    Attributes:
        foreign: Words of X, special tokens and signs, ``n`` of them.
        english: The same of the English sentence, ``m`` of them.
        mass: What is moved, ``(n, m)``; sums to 1 where all mass is moved.
        cost: ``<P, C>``, between 0 and 2: the value of the objective ``ot`` for this sentence, without its weight.
    """

    foreign: list[str]
    english: list[str]
    mass: Float[np.ndarray, "n m"]
    cost: float

    def shares(self) -> Float[np.ndarray, "n m"]:
        """Where the mass of each word of X goes: rows sum to 1, or are 0 where nothing of a word is moved."""
        moved = self.mass.sum(axis=1, keepdims=True)
        return np.divide(self.mass, moved, out=np.zeros_like(self.mass), where=moved > 0)


class Plans(dict[str, WordPlan]):
    """Name -> plan, as ``before training``; a notebook shows each as a table of shares."""

    def _repr_html_(self) -> str:
        return "".join(html(_table(name, plan), plan.shares().tolist()) for name, plan in self.items())


def _table(name: str, plan: WordPlan) -> Table:
    """Which share of each word of X goes to which English word, in percent; nothing below a half."""
    rows = [
        [word, *(f"{100 * share:.0f}" if share >= 0.005 else "" for share in shares)]
        for word, shares in zip(plan.foreign, plan.shares().tolist(), strict=True)
    ]
    return Table(f"{name}: cost {plan.cost:.3f}, percent of a word's mass", ["", *plan.english], rows)


def check_picture(path: Path) -> None:
    """Refuse a picture that could not be written, before any work.

    Raises:
        RecipeError: Another suffix than those of ``PICTURES``, or no matplotlib.
        DataError: A place where nothing can be written.
    """
    if path.suffix.removeprefix(".").lower() not in PICTURES:
        raise RecipeError(f"{path}: a picture of plans is {' or '.join(PICTURES)}, by its suffix; write plan.svg")
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise RecipeError(f"{path} needs matplotlib: pip install 'optical[plots]'") from error
    try:
        if path.is_dir():
            raise IsADirectoryError(0, "it is a folder")
        path.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror}; name another file with --out") from error


def draw(plans: Mapping[str, WordPlan], path: Path, say: Callable[[str], None] = lambda _: None) -> None:
    """Draw plans beside each other as heat maps of shares, into an SVG, PNG or PDF file."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    rows, columns = (
        max(map(len, side)) for side in zip(*((p.foreign, p.english) for p in plans.values()), strict=True)
    )
    figure = Figure(figsize=(len(plans) * (2 + 0.35 * columns) + 1, 2 + 0.35 * rows), layout="constrained")
    axes = figure.subplots(1, len(plans), squeeze=False)[0]
    for ax, (name, plan) in zip(axes, plans.items(), strict=True):
        ax.imshow(plan.shares(), cmap="Blues", vmin=0.0, vmax=1.0)
        ax.set_title(f"{name}: cost {plan.cost:.3f}")
        # Words are no formulas, whatever signs of dollars they have.
        ax.set_xticks(range(len(plan.english)), plan.english, rotation=90, parse_math=False)
        ax.set_yticks(range(len(plan.foreign)), plan.foreign, parse_math=False)
    figure.colorbar(axes[0].images[0], ax=axes, label="share of the word's mass")
    with warnings.catch_warnings(record=True) as told, file_written_whole(path, anyones=True) as unfinished:
        warnings.simplefilter("always")
        with rc_context(
            {"svg.fonttype": "none", "svg.hashsalt": "optical"}
        ):  # text stays text, the same file each time
            figure.savefig(unfinished, format=path.suffix[1:].lower(), dpi=200)
    if path.suffix.lower() != ".svg" and any("Glyph" in str(one.message) for one in told):
        say("the font of the picture lacks some letters of these words; an .svg takes the fonts of whoever looks at it")


def align_run(
    recipe: Recipe, foreign: str, english: str, say: Callable[[str], None] = lambda _: None
) -> dict[str, WordPlan]:
    """Compute the plans of a finished run between two sentences: of its start, where the run has kept it, and student.

    Raises:
        DataError: A sentence without a word, no student, or no bitext where the objective asks for it.
    """
    pair = Pair(tidy(english), tidy(foreign))
    for side, text in (("sentence of X", pair.foreign), ("English sentence", pair.english)):
        if not text:
            raise DataError(f'the {side} is empty; give two sentences: optical align RUN "Ninakunywa maji" "I drink"')
    students = load_both(recipe, say)
    return word_plans(recipe, load_teacher(recipe), students, [pair], learnt_from(recipe))[0]


def load_both(recipe: Recipe, say: Callable[[str], None] = lambda _: None) -> dict[str, Encoder]:
    """Load the start of a finished run, where the run has kept it, and its student."""
    check_read(recipe, "transplant")
    folders = {BEFORE: recipe.folder / "transplant", AFTER: recipe.folder / "student"}
    if not folders[BEFORE].is_dir():
        say(f"{folders[BEFORE]} is not there, so only the plan after training is shown")
        del folders[BEFORE]
    students = {when: load_student(folder, recipe.device) for when, folder in folders.items()}
    if not recipe.objective.ot:
        say("this run was trained without objective.ot; the plan is the one that its options would give")
    return students


def learnt_from(recipe: Recipe) -> list[Pair]:
    """The pairs that rarity, prior and centre are learnt from: the run's bitext; empty where no option asks for it.

    Pairs that the run held out are among them.
    """
    if not asks_for_bitext(recipe):
        return []
    inputs = read_inputs(recipe, lambda _: None)
    mixture = mix(inputs.bitext_pairs, recipe.training, {**inputs.weights})
    return [pair for pair, _ in mixture.trained(recipe.training)]


def asks_for_bitext(recipe: Recipe) -> bool:
    """Whether the plans of a recipe are told something of its bitext."""
    objective = recipe.objective
    return bool(objective.masses == "idf" or objective.prior or objective.centre)


def word_plans(
    recipe: Recipe,
    teacher: Encoder,
    students: Mapping[str, Encoder],
    asked: Sequence[Pair],
    learnt: Sequence[Pair] = (),
) -> list[dict[str, WordPlan]]:
    """Compute the plans of some sentences by several students.

    Args:
        recipe: Its objective says which plan.
        teacher: Its encoder of queries.
        students: Name -> student.
        asked: Sentences.
        learnt: Pairs trained on; needed where :func:`asks_for_bitext`.

    Returns:
        For each sentence, name -> plan.
    """
    if not asked:
        return []
    compared = Compared(recipe, teacher, students, asked, learnt)
    rows: list[dict[str, WordPlan]] = []
    for k, pair in enumerate(asked):
        english = _words(teacher, pair.english, compared.english[k])
        plans: dict[str, WordPlan] = {}
        for name, student in students.items():
            between = compared.between(name, k)
            words = _words(student, pair.foreign, between.read)
            mass = np.array([[between.mass[np.ix_(x.tokens, y.tokens)].sum() for y in english] for x in words])
            cost = float((between.mass * between.cost).sum())
            plans[name] = WordPlan([x.text for x in words], [y.text for y in english], mass, cost)
        rows.append(plans)
    return rows


class Read(NamedTuple):
    """A sentence as an encoder reads it: the features of its tokens, and which are real, ``(n,)``."""

    features: dict[str, Any]
    mask: Bool[torch.Tensor, " n"]


class Between(NamedTuple):
    """Costs and masses between the real tokens of two sentences.

    Attributes:
        read: The sentence of X.
        cost: ``1 - cos``, ``(n, m)``; of centred vectors where the objective centres them.
        mass: The transport plan.
    """

    read: Read
    cost: Float[np.ndarray, "n m"]
    mass: Float[np.ndarray, "n m"]


class Compared:
    """Sentence pairs whose tokens are compared, X read by several students; the English sides are read once.

    Attributes:
        english: Of each pair.
    """

    def __init__(
        self,
        recipe: Recipe,
        teacher: Encoder,
        students: Mapping[str, Encoder],
        asked: Sequence[Pair],
        learnt: Sequence[Pair] = (),
    ) -> None:
        """Read the English sides, and learn what the objective tells its plans; arguments of :func:`word_plans`."""
        self._asked = asked
        target, self.english = _targets(teacher, [pair.english for pair in asked])
        centre = None
        if recipe.objective.centre:
            with TemporaryDirectory() as passing:
                some = [pair.english for pair in learnt[:CENTRE_FROM]]
                centre = centre_of(teacher_vectors(teacher, some, Path(passing)))
        plain = recipe.objective.model_copy(update={"centre": False})  # the centre is not that of these sentences
        self._losses: dict[str, DistillationLoss] = {}
        for name, student in students.items():
            terms = plan_terms(plain, student, teacher, learnt, target, asked) if learnt else NO_TERMS
            self._losses[name] = DistillationLoss(student.eval(), target, None, plain, terms=terms)
            self._losses[name].centre = centre

    def between(self, name: str, k: int) -> Between:
        """Compare the tokens of pair ``k`` as the student of this name reads its side of X."""
        loss = self._losses[name]
        student = loss.model
        features = student.preprocess([self._asked[k].foreign], prompt=query_prompt(student) or None, task="query")
        with torch.inference_mode():
            mask = encode_batch(student, features).tokens.mask[0]
        C, plan = loss.plans(features, [k])
        cost, mass = (one[0, mask].double().cpu().numpy() for one in (C, plan.coupling))  # (n, m)
        return Between(Read(features, mask), cost, mass)


class _Word(NamedTuple):
    """Tokens next to each other that are one word, one sign or one kind of special token."""

    text: str
    tokens: list[int]


def _targets(teacher: Encoder, texts: Sequence[str]) -> tuple[Vectors, list[Read]]:
    """The teacher's vectors of sentences as they are kept for training, and how it reads them."""
    tokens: list[np.ndarray] = []
    sentences: list[np.ndarray] = []
    read: list[Read] = []
    for text in texts:
        features = teacher.eval().preprocess([text], prompt=query_prompt(teacher) or None, task="query")
        with torch.inference_mode():
            encoded = encode_batch(teacher, features, task="query")
        (vectors,), (mask,) = encoded.tokens
        tokens.append(vectors[mask].float().cpu().numpy().astype(np.float16))
        sentences.append(torch.nn.functional.normalize(encoded.sentence.float(), dim=-1).cpu().numpy())
        read.append(Read(features, mask))
    start = np.cumsum([0, *map(len, tokens)])
    return Vectors(np.concatenate(tokens), start, np.concatenate(sentences), Path()), read


def _words(encoder: Encoder, text: str, read: Read) -> list[_Word]:
    """The words of the real tokens of a text; where its tokenizer does not tell its words, the pieces."""
    tokenizer, (features, mask) = encoder.tokenizer, read
    ids = features["input_ids"][0][mask.cpu()].tolist()
    prompt = int(torch.as_tensor(features.get("prompt_length", 0)).flatten()[0]) - (len(mask) - len(ids))
    spans = word_spans(encoder, text, query=True)[-len(ids) :]
    spans = spans if len(spans) == len(ids) else [None] * len(ids)

    def named(k: int) -> tuple[object, str]:
        """The key by which neighbours are one, and the word."""
        if (span := spans[k]) is not None:
            return span, text[slice(*span)]
        special = ids[k] in tokenizer.all_special_ids and ids[k] != tokenizer.unk_token_id
        word = "(prompt)" if k < prompt and not special else tokenizer.decode([ids[k]]).strip() or "(space)"
        return word, word

    grouped = groupby(range(len(ids)), key=named)
    return [_Word(word, list(tokens)) for (_, word), tokens in grouped]


def plans_for_page(
    recipe: Recipe, teacher: Encoder, students: Mapping[str, Encoder], asked: Sequence[Pair], learnt: Sequence[Pair]
) -> list[dict[str, Any]]:
    """Plans of some sentences as they are kept in ``plans.json``: texts, and by name words, shares and cost."""
    found = word_plans(recipe, teacher, students, asked, learnt if asks_for_bitext(recipe) else ())
    return [
        {
            **pair._asdict(),
            "plans": {
                name: {
                    "foreign": plan.foreign,
                    "english": plan.english,
                    "shares": plan.shares().round(3).tolist(),
                    "cost": plan.cost,
                }
                for name, plan in plans.items()
            },
        }
        for pair, plans in zip(asked, found, strict=True)
    ]
