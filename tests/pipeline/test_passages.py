"""A run that searches passages: documents are answered, each by its best passage, and measured."""

from __future__ import annotations

import numpy as np
import pytest

from optical.models import encoders
from optical.pipeline import answer, cache, embed
from optical.pipeline.embed import embed_collections, embed_documents, load_teacher, passage_limit
from optical.pipeline.exported_documents import embedded_for_export
from optical.web.endpoints import result
from tests.runs import DOCUMENTS, evaluated, tiny_run

KINDS = {
    "single": {},
    "late": {"late": True},
    "late index": {"late": True, "search.late_index": "on", "search.late_precision": "float16"},
}
LENGTHS = {doc_id: len(text) for doc_id, _, text in DOCUMENTS}


@pytest.fixture(scope="module", params=KINDS)
def recipe(request, tmp_path_factory):
    return tiny_run(tmp_path_factory.mktemp("run"), **{"search.passages": 16, **KINDS[request.param]})


def test_documents_are_answered_by_their_best_passage(recipe):
    loaded = answer.load_run(recipe, pytest.fail)
    question = "the river is long"
    hits = answer.answer(loaded, question, 100)
    ids = [hit.doc.id for hit in hits]
    assert len(set(ids)) == len(ids)
    assert set(ids) <= set(LENGTHS)
    assert len(ids) >= 8  # under late interaction the one without a word is never found
    for hit in hits:
        whole = next(doc for doc in loaded.collection.docs if doc.id == hit.doc.id)
        assert (hit.span is not None) == (hit.doc.id in ("d4", "d8"))
        assert hit.doc == whole._replace(text=whole.text[slice(*hit.span)] if hit.span else whole.text)
    assert ids[0] == "d8"
    assert answer.answer(loaded, question, 2)[1].doc.id == ids[1]  # most of the best passages are of one document
    assert result(question, hits[0])["span"] == {"start": hits[0].span.start, "end": hits[0].span.end}
    teacher = load_teacher(recipe)
    told = []
    embedded = embed_documents(recipe, teacher, loaded.collection, False, told.append)
    assert told == [f"9 documents are searched as {len(embedded.ids)} passages of at most 16 tokens"]
    assert embedded.vectors.reading.cut == 0
    query = encoders.encode_queries(loaded.student, [question])[0]
    if query.ndim == 1:
        scores = np.asarray(embedded.vectors.sentences) @ query
    else:
        scores = [
            (query @ np.asarray(embedded.vectors.of(k), np.float32).T).max(1).sum()
            if embedded.vectors.of(k).size
            else -9
            for k in range(len(embedded.ids))
        ]
    assert [str(one.folder) for one in embed_collections(recipe)] == [str(embedded.vectors.folder)]
    best = max(score for pid, score in zip(embedded.ids, scores, strict=True) if pid.startswith("d8#"))
    assert hits[0].score == pytest.approx(best, rel=2e-3)


def test_measures_are_of_documents(recipe):
    assert evaluated(recipe).documents == len(DOCUMENTS)
    for run in (recipe.folder / "evaluation").rglob("*.trec"):
        lines = [line.split() for line in run.read_text().splitlines()]
        assert {line[2] for line in lines} <= set(LENGTHS)
        assert len({(line[0], line[2]) for line in lines}) == len(lines)


def test_a_database_takes_passages_or_whole_documents(recipe):
    embedded, facts = embedded_for_export(recipe, lambda _: None)
    assert facts["passages"] == 16
    some = [doc for doc in embedded.collection.docs if doc.id.startswith("d8#")]
    assert [doc.id for doc in some] == [one for one in embedded.ids if one.startswith("d8#")]
    assert len(some) > 1
    assert all(len(doc.text) < LENGTHS["d8"] for doc in some)
    assert embedded.collection.docs[:2] == list(embedded.collection.docs)[:2]
    search = recipe.search.model_copy(update={"passages": "off"})
    embedded, _ = embedded_for_export(recipe.model_copy(update={"search": search}), lambda _: None)
    assert list(embedded.ids) == [doc_id for doc_id, *_ in DOCUMENTS]


def test_auto_splits_at_what_the_encoder_reads(recipe):
    teacher = load_teacher(recipe)
    auto = recipe.model_copy(update={"search": recipe.search.model_copy(update={"passages": "auto"})})
    read = teacher.preprocess(["the moon " * 999], task="document")["attention_mask"].sum()
    assert passage_limit(auto, teacher) == read - 2
    assert passage_limit(recipe, teacher) == 16


def test_passages_are_proposed_where_much_is_not_read(recipe):
    off = recipe.model_copy(update={"search": recipe.search.model_copy(update={"passages": "off"})})
    teacher = load_teacher(off)
    teacher.max_seq_length = 10
    said: list[str] = []
    collection = answer.load_run(recipe).collection
    embed_documents(off, teacher, collection, False, said.append)
    assert "search.passages=auto" in said[1]
    auto = recipe.model_copy(update={"search": recipe.search.model_copy(update={"passages": "auto"})})
    said.clear()
    embed_documents(auto, teacher, collection, False, said.append)
    assert "passages of at most 8 tokens" in said[0]
    assert not [line for line in said if "search.passages" in line]


def test_later_jobs_tokenize_nothing_to_split(recipe, monkeypatch):
    teacher, collection = load_teacher(recipe), answer.load_run(recipe).collection
    ids, texts = embed.searched_texts(recipe, teacher, collection)
    (kept,) = recipe.cache_folder.glob("passages-*-16.json")
    monkeypatch.setattr(embed, "counted_tokens", lambda *_: pytest.fail("something was tokenized"))
    again, others = embed.searched_texts(recipe, teacher, collection)
    assert (again, list(others), again.limit) == (ids, list(texts), 16)
    assert [one.kind for one in cache.kept(recipe.cache_folder) if one.path == kept] == ["passages of documents"]
    monkeypatch.undo()
    kept.write_text("[")
    assert embed.searched_texts(recipe, teacher, collection, keep=False)[0] == ids
    assert kept.read_text() == "["
    assert embed.searched_texts(recipe, teacher, collection)[0] == ids
    assert kept.read_text() != "["
