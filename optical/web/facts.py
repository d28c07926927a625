"""What is told of a run: who taught it, what it searches, how well it did.

Takes loaded answers, reads what the run measured, gives plain values for JSON. No path of this machine is among them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from optical import __version__
from optical.answering import Answers
from optical.judging import evaluation_folder
from optical.report import STUDENT

EXAMPLES = 4  # questions of the collection that the page offers


def about(answers: Answers) -> dict[str, Any]:
    """Teacher, languages, documents, the student's measures by language where the run has them, example questions."""
    recipe, collection = answers.recipe, answers.collection
    folder = Path(recipe.teacher)
    measures = {lang: _measures(answers, lang) for lang in recipe.langs}
    return {
        "teacher": folder.name if folder.is_dir() else recipe.teacher,
        "languages": list(recipe.langs),
        "late_interaction": answers.late is not None,
        "collection": collection.name,
        "documents": len(collection.docs),
        "measures": {lang: found for lang, found in measures.items() if found},
        "examples": [query.text for query in collection.queries.get(answers.lang, [])[:EXAMPLES]],
        "optical": __version__,
    }


def _measures(answers: Answers, lang: str) -> dict[str, Any] | None:
    """Means of the student, as the last evaluation of the run on this collection left them."""
    file = evaluation_folder(answers.recipe, answers.collection.name, lang, None) / "results.json"
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
        student = kept["systems"][STUDENT]
        means = {"MAP" if name == "AP" else name: value for name, value in student["mean"].items()}
        return {"split": kept["split"], **means, "share_of_ceiling": student["share_of_ceiling"]}
    except (OSError, ValueError, KeyError, TypeError):  # never measured, or by a version that kept it in another way
        return None
