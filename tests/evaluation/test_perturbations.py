from __future__ import annotations

import subprocess
import sys
import unicodedata

import numpy as np
import pytest

from optical.data.words import split_words
from optical.errors import RecipeError
from optical.evaluation.perturbations import KINDS, perturb, touched

LEXICON = {"maji": ["water"], "ng'ombe": ["cow", "cattle"], "wanakunywa": ["drink"]}
TEXTS = [
    "Je, ng'ombe watatu  wanakunywa maji?",
    "Ọjọ́ ìbí mi ni ọ̀la",
    "Où est l'École, à Ngazidja?",
    "नरेंद्र मोदी कौन हैं?",
    "ประเทศไทย",
    "maji",
    "?!",
    "",
]


def made(text, kind, rate, seed=0):
    return perturb(text, kind, rate, np.random.default_rng(seed), lexicon=LEXICON)


def every(text, kind, rate=1.0):
    """Everything that 300 seeds make of a text."""
    return {made(text, kind, rate, seed) for seed in range(300)}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", TEXTS)
def test_at_rate_0_a_text_stays_and_it_never_becomes_empty(kind, text):
    assert made(text, kind, 0.0) == text
    for rate in (0.3, 1.0):
        assert all(bool(other.strip()) == bool(text) for other in every(text, kind, rate))


@pytest.mark.parametrize("kind", KINDS)
def test_the_seed_decides(kind):
    text = "Je, Ng'ombe wanakunywa májí? " * 8
    assert made(text, kind, 0.5, 1) == made(text, kind, 0.5, 1) != made(text, kind, 0.5, 2)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "order"])
@pytest.mark.parametrize("rate", [0.1, 0.35])
def test_the_rate_is_the_share_of_words_on_average(kind, rate):
    lengths = np.random.default_rng(0).integers(1, 9, 400)
    texts = [" ".join(["wanakunywá" if kind == "diacritics" else "wanakunywa"] * n) for n in lengths]
    shares = [touched(text, made(text, kind, rate, seed)) for seed, text in enumerate(texts)]
    mean = float(np.average(shares, weights=lengths))
    # A lost word is never the only one of its text, so one-word texts bring the share down a little.
    assert mean == pytest.approx(rate, abs=0.03 if kind != "drop" else 0.04)


@pytest.mark.parametrize("kind", KINDS)
def test_a_higher_rate_touches_the_same_words_and_more(kind):
    text = "Jé, ng'ombe wanakunywa maji na ng'ombe wanakunywá maji tena"
    for seed in range(20):
        few, many = (made(text, kind, rate, seed) for rate in (0.3, 0.8))
        if kind == "drop":
            assert set(split_words(many)) <= set(split_words(few))
        else:
            triples = zip(*(t.split() for t in (text, few, many)), strict=True)
            assert all(f in (w, m) for w, f, m in triples)


def test_typos_are_one_slip_within_a_word():
    assert every("abc", "typos") == {
        "acb", "ac", "ab", "abbc", "abcc", "avc", "anc", "abx", "abv",
    }  # fmt: skip


def test_kinds_of_typos_come_up_evenly():
    found = [made("abc", "typos", 1.0, seed) for seed in range(2000)]
    shares = [sum(f in group for f in found) / 2000 for group in (["acb"], ["ac", "ab"], ["abbc", "abcc"])]
    assert shares == pytest.approx([0.25] * 3, abs=0.04)


def test_typos_leave_short_words_and_first_letters_alone():
    assert every("na ni", "typos") == {"na ni"}
    assert {other[0] for other in every("watatu", "typos")} == {"w"}
    assert every("aaa", "typos") == {"aa", "aaaa", "asa", "aas"}  # a swap that changes nothing is no typo


def test_typos_take_letters_with_their_marks_and_know_one_keyboard():
    assert every("ọ́jọ́ba", "typos", 1.0) >= {"ọ́ọ́jba", "ọ́jba", "ọ́jọ́ọ́ba", "ọ́jọ́na"}
    found = every("मोदीजी", "typos")
    assert found == {"मोजीदी", "मोजी", "मोदी", "मोदीदीजी", "मोदीजीजी"}
    assert every("ABC", "typos") >= {"AVC", "ABX"}


