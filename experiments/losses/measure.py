"""Whose loss: the questions that a student answers worse than the teacher in English, by their rarest word.

Run from the root of the project, on a run of ``optical distill`` that was measured on judgements::

    python -m experiments.losses.measure RUN

A question belongs to its rarest word: of how many sentences of the run's bitext have it. A question with a name is one
with a capital letter inside a sentence, in a word that the bitext has at most twice. The loss of a question is the
teacher's average precision on its English side less the student's; losses add up to the net loss, gains counted.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from optical.config.recipe import load_recipe
from optical.data.words import fold, split_words, words_inside
from optical.errors import DataError, OpticalError
from optical.evaluation.report import CEILING, STUDENT, TRANSPLANT
from optical.evaluation.tables import Table, markdown
from optical.pipeline.inputs import distinct, read_inputs

RARE = 2  # sentences of the bitext
LONG = 12  # words
HEAD = ["questions", "count", "teacher, English", "start", "student", "net loss", "share of it"]


class Question(NamedTuple):
    """A judged question, and what is counted of it.

    Attributes:
        rarest: How many sentences of the bitext have its rarest word.
        words: Its length.
        named: Whether it has a name that the bitext has at most twice.
        teacher: Average precision of the teacher on its English side.
        start: Of the student before training; NaN where it was not measured.
        student: Of the student.
    """

    rarest: int
    words: int
    named: bool
    teacher: float
    start: float
    student: float


GROUPS: dict[str, Callable[[Question], bool]] = {
    "all": lambda q: True,
    "a word that the bitext lacks": lambda q: q.rarest == 0,
    "rarest word seen once or twice": lambda q: 0 < q.rarest <= RARE,
    "rarest word seen 3 to 9 times": lambda q: RARE < q.rarest < 10,
    "every word seen 10 times or more": lambda q: q.rarest >= 10,
    "with a rare name": lambda q: q.named,
    f"more than {LONG} words": lambda q: q.words > LONG,
    "missed by half or more": lambda q: q.teacher - q.student >= 0.5,
    "won": lambda q: q.student > q.teacher,
}


def main() -> None:
    """Print a table for each language and collection of a run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    try:
        for title, questions in measured(parser.parse_args().run).items():
            print(f"\n{title}\n\n{markdown(Table('', HEAD, rows(questions), left=1))}")
    except OpticalError as error:
        sys.exit(f"error: {error}")


def measured(run: Path) -> dict[str, list[Question]]:
    """Title -> the judged questions of a language in a collection, for all that a run was measured on.

    Raises:
        DataError: The run was measured on nothing.
    """
    recipe = load_recipe(run / "recipe.toml")
    inputs = read_inputs(recipe, lambda _: None)
    found: dict[str, list[Question]] = {}
    for file in sorted(run.glob("evaluation/*/results.json")):
        data = json.loads(file.read_text(encoding="utf-8"))
        ap = {name: scores["per_query"]["AP"] for name, scores in data["systems"].items()}
        lang = data["lang"]
        sentences = Counter(
            word for pair in inputs.bitext_pairs[lang] for word in {fold(w) for w in split_words(pair.foreign)}
        )
        texts = {
            query.id: query.text
            for collection in distinct(inputs.collections)
            if collection.name == data["collection"]
            for query in collection.queries.get(lang, [])
        }
        found[f"{data['collection']} ({data['split']}), {lang}"] = [
            question(texts[query], sentences, ap[CEILING][query], ap.get(TRANSPLANT, {}).get(query, float("nan")), own)
            for query, own in ap[STUDENT].items()
        ]
    if not found:
        raise DataError(f"{run}: no evaluation/*/results.json; measure the run first: optical evaluate {run}")
    return found


def question(text: str, sentences: Counter[str], teacher: float, start: float, student: float) -> Question:
    """A question by its words; ``sentences``: folded word -> how many sentences of the bitext have it."""
    words = split_words(text)
    named = any(word[0].isupper() and sentences[fold(word)] <= RARE for word in words_inside(text))
    rarest = min((sentences[fold(word)] for word in words), default=0)
    return Question(rarest, len(words), named, teacher, start, student)


def rows(questions: Sequence[Question]) -> list[list[str]]:
    """A row for each group: its size, its mean average precisions, what it loses, and its share of the net loss."""
    whole = sum(q.teacher - q.student for q in questions)
    table = []
    for name, belongs in GROUPS.items():
        some = [q for q in questions if belongs(q)]
        loss = sum(q.teacher - q.student for q in some)
        means = [_mean([q[column] for q in some]) for column in (-3, -2, -1)]
        share = f"{100 * loss / whole:.1f} %" if whole else "-"
        table.append([name, str(len(some)), *means, f"{loss:.2f}", share])
    return table


def _mean(values: Sequence[float]) -> str:
    return f"{sum(values) / len(values):.4f}" if values else "-"


if __name__ == "__main__":
    main()
