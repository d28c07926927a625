"""Facts about a run for the page and ``/api/about``: its teacher, its collection, its measures.

Plain values for JSON; paths of this machine are left out.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from optical.config.recipe import Recipe
from optical.data.collection import Collection
from optical.evaluation.report import STUDENT
from optical.pipeline.run_folder import evaluation_folder
from optical.version import __version__

EXAMPLES = 4  # questions of the collection that the page suggests


def about(
    recipe: Recipe, lang: str, collection: Collection, *, late: bool, penalised: bool = False, engine: str = "own"
) -> dict[str, Any]:
    """Collect teacher, languages, number of documents, the student's measures by language, and example questions.

    Args:
        recipe: The recipe of the run.
        lang: The language whose collection is searched.
        collection: The collection that is searched.
        late: Whether scores are MaxSim sums instead of cosines.
        penalised: Whether scores are cosines less a penalty of the document (``search.hubness``).
        engine: ``own`` for the run's index, or ``qdrant``.
    """
    towers = [recipe.teacher] if Path(recipe.teacher).is_dir() else recipe.teacher.split(",")
    measures = {lang: _measures(recipe, collection, lang) for lang in recipe.langs}
    return {
        "engine": engine,
        "teacher": ",".join(Path(one).name if Path(one).is_dir() else one for one in towers),
        "languages": list(recipe.langs),
        "late_interaction": late,
        "penalised": penalised,
        "collection": collection.name,
        "documents": len(collection.docs),
        "documents_language": collection.docs_lang,
        "measures": {lang: found for lang, found in measures.items() if found},
        "examples": [query.text for query in collection.queries.get(lang, [])[:EXAMPLES]],
        "optical": __version__,
    }


def _measures(recipe: Recipe, collection: Collection, lang: str) -> dict[str, Any] | None:
    """Read the student's means from the run's last evaluation on this collection; None if there is none."""
    file = evaluation_folder(recipe, collection.name, lang, None) / "results.json"
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
        student = kept["systems"][STUDENT]
        means = {"MAP" if name == "AP" else name: value for name, value in student["mean"].items()}
        means["share_of_ceiling"] = student["share_of_ceiling"]
        if not all(map(math.isfinite, means.values())):  # NaN, which Python reads and JSON does not have
            return None
        return {"split": kept["split"], "queries": kept["lang"], **means}
    except (OSError, ValueError, KeyError, TypeError):  # never measured, or in another format
        return None
