"""Teachers of two encoders: pairs and models with routes, loaded, checked, given prompts, and refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense, Normalize, Router

from optical.errors import DataError
from optical.models.encoders import as_multi_vector, encode_sentences, fingerprint
from optical.models.load import load_encoder, load_towers
from optical.models.prompts import document_prompt, query_prompt
from optical.models.towers import Towers, check_towers, names_of, prompted_towers, split_routes
from tests.conftest import bert
from tests.towers import PROMPTS, by_hand, saved_pair, saved_router, two_encoders

TEXTS = ["i drink water .", "the moon", "who built this house ? she cooks rice ."]


@pytest.fixture(params=["pair", "tuple", "router", "router and shared modules", "passage"])
def teacher(request, tmp_path):
    """A teacher with two encoders, however it is named."""
    match request.param:
        case "pair" | "tuple":
            pair = saved_pair(tmp_path)
            return pair if request.param == "pair" else tuple(pair.split(","))
        case "router":
            return saved_router(tmp_path)
        case "passage":
            return saved_router(tmp_path, routes=("question", "passage"))
    return saved_router(tmp_path, Normalize())


def test_each_side_is_the_encoder_that_was_named_for_it(teacher, tmp_path):
    towers = load_towers(teacher, "cpu")
    assert towers.apart
    assert [type(encoder) for encoder in towers] == [SentenceTransformer] * 2
    assert not any(isinstance(module, Router) for encoder in towers for module in encoder)
    for found, made, (side, prompt) in zip(towers, two_encoders(tmp_path / "again"), PROMPTS.items(), strict=True):
        ours = encode_sentences(found, TEXTS, query=side == "query")
        np.testing.assert_allclose(ours, by_hand(made, prompt, TEXTS), atol=1e-6)


def test_an_ordinary_model_is_one_and_loaded_once(tmp_path, monkeypatch):
    bert(tmp_path / "bert").save(str(tmp_path / "a,b,c"))
    loaded = []
    real = SentenceTransformer.__init__
    monkeypatch.setattr(SentenceTransformer, "__init__", lambda *a, **k: loaded.append(1) or real(*a, **k))
    towers = load_towers(str(tmp_path / "a,b,c"), "cpu")  # a folder that is there is no list of names
    assert not towers.apart
    assert len(loaded) == 1
    given = bert(tmp_path / "given")
    assert load_towers(given) == Towers(given, given)
    assert load_towers((given, towers.documents)) == Towers(given, towers.documents)


def test_routes_of_the_same_modules_are_one_encoder(tmp_path):
    modules = [*bert(tmp_path / "bert")]
    for routes, mapped in (({"query": modules, "document": modules}, None), ({"text": modules, "image": []}, None),
                           ({"own": modules}, {(None, "text"): "own"})):  # fmt: skip
        router = SentenceTransformer(modules=[Router(routes, route_mappings=mapped)], device="cpu")
        assert not split_routes(router, "r").apart


def test_routes_that_the_model_maps_and_modules_before_a_router(tmp_path):
    first, *pooling = bert(tmp_path / "bert")
    small, large = (Dense(32, size, bias=False) for size in (4, 8))
    router = Router({"a": [small], "b": [large]}, route_mappings={("query", None): "a", ("document", "text"): "b"})
    towers = split_routes(SentenceTransformer(modules=[first, *pooling, router], device="cpu"), "r")
    assert [list(encoder) for encoder in towers] == [[first, *pooling, small], [first, *pooling, large]]
    with pytest.raises(DataError, match=r"of queries \(q\) have 4 dimensions and those of documents \(d\) 8"):
        check_towers(towers, ["q", "d"])


def test_the_document_prompt_is_the_document_encoders_and_students_know_it(tmp_path):
    towers = prompted_towers(load_towers(saved_pair(tmp_path), "cpu"), {}, ["q", "d"])
    assert (query_prompt(towers.queries), document_prompt(towers.queries)) == tuple(PROMPTS.values())
    assert document_prompt(towers.documents) == PROMPTS["document"]
    given = {"query": "a ", "document": "b "}
    other = prompted_towers(towers, given, ["q", "d"])
    assert (query_prompt(other.queries), document_prompt(other.documents)) == ("a ", "b ")
    assert document_prompt(other.queries) == "b "


def test_a_missing_prompt_is_warned_of_for_the_side_that_misses_it(tmp_path, caplog):
    pair = two_encoders(tmp_path)
    pair[0].prompts = {}
    caplog.clear()
    prompted_towers(Towers(*pair), {}, ["e5-small", "e5-base"])
    assert [line.split()[0] for line in caplog.messages] == ["e5-small"]


def test_fingerprints_of_a_side_are_of_its_encoder_only(tmp_path):
    plain = load_towers(saved_pair(tmp_path), "cpu")
    one, *others = (
        prompted_towers(towers, given, ["q", "d"])
        for towers, given in (
            (plain, {}), (load_towers(saved_router(tmp_path / "other"), "cpu"), {}), (plain, {"query": "b "}),
            (plain, {"document": "b "}), (Towers(plain.queries, bert(tmp_path / "bert")), {}),
        )
    )  # fmt: skip
    router, query, document, else_where = others
    by_query = [fingerprint(towers.queries, "query") for towers in (one, router, document, else_where, query)]
    assert len(set(by_query[:4])) == 1 != len(set(by_query))
    by_document = [fingerprint(towers.documents) for towers in (one, query)]
    by_document += [fingerprint(towers.documents, "document") for towers in (one, router, query, document, else_where)]
    assert by_document[0] == by_document[1]
    assert len(set(by_document[2:5])) == 1
    assert len(set(by_document[2:])) == 3


class TestRefusal:
    @pytest.mark.parametrize("routes", [("other", "document"), ("query", "other")])
    def test_a_router_without_a_side(self, tmp_path, routes):
        path, side = saved_router(tmp_path, routes=routes), "query" if routes[0] == "other" else "document"
        with pytest.raises(DataError, match=f"{path} is a Router without a {side} route, only {', '.join(routes)};"):
            load_towers(path, "cpu")

    @pytest.mark.parametrize(
        ("teacher", "words"),
        [("a,b,c", "3 names in the teacher 'a, b, c'"), (("a", "b", "c"), "3 names"), ("a,", "an empty name"),
         (",b", "an empty name"), ("", "an empty name"), ("a,,b", "3 names"), ((), "an empty name")],
    )  # fmt: skip
    def test_names_that_are_not_one_or_two(self, teacher, words):
        with pytest.raises(DataError, match=f"{words}.*query_model,document_model"):
            names_of(teacher)

    def test_a_pair_of_two_kinds(self, tmp_path):
        pair = two_encoders(tmp_path)
        with pytest.raises(DataError, match="q gives one for each text and d a vector for each token"):
            check_towers(Towers(pair[0], as_multi_vector(pair[1])), ["q", "d"])

    def test_two_encoders_where_one_has_to_read_both_sides(self, tmp_path):
        for path in (saved_pair(tmp_path), saved_router(tmp_path / "r")):
            with pytest.raises(DataError, match="have one encoder for queries and another for documents"):
                load_encoder(path, "cpu")

    @pytest.mark.parametrize("part", ["config.json", "modules.json"])
    def test_code_that_comes_with_a_model_is_not_run(self, tmp_path, part):
        folder = tmp_path / "own-code"
        bert(tmp_path / "bert").save(str(folder))
        ran = f"from pathlib import Path\nPath({str(tmp_path / 'ran')!r}).touch()\n"
        (folder / "own.py").write_text(ran)
        changed = json.loads((folder / part).read_text())
        if part == "config.json":
            changed |= {"model_type": "own", "auto_map": {"AutoConfig": "own.Config", "AutoModel": "own.Model"}}
        else:
            changed[0]["type"] = "own.Transformer"
        (folder / part).write_text(json.dumps(changed))
        with pytest.raises(DataError) as caught:
            load_encoder(folder, "cpu")
        assert str(caught.value) == (
            f"{folder} comes with code of its own (trust_remote_code), which is never run here; name a model whose "
            "class is part of transformers and sentence-transformers"
        )
        assert not Path(tmp_path / "ran").exists()
