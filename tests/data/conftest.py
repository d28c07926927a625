"""A small collection in our layout, and how to write others."""

import gzip
import json

import pytest

from optical.data.collection import read_collection
from optical.data.records import Doc
from optical.errors import DataError

DOCS = [
    {"id": "d1", "title": "Nile", "text": "A river\nin Africa."},
    {"id": "d2", "title": "", "text": "A lake."},
    {"id": "d3", "text": "A hill."},
]

READ = [Doc("d1", "Nile", "A river in Africa."), Doc("d2", "", "A lake."), Doc("d3", "", "A hill.")]


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    data = text if isinstance(text, bytes) else text.encode()
    path.write_bytes(gzip.compress(data) if path.name.endswith(".gz") else data)
    return path


def jsonl(records):
    return "\n".join(map(json.dumps, records)) + "\n"


@pytest.fixture
def ours(tmp_path):
    folder = tmp_path / "lakes"
    write(folder / "docs.jsonl.gz", jsonl(DOCS))
    write(folder / "queries.sw.tsv", "\ufeffq1\tMto gani?\r\nq2\tZiwa  gani?\r\nq3\tHaikuhukumiwa\r\n")
    write(folder / "queries.en.tsv", "q2\tWhich lake?\nq1\tWhich\triver?\n")
    write(folder / "qrels.tsv", "q1 0 d1 1\nq2 0 d2 2\n\nq2 0 d1 0\n")
    return folder


def message(folder, langs=("sw",)):
    with pytest.raises(DataError) as caught:
        read_collection(folder, langs)
    return str(caught.value)
