"""A collection divided for teaching: no held-out passage in training."""

from __future__ import annotations

import pytest

from optical.config.teaching import Teaching
from optical.config.toml import load_options
from optical.data.collection import Collection
from optical.data.records import Doc, Qrel, Query
from optical.errors import DataError
from optical.training.teacher_data import Example, divide, draw_queries, first_by_hash, judged_pairs, teaching_split

TOPICS = [
    f"{a} {b}"
    for a in ("i drink", "we sell", "she cooks", "they sing")
    for b in ("water", "rice", "fish", "songs", "milk")
]


def collection(splits=("test",), *, passages: int = 20, questions: int = 3) -> Collection:
    """Several questions a passage, one question with two right passages, one judged 0, one text asked twice."""
    docs = [Doc(f"d{k}", "", TOPICS[k % 20] + f" . {k}") for k in range(passages)]
    queries = [Query(f"q{k}-{j}", f"{TOPICS[k % 20]} {j}") for k in range(passages) for j in range(questions)]
    qrels = [Qrel(f"q{k}-{j}", f"d{k}", 1) for k in range(passages) for j in range(questions)]
    if passages > 3:
        qrels += [Qrel("q0-0", "d1", 1), Qrel("q0-0", "d2", 0)]
        queries.append(Query("twin", queries[0].text))
        qrels.append(Qrel("twin", "d3", 1))
    shared = {name: qrels[k :: len(splits)] for k, name in enumerate(splits)}
    return Collection("made", docs, {"en": queries}, shared, "0", {})


def options(**changes) -> Teaching:
    return load_options(Teaching, None, {"collection": "x", "held_out": 6, "held_out_documents": 12, **changes})


def texts(examples):
    return {e.query.text for e in examples}


def test_held_out_queries_share_neither_text_nor_right_passage_with_training():
    found = divide(collection(), options())
    assert found.held_out
    right = {q.doc_id for q in found.held_out.qrels}
    assert right
    assert not right & {e.doc.id for e in found.examples}
    assert not {q.text for q in found.held_out.queries} & texts(found.examples)


def test_at_most_a_tenth_of_queries_and_passages_is_held_out_with_all_questions_of_a_passage():
    whole = collection(passages=40)
    found = divide(whole, options(held_out=1000))
    assert found.held_out
    docs = {q.doc_id for q in found.held_out.qrels}
    assert 2 <= len(docs) <= 4
    answered = {q.query_id for q in whole.qrels["test"] if q.doc_id in docs and q.relevance}
    assert {q.id for q in found.held_out.queries} == answered
    assert len(answered) >= 3 * len(docs)


def test_no_more_queries_are_held_out_than_asked():
    found = divide(collection(passages=40), options(held_out=4))
    assert found.held_out
    assert len(found.held_out.queries) == 4


def test_the_held_out_set_has_all_right_passages_and_others_up_to_the_number():
    found = divide(collection(), options())
    assert found.held_out
    ids = [d.id for d in found.held_out.docs]
    assert len(ids) == len(set(ids)) == 12
    assert {q.doc_id for q in found.held_out.qrels} <= set(ids)


def test_the_division_does_not_depend_on_the_order_and_knows_no_chance():
    one = collection()
    other = one._replace(queries={"en": one.queries["en"][::-1]}, qrels={"test": one.qrels["test"][::-1]})
    a, b = divide(one, options(pairs=20)), divide(other, options(pairs=20))
    assert a.held_out
    assert b.held_out
    assert set(a.held_out.queries) == set(b.held_out.queries)
    assert set(a.examples) == set(b.examples)


def test_nothing_held_out_leaves_every_pair():
    found = divide(collection(), options(held_out=0))
    assert found.held_out is None
    assert len(found.examples) == 62  # the judgement of 0 is no pair


def test_judgements_called_dev_are_held_out_where_others_teach():
    whole = collection(("train", "dev"))
    found = divide(whole, options(held_out=100, held_out_documents=100))
    assert found.held_out
    dev = {q.query_id for q in whole.qrels["dev"] if q.relevance}
    assert {q.id for q in found.held_out.queries} == dev
    assert not {e.query.id for e in found.examples} & dev


def test_pairs_are_drawn_with_all_right_passages_of_a_query():
    found = divide(collection(), options(held_out=0, pairs=30))
    assert 30 <= len(found.examples) <= 33
    whole = divide(collection(), options(held_out=0)).examples
    assert {e for e in whole if e.query.text in texts(found.examples)} == set(found.examples)


def test_other_passages_are_those_of_no_pair():
    found = divide(collection(), options(held_out=0, pairs=10, documents=4))
    assert len(found.others) == 4
    assert not {d.id for d in found.others} & {e.doc.id for e in found.examples}


@pytest.mark.parametrize(("count", "left"), [(0, 0), (1, 1), (7, 7), (10, 10), (99, 10)])
def test_first_by_hash_takes_the_number_in_the_order_given(count, left):
    items = list("abcdefghij")
    found = first_by_hash(items, count, str)
    assert len(found) == left
    assert found == [i for i in items if i in found]
    assert set(found) == set(first_by_hash(items[::-1], count, str))


@pytest.mark.parametrize(
    ("splits", "wanted", "chosen"),
    [(("test",), None, "test"), (("train", "dev", "test"), None, "train"), (("a", "b"), "b", "b")],
)
def test_the_split_that_teaches(splits, wanted, chosen):
    assert teaching_split(collection(splits), wanted) == chosen


def test_several_splits_without_train_ask_which_and_a_wrong_one_is_named():
    with pytest.raises(DataError, match="has judgements called a, b, none called train; .* split = 'a'"):
        teaching_split(collection(("a", "b")), None)
    with pytest.raises(DataError, match="has no judgements called 'tset'; it has: test"):
        teaching_split(collection(), "tset")


def test_judgements_that_never_say_yes_are_one_message():
    whole = collection()
    no = whole._replace(qrels={"test": [q._replace(relevance=0) for q in whole.qrels["test"]]})
    with pytest.raises(DataError, match="made judges no passage to answer an English query in 'test'; "):
        judged_pairs(no, "test")


def test_a_judged_passage_that_is_empty_teaches_nothing():
    whole = collection()
    expected = judged_pairs(whole, "test")
    empty = whole._replace(qrels={"test": [Qrel("q0-0", "empty", 1), *whole.qrels["test"]]})  # as a collection has it
    assert judged_pairs(empty, "test") == expected


def test_a_single_passage_is_one_message():
    with pytest.raises(DataError, match="made has a single passage, so no query can find a wrong one"):
        divide(collection(passages=1), options())


def test_queries_of_another_collection_search_all_its_passages():
    drawn = draw_queries(collection(), "test", 5)
    assert len(drawn.queries) == 5
    assert len(drawn.docs) == 20
    assert {q.query_id for q in drawn.qrels} == {q.id for q in drawn.queries}


def test_an_example_is_a_query_and_a_passage():
    assert judged_pairs(collection(), "test")[0] == Example(
        Query("q0-0", "i drink water 0"), Doc("d0", "", "i drink water . 0")
    )