def test_diacritics_go_where_people_leave_them_out():
    cases = {
        "Ọjọ́ ìbí": "Ojo ibi", "École à Zürich": "Ecole a Zurich", "Ƙasar Ɗan ƴar ɓera": "Kasar Dan yar bera",
        "Łódź": "Lodz", "ёлка": "елка", "άνθρωπος": "ανθρωπος", "مُحَمَّد": "محمد", "שָׁלוֹם": "שלום",
        "maji": "maji",
    }  # fmt: skip
    for text, plain in cases.items():
        assert made(text, "diacritics", 1.0) == plain
        assert made(unicodedata.normalize("NFD", text), "diacritics", 1.0) == plain


@pytest.mark.parametrize("text", ["नरेंद्र मोदी", "ที่นี่", "ভারত কী", "কোথায়", "မြန်မာ"])
def test_marks_that_are_vowels_stay(text):
    for written in (text, unicodedata.normalize("NFD", text)):
        assert every(written, "diacritics") == {written}


def test_case_is_another_one():
    assert every("maji", "case") == {"MAJI", "Maji"}
    assert every("Maji", "case") == {"MAJI", "maji"}
    assert every("maJI", "case") == {"MAJI", "Maji", "maji"}
    assert every("मोदी 12", "case") == {"मोदी 12"}


def test_codeswitch_takes_words_of_the_lexicon_in_the_case_of_the_text():
    assert every("Ng’ombe  na MAJI!", "codeswitch") == {"Cow  na WATER!", "Cattle  na WATER!"}
    with pytest.raises(ValueError, match="codeswitch needs a lexicon; received none"):
        perturb("maji", "codeswitch", 0.5, np.random.default_rng(0))


def test_lost_words_leave_one_and_no_gap():
    assert every("Je, ng'ombe wanakunywa", "drop", 0.5) <= {
        ", ng'ombe wanakunywa", "Je, wanakunywa", "Je, ng'ombe", ", wanakunywa", "Je,", ", ng'ombe",
    }  # fmt: skip
    assert every("moja mbili", "drop", 1.0) == {"moja", "mbili"}


def test_an_unknown_kind_names_the_nearest():
    with pytest.raises(RecipeError, match="received 'typo'; did you mean typos"):
        made("maji", "typo", 0.1)
    with pytest.raises(RecipeError, match="choose among typos, diacritics, case, codeswitch, drop"):
        made("maji", "xyz", 0.1)


@pytest.mark.parametrize("rate", [-0.1, 1.1, float("nan")])
def test_a_rate_is_a_share(rate):
    with pytest.raises(RecipeError, match="from 0 to 1; received"):
        made("maji", "typos", rate)


def test_words_touched_are_counted():
    assert touched("maji ya moto", "maji ya baridi") == pytest.approx(1 / 3)
    assert touched("maji maji", "maji") == 0.5
    assert touched("?", "?") == 0.0


def test_perturbing_loads_no_torch():
    code = "import sys, optical.evaluation.perturbations; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_word_order_exchanges_neighbours_and_leaves_the_words_and_the_signs_between_them():
    text = "Ana maji, na watoto wake wote."
    found = {perturb(text, "order", 0.4, np.random.default_rng(seed)) for seed in range(20)}
    assert len(found) > 3
    for one in found:
        assert sorted(split_words(one)) == sorted(split_words(text))
        assert one.endswith(".")
        moved = [k for k, (a, b) in enumerate(zip(split_words(text), split_words(one), strict=True)) if a != b]
        assert len(moved) in (2, 4)  # 1.2 exchanges on average
    assert perturb("maji maji", "order", 1.0, np.random.default_rng(0)) == "maji maji"
    assert perturb("maji", "order", 1.0, np.random.default_rng(0)) == "maji"
