"""Recipes: what options mean together, and several languages in one."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from pydantic import ValidationError

from optical.config.objective import WEIGHTS, Objective
from optical.config.recipe import Recipe, load_recipe, write_recipe
from optical.errors import RecipeError
from tests.config.test_toml import message, recipe_file


def test_a_missing_language_is_asked_for(tmp_path):
    text = message(recipe_file(tmp_path, "seed = 1\n"))
    assert "lang is missing" in text
    assert "language of the queries" in text


def test_a_schedule_of_epsilon_is_a_list_of_positive_numbers(tmp_path):
    path = recipe_file(tmp_path, 'lang = "sw"\n[objective]\nepsilon = [1, 0.2, 0.05]\n')
    assert load_recipe(path).objective.epsilon == (1.0, 0.2, 0.05)
    assert load_recipe(None, {"lang": "sw", "objective.epsilon": 0.3}).objective.epsilon == 0.3
    for value in ([], [0.1, 0.0], -0.1, "small"):
        text = message(None, {"lang": "sw", "objective.epsilon": value})
        assert "objective.epsilon" in text


def test_recipes_cannot_be_changed():
    recipe = Recipe(lang="sw")
    with pytest.raises(ValidationError):
        recipe.lang = "so"


@pytest.mark.parametrize(
    ("lang", "fault"),
    [
        ("sw,,so", "an empty language code"), ("", "an empty language code"), ("sw,", "an empty language code"),
        ("sw, sw", "sw is there twice; name every language once"), ("en", "en is the teacher's language"),
        ("sw,en", "en is the teacher's language"), ("../x", "'../x' is no language code"),
        ("s w", "'s w' is no language code"), ("-x", "'-x' is no language code"),
    ],
)  # fmt: skip
def test_languages_that_are_none_are_refused(lang, fault, tmp_path):
    text = message(recipe_file(tmp_path, f'seed = 1\nlang = "{lang}"\n'))
    assert text.startswith(f"{tmp_path / 'recipe.toml'}:2: lang = {lang!r}: ")
    assert fault in text
    assert "several as sw,so,tl" in text


def test_several_languages_share_a_recipe_and_a_folder():
    several = load_recipe(None, {"lang": "sw, so", "bitext": "a/{lang}/b.{lang}.tsv", "collection": "irds:x/{lang}"})
    assert several.langs == ("sw", "so")
    assert str(several.folder) == "runs/sw+so"
    so = several.of("so")
    assert (so.lang, so.langs, so.bitext, so.collection) == ("so", ("so",), "a/so/b.so.tsv", "irds:x/so")
    assert so.folder == several.folder
    assert so.training == several.training
    assert Recipe(lang="sw,so").of("so").bitext is None


def test_a_language_may_be_a_word_of_toml():
    assert load_recipe(None, {"lang": "nan"}).langs == ("nan",)


def test_the_folder_of_a_run():
    assert str(Recipe(lang="so").folder) == "runs/so"
    assert str(Recipe(lang="so", out="elsewhere").folder) == "elsewhere"


def test_a_query_length_needs_late_interaction(tmp_path):
    text = message(recipe_file(tmp_path, 'lang = "sw"\nquery_length = 32\n'))
    assert re.search(r"recipe\.toml:2: query_length = 32: .*set late_interaction = true", text)
    recipe = load_recipe(None, {"lang": "sw", "query_length": "32", "late_interaction": "true"})
    assert load_recipe(recipe_file(tmp_path, write_recipe(recipe))) == recipe


@pytest.mark.parametrize(
    ("given", "message"),
    [({"objective.solver": "ipot", "objective.marginals": "partial"}, "'partial' need solver = 'sinkhorn'"),
     ({"objective.solver": "ipot", "objective.epsilon": [0.1, 0.02]}, "give one number"),
     ({"objective.ot": 0, "objective.pooled": 0, "objective.scores": 0}, "objective: every weight is 0.*contrastive"),
     ({"objective.prior": 0.05, "objective.ot": 0}, "prior is of the plan of ot.*objective.ot = 1"),
     ({"training.compile": True, "robustness.method": "pgd"}, "recipe: a compiled student cannot be shifted.*'pgd'")],
)  # fmt: skip
def test_options_that_contradict_each_other_are_refused_before_anything_runs(given, message):
    with pytest.raises(RecipeError, match=message) as caught:
        load_recipe(None, {"lang": "sw", **given})
    assert "Value error" not in str(caught.value)
    load_recipe(None, {"lang": "sw", **dict([next(iter(given.items()))])})


@pytest.mark.parametrize("option", ["objective.prior", "training.rows_steps", "training.row_penalty"])
def test_options_that_are_off_at_zero_are_not_negative(option):
    with pytest.raises(RecipeError, match=rf"{option} = -1: .*greater than or equal to 0; .* 0 is off"):
        load_recipe(None, {"lang": "sw", option: -1})
    load_recipe(None, {"lang": "sw", option: 0})


def test_every_weight_of_an_objective_is_known_as_one():
    weights = {name for name, field in Objective.model_fields.items() if (field.description or "").startswith("weight")}
    assert set(WEIGHTS) == weights


def test_the_recipe_of_an_old_run_is_read_whole(tmp_path):
    """As a run wrote it: each option keeps its name, its section and its value."""
    old = Path(__file__).with_name("recipe_of_a_run.toml")
    recipe = load_recipe(old)
    told = tomllib.loads(write_recipe(recipe))
    for name, value in tomllib.loads(old.read_text(encoding="utf-8")).items():
        assert told[name] == value if not isinstance(value, dict) else told[name].items() >= value.items()
    assert load_recipe(recipe_file(tmp_path, write_recipe(recipe))) == recipe


def test_prompts_are_read_from_a_table_or_singly_and_written_again(tmp_path):
    table = 'lang = "sw"\nteacher_prompts = {query = "query: ", document = "passage: "}\n'
    recipe = load_recipe(recipe_file(tmp_path, table))
    assert recipe.teacher_prompts.model_dump() == {"query": "query: ", "document": "passage: "}
    given = {"lang": "sw", "teacher_prompts": '{query = "query: ", document = "passage: "}'}
    assert load_recipe(None, given) == recipe
    single = load_recipe(
        recipe_file(tmp_path, table), {"teacher_prompts.query": "ask: ", "teacher_prompts.document": ""}
    )
    assert single.teacher_prompts.model_dump() == {"query": "ask: ", "document": ""}
    for one in (recipe, single, Recipe(lang="sw")):
        assert load_recipe(recipe_file(tmp_path, write_recipe(one))) == one
    assert "teacher_prompts" not in write_recipe(Recipe(lang="sw"))


def test_a_student_of_another_encoder_is_read_and_written_again_and_has_prompts_of_its_own(tmp_path):
    text = 'lang = "sw"\nstudent = "multilingual-e5-small"\nstudent_prompts = {query = "query: "}\n'
    recipe = load_recipe(recipe_file(tmp_path, text))
    assert (recipe.student, recipe.student_prompts.query) == ("multilingual-e5-small", "query: ")
    assert recipe.teacher_prompts.query is None
    assert load_recipe(recipe_file(tmp_path, write_recipe(recipe))) == recipe
    assert Recipe(lang="sw").student is None
    assert "student" not in write_recipe(Recipe(lang="sw"))
    with pytest.raises(RecipeError, match="none is given: name it by student, or set teacher_prompts"):
        load_recipe(None, {"lang": "sw", "student_prompts.query": "query: "})


def test_a_prompt_of_another_name_is_an_unknown_option(tmp_path):
    with pytest.raises(RecipeError, match=r"unknown option teacher_prompts\.passage; .*teacher_prompts\."):
        load_recipe(None, {"lang": "sw", "teacher_prompts.passage": "passage: "})
    with pytest.raises(RecipeError, match=r"teacher_prompts\.query = 3"):
        load_recipe(recipe_file(tmp_path, 'lang = "sw"\nteacher_prompts = {query = 3}\n'))
