"""The functions of the package itself: a student from pairs in memory, without a run folder."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Router

import optical
from optical.embeddings.cache import teacher_vectors
from optical.errors import DataError, OpticalError, RecipeError
from optical.models.encoders import encode_queries, fingerprint
from optical.training import distillation
from tests.chain import DOCUMENTS, PAIRS, uncased, unigram
from tests.conftest import bert
from tests.towers import PROMPTS, by_hand, saved_pair, two_encoders


def test_the_student_is_near_the_teacher(tmp_path):
    teacher = uncased(tmp_path / "made")
    student = optical.distill(
        teacher,
        bitext=PAIRS,
        documents=DOCUMENTS,
        folder=tmp_path / "student",
        training={"steps": 12, "batch_size": 6, "learning_rate": 1e-3, "embedding_learning_rate": 1e-2, "warmup": 0.0},
        progress=False,
    )
    assert type(student) is type(teacher)
    target = teacher_vectors(teacher, [p[0] for p in PAIRS], tmp_path / "cache").sentences
    swahili = [p[1] for p in PAIRS]
    near = (student.encode(swahili, normalize_embeddings=True) * target).sum(axis=1).mean()
    far = (teacher.encode(swahili, normalize_embeddings=True) * target).sum(axis=1).mean()
    assert near > far + 0.2
    again = type(teacher)(str(tmp_path / "student"), device="cpu")
    np.testing.assert_allclose(again.encode(["maji"]), student.encode(["maji"]), atol=1e-6)
    assert not list((tmp_path / "student").glob("checkpoints-*"))


def test_words_that_only_a_dictionary_has_get_a_row(tmp_path):
    (tmp_path / "a.tsv").write_text("moon\tkibalamwezi\nwater\tmaji\n", encoding="utf-8")
    how = {"training": {"steps": 0}, "progress": False}
    teacher = uncased(tmp_path / "made")
    student = optical.distill(teacher, bitext=PAIRS, vocabulary={"lexicon": str(tmp_path / "a.tsv")}, **how)
    assert student.tokenizer.tokenize("kibalamwezi") == ["kibalamwezi"]
    (tmp_path / "a.tsv").write_text("maji\twater\nsoko\tmarket\n", encoding="utf-8")
    with pytest.raises(DataError, match="swapped"):
        optical.distill(teacher, bitext=PAIRS, vocabulary={"lexicon": str(tmp_path / "a.tsv")}, **how)


def test_pairs_of_weight_zero_give_words_and_are_not_trained_on(tmp_path, monkeypatch):
    lines = ["".join(f"{english}\t{foreign}\n" for english, foreign in some) for some in (PAIRS[:8], PAIRS[8:])]
    for name, text in zip("ab", lines, strict=True):
        (tmp_path / f"{name}.tsv").write_text(text, encoding="utf-8")
    seen, dataset = [], distillation._dataset
    monkeypatch.setattr(distillation, "_dataset", lambda chosen: seen.extend(chosen) or dataset(chosen))
    student = optical.distill(
        uncased(tmp_path / "made"), bitext=f"{tmp_path}/a.tsv,{tmp_path}/b.tsv@0", lang="sw",
        training={"steps": 1, "batch_size": 4}, progress=False,
    )  # fmt: skip
    assert seen == PAIRS[:8]
    assert student.tokenizer.tokenize("Tunauza samaki") == ["tunauza", "samaki"]


def test_it_makes_shallow_students(tmp_path):
    teacher = uncased(tmp_path / "made")
    student = optical.distill(teacher, bitext=PAIRS, layers=1, training={"steps": 0}, progress=False)
    assert student[0].auto_model.config.num_hidden_layers == 1
    assert teacher[0].auto_model.config.num_hidden_layers == 2
    with pytest.raises(RecipeError, match="layers = 0"):
        optical.distill(teacher, bitext=PAIRS, layers=0)


def test_it_keeps_nothing_without_a_folder_and_names_a_wrong_option(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    teacher = uncased(tmp_path / "made")
    before = set(tmp_path.rglob("*"))
    student = optical.distill(teacher, bitext=PAIRS, training={"steps": 1, "batch_size": 4}, progress=False)
    assert set(tmp_path.rglob("*")) == before
    assert len(student.tokenizer) > len(teacher.tokenizer)
    with pytest.raises(RecipeError, match=r"did you mean training\.steps"):
        optical.distill(teacher, bitext=PAIRS, training={"step": 1})


def test_it_does_not_empty_a_folder_of_something_else(tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years of work")
    with pytest.raises(DataError, match="thesis"):
        optical.distill(
            bert(tmp_path / "made"), bitext=PAIRS, folder=tmp_path / "thesis", training={"steps": 0}, progress=False
        )
    assert (tmp_path / "thesis" / "chapter.txt").read_text() == "years of work"


def test_prompts_are_the_teachers_own_or_given_and_the_student_keeps_them(tmp_path):
    teacher = uncased(tmp_path / "made")
    given, none = {"query": "where is ", "document": "the "}, {"query": "", "document": ""}
    how = {"bitext": PAIRS, "documents": DOCUMENTS, "progress": False}
    how |= {"training": {"steps": 2, "batch_size": 4}, "objective": {"scores": 1.0}}
    student = optical.distill(teacher, teacher_prompts=given, folder=tmp_path / "student", **how)
    assert teacher.prompts == none
    assert student.prompts == given
    again = type(teacher)(str(tmp_path / "student"), device="cpu")
    np.testing.assert_allclose(again.encode_query(["maji"]), encode_queries(student, ["maji"]), atol=1e-6)
    teacher.prompts = given
    own = optical.distill(teacher, **how)
    assert own.prompts == given
    np.testing.assert_array_equal(encode_queries(own, ["maji"]), encode_queries(student, ["maji"]))
    other = optical.distill(teacher, teacher_prompts=none, **how)
    assert other.prompts == none
    assert np.abs(encode_queries(other, ["where is maji"]) - encode_queries(student, ["maji"])).max() > 1e-4
    with pytest.raises(RecipeError, match=r"unknown option teacher_prompts\.passage"):
        optical.distill(teacher, teacher_prompts={"passage": "the "}, **how)


def test_a_student_starts_from_another_encoder_loaded_or_in_a_folder(tmp_path):
    teacher, body = uncased(tmp_path / "made"), unigram(tmp_path / "other", dim=24)
    body.save(str(tmp_path / "body"))
    how = {"bitext": PAIRS, "documents": DOCUMENTS, "objective": {"scores": 1.0}, "progress": False}
    how |= {"training": {"steps": 2, "batch_size": 4}, "student_prompts": {"query": "where is "}}
    student = optical.distill(teacher, student=body, folder=tmp_path / "student", **how)
    assert (teacher.prompts["query"], body.prompts["query"], student.prompts["query"]) == ("", "", "where is ")
    assert encode_queries(student, ["maji"]).shape == (1, 32)
    again = type(teacher)(str(tmp_path / "student"), device="cpu")
    np.testing.assert_allclose(again.encode_query(["maji"]), encode_queries(student, ["maji"]), atol=1e-6)
    named = optical.distill(teacher, student=tmp_path / "body", **how)
    np.testing.assert_allclose(encode_queries(named, ["maji"]), encode_queries(student, ["maji"]), atol=1e-6)
    with pytest.raises(RecipeError, match="student_prompts"):
        optical.distill(teacher, **how)


@pytest.mark.parametrize("kind", ["tuple", "comma", "router"])
def test_of_two_encoders_the_one_of_queries_is_learnt_and_the_other_is_not_touched(tmp_path, kind):
    queries, documents = two_encoders(tmp_path)
    teacher = (queries, documents)
    if kind == "comma":
        teacher = saved_pair(tmp_path)
    if kind == "router":
        router = Router.for_query_document([*queries], [*documents])
        teacher = SentenceTransformer(modules=[router], prompts=PROMPTS, device="cpu")
    before = fingerprint(documents)
    student = optical.distill(
        teacher, bitext=PAIRS, documents=DOCUMENTS, objective={"scores": 1.0}, progress=False,
        training={"steps": 3, "batch_size": 6},
    )  # fmt: skip
    assert fingerprint(documents) == before
    assert {name: student.prompts[name] for name in PROMPTS} == PROMPTS
    assert student[0].auto_model.config.model_type == "bert"
    assert len(student) == 3
    with pytest.raises(DataError, match="have one encoder for queries and another for documents"):
        optical.teach(teacher, rows=[("a", "b")] * 4)


def test_the_scores_objective_ranks_what_the_encoder_of_documents_made(tmp_path, monkeypatch):
    queries, documents = two_encoders(tmp_path)
    real, seen = distillation.distill, []
    monkeypatch.setattr(
        distillation, "distill", lambda *a, **given: seen.extend(given["passages"]) or real(*a, **given)
    )
    optical.distill((queries, documents), bitext=PAIRS, documents=DOCUMENTS, training={"steps": 0}, progress=False)
    np.testing.assert_allclose(seen[0], by_hand(documents, PROMPTS["document"], DOCUMENTS), atol=1e-6)


@pytest.mark.parametrize("late", [False, True])
def test_teaching_takes_prompts_too(tmp_path, late):
    start = uncased(tmp_path / "made")
    rows = [(text.split()[1], text) for text in DOCUMENTS]
    options = {"steps": 1, "batch_size": 4, "teacher_prompts": {"query": "who "}}
    taught = optical.teach(start, rows=rows, late_interaction=late, dimension=8, options=options, progress=False)
    assert (start.prompts["query"], taught.prompts["query"]) == ("", "who ")


HOW = {"bitext": PAIRS, "progress": False, "training": {"steps": 4, "batch_size": 6, "evaluate_every": 2}}


def test_a_table_gives_the_student_that_its_pairs_give(tmp_path):
    pandas = pytest.importorskip("pandas")
    teacher = uncased(tmp_path / "made")
    given = optical.distill(teacher, **HOW)
    frame = pandas.DataFrame({"en": [e for e, _ in PAIRS], "sw": [s for _, s in PAIRS]})
    for bitext in (frame, {"sw": frame.itertuples(index=False, name=None)}, iter(PAIRS)):
        assert fingerprint(optical.distill(teacher, **HOW | {"bitext": bitext})) == fingerprint(given)


def test_what_is_left_out_is_said_unless_there_is_to_be_silence(tmp_path, caplog):
    teacher = uncased(tmp_path / "made")
    how = {"bitext": [*PAIRS, PAIRS[3], ("", "tupu")], "training": {"steps": 0}}
    optical.distill(teacher, **how, progress=False)
    assert not [record.message for record in caplog.records if record.name.startswith("optical")]
    optical.distill(teacher, **how)
    assert "1 pairs of the bitext left out, duplicate (first at bitext[18])" in caplog.messages


def test_functions_are_told_of_losses_and_scores_and_may_end_the_training(tmp_path):
    told, scores = [], itertools.count()
    teacher = uncased(tmp_path / "made")
    given = {**HOW, "dev": lambda encoder: next(scores), "training": {**HOW["training"], "steps": 6}}

    def tell(log):
        told.append(log)
        assert log.encoder.encode(["maji"]).shape == (1, 32)
        return sum("dev" in one.values for one in told) == 2

    optical.distill(teacher, **given, callbacks=[tell])
    assert [(log.step, log.steps) for log in told if "dev" in log.values] == [(2, 6), (4, 6)]
    assert {log.stage for log in told} == {"Distilling"}
    losses = [log.values for log in told if "loss" in log.values]
    assert len(losses) == 4
    assert {"loss", "ot", "learning_rate"} <= losses[0].keys()
    assert not [name for log in told for name in log.values if name.startswith(("eval", "train_", "epoch"))]


def test_an_observer_changes_nothing_and_objects_of_the_library_are_taken(tmp_path):
    from transformers import TrainerCallback

    class Count(TrainerCallback):
        steps = 0

        def on_step_end(self, *_, **__):
            self.steps += 1

    teacher, count = uncased(tmp_path / "made"), Count()
    seen = optical.distill(teacher, **HOW, callbacks=[count, lambda log: log.encoder.encode(["maji"])])
    assert count.steps == 4
    assert fingerprint(seen) == fingerprint(optical.distill(teacher, **HOW))
    rows = [(text.split()[1], text) for text in DOCUMENTS]
    told = []
    optical.teach(teacher, rows=rows, options={"steps": 3, "batch_size": 4}, callbacks=told.append, progress=False)
    assert [(log.stage, log.step) for log in told] == [("Teaching", 1), ("Teaching", 2), ("Teaching", 3)]


def test_a_training_that_a_function_ends_is_scored_where_it_ends(tmp_path):
    scores, told = itertools.count(), []
    student = optical.distill(
        uncased(tmp_path / "made"), **HOW | {"training": {"steps": 9, "batch_size": 6}},
        dev=lambda encoder: next(scores), folder=tmp_path / "student",
        callbacks=[told.append, lambda log: log.step == 2],
    )  # fmt: skip
    assert [(log.step, *log.values) for log in told if "dev" in log.values] == [(2, "dev")]  # of nine
    assert fingerprint(optical.load_student(tmp_path / "student")) == fingerprint(student)


WRONG = {
    "teacher": [5, None, np.zeros(3), object()],
    "bitext": [None, 5, {}, "", {"sw": None}, [1], {"en": PAIRS, "sw": PAIRS}],
    "documents": [5, "", [1], [None], {"a": "b"}, b"a", "nowhere"],
    "words": [5, "", [1], [None], b"a"],
    "dev": [5, lambda: 1.0, lambda _: None, lambda _: "high"],
    "folder": [5, "", "/proc/x"],
    "cache": [5, "/proc/x"],
    "lang": [None, 5, "", "sw,so"],
    "layers": ["two", 1.5],
    "seed": ["x", None],
    "training": [5, "steps", {"steps": "many"}, {3: 1}],
    "vocabulary": [[1]],
    "teacher_prompts": ["query: "],
    "callbacks": [5, "x", [5], [lambda: 1]],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_a_wrong_argument_is_refused_by_its_name(tmp_path, name, value):
    named = {"dev": "dev = |development score", "teacher": "encoder", "bitext": "bitext|lang"}
    told = named.get(name, rf"{name}|/proc/x|nowhere")
    with pytest.raises(OpticalError, match=told):
        optical.distill(**{"teacher": uncased(tmp_path / "made"), **HOW, name: value})


@pytest.mark.parametrize(
    "given", [{"rows": 5}, {"rows": [5]}, {"rows": "a"}, {"options": 5}, {"folder": 5}, {"dev": 5}]
)
def test_teaching_refuses_a_wrong_argument(tmp_path, given):
    rows = [(text.split()[1], text) for text in DOCUMENTS]
    with pytest.raises(OpticalError, match=next(iter(given)).removesuffix("s")):
        optical.teach(**{"teacher": uncased(tmp_path / "made"), "rows": rows, "progress": False, **given})
    with pytest.raises(OpticalError, match="folder"):
        optical.load_student(5)
