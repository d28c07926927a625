"""Alignment error of encoders whose alignments are known: equal sentences, links given, links of IBM model 1."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from optical.config.recipe import load_recipe
from optical.data.bitext import Pair
from optical.errors import DataError
from optical.pipeline import alignment_error
from optical.pipeline.align import AFTER, BEFORE
from optical.pipeline.alignment_error import ALIGNER, LINKS, make_task, measure, measure_encoder, measure_run
from tests.chain import PAIRS
from tests.conftest import bert

SUBJECTS = {"mkulima": "farmer", "daktari": "doctor", "mwalimu": "teacher", "mtoto": "child", "mbwa": "dog"}
VERBS = {"anaona": "sees", "anauza": "sells", "anataka": "wants", "anapenda": "likes"}
OBJECTS = {"maji": "water", "samaki": "fish", "wali": "rice", "maziwa": "milk", "nyumba": "house"}


def quiet(_):
    pass


@pytest.fixture
def many(tmp_path):
    """A hundred pairs of three words each, in the same order on both sides."""
    lines = [
        f"{SUBJECTS[s]} {VERBS[v]} {OBJECTS[o]}\t{s} {v} {o}\n"
        for s, v, o in itertools.product(SUBJECTS, VERBS, OBJECTS)
    ]
    path = tmp_path / "many.tsv"
    path.write_text("".join(lines))
    return path


def written(tmp_path, texts, links):
    pairs, gold = tmp_path / "pairs.tsv", tmp_path / "links"
    pairs.write_text("".join(f"{english}\t{foreign}\n" for english, foreign in texts))
    gold.write_text("\n".join(links))
    return str(pairs), gold


def test_an_encoder_that_reads_the_same_sentence_twice_makes_no_error(tmp_path):
    encoder = bert(tmp_path / "made")
    encoder.save(str(tmp_path / "encoder"))
    texts = ["the doctor drinks water .", "where is the market ?", "she cooks rice"]
    links = ["0-0 1-1 2-2 3-3 4-4", "0-0 1-1 3-3 2?2 4?4", "1-1"]
    path, gold = written(tmp_path, zip(texts, texts, strict=True), links)
    recipe = load_recipe(None, {"lang": "sw", "teacher": str(tmp_path / "encoder"), "bitext": path})
    measured = measure_encoder(recipe, gold, quiet)
    assert not measured.silver
    for way in LINKS:
        error = measured.errors[recipe.teacher, way]
        assert error.found_sure.tolist() == [5, 3, 1], way
        assert error.recall == 1
    assert measured.errors[recipe.teacher, "argmax"].found.tolist() == [5, 5, 3]
    assert measured.errors[recipe.teacher, "argmax"].aer == pytest.approx(1 - (9 + 11) / (13 + 9))


def test_silver_links_and_the_row_of_the_aligner(tmp_path, many):
    task = make_task(str(many), "sw", None, set(), quiet)
    assert len(task.pairs) == 25
    assert all(one.sure <= {(0, 0), (1, 1), (2, 2)} for one in task.gold), "nothing but the truth"
    assert sum(len(one.sure) for one in task.gold) > 50
    assert not {*task.pairs} & {*task.others}
    encoder = bert(tmp_path / "made")
    measured = measure(load_recipe(None, {"lang": "sw"}), encoder, {"tiny": encoder}, task)
    assert list(measured.errors) == [(ALIGNER, "both directions"), *(("tiny", way) for way in LINKS)]
    assert measured.errors[ALIGNER, "both directions"].aer < 0.1
    assert measured.errors["tiny", "argmax"].aer > 0.1, "it was never taught a word of X"
    assert np.array_equal(measured.errors["tiny", "ot"].sure, [len(one.sure) for one in task.gold])


def test_links_of_the_silver_are_of_other_sentences_than_those_of_the_aligner(many, monkeypatch):
    learnt = []
    learn = alignment_error.learn_aligner
    monkeypatch.setattr(alignment_error, "learn_aligner", lambda pairs: learnt.append(set(pairs)) or learn(pairs))
    task = make_task(str(many), "sw", None, set(), quiet)
    first, second = learnt
    assert not first & second
    assert not (first | second) & set(task.pairs)


def test_a_run_is_measured_before_and_after_training_and_its_own_pairs_are_left_out(run, tmp_path):
    recipe = run[0]
    truth = [(f"we drink {thing}", f"Tunakunywa {word}") for word, thing in OBJECTS.items()]
    path, gold = written(tmp_path, truth, ["0-0 1-0 2-1"] * len(truth))
    measured = measure_run(recipe, path, gold, quiet)
    assert {name for name, _ in measured.errors} == {ALIGNER, "teacher", BEFORE, AFTER}
    said = alignment_error.sentences(measured)
    assert len(said) == 3
    assert said[0].startswith(f"{AFTER}, argmax - {BEFORE}, argmax: ")
    assert len(alignment_error.table(measured).rows) == 1 + 3 * 3
    known = {Pair(*pair) for pair in PAIRS}
    own = tmp_path / "own.tsv"
    own.write_text("".join(f"{e}\t{f}\n" for e, f in PAIRS))
    with pytest.raises(DataError, match="0 pairs that the run was not made from"):
        make_task(str(own), "sw", None, known, quiet)


def test_a_word_has_the_likeness_of_its_most_alike_piece_and_the_mass_of_all():
    # The first word of X is tokens 0 and 1, the second token 2, the third was cut off; English: 0 and 1, and 2.
    english, foreign = [[0, 1], [2]], [[0, 1], [2], []]
    between = alignment_error.Between(
        read=None,
        cost=np.array([[0.9, 0.9, 0.8], [0.9, 0.1, 0.8], [0.7, 0.7, 0.6]]),
        mass=np.array([[0.1, 0.1, 0.2], [0.1, 0.1, 0.0], [0.0, 0.3, 0.1]]),
    )
    found = alignment_error.linked(between, english, foreign)
    assert found["argmax"] == found["greedy"] == {(0, 0), (1, 1)}  # one piece is near, on average none is
    # The first word moves 0.4 and 0.2, the second 0.3 and 0.1: the second English word is nobody's best.
    assert found["ot"] == {(0, 0)}


def test_what_cannot_be_measured_is_refused(run, tmp_path, many):
    with pytest.raises(DataError, match="silver links take 40 at least"):
        measure_run(run[0], None, None, quiet)
    path, gold = written(tmp_path, [("water", "maji"), ("water", "maji\tx")], ["0-0", "0-0"])
    with pytest.raises(DataError, match=r"at .*pairs.tsv:2; every line"):
        make_task(path, "sw", gold, set(), quiet)
    with pytest.raises(DataError, match="one file"):
        make_task(f"{path},{many}", "sw", gold, set(), quiet)
