"""What is told of a run: who taught it, what it searches, how well it did.

Takes a recipe and a collection, reads what the run measured, gives plain values for JSON. No path of this machine is
among them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from optical import __version__
from optical.config.recipe import Recipe
from optical.data.collection import Collection
from optical.evaluation.report import STUDENT
from optical.pipeline.evaluate import evaluation_folder

EXAMPLES = 4  # questions of the collection that the page offers


def about(recipe: Recipe, lang: str, collection: Collection, *, late: bool, engine: str = "own") -> dict[str, Any]:
    """Teacher, languages, documents, the student's measures by language where the run has them, example questions.

    Args:
        recipe: Of the run.
        lang: The language, of several, whose collection is searched.
        collection: Where the passages are from.
        late: Scores are sums of MaxSim, not cosines.
        engine: What searches: the run's ``own`` index, or ``qdrant``.
    """
    folder = Path(recipe.teacher)
    measures = {lang: _measures(recipe, collection, lang) for lang in recipe.langs}
    return {
        "engine": engine,
        "teacher": folder.name if folder.is_dir() else recipe.teacher,
        "languages": list(recipe.langs),
        "late_interaction": late,
        "collection": collection.name,
        "documents": len(collection.docs),
        "documents_language": collection.docs_lang,
        "measures": {lang: found for lang, found in measures.items() if found},
        "examples": [query.text for query in collection.queries.get(lang, [])[:EXAMPLES]],
        "optical": __version__,
    }


def _measures(recipe: Recipe, collection: Collection, lang: str) -> dict[str, Any] | None:
    """Means of the student, as the last evaluation of the run on this collection left them."""
    file = evaluation_folder(recipe, collection.name, lang, None) / "results.json"
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
        student = kept["systems"][STUDENT]
        means = {"MAP" if name == "AP" else name: value for name, value in student["mean"].items()}
        asked = {"split": kept["split"], "queries": kept["lang"]}
        return {**asked, **means, "share_of_ceiling": student["share_of_ceiling"]}
    except (OSError, ValueError, KeyError, TypeError):  # never measured, or by a version that kept it in another way
        return None
