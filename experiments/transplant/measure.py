"""The transplant's choices, one at a time, nothing trained: words, alignment, back-off and romanisation.

Chosen on held-out pairs (no judgement is read), reported on judged collections, read once. Run from the root of the
project, one core:

    OMP_NUM_THREADS=1 python -m experiments.transplant.measure DATA --langs sw so mr --part dev
    OMP_NUM_THREADS=1 python -m experiments.transplant.measure DATA --langs sw so mr --part test

DATA holds ``bitext/<lang>``, ``clir/{afriqa,ntrex_doc,flores_doc}`` and perhaps dictionaries, ``lexicon/<lang>``: each
file of them is a row, and all together at several weights. Figures go to ``runs/transplant``, where they
are found again: a row that is there is not measured twice with the same code and data. ``--part table`` writes
results.md and expected.toml from what is there.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from experiments import fingerprints
from optical.config.recipe import load_recipe
from optical.config.vocabulary import Vocabulary
from optical.data.bitext import Pair, read_bitext, without
from optical.data.collection import judgements_of, queries_of, read_collection
from optical.data.dictionary import read_dictionary
from optical.data.words import split_words
from optical.embeddings.embedded_collection import EmbeddedCollection
from optical.evaluation.measures import measure
from optical.evaluation.tables import Table, page
from optical.models.composing import compose_unseen
from optical.models.encoders import Encoder
from optical.models.towers import Towers
from optical.pipeline.dev_score import development_score
from optical.pipeline.embed import embed_documents, load_teacher
from optical.pipeline.manifest import commit
from optical.retrieval.search import search
from optical.vocabulary.transplant import Transplant, transplant

COLLECTIONS = ("afriqa", "ntrex_doc", "flores_doc")
CACHE = "runs/cache"
OUT = Path("runs/transplant")
HELD_OUT = 200
WEIGHTS = (0.3, 1.0, 3.0)  # of dictionaries

ROWS: dict[str, dict[str, Any]] = {
    "default": {},
    "mode = off": {"mode": "off"},
    "mode = replace": {"mode": "replace"},
    "rows = random": {"rows": "random"},
    "rows = random, seed 1": {"rows": "random", "seed": 1},
    "rows = random, seed 2": {"rows": "random", "seed": 2},
    "replace, rows = random": {"mode": "replace", "rows": "random"},
    "min_count = 2": {"min_count": 2},
    "min_count = 3": {"min_count": 3},
    "min_count = 5": {"min_count": 5},
    "min_count = 10": {"min_count": 10},
    "alignment = symmetric": {"alignment": "symmetric"},
    "alignment = ot": {"alignment": "ot"},
    "replace, symmetric": {"mode": "replace", "alignment": "symmetric"},
    "replace, ot": {"mode": "replace", "alignment": "ot"},
    "piece_types = 0": {"piece_types": 0},
    "lean = 0": {"lean": 0.0},
    "piece_types = 0, lean = 0": {"piece_types": 0, "lean": 0.0},
    "compose = on": {"compose": "on"},  # in the other rows unseen words fall into pieces
}
ROMANISATION: dict[str, dict[str, Any]] = {
    "romanise = false": {"romanise": False},
    "romanise = false, piece_types = 0": {"romanise": False, "piece_types": 0},
    "romanise = false, piece_types = 0, lean = 0": {"romanise": False, "piece_types": 0, "lean": 0.0},
}
ABOUT = """# The transplant, nothing trained

MAP; dev: 200 held-out pairs over the passages of a collection, relevant is what the teacher finds first for the English
side, no judgement read; test: the judgements. The best of a column is bold. No paired test was made, so read no
difference under .02 as one. What is blank was not measured. See experiments/LOG.md.

"""
NOT_LATIN = frozenset({"mr"})

Score = Callable[[Encoder], dict[str, Any]]


def main() -> None:
    """Measure every row of the languages asked for and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--langs", nargs="+", default=["sw", "so", "mr"])
    parser.add_argument("--part", choices=("dev", "test", "table"), default="dev")
    parser.add_argument("--rows", nargs="+", help="only these")
    asked = parser.parse_args()
    if asked.part == "table":
        write_tables(asked.data, asked.langs)
        return
    for lang in asked.langs:
        rows = ROWS | (ROMANISATION if lang in NOT_LATIN else {}) | lexicon_rows(asked.data, lang)
        wanted = {name: rows[name] for name in asked.rows or rows if name in rows}
        measure_language(asked.data, lang, asked.part, wanted)


def measure_language(data: Path, lang: str, part: str, rows: dict[str, dict[str, Any]]) -> None:
    """All rows of one language, each written as soon as it is known."""
    path = kept_at(data, part, lang)
    teacher = load_teacher(load_recipe(None, {"lang": lang, "device": "cpu"}))
    score, pairs = (dev_part if part == "dev" else test_part)(data, lang, teacher)
    for name, options in rows.items():
        if name in read_rows(path):
            continue
        started = time.perf_counter()
        grown = _grown(teacher, pairs, **options)
        row = score(grown.student) | grown.report() | {"pairs": len(pairs)}
        row["total_seconds"] = round(time.perf_counter() - started, 1)
        path.parent.mkdir(parents=True, exist_ok=True)
        # Read again: another process may be at other rows of the same language.
        path.write_text(json.dumps(read_rows(path) | {name: row}, indent=1, ensure_ascii=False), encoding="utf-8")


def lexicon_rows(data: Path, lang: str) -> dict[str, dict[str, Any]]:
    """Rows of the dictionaries of a language: each by itself, then all of them at several weights."""
    folder = data / "lexicon" / lang
    files = sorted(folder.glob("*.tsv.gz"))
    rows = {f"lexicon {file.name.split('.')[0]}": {"lexicon": str(file)} for file in files if len(files) > 1}
    weights = {f"lexicon, weight {w:g}": {"lexicon": str(folder), "lexicon_weight": w} for w in WEIGHTS if files}
    return rows | weights


