"""Hard negatives: no right passage is mined as a wrong one, and what was mined is kept."""

from __future__ import annotations

import os

import pytest
from sentence_transformers.base.modules import Transformer

from optical.errors import DataError
from optical.marker import MARKER
from optical.models.encoders import as_multi_vector
from optical.models.prompts import with_prompts
from optical.training import hard_negatives
from optical.training.hard_negatives import mine
from optical.training.teacher_data import divide
from tests.training.test_teacher_data import collection, options


@pytest.mark.parametrize("late", [False, True])
def test_wrong_passages_are_never_judged_right(teacher, tmp_path, late):
    start = as_multi_vector(teacher) if late else teacher
    chosen = options(held_out=0, negatives=3, margin=0.0)
    found = divide(collection(), chosen)
    rows, drawn = mine(start, found, chosen, tmp_path)
    right: dict[str, set[str]] = {}
    for example in found.examples:
        right.setdefault(example.query.text, set()).add(example.doc.full)
    pairs = {(e.query.text, e.doc.full) for e in found.examples}
    assert {(query, passage) for query, passage, *_ in rows} == pairs
    assert len(rows) == len(pairs)
    assert 0 < drawn < len(rows)  # both kinds are there to be looked at
    for query, _, *wrong in rows:
        assert len(set(wrong)) == 3
        assert not set(wrong) & right[query]


def test_mined_passages_score_less_than_the_right_one_by_the_margin(teacher, tmp_path):
    chosen = options(held_out=0, negatives=1, margin=0.1, precision="float32")
    rows, drawn = mine(teacher, divide(collection(), chosen), chosen, tmp_path)
    texts = sorted({text for row in rows for text in row})
    vectors = dict(zip(texts, teacher.encode(texts), strict=True))
    score = [(float(vectors[q] @ vectors[p]), float(vectors[q] @ vectors[n])) for q, p, n in rows]
    above = sum(wrong > 0.9 * right + 1e-5 for right, wrong in score)
    assert above <= drawn < len(rows)


def test_what_was_mined_is_read_the_second_time(teacher, tmp_path, monkeypatch):
    chosen = options(held_out=0)
    found = divide(collection(), chosen)
    first = mine(teacher, found, chosen, tmp_path)
    monkeypatch.setattr(hard_negatives, "_search", None)  # cannot be called
    assert mine(teacher, found, chosen, tmp_path) == first
    with pytest.raises(TypeError):
        mine(teacher, found, options(held_out=0, margin=0.2), tmp_path)
    (file,) = tmp_path.glob("negatives-*.json")
    whole, times = file.read_text(encoding="utf-8"), (file.stat().st_atime_ns, file.stat().st_mtime_ns)
    for damaged, says in ((whole[:40], "has 40 bytes"), (whole.replace("e", "a"), "does not have the checksum")):
        file.write_text(damaged, encoding="utf-8")
        os.utime(file, ns=times)
        with pytest.raises(DataError, match=rf"{says}.* remove this file; it is made again"):
            mine(teacher, found, chosen, tmp_path)
    file.write_text(whole[:40], encoding="utf-8")
    (tmp_path / MARKER).unlink()  # without its seal, as of an earlier version
    with pytest.raises(DataError, match=r"mined passages cannot be read .* remove this file; it is made again"):
        mine(teacher, found, chosen, tmp_path)


def test_no_mining_leaves_the_pairs(tmp_path, teacher):
    chosen = options(held_out=0, negatives=0)
    rows, drawn = mine(teacher, divide(collection(), chosen), chosen, tmp_path)
    assert drawn == 0
    assert {len(row) for row in rows} == {2}
    assert list(tmp_path.glob("negatives*")) == []


def test_more_wrong_passages_than_there_are_is_one_message(teacher, tmp_path):
    chosen = options(held_out=0, negatives=3)
    with pytest.raises(DataError, match="has 2 wrong passages among 3; negatives = 3 asks for more; .* negatives to 2"):
        mine(teacher, divide(collection(passages=3), chosen), chosen, tmp_path)


@pytest.mark.parametrize("late", [False, True])
def test_queries_and_passages_are_read_with_their_prompts(teacher, tmp_path, monkeypatch, late):
    prompted = with_prompts(as_multi_vector(teacher) if late else teacher, {"query": "a ", "document": "i "})
    chosen, found, read = options(held_out=0, negatives=1, margin=0.0), divide(collection(), options(held_out=0)), []
    kind, inner = Transformer, Transformer.preprocess
    monkeypatch.setattr(kind, "preprocess", lambda *a, **k: read.append((k.get("prompt"), *a[1])) or inner(*a, **k))
    mine(prompted, found, chosen, tmp_path)
    prompt_of = {text: prompt for prompt, *texts in read if prompt for text in texts}
    assert {prompt_of[example.query.text] for example in found.examples} == {"a "}
    assert {prompt_of[example.doc.full] for example in found.examples} == {"i "}
