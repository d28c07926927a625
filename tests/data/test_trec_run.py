"""The run: rankings without ties for any reader, and TREC files that come back as they went."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from optical.data.trec_run import first_documents, rank, read_run, write_run
from optical.errors import DataError
from optical.marker import MARKER

RUN = {"q2": {"d1": 0.9, "d10": 0.5, "d2": -0.25}, "q1": {"d2": 31.4}}

SCORES = st.floats(-1e6, 1e6) | st.sampled_from([0.0, -0.0, 1.0, 0.5, 0.5 + 1e-9, 16.0, 31.9999])
SCORED = st.dictionaries(st.text("abc019", min_size=1, max_size=3), SCORES, max_size=40)


def test_higher_scores_come_first_and_ties_go_by_id() -> None:
    assert list(rank([("b", 0.5), ("a", 0.5), ("z", 0.75), ("c", -1.0)])) == ["z", "a", "b", "c"]


def test_scores_without_ties_stay_what_they_are() -> None:
    assert rank([("a", 0.25), ("b", 0.751234)]) == {"b": 0.751234, "a": 0.25}


def test_tied_scores_go_down_by_a_millionth_each() -> None:
    assert rank([("c", 0.5), ("b", 0.5), ("a", 0.5), ("d", 0.499999)]) == {
        "a": 0.5,
        "b": 0.499999,
        "c": 0.499998,
        "d": 0.499997,
    }


@given(SCORED)
def test_a_ranking_has_no_ties_for_any_reader(scored: dict[str, float]) -> None:
    ranking = rank(list(scored.items()))
    assert sorted(scored, key=lambda doc_id: (-scored[doc_id], doc_id)) == list(ranking)
    single = np.array(list(ranking.values()), dtype=np.float32)
    assert (np.diff(single) < 0).all(), "trec_eval reads single precision"
    printed = [float(f"{score:.6f}") for score in ranking.values()]
    assert all(above > below for above, below in zip(printed, printed[1:], strict=False)), "six decimals are printed"


@given(SCORED)
@example({"a": -7.999999, "b": -7.999999, "c": -7.999999})  # ties that lead to where the grid is coarser
def test_ranking_a_ranking_keeps_its_order(scored: dict[str, float]) -> None:
    ranking = rank(list(scored.items()))
    assert list(rank(list(reversed(ranking.items())))) == list(ranking)


def test_ranking_a_ranking_of_cosines_changes_nothing() -> None:
    ranking = rank([("a", 0.1234567), ("b", 0.1234567), ("c", -0.9), ("d", 1 / 3)])
    assert rank(list(ranking.items())) == ranking


@given(SCORED)
def test_ranking_moves_no_score_further_than_ties_force_it(scored: dict[str, float]) -> None:
    largest = max(map(abs, scored.values()), default=0.0)
    step = max(1e-6, largest * 2.0**-18)  # ten units of single precision, one decimal digit, is the coarsest grid
    for doc_id, score in rank(list(scored.items())).items():
        assert abs(score - scored[doc_id]) <= step * (len(scored) + 1)


def test_a_thousand_ties_at_a_late_interaction_score_stay_apart() -> None:
    ranking = rank([(f"d{number:04}", 31.999998) for number in range(1000)])
    assert list(ranking) == sorted(ranking)
    assert len({np.float32(score) for score in ranking.values()}) == 1000


def test_numpy_scores_become_plain_floats() -> None:
    ranking = rank([("a", np.float32(0.1)), ("b", np.float32(0.1))])
    assert [type(score) for score in ranking.values()] == [float, float]
    assert ranking == {"a": 0.1, "b": 0.099999}


@pytest.mark.parametrize("score", [0.0, 5e-324, 1e-300, 0.5, 7.999999, 8.0, 1e9, 1e36])
def test_scores_of_any_magnitude_are_untied(score: float) -> None:
    for sign in (1, -1):
        ranking = rank([("b", sign * score), ("a", sign * score)])
        assert list(ranking) == ["a", "b"]
        assert ranking["a"] == pytest.approx(sign * score, abs=1e-6)
        assert np.float32(ranking["a"]) > np.float32(ranking["b"])
        assert ranking["b"] == pytest.approx(sign * score, rel=3e-6, abs=2e-6)


def test_half_precision_scores_do_not_overflow() -> None:
    assert rank([("a", np.float16(0.5)), ("b", np.float16(2.0))]) == {"b": 2.0, "a": 0.5}


def test_nothing_scored_is_an_empty_ranking() -> None:
    assert rank([]) == {}


@pytest.mark.parametrize("score", [float("nan"), float("inf"), float("-inf"), 1e38])
def test_a_score_without_a_rank_is_refused(score: float) -> None:
    with pytest.raises(DataError, match=r"score of document 'b' is .*drop the document or encode it again"):
        rank([("a", 1.0), ("b", score)])


def test_a_document_scored_twice_is_refused() -> None:
    with pytest.raises(DataError, match="document 'a' is scored twice .*keep the better"):
        rank([("a", 1.0), ("b", 0.5), ("a", 0.25)])


def test_a_run_is_written_in_six_columns(tmp_path: Path) -> None:
    write_run(RUN, tmp_path / "a" / "new" / "a.trec", "student")
    assert (tmp_path / "a" / "new" / "a.trec").read_bytes() == (
        b"q2 Q0 d1 1 0.9 student\nq2 Q0 d10 2 0.5 student\nq2 Q0 d2 3 -0.25 student\nq1 Q0 d2 1 31.4 student\n"
    )


WORDS = st.text(st.characters(categories=["L", "M", "N", "P", "S"]), min_size=1, max_size=8)
ANY = st.floats(-9e36, 9e36) | st.sampled_from([0.0, 0.5, 1e-300])


@settings(deadline=None, derandomize=True, max_examples=60)
@given(st.dictionaries(WORDS, st.dictionaries(WORDS, ANY, min_size=1, max_size=8), max_size=5), st.integers(1, 9))
def test_any_run_is_read_as_it_was_written(run: dict[str, dict[str, float]], count: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.trec"
        write_run(run, path, "tag")
        found = read_run(path)
        assert found == run
        for query_id, ranking in found.items():
            assert list(ranking) == sorted(run[query_id], key=lambda doc_id: -run[query_id][doc_id])
        first = {query_id: list(ranking)[:count] for query_id, ranking in found.items()}
        assert first_documents(path, run, count) == first
        write_run(found, Path(folder) / "b.trec", "tag")
        assert (Path(folder) / "b.trec").read_bytes() == path.read_bytes()


def test_a_run_out_of_order_is_written_in_rank_order(tmp_path: Path) -> None:
    write_run({"q": {"a": 0.25, "b": 0.5}}, tmp_path / "a.trec", "t")
    assert (tmp_path / "a.trec").read_text() == "q Q0 b 1 0.5 t\nq Q0 a 2 0.25 t\n"


@given(st.dictionaries(st.text("pq1ḿ", min_size=1, max_size=3), SCORED.filter(bool), max_size=4))
def test_a_run_comes_back_as_it_went(tmp_path_factory: pytest.TempPathFactory, scored: dict) -> None:
    run = {query_id: rank(list(scores.items())) for query_id, scores in scored.items()}
    path = tmp_path_factory.mktemp("run") / "a.trec"
    write_run(run, path, "tag")
    found = read_run(path)
    assert [(query_id, list(ranking.items())) for query_id, ranking in found.items()] == [
        (query_id, list(ranking.items())) for query_id, ranking in run.items()
    ]


def test_reading_goes_by_scores_and_not_by_the_rank_column(tmp_path: Path) -> None:
    path = tmp_path / "a.trec"
    path.write_bytes(b"\xef\xbb\xbfq\tQ0\tb\t1\t1e-1\tx\r\n\r\nq Q0 z 2 0.5 x\nq Q0 a 3 0.5 x\n")
    assert list(read_run(path)["q"].items()) == [("z", 0.5), ("a", 0.5), ("b", 0.1)]


def test_who_reads_the_earlier_run_reads_it_to_its_end(tmp_path: Path) -> None:
    write_run(RUN, tmp_path / "a.trec", "earlier")
    with (tmp_path / "a.trec").open() as earlier:
        write_run({"q": {"d": 1.0}}, tmp_path / "a.trec", "later")
        assert len(earlier.readlines()) == 4
    assert read_run(tmp_path / "a.trec") == {"q": {"d": 1.0}}


def test_a_file_without_lines_is_a_run_without_queries(tmp_path: Path) -> None:
    write_run({"q": {}}, tmp_path / "a.trec", "t")
    assert read_run(tmp_path / "a.trec") == {}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"q Q0 d 1 0.5", r"6 columns, this one has 5; at {path}:2; write it as: query Q0"),
        (b"q Q0 d 1 0.5 t extra", r"6 columns, this one has 7; at {path}:2; write it as: query Q0"),
        (b"q Q0 d 1 high t", r"score \(column 5\) is 'high', not a finite number; at {path}:2; correct the line"),
        (b"q Q0 d 1 nan t", r"score \(column 5\) is 'nan', not a finite number; at {path}:2; correct the line"),
        (b"q Q0 d 1 -inf t", r"score \(column 5\) is '-inf', not a finite number; at {path}:2; correct the line"),
        (b"p Q0 d 9 0.1 t", r"'d' appears twice for query 'p'; at {path}:2; remove one"),
        (b"q Q0 d\xff 1 0.5 t", r"not UTF-8: byte 0xff, number 7 of the line, at {path}:2; save the file"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: bytes, message: str) -> None:
    path = tmp_path / "a.trec"
    path.write_bytes(b"p Q0 d 1 0.5 t\n" + line + b"\n")
    with pytest.raises(DataError, match=message.format(path=path)):
        read_run(path)


def test_the_same_document_may_answer_two_queries(tmp_path: Path) -> None:
    (tmp_path / "a.trec").write_text("p Q0 d 1 0.5 t\nq Q0 d 1 0.5 t\n")
    assert read_run(tmp_path / "a.trec") == {"p": {"d": 0.5}, "q": {"d": 0.5}}


def test_a_missing_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"no such file: {tmp_path}/a.trec; check the path"):
        read_run(tmp_path / "a.trec")


@pytest.mark.parametrize(
    ("run", "tag", "message"),
    [
        ({"a query": {"d": 1.0}}, "t", "a query id of a TREC run must be one word.*'a query'"),
        ({"q": {"a\tb": 1.0}}, "t", "a document id of a TREC run must be one word"),
        ({"q": {"": 1.0}}, "t", "a document id of a TREC run must be one word"),
        ({"q": {"d": 1.0}}, "my system", "the tag of a TREC run must be one word.*'my system'"),
        ({"q": {"d": -1e37}}, "t", r"cannot hold the score -1e\+37; query 'q', document 'd'; rank"),
        ({"q": {"a": 1.0, "d": float("nan")}}, "t", "cannot hold the score nan; query 'q', document 'd'; rank"),
    ],
)
def test_what_no_reader_could_read_is_not_written(tmp_path: Path, run: dict, tag: str, message: str) -> None:
    write_run(RUN, tmp_path / "a.trec", "earlier")
    with pytest.raises(DataError, match=message):
        write_run({"fine": {"d": 1.0}} | run, tmp_path / "a.trec", tag)
    assert read_run(tmp_path / "a.trec") == RUN, "the earlier run must be left as it was"
    assert sorted(path.name for path in tmp_path.iterdir()) == [MARKER, "a.trec"]


def test_a_disk_that_refuses_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match=f"cannot be written: .*; at {tmp_path}/file/a.trec; free some space"):
        write_run(RUN, tmp_path / "file" / "a.trec", "t")


def test_the_first_documents_of_some_queries(tmp_path: Path) -> None:
    write_run(RUN, tmp_path / "run.trec", "tag")
    assert first_documents(tmp_path / "run.trec", ["q2", "q9"], 2) == {"q2": ["d1", "d10"]}
    (tmp_path / "run.trec").write_text("q1 Q0 d1 1 0.5 tag\nq1 Q0\n")
    with pytest.raises(DataError, match="run.trec:2"):
        first_documents(tmp_path / "run.trec", ["q1"], 2)
