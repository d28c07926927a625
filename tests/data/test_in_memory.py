"""Pairs given in Python are the same bitext, whichever way they are given."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from optical.data.bitext import read_bitext
from optical.data.in_memory import bitext_of
from optical.errors import DataError
from tests.chain import PAIRS

ENGLISH, SWAHILI = zip(*PAIRS, strict=True)


def tables():
    datasets, pandas = pytest.importorskip("datasets"), pytest.importorskip("pandas")
    columns = {"en": list(ENGLISH), "sw": list(SWAHILI)}
    translated = {"id": [str(k) for k in range(len(PAIRS))], "translation": [{"en": e, "sw": s} for e, s in PAIRS]}
    return {
        "frame": pandas.DataFrame(columns),
        "frame with more columns": pandas.DataFrame({"id": range(len(PAIRS)), "SW": SWAHILI, "English": ENGLISH}),
        "frame of two columns": pandas.DataFrame({"left": ENGLISH, "right": SWAHILI}),
        "dataset": datasets.Dataset.from_dict(columns),
        "translations": datasets.Dataset.from_dict(translated),
        "stream": datasets.Dataset.from_dict(columns).to_iterable_dataset(),
    }


WAYS = {
    "list": lambda: PAIRS,
    "tuple": lambda: tuple(PAIRS),
    "lists in a list": lambda: [list(pair) for pair in PAIRS],
    "generator": lambda: (pair for pair in PAIRS),
    "zip": lambda: zip(ENGLISH, SWAHILI, strict=True),
    "array": lambda: np.array(PAIRS),
    "records": lambda: [{"sw": s, "en": e} for e, s in PAIRS],
    "records with other fields": lambda: ({"target": s, "n": 1, "source": e} for e, s in PAIRS),
    "two fields": lambda: [{"Kiswahili": s, "english": e} for e, s in PAIRS],
    "columns": lambda: {"en": list(ENGLISH), "sw": np.array(SWAHILI)},
    "bitext": lambda: bitext_of(PAIRS, "sw"),
    "sources": lambda: [PAIRS[:5], [{"sw": s, "en": e} for e, s in PAIRS[5:]], PAIRS[:2]],
    "dict of translations": lambda: dict(PAIRS).items(),
}


@pytest.mark.parametrize("way", WAYS)
def test_each_way_gives_the_same_pairs(way):
    assert bitext_of(WAYS[way](), "sw").pairs == PAIRS


@pytest.mark.parametrize("way", tables())
def test_each_table_gives_the_same_pairs(way):
    assert bitext_of(tables()[way], "sw").pairs == PAIRS


def written(folder: Path) -> Path:
    file = folder / "a.tsv"
    file.write_text("".join(f"{english}\t{swahili}\n" for english, swahili in PAIRS[:9]), encoding="utf-8")
    return file


class Place:
    """A path of some other library."""

    def __init__(self, path):
        self.path = path

    def __fspath__(self):
        return str(self.path)


def test_paths_and_pairs_are_mixed(tmp_path):
    file = written(tmp_path)
    for one in (str(file), file, Place(file), [file], (str(file), Place(written(tmp_path)))[:1]):
        assert bitext_of(one, "sw").checksum == read_bitext(file, "sw").checksum
    mixed = bitext_of([PAIRS, f"{file}@0.5"], "sw")
    assert mixed.pairs == PAIRS
    assert set(mixed.weights.values()) == {0.5}
    assert len(mixed.weights) == 9
    assert mixed.skipped == {"duplicate": 9}


def test_what_is_given_is_cleaned_as_a_file_is(tmp_path):
    rows = [*PAIRS, PAIRS[0], ("", "tupu"), ("same", "Same"), ("  two\tspaces ", "nafasi\nmbili"), ("a" * 30, "b")]
    file = tmp_path / "all.jsonl"
    file.write_text("".join(json.dumps({"en": e, "sw": s}) + "\n" for e, s in rows), encoding="utf-8")
    given, read = bitext_of(rows, "sw"), read_bitext(file, "sw")
    assert (given.pairs, given.skipped, given.checksum) == (read.pairs, read.skipped, read.checksum)
    assert given.examples["duplicate"] == f"bitext[{len(PAIRS)}]"
    missing = bitext_of([*PAIRS, ("only English", None), (float("nan"), "tu")], "sw")
    assert missing.skipped == {"empty side": 2}


WRONG = {
    "none": (None, "NoneType holds no sentence pairs"),
    "number": (7, "int holds no sentence pairs"),
    "bytes": (b"a\tb", "bytes holds no sentence pairs"),
    "function": (lambda: PAIRS, r"call it: bitext=pairs\(\)"),
    "empty": ([], "an empty list, or a generator that was read before"),
    "three": ([("a", "b"), ("a", "b", "c")], r"bitext\[1\] is tuple \('a', 'b', 'c'\), no pair of two texts"),
    "a text among pairs": ([("a", "b"), "a b"], r"bitext\[1\] is str 'a b', no pair"),
    "a number in a pair": ([("a", "b"), ("a", 3)], r"bitext\[1\]: a side is int 3, no text"),
    "two lists": ((["I drink.", "I eat.", "Hi."], ["Nakunywa.", "Nakula.", "Habari."]), r"zip\(english, foreign\)"),
    "numbers": ([1, 2], "int 1 among 2 entries is no pair and no source of pairs"),
    "sentences": (["I drink water."], "no such file, folder or Moses prefix: I drink water"),
    "fields": ([{"id": 1, "en": "a", "text": "b"}], r"bitext\[0\] has the fields 'id', 'en', 'text', and none is that"),
    "a field that goes missing": ([{"en": "a", "sw": "b"}, {"en": "a"}], r"bitext\[1\] has the fields 'en'"),
    "lengths": ({"en": ["a", "b"], "sw": ["c"]}, r"columns of different length \('en': 2, 'sw': 1\)"),
    "text as column": ({"en": "a.txt", "sw": "b.txt"}, "a text under 'en'"),
    "nothing left": ([("", "a"), ("b", "b")], r"no pair of English and sw is left of 2: empty side 1"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_is_no_bitext_is_refused_in_words(case):
    given, message = WRONG[case]
    with pytest.raises(DataError, match=message):
        bitext_of(given, "sw")


def test_splits_of_a_dataset_have_to_be_named():
    datasets = pytest.importorskip("datasets")
    both = datasets.DatasetDict(train=datasets.Dataset.from_dict({"en": ["a"], "sw": ["b"]}))
    with pytest.raises(DataError, match=r"DatasetDict with the splits train; name one of them: data\['train'\]"):
        bitext_of(both, "sw")
