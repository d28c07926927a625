"""A run under MTEB: the student reads questions, the teacher English documents, as one model of that library.

The task is made of a collection that optical reads. For tasks of the library, :class:`Both` is a model that
``mteb.evaluate`` takes.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from optical.config.recipe import Recipe
from optical.data.collection import Collection, judgements_of, queries_of
from optical.data.records import ENGLISH
from optical.errors import DataError
from optical.evaluation.tables import Table
from optical.files import check_writable, strict_json, write_text
from optical.models.encoders import Encoder, encode_sentences, is_multi_vector
from optical.pipeline.embed import load_student, teacher_towers
from optical.pipeline.inputs import first_judged, run_collections
from optical.pipeline.run_folder import check_read, next_generation
from optical.pipeline.sides import check_split, sides

if TYPE_CHECKING:
    from mteb.abstasks import AbsTask
    from mteb.abstasks.task_metadata import TaskMetadata

MEASURES = {"ndcg_at_10": "nDCG@10", "map_at_1000": "MAP@1000", "recall_at_100": "R@100"}


def mteb_run(recipe: Recipe, say: Callable[[str], None] = lambda _: None) -> list[dict[str, Any]]:
    """Measure a finished run by MTEB on the recipe's collection and keep what it gives in ``RUN/mteb``.

    Returns:
        The results of each task, as the library writes them.

    Raises:
        DataError: The library is not there, or the run is of late interaction.
    """
    check_installed()
    check_writable(recipe.folder, ["mteb/*.json"])
    check_read(recipe)
    import mteb

    task = local_task(first_judged(recipe, say))
    student, teacher = load_student(recipe), teacher_towers(recipe).documents
    if is_multi_vector(student):
        raise DataError(
            "this run is of late interaction, and only single vectors are measured by MTEB here; measure it by "
            "`optical evaluate`, or give PyLate the folder RUN/colbert"
        )
    model = Both(recipe.folder.resolve().name, student, teacher)
    say(f"MTEB measures {task.metadata.name}")
    found = mteb.evaluate(
        model, task, cache=None, co2_tracker=False, show_progress_bar=False, overwrite_strategy="always"
    )
    results = [one.model_dump(mode="json") for one in found.task_results]
    with next_generation(recipe, say) as (recipe, say):
        for result in results:
            write_text(recipe.folder / "mteb" / f"{task.metadata.name}.json", strict_json(result))
        say(f"results are in {recipe.folder / 'mteb'}")
    return results


def check_installed() -> None:
    """Refuse to go on without the library.

    Raises:
        DataError: It says how to install it.
    """
    if importlib.util.find_spec("mteb") is None:
        raise DataError("mteb is not installed; run `pip install 'optical[mteb]'`, or `pip install mteb`")


class Both:
    """Student and teacher as one encoder of MTEB.

    Questions are the student's to read. Documents are the teacher's where English is among the languages of a task's
    subset, and the student's otherwise, as in a run. Texts that are neither are the student's, which knows English too.
    """

    def __init__(self, name: str, student: Encoder, teacher: Encoder) -> None:
        from mteb.models import ModelMeta

        self.student, self.teacher = student, teacher
        self.mteb_model_meta = ModelMeta.create_empty({"name": f"optical/{name}", "revision": "local"})

    def encode(
        self, inputs: Any, *, task_metadata: TaskMetadata, hf_split: str, hf_subset: str, prompt_type: Any = None,
        **options: Any,
    ) -> Any:  # fmt: skip
        """Unit vectors of the texts, ``(n, e)``, by whose side they are."""
        texts = [text for batch in inputs for text in batch["text"]]
        document = prompt_type is not None and prompt_type.value == "document"
        english = any(lang.startswith("eng") for lang in task_metadata.hf_subsets_to_langscripts.get(hf_subset, []))
        encoder = self.teacher if document and english else self.student
        return encode_sentences(encoder, texts, query=not document, batch_size=options.get("batch_size", 64))

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Cosines of every vector with every other, ``(n, m)``."""
        return self.student.similarity(embeddings1, embeddings2)

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Cosines of the vectors of each row, ``(n,)``."""
        return self.student.similarity_pairwise(embeddings1, embeddings2)


def local_task(recipe: Recipe) -> AbsTask:
    """A retrieval task of MTEB made of the recipe's collection: the questions of one language that are judged.

    Raises:
        DataError: No collection, or nothing judged in the split.
    """
    collection, split = run_collections(recipe)[recipe.lang], recipe.search.split
    check_split(collection, recipe.lang, split)
    return _task_of(collection, sides(collection, recipe.lang, split).queries, split)


def _task_of(collection: Collection, lang: str, split: str) -> AbsTask:
    from datasets import Dataset
    from mteb.abstasks.retrieval import AbsTaskRetrieval
    from mteb.abstasks.task_metadata import TaskMetadata

    name = "".join(c if c.isalnum() else "-" for c in f"{collection.name}-{split}-{lang}").strip("-")

    class Local(AbsTaskRetrieval):
        """The collection; nothing is downloaded."""

        metadata = TaskMetadata(
            name=name, description=f"{collection.name}, questions in {lang}", type="Retrieval", category="t2t",
            modalities=["text"], eval_splits=[split], eval_langs=[*{_lang(lang), _lang(collection.docs_lang)}],
            main_score="ndcg_at_10", dataset={"path": "local", "revision": collection.checksum},
        )  # fmt: skip

        def load_data(self, num_proc: int | None = None, **_: Any) -> None:
            """Take over documents, questions and judgements."""
            asked = queries_of(collection, lang, split)
            relevant: dict[str, dict[str, int]] = {}
            for one in judgements_of(asked, collection.qrels[split]):
                relevant.setdefault(one.query_id, {})[one.doc_id] = one.relevance
            corpus = [{"id": doc.id, "title": "", "text": doc.full} for doc in collection.docs]
            queries = [{"id": query.id, "text": query.text} for query in asked]
            parts = {"corpus": Dataset.from_list(corpus), "queries": Dataset.from_list(queries)}
            self.dataset = {"default": {split: {**parts, "relevant_docs": relevant, "top_ranked": None}}}
            self.data_loaded = True

    return Local()


def _lang(code: str) -> str:
    """Language and script as MTEB writes them; the script of other languages than English is left open."""
    return "eng-Latn" if code == ENGLISH else f"{code}-Zyyy"


def table(results: Sequence[dict[str, Any]]) -> Table:
    """A row for each split and subset of each task."""
    rows = [
        [one["task_name"], split, scores["hf_subset"],
         *(f"{scores[key]:.4f}" if key in scores else "" for key in MEASURES), f"{scores['main_score']:.4f}"]
        for one in results
        for split, subsets in one["scores"].items()
        for scores in subsets
    ]  # fmt: skip
    return Table("", ["task", "split", "subset", *MEASURES.values(), "main score"], rows, left=3)
