"""Qdrant in its client's local mode: the same answers as the run's own search, a stop that loses nothing, refusals."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("qdrant_client", reason="the extra qdrant is not installed")

from optical.config.recipe import load_recipe
from optical.errors import DataError, Unavailable
from optical.models import encoders
from optical.models.load import load_encoder
from optical.pipeline import answer, embed, exported_documents, index, qdrant
from optical.pipeline.embed import embed_documents, load_teacher
from optical.pipeline.hubness import save_banks
from optical.pipeline.inputs import run_collections
from optical.pipeline.manifest import write_manifest
from optical.retrieval.matches import Hit
from optical.retrieval.qdrant import search, write
from optical.retrieval.qdrant.place import Place, connect
from tests.pipeline.test_evaluate import ENGLISH, QUESTIONS, finished, in_x, models, write_collection  # noqa: F401 - fixtures
from tests.pipeline.test_hubness import SENTENCES
from tests.runs import DOCUMENTS, tiny_run

ASKED = ("who plants maize ?", "the dog", "rain in april", "zebra", "?")


@pytest.fixture(scope="module", params=["single", "late"])
def exported(request, tmp_path_factory):
    """A run and where its documents are."""
    folder = tmp_path_factory.mktemp(request.param)
    recipe = tiny_run(folder, late=request.param == "late")
    place = Place(None, folder / "qdrant", "tiny")
    return recipe, place, qdrant.export_qdrant(recipe, place)


def comparable(found):
    """In an order that ties cannot change."""
    return sorted(((round(one.score, 4), one.doc) for one in found), key=lambda pair: (-pair[0], pair[1].id))


def ask(recipe, place, question, depth, **more):
    """One question, with all that is loaded for it."""
    with qdrant.opened(recipe, place) as loaded:
        return qdrant.answer(loaded, question, depth, **more)


def test_every_document_is_there_and_nothing_is_written_twice(exported):
    recipe, place, done = exported
    assert (done.points, done.written, done.left_out) == (len(DOCUMENTS), len(DOCUMENTS), 0)
    again = qdrant.export_qdrant(recipe, place)
    assert (again.points, again.written) == (len(DOCUMENTS), 0)
    with connect(place) as client:
        assert client.count("tiny").count == len(DOCUMENTS)


def test_the_answers_are_those_of_the_run(exported):
    recipe, place, _ = exported
    loaded = answer.load_run(recipe)
    with connect(place) as client:
        for question in ASKED:
            query = encoders.encode_queries(loaded.student, [question])[0]
            for depth in (1, 4, 100):
                own = answer.answer(loaded, question, depth)
                found = search.search(client, place.name, query, depth)
                np.testing.assert_allclose([score for _, score in found], [f.score for f in own], atol=1e-4)
                if depth == 100:
                    assert comparable(Hit(*one, []) for one in found) == comparable(
                        [f._replace(matches=[]) for f in own]
                    )
    found = ask(recipe, place, "who plants maize ?", 1)[0].doc
    assert (found[:3], found.metadata) == (DOCUMENTS[0], {"url": "https://example.org/d0"})


def test_penalties_are_a_dimension_there_too(tmp_path):
    recipe = tiny_run(tmp_path)
    place, plain = Place(None, tmp_path / "qdrant", "tiny"), recipe
    save_banks(recipe.folder, {"sw": SENTENCES})
    recipe = load_recipe(recipe.folder / "recipe.toml", {"search.hubness": "sinkhorn"})
    index.index_run(recipe)
    qdrant.export_qdrant(recipe, place)
    loaded = answer.load_run(recipe)
    for question in ASKED:
        own = answer.answer(loaded, question, 100)
        assert comparable(ask(recipe, place, question, 100)) == comparable(own)
    with (
        pytest.raises(DataError, match=r"of another hubness: \{'method': 'sinkhorn', .*\}, where the run has None"),
        qdrant.opened(plain, place),
    ):
        pass


def test_candidates_by_the_mean_give_the_best_of_all(exported):
    recipe, place, _ = exported
    student = load_encoder(recipe.folder / "student", "cpu")
    with connect(place) as client:
        for question in ASKED[:3]:
            query = encoders.encode_queries(student, [question])[0]
            (best,) = search.search(client, place.name, query, 1, candidates=None)
            (some,) = search.search(client, place.name, query, 1, candidates=4)
            assert (some[0].text, round(some[1], 4)) == (best[0].text, round(best[1], 4))


def test_batches_are_bounded_and_complete(exported, monkeypatch):
    recipe, _, _ = exported
    collection = next(iter(run_collections(recipe).values()))
    _, vectors, ids = embed_documents(recipe, load_teacher(recipe), collection, False)
    monkeypatch.setattr(write, "NUMBERS_AT_ONCE", 100)
    batches = list(write._batches(vectors, range(len(ids))))
    assert sum(batches, []) == list(range(len(ids)))
    assert len(batches) > 1
    monkeypatch.setattr(write, "POINTS_AT_ONCE", 2)
    assert max(map(len, write._batches(vectors, range(len(ids))))) <= 2


def test_a_stopped_export_is_not_searched_and_goes_on(exported, tmp_path, monkeypatch):
    recipe, _, _ = exported
    place = Place(None, tmp_path / "qdrant", "stopped")
    monkeypatch.setattr(write, "POINTS_AT_ONCE", 3)
    whole, calls = write._vector, []

    def stop(vectors, row):
        calls.append(row)
        if len(calls) > 4:
            raise KeyboardInterrupt
        return whole(vectors, row)

    with monkeypatch.context() as patch:
        patch.setattr(write, "_vector", stop)
        with pytest.raises(KeyboardInterrupt):
            qdrant.export_qdrant(recipe, place)
    with pytest.raises(DataError, match=rf"stopped at .* holds 3 of {len(DOCUMENTS)} documents: an export was stopped"):
        ask(recipe, place, "milk", 1)
    assert qdrant.export_qdrant(recipe, place).written == len(DOCUMENTS) - 3
    assert ask(recipe, place, "milk", 1)[0].doc.id == "d1"


def test_a_collection_of_something_else_is_refused(exported, tmp_path):
    recipe, place, _ = exported
    other = tiny_run(tmp_path / "other", late=recipe.late_interaction)
    with (tmp_path / "other" / "collection" / "docs.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps({"id": "new", "title": "", "text": "one more"}) + "\n")
    with pytest.raises(DataError, match="tiny at .* is of another collection checksum: .*; give another --name"):
        ask(other, place, "milk", 1)
    with pytest.raises(DataError, match="tiny at .* is there already and is of something else"):
        qdrant.export_qdrant(other, place)
    manifest = other.folder / "manifest.json"
    manifest.write_text(json.dumps({"teacher_fingerprint": "f" * 16}), encoding="utf-8")
    with pytest.raises(DataError, match="is of another teacher fingerprint"):
        ask(other, place, "milk", 1)
    with pytest.raises(DataError, match="is not the one that taught this student"):
        qdrant.export_qdrant(other, place)
    manifest.unlink()
    with pytest.raises(DataError, match="manifest.json cannot be read"):
        ask(other, place, "milk", 1)
    with pytest.raises(DataError, match="there is no collection none at .*; there is tiny;"):
        ask(recipe, place._replace(name="none"), "milk", 1)


def test_a_folder_in_use_and_a_server_that_is_not_there_are_one_message(exported):
    recipe, place, _ = exported
    with connect(place), pytest.raises(DataError, match="cannot be opened: .*already accessed"):
        ask(recipe, place, "milk", 1)
    with pytest.raises(
        DataError, match=r"^there is no answer from a Qdrant server at http://127.0.0.1:1 \(Con.* refused\)"
    ):
        ask(recipe, Place("http://127.0.0.1:1", None, "tiny"), "milk", 1)


def test_a_document_without_tokens_is_left_out(exported, tmp_path, monkeypatch):
    recipe, _, _ = exported
    if not recipe.late_interaction:
        pytest.skip("single vectors have no tokens")

    def without_first(recipe, teacher, collection):
        searched = embed_documents(recipe, teacher, collection, False)
        rows = [searched.vectors.of(i) if i else searched.vectors.of(0)[:0] for i in range(len(searched.ids))]
        start = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
        return searched._replace(vectors=searched.vectors._replace(tokens=np.concatenate(rows), start=start))

    monkeypatch.setattr(exported_documents, "embed_documents", without_first)
    place = Place(None, tmp_path / "qdrant", "tiny")
    assert qdrant.export_qdrant(recipe, place)[1:4] == (len(DOCUMENTS) - 1, len(DOCUMENTS) - 1, 1)
    assert "d0" not in {f.doc.id for f in ask(recipe, place, "who plants maize ?", 20)}


class Server:
    """A stand-in for a server that keeps what it is told when a collection is made there."""

    def __init__(self, **options):
        self.options, self.made = options, {}

    def collection_exists(self, name):
        return False

    def create_collection(self, name, **told):
        self.made[name] = told

    def retrieve(self, *_, **__):
        return []

    def upsert(self, name, points, wait):
        assert wait

    def close(self):
        pass


def test_a_server_is_told_of_shards_replicas_key_and_half_precision(exported, monkeypatch):
    import qdrant_client

    recipe, _, _ = exported
    servers = []
    monkeypatch.setattr(
        qdrant_client, "QdrantClient", lambda **options: servers.append(Server(**options)) or servers[-1]
    )
    monkeypatch.setenv("QDRANT_API_KEY", "secret")
    qdrant.export_qdrant(recipe, Place("http://host:6333", None, "tiny"), shards=6, replicas=2)
    (server,) = servers
    assert server.options["api_key"] == "secret"
    told = server.made["tiny"]
    assert (told["shard_number"], told["replication_factor"]) == (6, 2)
    vectors = told["vectors_config"]
    if recipe.late_interaction:
        assert list(vectors) == ["tokens", "pooled"]
        assert vectors["tokens"].datatype == "float16"
        assert vectors["tokens"].multivector_config.comparator == "max_sim"
    else:
        assert list(vectors) == ["sentence"]
    assert told["metadata"]["points"] == len(DOCUMENTS)


def test_a_question_waits_less_long_than_an_export(exported, monkeypatch):
    import qdrant_client

    recipe, place, _ = exported
    waits = []
    monkeypatch.setattr(qdrant_client, "QdrantClient", lambda **told: waits.append(told["timeout"]) or Server(**told))
    there = place._replace(url="http://host:6333", path=None)
    qdrant.export_qdrant(recipe, there)
    monkeypatch.setattr(Server, "get_collections", lambda _: SimpleNamespace(collections=[]), raising=False)
    with pytest.raises(DataError, match="there is no collection tiny at http://host:6333; there is none"):
        ask(recipe, there, "milk", 1)
    assert waits == [120, 30]


def test_many_points_in_a_folder_are_warned_of(exported, tmp_path, monkeypatch):
    monkeypatch.setattr(write, "LOCAL_LIMIT", 5)
    said = []
    qdrant.export_qdrant(exported[0], Place(None, tmp_path / "q", "tiny"), say=said.append)
    assert any(line.startswith("warning: 9 points in a folder") for line in said)


def test_a_place_is_a_server_or_a_folder(exported, tmp_path):
    recipe = exported[0]
    assert qdrant.place_of(recipe, None, tmp_path, None) == Place(None, tmp_path, "run")
    assert qdrant.place_of(recipe, "http://host", None, "mine") == Place("http://host", None, "mine")
    for url, path in ((None, None), ("http://host", tmp_path)):
        with pytest.raises(DataError, match="Qdrant is either a server or a folder"):
            qdrant.place_of(recipe, url, path, None)


def test_the_command_line_exports_and_searches(exported, command, tmp_path):
    recipe, _, _ = exported
    code, out, err = command("export", recipe.folder, "--to", "qdrant", "--path", tmp_path / "q", "--set", "seed=0")
    assert (code, err) == (0, "")
    where = f"--engine qdrant --path {tmp_path / 'q'} --set seed=0"
    told = [line.strip() for line in out.splitlines() if line.startswith("  optical")]
    assert told == [f"optical search {recipe.folder} 'your question' {where}", f"optical serve {recipe.folder} {where}"]
    assert f"9 documents are in run at {tmp_path / 'q'}" in out
    asked = ("search", recipe.folder, "who writes a letter ?", "-k", 2)
    own = command(*asked)
    there = command(*asked, "--engine", "qdrant", "--path", tmp_path / "q")
    assert own[0] == there[0] == 0
    ranked = [[line[:-2] for line in out.splitlines() if line[0] in "12"] for _, out, _ in (own, there)]
    assert ranked[0] == ranked[1]
    assert len(ranked[0]) == 2
    code, _, err = command(*asked, "--engine", "qdrant")
    assert code == 1
    assert "either a server or a folder" in err
    code, _, err = command(*asked, "--path", tmp_path / "q")
    assert code == 2
    assert "--engine qdrant" in err


def test_fingerprints_are_those_of_the_run(exported):
    recipe, place, _ = exported
    with connect(place) as client:
        kept = client.get_collection("tiny").config.metadata
    assert kept["teacher_fingerprint"] == encoders.fingerprint(load_teacher(recipe))
    assert kept["collection_checksum"] == next(iter(run_collections(recipe).values())).checksum


@pytest.fixture(params=["single", "late"])
def foreign(request, tmp_path, finished):
    """A run over documents in X, and a place for them."""
    recipe = finished(write_collection(tmp_path / "turned", "xx", ["en"]), late=request.param == "late")
    write_manifest(recipe, load_teacher(recipe), {})
    return recipe, Place(None, tmp_path / "qdrant", "turned")


def test_documents_in_x_are_the_students(foreign, monkeypatch):
    recipe, place = foreign
    monkeypatch.setattr(embed, "teacher_towers", lambda *_: pytest.fail("the teacher was loaded"))
    assert qdrant.export_qdrant(recipe, place)[1:4] == (len(ENGLISH), len(ENGLISH), 0)
    student = load_encoder(recipe.folder / "student", "cpu")
    with connect(place) as client:
        kept = client.get_collection("turned").config.metadata
    assert kept["student_fingerprint"] == encoders.fingerprint(student)
    assert qdrant.export_qdrant(recipe, place).written == 0
    with qdrant.opened(recipe, place) as loaded:
        best = qdrant.answer(loaded, in_x(QUESTIONS[2]), 8)[0]
    assert (best.doc.id, best.doc.text) == ("d2", in_x(ENGLISH[2]))


def test_documents_in_a_third_language_are_refused(finished, tmp_path):
    recipe = finished(write_collection(tmp_path / "finnish", "fi", ["en", "xx"]))
    with pytest.raises(DataError, match="finnish has fi documents, which nobody embeds"):
        qdrant.export_qdrant(recipe, Place(None, tmp_path / "qdrant", "finnish"))
    assert not (tmp_path / "qdrant").exists()


def test_the_answers_over_documents_in_x_are_those_of_the_run(foreign):
    recipe, place = foreign
    qdrant.export_qdrant(recipe, place)
    index.index_run(recipe)
    own = answer.load_run(recipe)
    with qdrant.opened(recipe, place) as loaded:
        for question in (in_x("who writes a letter ?"), in_x("the dog"), "?"):
            expected = answer.answer(own, question, 100)
            assert comparable(qdrant.answer(loaded, question, 100)) == comparable(
                [found._replace(matches=[]) for found in expected]
            )


def test_documents_in_x_of_another_student_or_of_the_teacher_are_refused(foreign, models, tmp_path):
    recipe, place = foreign
    qdrant.export_qdrant(recipe, place)
    (recipe.folder / "student").unlink()
    other = load_encoder(models / ("late" if recipe.late_interaction else "student"), "cpu")
    next(other.parameters()).data.mul_(1.5)
    other.save(str(recipe.folder / "student"))
    with pytest.raises(DataError, match="turned at .* is of another student fingerprint: .*; give another --name"):
        ask(recipe, place, "milk", 1)
    with pytest.raises(DataError, match="turned at .* is there already and is of something else"):
        qdrant.export_qdrant(recipe, place)
    folder = tmp_path / "turned"
    (folder / "docs.xx.jsonl").rename(folder / "docs.jsonl")  # the same texts, taken for English: the teacher's
    (folder / "queries.en.tsv").rename(folder / "queries.xx.tsv")
    with pytest.raises(DataError, match="is of another student fingerprint: .*, where the run has None"):
        ask(recipe, place, "milk", 1)


def test_a_question_that_qdrant_does_not_answer_is_followed_by_one_that_it_does(exported, monkeypatch):
    import httpx
    from pydantic import ValidationError
    from qdrant_client.common.client_exceptions import ResourceExhaustedResponse
    from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

    recipe, place, _ = exported
    faults = {
        ResponseHandlingException(httpx.ConnectError("Connection refused")): False,
        ResourceExhaustedResponse("slow down", 3): False,
        UnexpectedResponse(500, "Internal", b"panic", httpx.Headers()): True,
        json.JSONDecodeError("Expecting value", "<html>", 0): True,  # a proxy's page
        ResponseHandlingException(ValidationError.from_exception_data("reply", [])): True,
    }
    with qdrant.opened(recipe, place) as loaded:
        monkeypatch.setattr("optical.models.load._read_config", lambda *_: pytest.fail("a model was loaded"))
        for fault, answered in faults.items():
            with monkeypatch.context() as patch:
                patch.setattr(loaded.client, "query_points", lambda *_, fault=fault, **__: (_ for _ in ()).throw(fault))
                with pytest.raises(Unavailable, match="tiny at .* does not do what was asked") as caught:
                    qdrant.answer(loaded, "milk", 1)
            assert caught.value.answered == answered
            assert qdrant.answer(loaded, "milk", 1)[0].doc.id == "d1"


@pytest.mark.parametrize("late", [False, True])
def test_passages_are_searched_and_documents_answered(tmp_path, late):
    recipe, place = tiny_run(tmp_path, late=late, **{"search.passages": 16}), Place(None, tmp_path / "qdrant", "split")
    done = qdrant.export_qdrant(recipe, place)
    assert done.points > len(DOCUMENTS)
    with answer.opened(recipe) as own, answer.opened(recipe, place) as there:
        for question in (*ASKED, "the river is long"):
            for depth in (1, 3, 100):
                one, other = own.answer(question, depth), there.answer(question, depth)
                assert [hit.score for hit in other] == pytest.approx([hit.score for hit in one], rel=2e-3)
                assert len({hit.doc.id for hit in other}) == len(other) == len(one)
        assert (other[0].doc, other[0].span) == (one[0].doc, one[0].span)
        assert (other[0].doc.id, bool(other[0].span)) == ("d8", True)
    whole = recipe.model_copy(update={"search": recipe.search.model_copy(update={"passages": "off"})})
    with pytest.raises(DataError, match="is there already and is of something else"):
        qdrant.export_qdrant(whole, place)
