"""The teacher as it is on XQuAD's questions in languages whose bitext is not at hand, by script; nothing is trained.

Run from the root of the project; DATA holds ``clir/xquad``::

    python -m experiments.zero_shot.measure DATA

Writes results.md and expected.toml beside this file. The teacher is English-only, and what it makes of another script
is mostly unknown or single letters: the share of unknown pieces is in the table.
"""

from __future__ import annotations

import argparse
from datetime import date
from pathlib import Path

import numpy as np

from optical.config.recipe import load_recipe
from optical.data.collection import judgements_of, queries_of, read_collection
from optical.evaluation.measures import measure
from optical.evaluation.tables import Table, markdown
from optical.pipeline.embed import embed_documents, teacher_towers
from optical.pipeline.manifest import commit
from optical.retrieval.search import search

SCRIPTS = {
    "en": "Latin", "de": "Latin", "ro": "Latin", "tr": "Latin", "vi": "Latin", "el": "Greek", "ar": "Arabic",
    "hi": "Devanagari", "th": "Thai", "zh": "Han",
}  # fmt: skip
HEAD = ["language", "script", "unknown pieces", "MAP", "share of ceiling"]


def main() -> None:
    """Measure every language and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    asked = parser.parse_args()
    recipe = load_recipe(Path(__file__).with_name("recipe.toml"))
    collection = read_collection(asked.data / "clir" / "xquad", list(SCRIPTS))
    teacher, embedder = teacher_towers(recipe)
    searched = embed_documents(recipe, embedder, collection, progress=False)
    found, unknown = {}, {}
    for lang in SCRIPTS:
        queries = queries_of(collection, lang, "test")
        run = search(teacher, queries, searched.vectors, searched.ids, 1000)
        found[lang] = measure(run, judgements_of(queries, collection.qrels["test"]), ("AP",)).mean["AP"]
        ids = teacher.tokenizer([query.text for query in queries], add_special_tokens=False)["input_ids"]
        unknown[lang] = float(np.mean(np.concatenate(ids) == teacher.tokenizer.unk_token_id))
    rows = [
        [lang, script, f"{100 * unknown[lang]:.1f} %", f"{found[lang]:.4f}", f"{100 * found[lang] / found['en']:.1f} %"]
        for lang, script in SCRIPTS.items()
    ]
    table = markdown(Table("", HEAD, rows, left=2))
    about_it = f"XQuAD, {len(searched.ids)} passages; `python -m experiments.zero_shot.measure DATA`."
    folder = Path(__file__).parent
    (folder / "results.md").write_text(f"# Zero-shot by script\n\n{about_it}\n\n{table}\n", encoding="utf-8")
    values = "\n".join(f"{lang} = {value:.4f}" for lang, value in found.items())
    head = f"# Measured by `python -m experiments.zero_shot.measure DATA`; {date.today()}, commit {commit()}."
    (folder / "expected.toml").write_text(f"{head}\n[MAP]\n{values}\n", encoding="utf-8")
    print(table)


if __name__ == "__main__":
    main()
