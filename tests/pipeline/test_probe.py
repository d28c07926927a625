"""A probe on tiny encoders: what is learnt and asked, by whom, and what is refused before any model is loaded."""

from __future__ import annotations

import itertools
import json
from types import SimpleNamespace

import numpy as np
import pytest

import optical
from optical.config.probe import Probe
from optical.config.toml import load_options
from optical.errors import DataError, RecipeError
from optical.evaluation import frozen_classifier
from optical.evaluation.probe_results import difference, tables
from optical.pipeline import probe_systems
from optical.pipeline.probe import probe
from optical.pipeline.probe_inputs import read_probe
from tests.runs import tiny_run

ENGLISH = ("farmer", "teacher", "doctor", "dog", "children", "cow", "moon", "river", "house", "market")
SWAHILI = ("mkulima", "mwalimu", "daktari", "mbwa", "watoto", "ng'ombe", "mwezi", "mto", "nyumba", "soko")


def pairs(words: tuple[str, ...]) -> str:
    """Two words in either order mean the same, other words do not; numbers make sentences distinct."""
    lines = []
    for k, (a, b, c) in enumerate(itertools.islice(itertools.permutations(words, 3), 0, None, 15)):
        lines += [f"1\t{a} {b} {k}\t{b} {a} {k}", f"0\t{a} {b} {k}\t{c} {c} {k}"]
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Paraphrases in English and Swahili, row by row the same."""
    made = tmp_path_factory.mktemp("pairs")
    for lang, words in (("en", ENGLISH), ("sw", SWAHILI)):
        (made / f"dev.{lang}.tsv").write_text(pairs(words), encoding="utf-8")
    return made


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """The recipe of a finished run, whose student is its teacher."""
    return tiny_run(tmp_path_factory.mktemp("run"))


def options(folder, **more) -> Probe:
    return load_options(Probe, None, {"task": "pawsx", "test": "sw", "data": str(folder), "seeds": 2, **more})


def test_teacher_and_student_of_a_run_are_asked_side_by_side(folder, tiny):
    found = optical.probe(
        tiny.folder, "pawsx", "sw", data=folder, options={"seeds": 1, "mixed": True, "perturb": "typos"}
    )
    assert found.systems == ["teacher (run)", "student (run)"]
    assert found.baseline == "teacher (run)"
    english, swahili = (found.of("student (run)", lang) for lang in ("en", "sw"))
    assert english is not None
    assert swahili is not None
    assert english.mean > 0.9
    assert found.chance == 0.5
    assert len(english.values) == len(swahili.values) == 96
    assert [found.of("student (run)", *langs) is not None for langs in (("en", "sw"), ("sw", "en"))] == [True, True]
    typos = found.of("student (run)", "en", kind="typos")
    assert typos is not None
    assert difference(typos, english, found.groups).tested.difference < -0.1


def test_a_student_leaves_english_to_its_teacher_and_other_languages_to_nobody(folder, tiny):
    _, student = probe_systems.systems_of(str(tiny.folder), options(folder))
    assert (student.reader("en"), student.reader("sw")) == (student.english, student.encoder)
    assert student.english is not student.encoder
    assert student.reader("de") is None


def test_vectors_are_those_of_queries_and_each_text_is_read_once(folder, tiny, monkeypatch):
    (system,) = probe_systems.systems_of(tiny.teacher, options(folder, **{"teacher_prompts.query": "i drink "}))
    read, encode = [], probe_systems.encode_sentences
    monkeypatch.setattr(probe_systems, "encode_sentences", lambda one, texts: read.extend(texts) or encode(one, texts))
    vectors = probe_systems.Vectors()
    first = vectors(system.encoder, ["a dog", "they sing", "a dog"])
    again = vectors(system.encoder, ["they sing", "the moon"])
    assert read == ["a dog", "they sing", "the moon"]
    assert np.array_equal(first[1], again[0])
    plain = system.encoder.encode(["i drink a dog"], normalize_embeddings=True)
    assert np.allclose(first[0], plain[0], atol=1e-5)


def test_an_item_that_is_asked_in_swahili_was_not_learnt_from_in_english(folder):
    data = read_probe(options(folder))
    for division in data.divisions:
        learnt = {data.groups[name] for name in division.train}
        assert learnt.isdisjoint(data.groups[name] for name in division.test)
        assert {len(division.train), len(division.test)} == {64, 32}


def test_fewer_items_may_be_asked_of_the_same_classifiers(folder):
    whole, some = (read_probe(options(folder, items=items)) for items in (None, 30))
    assert [one.train for one in some.divisions] == [one.train for one in whole.divisions]
    first, second = ({name for one in some.divisions if one.seed == seed for name in one.test} for seed in (0, 1))
    assert first == second, "the same items of every seed"
    assert len(first) == 30
    (tuned,) = read_probe(options(folder, items=20, fine_tune=True, seeds=1)).divisions
    assert len(tuned.test) == 20, "of the part that is asked"


def test_other_pairs_to_learn_from_lose_those_that_share_a_sentence_with_a_test(folder, tmp_path):
    (tmp_path / "train.en.tsv").write_text(
        "1\tA Farmer, Teacher 0\tnew\n1\tother\tnew one\n0\tFarmer teacher, 0!\tx\n0\tx\tTeacher farmer 0\n0\ty\tz\n"
    )
    data = read_probe(options(folder, train_data=str(tmp_path)))
    assert [pair.first for pair in data.learnt.values()] == ["A Farmer, Teacher 0", "other", "y"]
    assert "2 of 5 pairs of" in data.notes[0]
    assert [len(division.test) for division in data.divisions] == [96, 96]
    assert not set(data.learnt) & set(data.divisions[0].test)


def test_a_language_whose_pairs_all_get_one_answer_is_named(folder, tiny, monkeypatch):
    alike = SimpleNamespace(predict=lambda inputs: np.ones(len(inputs)))
    monkeypatch.setattr(frozen_classifier, "fit", lambda *_: alike)
    said = []
    found = probe(str(tiny.teacher), options(folder, seeds=1), say=said.append)
    assert "teacher gives nearly all pairs one answer in en, sw" in found.notes
    assert found.notes[-1] in said


def test_a_second_encoder_is_what_all_others_are_compared_with(folder, tiny):
    found = optical.probe(
        tiny.folder / "student", "pawsx", ["sw"], data=folder, against=tiny.teacher, options={"seeds": 1}
    )
    assert (found.systems, found.baseline) == (["student", "teacher"], "teacher")
    a, b = (found.of(name, "sw") for name in found.systems)
    assert a is not None
    assert b is not None
    assert a.values == b.values  # one is a copy of the other
    with pytest.raises(RecipeError, match="teacher would be compared with one of the same name"):
        optical.probe(tiny.teacher, "pawsx", "sw", data=folder, against=tiny.teacher)


def test_similarity_is_the_rank_correlation_of_cosines(folder, tiny):
    found = optical.probe(tiny.teacher, "sts", "sw", data=folder, options={"seeds": 1})
    assert found.measure == "Spearman"
    english = found.of("teacher", "en")
    assert english is not None
    assert english.mean > 0.8
    assert english.f1 is None


def test_questions_find_passages(tiny):
    found = optical.probe(
        tiny.folder, "xquad-retrieval", "sw", data=tiny.collection, options={"perturb": "drop", "seeds": 2}
    )
    english, dropped = (found.of("student (run)", "en", kind=kind) for kind in ("", "drop"))
    assert english is not None
    assert dropped is not None
    assert (english.values, len(dropped.by_seed)) == ({"q1": 1.0, "q2": 1.0}, 2)
    assert found.chance is None


def test_the_whole_encoder_is_trained(folder, tiny):
    steps = {"seeds": 1, "fine_tune": True, "fine_tuning.steps": 2, "mixed": True}
    found = optical.probe(tiny.teacher, "pawsx", "sw", data=folder, options=steps)
    english = found.of("teacher", "en")
    assert english is not None
    assert len(english.values) == 32  # the first part alone
    assert (found.fine_tuned, found.learnt, found.of("teacher", "en", "sw") is None) == (True, 64, False)


def test_the_whole_encoder_is_trained_on_perturbed_pairs_too(folder, tiny, tmp_path):
    (tmp_path / "synonyms.tsv").write_text("farmer\tmkulima\ndog\tmbwa\n")
    steps = {"seeds": 1, "fine_tune": True, "fine_tuning.steps": 1, "robustness.rate": 1.0}
    for method, more in (("pgd", {}), ("augment", {"robustness.synonyms": str(tmp_path / "synonyms.tsv")})):
        asked = steps | {"robustness.method": method} | more
        found = optical.probe(tiny.teacher, "pawsx", "sw", data=folder, options=asked)
        assert (found.fine_tuned, found.robust) == (True, method)
        assert f"fine-tuned encoder, {method}" in tables(found)[0].title


def test_codeswitching_takes_words_of_sentence_pairs(folder, tiny, tmp_path):
    lines = [f"the {a}\t{b}\n" for a, b in zip(ENGLISH, SWAHILI, strict=True) for _ in range(2)]
    lines += [f"{a} {c}\t{b} {d}\n" for (a, b), (c, d) in itertools.pairwise(zip(ENGLISH, SWAHILI, strict=True))]
    (tmp_path / "sw.tsv").write_text("".join(lines), encoding="utf-8")
    asked = {"seeds": 1, "perturb": "codeswitch", "rate": 1.0, "bitext": str(tmp_path / "{lang}.tsv")}
    found = optical.probe(tiny.teacher, "pawsx", "sw", data=folder, options=asked)
    switched = found.of("teacher", "sw", kind="codeswitch")
    clean = found.of("teacher", "sw")
    assert switched is not None
    assert clean is not None
    assert 0.5 <= switched.mean < clean.mean == 1.0
    assert found.of("teacher", "en", kind="codeswitch") is None
    with pytest.raises(
        RecipeError, match="codeswitch takes English words from sentence pairs, and no language has any"
    ):
        optical.probe(tiny.teacher, "pawsx", "sw", data=folder, options={"perturb": "codeswitch"})


def test_pairs_that_lack_a_class_are_refused(tmp_path):
    (tmp_path / "dev.en.tsv").write_text("".join(f"1\ta{k}\tb{k}\n" for k in range(9)), encoding="utf-8")
    with pytest.raises(
        DataError, match="6 pairs are learnt from, none of them 0, of the 2 classes of pawsx; give more"
    ):
        read_probe(options(tmp_path, test="en"))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"--test": "so"}, "no pairs of the part 'dev' in so in"),
        ({"--data": "nowhere"}, "no such folder, file or hub id of labelled pairs: nowhere"),
        ({"--task": "squad"}, "task = 'squad'"),
        ({"--test": "sw,,de"}, "an empty language code"),
        ({"--perturb": "typo"}, "unknown perturbation; received 'typo'; did you mean typos?"),
        ({"--task": "xnli"}, "unknown label '1' at"),
        ({"--task": "xquad-retrieval", "--mixed": None}, "leave mixed out"),
        ({"--task": "xquad-retrieval", "--set": "items=9"}, "leave items out"),
        ({"--task": "sts", "--fine-tune": None}, "leave fine_tune out"),
        ({"--against": "./missing"}, "./missing: no such model folder"),
        ({"--train": "en,sw"}, "one language is learnt from"),
        ({"--robust": "fgm"}, "frozen vectors are not trained: add fine_tune"),
        ({"--fine-tune": None, "--robust": "rs-da"}, "set robustness.synonyms to a file, word<TAB>synonym"),
        ({"--fine-tune": None, "--robust": "pdg"}, "robustness.method = 'pdg'"),
        (
            {"--fine-tune": None, "--robust": "rs-da", "--set": "robustness.synonyms=nowhere.tsv"},
            "no such file: nowhere.tsv",
        ),
    ],
)
def test_what_cannot_be_asked_is_one_message_before_any_model_is_loaded(
    command, folder, tiny, monkeypatch, given, said
):
    monkeypatch.setattr(probe_systems, "systems_of", lambda *_: pytest.fail("a model was loaded"))
    named = {"--task": "pawsx", "--test": "sw", "--data": str(folder)} | given
    words = [word for pair in named.items() for word in pair if word is not None]
    code, _, err = command("probe", tiny.teacher, *words)
    assert code == 1
    assert said in err
    assert err.startswith("error: ")
    assert err.count("\n") <= 1


def test_the_command_line_prints_tables_and_json(command, folder, tiny):
    asked = ("probe", tiny.folder, "--task", "sts", "--test", "sw", "--data", folder, "--seeds", "1")
    code, out, _ = command(*asked)
    assert code == 0
    assert "sts: Spearman; p of paired randomisation tests" in out
    code, out, _ = command(*asked, "--json")
    found = json.loads(out)["probe"]
    assert [(row["system"], row["first"]) for row in found["rows"]] == [
        (name, lang) for name in ("teacher (run)", "student (run)") for lang in ("en", "sw")
    ]
