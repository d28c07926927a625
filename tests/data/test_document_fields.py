"""Which field of a record is the id, the title, the text, and what is kept of the others."""

import datetime
import json

import numpy as np
import pandas as pd
import pytest

from optical.data.document_fields import doc_of, has_id, has_text, texts_of
from optical.data.records import Doc
from optical.errors import DataError


def test_the_fields_of_usual_records_are_known_whatever_their_case():
    assert doc_of({"_id": "d1", "title": "Nile", "text": "A  river."}) == Doc("d1", "Nile", "A river.")
    assert doc_of({"ID": 12.0, " Title ": None, "Body": "A\nlake."}) == Doc("12", "", "A lake.")
    assert doc_of({"docid": 0, "contents": "x", "title": 7}) == Doc("0", "7", "x")
    assert doc_of({"passage": "a", "content": "b"}) == Doc("", "", "b", '{"passage": "a"}')


def test_the_first_text_that_is_not_empty_is_the_text():
    assert doc_of({"text": " ", "body": "b", "passage": "p"}) == Doc("", "", "b", '{"passage": "p"}')
    assert doc_of({"text": None, "id": "e"}) == Doc("e", "", "")
    assert doc_of({"text": ["no", "text"], "body": "b"}) == Doc("", "", "b", '{"text": ["no", "text"]}')
    assert doc_of({"text": {"no": "text"}}) is None
    assert doc_of({"title": "no text"}) is None


def test_other_fields_are_metadata_as_strict_json():
    row = {
        "id": "a", "text": "x", "url": "https://h/ä", "empty": "", "none": None, "nan": float("nan"), "na": pd.NA,
        "nat": pd.NaT, "n": np.int64(3), "day": datetime.date(2026, 1, 2), "scores": np.array([1.0, float("nan")]),
        "metadata": {"lang": "en", "gone": None}, 5: "a name that is a number",
    }  # fmt: skip
    doc = doc_of(row)
    assert doc.metadata == {
        "url": "https://h/ä", "n": 3, "day": "2026-01-02", "scores": [1.0, None], "lang": "en",
        "5": "a name that is a number",
    }  # fmt: skip
    json.loads(doc.extra, parse_constant=pytest.fail)
    assert Doc("a", "", "x").metadata == {}


def test_names_of_ids_and_texts():
    assert has_id(["Title", " ID "])
    assert not has_id(["identity", 7])
    assert has_text([None, "Contents"])
    assert not has_text(["texts"])


def test_texts_from_python_of_every_usual_kind():
    rows = [{"title": "Nile", "body": "A river."}, {"title": None, "body": "A lake."}]
    wanted = ["Nile A river.", "A lake."]
    assert texts_of(rows) == texts_of(iter(rows)) == texts_of(pd.DataFrame(rows)) == wanted
    assert texts_of(iter(wanted)) == texts_of(pd.Series(wanted)) == wanted
    assert texts_of(None) == texts_of([]) == []


def test_a_dataset_is_taken_and_its_splits_are_not():
    from datasets import Dataset, DatasetDict

    found = Dataset.from_dict({"text": ["one", "two"], "url": ["u", "v"]})
    assert texts_of(found) == texts_of(found["text"]) == ["one", "two"]
    with pytest.raises(DataError, match=r"^documents: DatasetDict \(splits or fields train\); give .*one split"):
        texts_of(DatasetDict(train=found))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (7, r"^documents: int \(no sequence\); give a list of texts"),
        (b"one text", r"^documents: bytes \("),
        ({"text": ["x"]}, r"^documents: dict \(splits or fields text\); "),
        (["x", 3], r"^documents\[1\] has no text: int; name the field of the text text or body"),
        ([{"titel": "x"}], r"^documents\[0\] has no text: only titel; "),
    ],
)
def test_what_cannot_be_documents_is_said(given, says):
    with pytest.raises(DataError, match=says):
        texts_of(given)
