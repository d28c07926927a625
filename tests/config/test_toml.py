"""Options are read from TOML and overridden one by one; every fault names its place and what to write instead."""

from __future__ import annotations

import re
import tomllib
from typing import Literal, get_args, get_origin

import pytest
from pydantic import BaseModel

from optical.config.recipe import Recipe, load_recipe, options, write_recipe
from optical.config.teaching import Teaching
from optical.errors import RecipeError


def recipe_file(tmp_path, text: str):
    path = tmp_path / "recipe.toml"
    path.write_text(text, encoding="utf-8")
    return path


def message(path=None, overrides=None) -> str:
    with pytest.raises(RecipeError) as caught:
        load_recipe(path, overrides)
    return str(caught.value)


def test_an_unknown_key_names_the_nearest_with_path_and_line(tmp_path):
    path = recipe_file(tmp_path, 'lang = "sw"\n\n[training]\nsteps = 3\nlearning_rat = 1e-4\n')
    text = message(path)
    assert text.startswith(f"{path}:5: unknown option training.learning_rat; ")
    assert "did you mean training.learning_rate?" in text


def test_the_line_is_that_of_the_section_not_of_a_namesake(tmp_path):
    path = recipe_file(tmp_path, 'lang = "sw"\n[vocabulary]\nmin_count = 1\n[training]\nmin_count = 2\n')
    assert message(path).startswith(f"{path}:5: unknown option training.min_count")


def test_an_unknown_section_and_an_option_in_the_wrong_place(tmp_path):
    assert "unknown option trainig" in message(recipe_file(tmp_path, 'lang = "sw"\n[trainig]\nsteps = 1\n'))
    text = message(recipe_file(tmp_path, 'lang = "sw"\nepsilon = 0.1\n'))
    assert "did you mean objective.epsilon?" in text


def test_an_option_like_no_other_lists_them_all():
    text = message(None, {"lang": "sw", "qqqqqq": 1})
    assert "known options: lang, teacher," in text


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('steps = "many"', "training.steps = 'many'"),
        ("steps = -1", "training.steps = -1"),
        ("warmup = 1.5", "training.warmup = 1.5"),
        ("learning_rate = 0", "training.learning_rate = 0"),
        ("learning_rate = inf", "training.learning_rate = inf"),
        ('precision = "float16"', "training.precision = 'float16'"),
        ("dropout = [1]", "training.dropout = [1]"),
    ],
)
def test_a_wrong_type_or_range_names_place_option_value_and_meaning(tmp_path, line, says):
    path = recipe_file(tmp_path, f'lang = "sw"\n[training]\n{line}\n')
    text = message(path)
    assert text.startswith(f"{path}:3: {says}: ")
    assert re.search(r"\(default .*\)$", text), "the message does not say what the option means"


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"lang = sw\n", "not TOML"), (b'lang = "\xff"\n', "not UTF-8 (byte 8)")],
)
def test_a_file_that_is_no_recipe(tmp_path, content, says):
    path = tmp_path / "recipe.toml"
    path.write_bytes(content)
    text = message(path)
    assert text.startswith(f"{path}: ")
    assert says in text


def test_a_file_that_is_not_there(tmp_path):
    assert "no such file" in message(tmp_path / "none.toml")
    assert "cannot be read" in message(tmp_path)


def test_overrides_win_over_the_file_and_text_is_read_as_toml(tmp_path):
    path = recipe_file(tmp_path, 'lang = "sw"\n[training]\nsteps = 3\nbatch_size = 5\n')
    recipe = load_recipe(
        path, {"training.steps": "7", "training.dropout": "true", "objective.epsilon": "[0.5, 0.1]", "teacher": "a/b"}
    )
    assert recipe.training.steps == 7
    assert recipe.training.batch_size == 5
    assert recipe.training.dropout is True
    assert recipe.objective.epsilon == (0.5, 0.1)
    assert recipe.teacher == "a/b"


@pytest.mark.parametrize(("name", "value"), [("out", "2024"), ("lang", "nan"), ("bitext", "1e3"), ("out", "true")])
def test_text_that_looks_like_a_number_stays_text(name, value):
    assert getattr(load_recipe(None, {"lang": "sw", name: value}), name) == value


def test_quoted_text_loses_its_quotes():
    assert load_recipe(None, {"lang": '"sw"'}).lang == "sw"


def test_a_wrong_override_is_no_line_of_the_file(tmp_path):
    path = recipe_file(tmp_path, 'lang = "sw"\n[training]\nsteps = 3\n')
    assert message(path, {"training.steps": "-1"}).startswith(f"given beside {path}: training.steps = -1: ")
    assert message(None, {"lang": "sw", "training.steps": "-1"}).startswith("recipe: training.steps = -1: ")


def test_an_override_below_an_option_is_refused(tmp_path):
    assert "seed is an option, not a section" in message(recipe_file(tmp_path, "seed = 1\n"), {"seed.x": 1})


def test_an_unknown_override_names_the_nearest():
    assert "did you mean training.steps?" in message(None, {"lang": "sw", "training.stesp": "3"})


@pytest.mark.parametrize(
    "overrides",
    [
        {},
        {"objective.epsilon": [0.5, 0.05], "training.steps": 0, "late_interaction": True},
        {
            "out": 'a folder/with "quotes"\\and',
            "teacher_prompts.query": "two\nlines: ",
            "teacher": "ñandú/мова",
            "training.hub_model_id": "me/it",
        },
        {"training.learning_rate": 1e-7, "objective.ot": 0.1 + 0.2, "seed": 2**32 - 1},
    ],
)
def test_what_is_written_reads_back_as_the_same(tmp_path, overrides):
    recipe = load_recipe(None, {"lang": "sw", **overrides})
    text = write_recipe(recipe)
    assert load_recipe(recipe_file(tmp_path, text)) == recipe
    spelled_out = tomllib.loads(text)
    assert spelled_out["training"].keys() >= {"steps", "warmup", "precision"}


def test_every_option_is_described_with_its_default():
    found = options()
    assert found["training.steps"].endswith(f"(default {Recipe(lang='x').training.steps})")
    assert found["lang"].endswith("(required)")
    assert [name for name, text in found.items() if "None" in text] == []
    assert found["vocabulary.romanise"].endswith("(default true)")
    assert found["vocabulary.mode"].endswith("(default auto)")
    assert found["layers"].endswith("(default all)")


@pytest.mark.parametrize("model", [Recipe, Teaching])
def test_every_choice_is_named_by_the_description_of_its_option(model):
    sections = {name: field.annotation for name, field in model.model_fields.items()}
    for section in (model, *(s for s in sections.values() if isinstance(s, type) and issubclass(s, BaseModel))):
        for name, field in section.model_fields.items():
            if get_origin(field.annotation) is Literal:
                unnamed = [one for one in get_args(field.annotation) if one not in field.description]
                assert unnamed == [], f"{section.__name__}.{name}"
