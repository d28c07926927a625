"""Plans between two sentences, by word: the solver and the options of the run, pieces summed, nothing lost."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch

from optical.config.recipe import load_recipe
from optical.data.bitext import Pair
from optical.errors import DataError, RecipeError
from optical.models import encoders
from optical.models.composing import compose_unseen
from optical.models.load import load_student
from optical.models.prompts import with_prompts
from optical.pipeline import align
from optical.pipeline.align import AFTER, BEFORE, align_run, word_plans
from optical.pipeline.embed import load_teacher
from optical.pipeline.verify import note_files
from optical.training.losses.ot import ot
from optical.vocabulary.transplant import transplant
from tests.chain import PAIRS
from tests.conftest import bert

X, ENGLISH = "Daktari anakunywa maji, leo?", "The doctor drinks water today."


def encoded(encoder, text):
    with torch.no_grad():
        return encoders.encode_batch(encoder, encoder.preprocess([text], prompt=None, task="query"), task="query")


def test_words_are_on_both_sides_and_no_mass_is_lost(run):
    plans = align_run(run[0], X, ENGLISH)
    assert list(plans) == [BEFORE, AFTER]
    for plan in plans.values():
        assert plan.foreign == ["[CLS]", "Daktari", "anakunywa", "maji", ",", "leo", "?", "[SEP]"]
        assert plan.english == ["[CLS]", "The", "doctor", "drinks", "water", "today", ".", "[SEP]"]
        assert plan.mass.sum() == pytest.approx(1.0, abs=0.01)
        np.testing.assert_allclose(plan.shares().sum(axis=1), 1.0)


def test_the_cost_is_the_loss_of_training_and_a_word_has_the_mass_of_its_pieces(run):
    recipe = run[0]
    teacher, student = load_teacher(recipe), load_student(recipe.folder / "student", "cpu")
    plan = align_run(recipe, X, ENGLISH)[AFTER]
    expected = ot(encoded(student, X).tokens, encoded(teacher, ENGLISH).tokens)
    assert plan.cost == pytest.approx(float(expected.loss), rel=1e-2)  # the teacher's vectors are kept in float16
    pieces = {w: len(student.tokenizer(w, add_special_tokens=False)["input_ids"]) for w in ("Daktari", "anakunywa")}
    assert max(pieces.values()) > 1, "a word of one piece shows nothing"
    total = len(student.tokenizer(X)["input_ids"])
    for word, count in pieces.items():
        assert plan.mass[plan.foreign.index(word)].sum() == pytest.approx(count / total, rel=0.05)


def test_training_has_brought_a_pair_of_the_bitext_together(run):
    plans = align_run(run[0], *reversed(PAIRS[2]))
    assert plans[AFTER].cost < plans[BEFORE].cost


def test_late_interaction_and_a_fixed_number_of_tokens(late):
    plan = align_run(late[0], X, ENGLISH)[AFTER]
    assert plan.foreign[1:4] == ["Daktari", "anakunywa", "maji"]
    wide = late[0].model_copy(update={"query_length": 32})
    student = {"wide": encoders.as_multi_vector(load_student(late[0].folder / "student", "cpu"), 32)}
    (plans,) = word_plans(wide, load_teacher(wide), student, [Pair(ENGLISH, X)])
    assert plans["wide"].foreign[-1] == plans["wide"].english[-1] == "[MASK]"
    assert plans["wide"].mass.sum() == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("pooled", [True, False])
def test_a_prompt_has_its_mass_as_one_or_is_left_out_where_it_is_not_pooled(tmp_path, pooled):
    teacher = with_prompts(bert(tmp_path / "made"), {"query": "she sings : "})
    teacher[1].include_prompt = pooled
    recipe = load_recipe(None, {"lang": "sw"})
    (plans,) = word_plans(recipe, teacher, {"same": teacher}, [Pair("she cooks rice", "maji rice")])
    prompt = ["[CLS]", "(prompt)"] if pooled else []
    assert plans["same"].foreign == [*prompt, "maji", "rice", "[SEP]"]
    assert plans["same"].english == [*prompt, "she", "cooks", "rice", "[SEP]"]


def test_a_composed_word_is_one_word(tmp_path):
    recipe = load_recipe(None, {"lang": "sw", "vocabulary.mode": "extend"})
    teacher = bert(tmp_path / "made")
    made = transplant(teacher, [Pair(*pair) for pair in PAIRS], recipe.vocabulary)
    compose_unseen(made.student, made.seen)
    asked = "Tunakunywa maziwa"
    assert made.student.preprocess([asked])["input_ids"].shape[1] == 4, "the first word has one slot"
    (plans,) = word_plans(recipe, teacher, {"composing": made.student}, [Pair("we drink milk", asked)])
    assert plans["composing"].foreign == ["[CLS]", "Tunakunywa", "maziwa", "[SEP]"]


@pytest.mark.parametrize(
    "options",
    [{"masses": "idf"}, {"prior": 0.1}, {"centre": True}, {"marginals": "partial", "share": 0.5}, {"masses": "norm"}],
)
def test_the_options_of_the_run_change_the_plan(run, options):
    recipe = run[0]
    plain = align_run(recipe, X, ENGLISH)[AFTER]
    other = recipe.model_copy(update={"objective": recipe.objective.model_copy(update=options)})
    plan = align_run(other, X, ENGLISH)[AFTER]
    assert np.abs(plan.mass - plain.mass).max() > 1e-4
    assert plan.mass.sum() == pytest.approx(options.get("share", 1.0), abs=0.02)


def test_a_run_without_its_start_shows_the_student_alone_and_says_so(run, tmp_path):
    folder = shutil.copytree(run[0].folder, tmp_path / "run")
    shutil.rmtree(folder / "transplant")
    note_files(folder, [])
    said = []
    assert list(align_run(run[0].model_copy(update={"out": str(folder)}), X, ENGLISH, said.append)) == [AFTER]
    assert "transplant is not there" in said[0]


def test_sentences_without_words_are_refused(run):
    with pytest.raises(DataError, match="English sentence is empty"):
        align_run(run[0], X, " ")


def test_a_picture_has_the_words_as_text_whatever_signs_they_have(tmp_path):
    pytest.importorskip("matplotlib", reason="the extra plots is not installed")
    plan = align.WordPlan(["$ng'ombe$", "<b>"], ["cow", "&"], np.array([[0.5, 0.1], [0.1, 0.3]]), 0.25)
    for suffix, begins in (("svg", b"<?xml"), ("png", b"\x89PNG"), ("pdf", b"%PDF")):
        path = tmp_path / "new" / f"plan.{suffix}"
        align.check_picture(path)
        align.draw({"one": plan, "two": plan}, path)
        assert path.read_bytes().startswith(begins)
    text = (tmp_path / "new" / "plan.svg").read_text()
    assert ">$ng'ombe$<" in text
    assert ">&lt;b&gt;<" in text
    assert ">one: cost 0.250<" in text


def test_a_picture_that_cannot_be_is_refused_before_any_work(tmp_path):
    with pytest.raises(RecipeError, match="svg or png or pdf"):
        align.check_picture(tmp_path / "plan.jpg")
    (tmp_path / "file").write_text("")
    pytest.importorskip("matplotlib")
    with pytest.raises(DataError, match="cannot be written"):
        align.check_picture(tmp_path / "file" / "plan.svg")
