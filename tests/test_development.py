"""The development score of several languages: the mean of each one's, and nothing held out is trained on."""

from __future__ import annotations

import pytest

from optical.development import development_score, development_scores
from optical.recipe import load_recipe
from optical.text.bitext import Pair

ENGLISH = [
    "i drink water .", "the children read books .", "where is the market ?", "the farmer plants maize .",
    "she cooks rice .", "the cow gives milk .", "who built this house ?", "the teacher writes a letter .",
    "rain falls in april .", "we sell fish .", "the river is long .", "the doctor helps the sick .",
]  # fmt: skip
# The first language keeps the English words, the second has letters that the teacher does not put together.
PAIRS = {
    "aa": [Pair(text, f"{text} indeed") for text in ENGLISH],
    "bb": [Pair(text, " ".join(word[::-1] for word in text.split()) + " q") for text in ENGLISH],
}


def recipe_of(tmp_path, lang: str, **more):
    return load_recipe(None, {"lang": lang, "cache": str(tmp_path / "cache"), "training.held_out": 1, **more})


def test_the_score_of_several_languages_is_the_mean_of_each(tmp_path, teacher):
    recipe, said = recipe_of(tmp_path, "aa,bb"), []
    score, left = development_scores(recipe, teacher, PAIRS, {}, said.append)
    single = {lang: development_score(recipe.of(lang), teacher, PAIRS[lang], None, said.append) for lang in PAIRS}
    alone = {lang: found[0](teacher) for lang, found in single.items()}
    assert len(set(alone.values())) == 2, "the two scores must differ for a mean to be seen"
    assert score(teacher) == pytest.approx(sum(alone.values()) / 2)
    assert left == {lang: found[1] for lang, found in single.items()}
    assert said[0].startswith("aa: development score: 1 held-out")
    assert said[1].startswith("bb: development score: 1 held-out")


def test_one_language_has_its_own_score_and_no_name(tmp_path, teacher):
    recipe, said = recipe_of(tmp_path, "aa"), []
    score, left = development_scores(recipe, teacher, {"aa": PAIRS["aa"]}, {}, said.append)
    expected, rest = development_score(recipe, teacher, PAIRS["aa"], None, said.append)
    assert score(teacher) == expected(teacher)
    assert left == {"aa": rest}
    assert said[0] == said[1]


def test_a_pair_held_out_for_one_language_is_trained_on_for_none(tmp_path, teacher):
    recipe = recipe_of(tmp_path, "aa,bb")
    _, rest = development_score(recipe.of("aa"), teacher, PAIRS["aa"], None, lambda _: None)
    (held_out,) = set(PAIRS["aa"]) - set(rest)
    shared = {"aa": PAIRS["aa"], "bb": [*PAIRS["bb"], held_out]}
    _, left = development_scores(recipe, teacher, shared, {}, lambda _: None)
    assert held_out not in left["aa"] + left["bb"]


def test_a_language_with_too_few_pairs_has_no_part_in_the_mean(tmp_path, teacher):
    recipe, said = recipe_of(tmp_path, "aa,bb"), []
    score, left = development_scores(recipe, teacher, PAIRS | {"bb": PAIRS["bb"][:5]}, {}, said.append)
    alone, _ = development_score(recipe.of("aa"), teacher, PAIRS["aa"], None, said.append)
    assert score(teacher) == alone(teacher)
    assert left["bb"] == PAIRS["bb"][:5]
    assert "bb: too few pairs for a development score" in said
    nothing, _ = development_scores(recipe, teacher, {lang: p[:5] for lang, p in PAIRS.items()}, {}, said.append)
    assert nothing is None
