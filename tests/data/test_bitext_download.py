"""Fetching, against stand-ins for the hub: functions, and the real loader on a local folder."""

import gzip
import itertools
import json
import logging

import pytest

from optical.data.bitext import Pair, read_bitext
from optical.data.bitext_download import SETS, fetch_bitext
from optical.errors import DataError

HUB = {
    ("org/talks", "en-sw"): [("Water", "Maji"), ("Fire\tand\nice", " Moto "), ("", "x"), ("y", None)],
    ("org/tatoeba", "en-sw"): [(f"Sentence {i}", f"Sentensi {i}") for i in range(9)],
    ("org/empty", "en-sw"): [("", "")],
}


def hub(name, config, *, split, streaming):
    assert (split, streaming) == ("train", True)
    if (name, config) not in HUB:
        raise ValueError(f"BuilderConfig '{config}' not found. Available: ['en-de', 'en-fr']")
    return ({"english": english, "non_english": foreign} for english, foreign in HUB[name, config])


def test_sets_become_files_that_read_as_bitext(tmp_path, caplog):
    folder = tmp_path / "new" / "sw"
    with caplog.at_level(logging.WARNING):
        files = fetch_bitext("sw", folder, limit=5, sets=["org/talks", "org/none", "org/tatoeba"], load=hub)
    assert files == [folder / "talks.tsv.gz", folder / "tatoeba.tsv.gz"]
    assert sorted(folder.glob("[!.]*")) == files
    assert gzip.decompress(files[0].read_bytes()).decode() == "Water\tMaji\nFire and ice\tMoto\n"
    assert len(read_bitext(folder, "sw").pairs) == 2 + 5
    assert [record.getMessage() for record in caplog.records] == ["org/none left out: BuilderConfig 'en-sw' not found"]


def test_equal_pairs_give_equal_bytes_at_any_time(tmp_path, monkeypatch):
    monkeypatch.setattr("time.time", itertools.count(1_000_000_000, 60).__next__)
    first, second = (fetch_bitext("sw", tmp_path / name, sets=["org/talks"], load=hub)[0] for name in "ab")
    assert first.read_bytes() == second.read_bytes()


def test_a_language_that_no_set_has_names_every_reason(tmp_path):
    with pytest.raises(DataError) as caught:
        fetch_bitext("xx", tmp_path / "xx", sets=["org/talks", "org/tatoeba"], load=hub)
    assert str(caught.value) == (
        "no public bitext of English and xx could be had: org/talks: BuilderConfig 'en-xx' not found; org/tatoeba:"
        " BuilderConfig 'en-xx' not found; check the network and the language code (two letters, as in en-xx), or give"
        " bitext of your own, such as a .tsv file with English<TAB>xx on each line"
    )
    assert not (tmp_path / "xx").exists()


def test_sets_without_pairs_or_columns_are_left_out(tmp_path):
    with pytest.raises(DataError, match=r"org/empty: no row with both sides; check"):
        fetch_bitext("sw", tmp_path, sets=["org/empty"], load=hub)
    with pytest.raises(DataError, match=r"a/b: no column 'english'; check"):
        fetch_bitext("sw", tmp_path, sets=["a/b"], load=lambda *_, **__: [{"en": "Water"}])
    with pytest.raises(DataError, match=r"could be had: no set was named; check"):
        fetch_bitext("sw", tmp_path, sets=[], load=hub)


def test_without_a_network_one_attempt_is_enough(tmp_path):
    asked = []

    def offline(name, *_, **__):
        asked.append(name)
        raise ConnectionError("Couldn't reach the Hub\nRetrying " + "x" * 500)

    with pytest.raises(DataError, match=r"org/a: Couldn't reach the Hub; check the network"):
        fetch_bitext("sw", tmp_path, sets=["org/a", "org/b"], load=offline)
    assert asked == ["org/a"]


def test_a_stream_that_breaks_leaves_the_earlier_file_alone(tmp_path):
    (before,) = fetch_bitext("sw", tmp_path, sets=["org/talks"], load=hub)
    kept = before.read_bytes()

    def broken(*_, **__):
        yield {"english": "New", "non_english": "Mpya"}
        raise RuntimeError("half way")

    with pytest.raises(DataError, match="org/talks: half way"):
        fetch_bitext("sw", tmp_path, sets=["org/talks"], load=broken)
    assert before.read_bytes() == kept
    assert list(tmp_path.glob("[!.]*")) == [before]
    assert not list(tmp_path.glob("*.tmp"))


def test_a_full_disk_stops_and_leaves_the_earlier_file_alone(tmp_path, monkeypatch):
    (before,) = fetch_bitext("sw", tmp_path, sets=["org/talks"], load=hub)
    kept = before.read_bytes()

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(gzip.GzipFile, "write", full)
    with pytest.raises(
        DataError, match=r"^cannot write \(No space left on device\): .*talks\.tsv\.gz; free some space"
    ):
        fetch_bitext("sw", tmp_path, sets=["org/talks"], load=hub)
    assert before.read_bytes() == kept
    assert list(tmp_path.glob("[!.]*")) == [before]
    assert not list(tmp_path.glob("*.tmp"))


def test_the_real_loader_streams_a_local_set(tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    root = tmp_path / "parallel-sentences-local"
    (root / "en-sw").mkdir(parents=True)
    rows = [{"english": f"Sentence {i}", "non_english": f"Sentensi {i}"} for i in range(5)]
    (root / "en-sw" / "train.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (root / "README.md").write_text(
        "---\nconfigs:\n- config_name: en-sw\n  data_files:\n  - split: train\n    path: en-sw/train*\n---\n"
    )
    (file,) = fetch_bitext("sw", tmp_path / "out", limit=3, sets=[str(root)])
    assert file.name == "parallel-sentences-local.tsv.gz"
    assert read_bitext(file, "sw").pairs == [Pair(f"Sentence {i}", f"Sentensi {i}") for i in range(3)]
    with pytest.raises(DataError, match=r"BuilderConfig 'en-xx' not found; check the network"):
        fetch_bitext("xx", tmp_path / "out", sets=[str(root)])


def test_the_default_sets_are_distinct_and_of_one_family():
    assert len(set(SETS)) == len(SETS) >= 5
    assert all(name.startswith("sentence-transformers/parallel-sentences-") for name in SETS)
