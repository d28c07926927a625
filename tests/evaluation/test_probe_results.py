"""What systems score in a probe: means, macro F1, rank correlation, paired tests by group, tables."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from optical.evaluation.probe_results import (
    Outcome,
    ProbeResults,
    against_baseline,
    against_train,
    as_dict,
    classified,
    correlated,
    difference,
    lost,
    tables,
)
from optical.files import strict_json

IDS = [str(k) for k in range(60)]
GROUPS = {name: k // 3 for k, name in enumerate(IDS)}


def outcome(system: str, lang: str, right: int, kind: str = "", second: str | None = None) -> Outcome:
    values = {name: float(k < right) for k, name in enumerate(IDS)}
    return Outcome(system, (lang, second or lang), kind, values, [right / 60, right / 60 + 0.02], 0.5)


@pytest.fixture
def results() -> ProbeResults:
    found = [outcome("teacher", "en", 57), outcome("teacher", "sw", 24), outcome("teacher", "am", 21)]
    found += [outcome("student", "en", 57), outcome("student", "sw", 51), outcome("student", "sw", 30, "typos")]
    found += [outcome("student", "en", 48, second="sw")]
    scripts = {"en": "Latin", "sw": "Latin", "am": "Ge'ez"}
    return ProbeResults("xnli", "accuracy", "en", 40, 2, found, GROUPS, scripts, "teacher", chance=1 / 3)


def test_accuracy_is_the_mean_over_items_of_their_mean_over_seeds_and_f1_that_of_scikit_learn():
    gold = {"a": 0.0, "b": 1.0, "c": 1.0, "d": 2.0}
    answers = [{"a": 0, "b": 1, "c": 0, "d": 1, "unknown": 2}, {"a": 0, "b": 1, "c": 1, "d": 2}]
    one = classified("x", ("en", "sw"), "", gold, answers)
    assert one.values == {"a": 1.0, "b": 1.0, "c": 0.5, "d": 0.5}
    assert (one.mean, one.by_seed, one.lang) == (0.75, [0.5, 1.0], "en-sw")
    assert one.f1 == pytest.approx(((2 / 3 + 1 / 2 + 0) / 3 + 1) / 2)


def test_the_shares_of_a_rank_correlation_add_up_to_that_of_scipy():
    random = np.random.default_rng(1)
    gold, said = random.integers(0, 5, 40), random.normal(size=40)
    one = correlated("x", ("en", "en"), "", dict(zip(IDS, gold, strict=False)), [dict(zip(IDS, said, strict=False))])
    assert one.mean == pytest.approx(spearmanr(gold, said).statistic)


def test_groups_are_flipped_and_drawn_whole_so_that_their_items_are_no_independent_evidence():
    a, b = outcome("a", "en", 57), outcome("b", "en", 51)
    together, alone = difference(a, b, GROUPS), difference(a, b, {name: k for k, name in enumerate(IDS)})
    assert together.tested.difference == alone.tested.difference == pytest.approx(0.1)
    assert together.tested[2:] == (6, 54, 0)
    assert together.tested.p_value > 0.3 > 0.1 > alone.tested.p_value  # two groups and six items
    assert together.low <= 0.0 < alone.low <= 0.1 <= together.high


def test_a_language_is_compared_with_the_one_learnt_from_and_with_the_baseline(results):
    trained, base, changed = against_train(results), against_baseline(results), lost(results)
    assert {key: round(one.tested.difference, 4) for key, (one, _) in trained.items()} == {
        ("teacher", "sw"): -0.55, ("teacher", "am"): -0.6, ("student", "sw"): -0.1, ("student", "en-sw"): -0.15,
    }  # fmt: skip
    assert {key: round(one.tested.difference, 4) for key, (one, _) in base.items()} == {
        ("student", "en"): 0,
        ("student", "sw"): 0.45,
    }
    (key,) = changed
    assert key == ("student", "sw", "typos")
    assert changed[key][0].tested.difference == pytest.approx(-0.35)
    assert all(p >= one.tested.p_value for one, p in [*trained.values(), *base.values(), *changed.values()])


def test_tables_show_languages_mixed_pairs_perturbed_texts_and_scripts(results):
    languages, *mixed, perturbed, scripts = tables(results)
    assert "learnt from 40 en pairs, 2 seeds; the commonest class is 33.3 %" in languages.title
    assert languages.rows[4][:7] == ["student", "sw", "Latin", "60", "0.8500", "0.0141", "0.5000"]
    assert [table.rows for table in mixed][1] == [["en", "0.9500", "0.8000"], ["sw", "", "0.8500"]]
    assert perturbed.rows[0][:5] == ["student", "sw", "typos", "0.5000", "+0.3500"]
    assert [row[:5] for row in scripts.rows] == [
        ["teacher", "Latin", "sw", "0.4000", "+0.5500"], ["teacher", "Ge'ez", "am", "0.3500", "+0.6000"],
        ["student", "Latin", "sw", "0.8500", "+0.1000"],
    ]  # fmt: skip
    assert scripts.rows[2][5] == "+0.3500"
    assert results._repr_html_().count("<table>") == 5


def test_all_of_it_is_json(results):
    found = as_dict(results)
    strict_json(found)
    rows = {(row["system"], row["first"], row["second"], row["perturbation"]): row for row in found["rows"]}
    assert rows["student", "sw", "sw", ""]["minus_baseline"]["difference"] == pytest.approx(0.45)
    assert rows["student", "sw", "sw", "typos"]["minus_clean"]["loss"] == 21
    assert rows["student", "sw", "sw", "typos"]["minus_en"] is None