def _grown(teacher: Encoder, pairs: Sequence[Pair], seed: int = 0, **options: Any) -> Transplant:
    chosen = Vocabulary(**options)
    entries = read_dictionary(chosen.lexicon, "", pairs).entries if chosen.lexicon else []
    made = transplant(teacher, pairs, chosen, entries=entries, seed=seed)
    if made.seen is not None and chosen.compose == "on":
        compose_unseen(made.student, made.seen)
    return made


def kept_at(data: Path, part: str, lang: str) -> Path:
    """Where the rows of a language are kept; code and data are in the name."""
    files = fingerprints.data(data, [lang], COLLECTIONS, lang)
    return OUT / f"{part}-{lang}-{fingerprints.code('experiments.transplant.measure')}-{files}.json"


def read_rows(path: Path) -> dict[str, dict[str, Any]]:
    """Read the rows that have been measured already; none where there is no file."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def write_tables(data: Path, langs: list[str]) -> None:
    """results.md and expected.toml beside this file: MAP of every row that was measured, the best of a column bold."""
    found = {f"{part} {lang}": read_rows(kept_at(data, part, lang)) for part in ("dev", "test") for lang in langs}
    columns = [
        (part, name)
        for part, rows in found.items()
        for name in COLLECTIONS
        if any(name in row for row in rows.values())
    ]
    best = {(part, name): max(row[name] for row in found[part].values() if name in row) for part, name in columns}
    lines = []
    for row in ROWS | ROMANISATION:
        cells = [_cell(found[part].get(row, {}).get(name), best[part, name]) for part, name in columns]
        lines += [[row, *cells]] if any(cells) else []
    table = Table("", ["row", *(f"{part}, {name}" for part, name in columns)], lines)
    folder = Path(__file__).parent
    (folder / "results.md").write_text(ABOUT + page(table), encoding="utf-8")
    head = (
        f"# Measured by `python -m experiments.transplant.measure DATA`; written {date.today()} at commit {commit()}."
    )
    expected = [head]
    for part, rows in found.items():
        expected += [f'["{part}"]'] if rows else []
        for row, figures in rows.items():
            values = ", ".join(f"{name} = {figures[name]}" for name in COLLECTIONS if name in figures)
            expected += [f'"{row}" = {{ {values} }}']
    (folder / "expected.toml").write_text("\n".join(expected) + "\n", encoding="utf-8")


def _cell(value: float | None, best: float) -> str:
    if value is None:
        return ""
    text = f"{value:.3f}".lstrip("0")
    return f"**{text}**" if value == best else text


def read_pairs(data: Path, lang: str) -> tuple[list[Pair], dict[str, Any]]:
    """The bitext without any query of any of the collections, and the collections."""
    collections = {name: read_collection(data / "clir" / name, ["en", lang]) for name in COLLECTIONS}
    asked = [q.text for c in collections.values() for queries in c.queries.values() for q in queries]
    return without(read_bitext(str(data / "bitext" / lang), lang).pairs, asked), collections


def dev_part(data: Path, lang: str, teacher: Encoder) -> tuple[Score, list[Pair]]:
    """Two development scores, and the pairs left: questions over AfriQA's passages, sentences over ntrex_doc's.

    A passage is relevant when the teacher finds it first for the English side: no judgement, no query of a collection.
    """
    pairs, collections = read_pairs(data, lang)
    scores = {}
    for name, chosen in (("afriqa", _any), ("ntrex_doc", _sentence)):
        recipe = load_recipe(None, {"lang": lang, "training.held_out": HELD_OUT, "cache": CACHE})
        searched = embed_documents(recipe, teacher, collections[name], progress=False)
        searched = EmbeddedCollection(searched.collection._replace(qrels={}), searched.vectors, searched.ids)
        some = [pair for pair in pairs if chosen(pair)]
        scores[name], rest = development_score(recipe, Towers(teacher, teacher), some, searched, lambda _: None)
        held_out = set(some) - set(rest)
        pairs = [pair for pair in pairs if pair not in held_out]
    return lambda student: {name: round(score(student), 4) for name, score in scores.items() if score}, pairs


def _any(_: Pair) -> bool:
    return True


def _sentence(pair: Pair) -> bool:
    return not pair.english.endswith("?") and 6 <= len(split_words(pair.foreign)) <= 30


def test_part(data: Path, lang: str, teacher: Encoder) -> tuple[Score, list[Pair]]:
    """MAP on the judged collections that ask in the language, with the teacher's on the same questions in English."""
    pairs, collections = read_pairs(data, lang)
    recipe = load_recipe(None, {"lang": lang, "cache": CACHE})
    there = {name: c for name, c in collections.items() if lang in c.queries}
    searched = {name: embed_documents(recipe, teacher, c, progress=False) for name, c in there.items()}

    def score(student: Encoder) -> dict[str, Any]:
        result = {}
        for name, (collection, vectors, ids) in searched.items():
            foreign = queries_of(collection, lang, "test")
            qrels = judgements_of(foreign, collection.qrels["test"])
            english = [query for query in collection.queries["en"] if query.id in {q.id for q in foreign}]
            asked = {name: (student, foreign), f"{name} ceiling": (teacher, english)}
            for label, (encoder, queries) in asked.items():
                run = search(encoder, queries, vectors, ids, 1000)
                result[label] = round(measure(run, qrels, ("AP",)).mean["AP"], 4)
        return result

    return score, pairs


if __name__ == "__main__":
    main()
