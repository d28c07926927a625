"""Training a student: the loss falls, equal configurations give equal parameters, and the best one is kept."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from optical.config.objective import Objective
from optical.config.recipe import StudentOptions
from optical.config.training import Robustness
from optical.config.vocabulary import Vocabulary
from optical.data.bitext import Pair
from optical.embeddings.cache import teacher_vectors
from optical.errors import DataError, RecipeError
from optical.models.encoders import as_multi_vector, encode_batch
from optical.training import plan_terms
from optical.training.distillation import check_enough, distill
from optical.training.distillation_loss import DistillationLoss
from optical.training.mixture import Mixture, mix, usable
from optical.training.trainer import Trained, Workspace
from tests.training.distilled import OBJECTIVE, PAIRS, ByQuery, parameters, trained, training


def test_the_loss_falls_and_every_part_of_it_is_logged(student, teacher, tmp_path):
    documents = torch.nn.functional.normalize(torch.randn(5, 32), dim=-1).numpy()
    found = trained(
        student, teacher, tmp_path / "run", how=training(steps=30), objective=Objective(scores=1.0), documents=documents
    )
    losses = [entry for entry in found.history if "loss" in entry]
    assert losses[-1]["loss"] < 0.7 * losses[0]["loss"]
    last = losses[-1]
    assert last["ot"] + last["pooled"] + last["scores"] == pytest.approx(last["loss"], rel=1e-3)
    assert last["plan_steps"] >= 1
    assert found.pairs == len(PAIRS)
    assert not torch.equal(parameters(found.student), parameters(student))
    assert not found.student.training


def test_the_teacher_and_the_pairs_stay_as_they_are(student, teacher, tmp_path):
    before, pairs = parameters(teacher), list(PAIRS)
    trained(student, teacher, tmp_path / "run", pairs=pairs)
    assert torch.equal(parameters(teacher), before)
    assert pairs == PAIRS


def test_an_objective_of_weight_zero_is_left_out(student, teacher, tmp_path):
    for weights, name in (({"ot": 0.0}, "pooled"), ({"pooled": 0.0}, "ot")):
        found = trained(student, teacher, tmp_path / name, objective=Objective(scores=1.0, **weights))
        logged = {key for entry in found.history for key in entry if key in ("ot", "pooled", "scores")}
        assert logged == {name}, "scores has no documents to rank, the other has weight 0"


def test_an_objective_without_anything_to_rank_is_refused_before_training(student, teacher, tmp_path):
    only = Objective(ot=0.0, pooled=0.0, scores=1.0)
    documents = torch.nn.functional.normalize(torch.randn(5, 32), dim=-1).numpy()
    with pytest.raises(RecipeError, match="nothing to rank"):
        trained(student, teacher, tmp_path / "run", objective=only)
    with pytest.raises(RecipeError, match="nothing to rank"):
        trained(
            as_multi_vector(student), as_multi_vector(teacher), tmp_path / "run", objective=only, documents=documents
        )
    assert not (tmp_path / "run").exists()
    trained(student, teacher, tmp_path / "run", objective=only, documents=documents, how=training(steps=1))


def test_words_are_replaced_while_training_only_where_augmentation_is_asked_for(student, teacher, tmp_path):
    synonyms = tmp_path / "synonyms.tsv"
    synonyms.write_text("wali\tmchele\nmaji\tmaziwa\n", encoding="utf-8")
    augment = Robustness(method="augment", synonyms=str(synonyms), rate=1.0)
    plain = trained(student, teacher, tmp_path / "a")
    other = trained(student, teacher, tmp_path / "b", robustness=augment)
    again = trained(student, teacher, tmp_path / "c", robustness=augment)
    assert torch.equal(parameters(other.student), parameters(again.student))
    assert not torch.equal(parameters(other.student), parameters(plain.student))
    with pytest.raises(DataError, match=re.escape(str(tmp_path / "no"))):
        trained(
            student, teacher, tmp_path / "d", robustness=Robustness(method="augment", synonyms=str(tmp_path / "no"))
        )


def test_idf_masses_are_those_of_both_sides(student, teacher, tmp_path):
    found = trained(student, teacher, tmp_path / "run", objective=Objective(masses="idf", pooled=0.0), how=training())
    uniform = trained(student, teacher, tmp_path / "other", objective=Objective(pooled=0.0), how=training())
    assert not torch.equal(parameters(found.student), parameters(uniform.student))
    vectors = teacher_vectors(teacher, [p.english for p in PAIRS], tmp_path / "cache")
    rarity = plan_terms.rarity(student, teacher, PAIRS, vectors)
    ids = teacher.tokenizer(PAIRS[2].english)["input_ids"]
    row = dict(zip(teacher.tokenizer.convert_ids_to_tokens(ids), rarity.english[2], strict=True))
    assert row["[CLS]"] < row["market"]
    assert rarity.foreign[student.tokenizer.cls_token_id] == rarity.foreign.min()


def test_the_same_seed_gives_the_same_bits_and_another_does_not(student, teacher, tmp_path):
    first = trained(student, teacher, tmp_path / "a", seed=3)
    again = trained(student, teacher, tmp_path / "b", seed=3)
    other = trained(student, teacher, tmp_path / "c", seed=4)
    assert torch.equal(parameters(first.student), parameters(again.student))
    assert not torch.equal(parameters(first.student), parameters(other.student))


def test_fewer_pairs_than_a_step_takes_say_what_to_set(student, teacher, tmp_path):
    with pytest.raises(DataError, match="8 sentence pairs") as caught:
        trained(student, teacher, tmp_path / "run", how=training(batch_size=3, accumulation=3))
    advice = int(re.search(r"batch_size to (\d+)", str(caught.value))[1])
    check_enough(Mixture(PAIRS, None, {}), training(batch_size=advice, accumulation=3))
    assert not (tmp_path / "run").exists()


def test_only_sentences_of_the_right_length_are_trained_on():
    kept = usable(PAIRS, training(min_words=3, max_words=4))
    assert [p.foreign for p in kept] == ["watoto wanasoma vitabu vyao", "soko liko wapi", "nani alijenga nyumba hii"]
    with pytest.raises(DataError, match="3 sentence pairs of 3 to 4 words"):
        check_enough(Mixture(PAIRS, None, {}), training(min_words=3, max_words=4, batch_size=4))


def test_an_epoch_has_the_pairs_that_their_weights_give():
    weights = dict.fromkeys(PAIRS[4:], 0.0) | dict.fromkeys(PAIRS[:2], 0.25)
    how = training(batch_size=2)
    check_enough(mix({"sw": PAIRS}, how, weights), how)  # 2 and half a pair
    with pytest.raises(DataError, match=r"^2 sentence pairs of 1 to 24 words, drawn by their weights, are fewer than"):
        check_enough(mix({"sw": PAIRS}, how, weights), training(batch_size=3))


def test_the_start_is_kept_when_training_hurts(student, teacher, tmp_path, caplog):
    scores = iter([0.5, 0.4, 0.5, 0.3])
    found = trained(student, teacher, tmp_path / "run", dev=lambda _: next(scores))
    assert torch.equal(parameters(found.student), parameters(student))
    assert found.start == found.best == 0.5
    assert "the start is kept" in caplog.text


def test_the_best_checkpoint_is_taken_not_the_last(student, teacher, tmp_path):
    seen = []

    def dev(model):
        seen.append(parameters(model))
        return [0.1, 0.9, 0.2][len(seen) - 1]

    found = trained(student, teacher, tmp_path / "run", dev=dev)
    assert len(seen) == 3
    assert found.best == 0.9
    assert torch.equal(parameters(found.student), seen[1])
    assert not torch.equal(seen[1], seen[2])
    assert [entry["eval_dev"] for entry in found.history if "eval_dev" in entry] == [0.9, 0.2]


def test_of_values_by_query_the_uncertainty_is_told(student, teacher, tmp_path):
    seen = []

    def score(model):  # of the start, two checkpoints, and of the last and the best once more
        seen.append(parameters(model))
        return [0.1, 0.5, 0.3, 0.3, 0.5][len(seen) - 1]

    start, best, last = (ByQuery(lambda _, score=score: score).measured(None) for score in (0.1, 0.5, 0.3))
    found = trained(student, teacher, tmp_path / "run", dev=ByQuery(score))
    assert torch.equal(seen[3], seen[2])
    assert torch.equal(seen[4], seen[1])
    assert torch.equal(parameters(found.student), seen[1]), "all queries are better than those of the last"
    assert (found.start, found.best, found.share) == (start.mean, best.mean, 1.0)
    assert found.error == pytest.approx(0.0, abs=1e-9)
    assert (found.looks, found.p_value) == (2, 2 * best.minus(start).p_value)
    assert found.p_value < 0.001
    scored = [entry for entry in found.history if "eval_dev" in entry]
    assert [entry["eval_dev"] for entry in scored] == pytest.approx([best.mean, last.mean])
    assert [entry["eval_dev_error"] for entry in scored] == pytest.approx([best.error, last.error])


def test_the_start_is_kept_where_a_gain_may_be_chance(student, teacher, tmp_path, caplog):
    noise = np.random.default_rng(0).normal(size=20)
    seen = []

    def score(model):
        seen.append(parameters(model))
        return 0.5 + (0.01 + 0.2 * noise) * (len(seen) > 1)

    found = trained(student, teacher, tmp_path / "run", dev=ByQuery(score))
    assert torch.equal(parameters(found.student), parameters(student))
    assert (found.start, found.share) == (found.best, 0.0)
    assert found.p_value > 0.05
    assert found.error > 0.01
    told = r"the start is kept; after training it is 0\.\d+, standard error of the difference 0\.\d+, p = 0\.\d+"
    assert re.search(told, caplog.text)


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"share": 1.0, "error": 0.0113, "p_value": 0.0021},
         "development MAP 0.8130 -> 0.8652 (standard error of the difference 0.0113, p = 0.0021)"),
        ({"share": 1.0, "error": 0.0113, "p_value": 0.0126, "looks": 6},
         "development MAP 0.8130 -> 0.8652 (standard error of the difference 0.0113, p = 0.0126, as the best of 6)"),
        ({"share": 1.0}, "development MAP 0.8130 -> 0.8652"),
        ({"share": 0.0, "best": 0.813, "error": 0.01, "p_value": 0.3},
         "development MAP 0.8130 -> 0.8130, the start is kept"),
    ],
)  # fmt: skip
def test_the_end_of_training_is_one_sentence(more, expected):
    assert Trained(**{"encoder": None, "start": 0.813, "best": 0.8652, "history": [], **more}).sentence == expected


def test_two_stages_are_one_whose_error_is_known_where_the_second_gains_nothing():
    figures = {"encoder": None, "error": 0.01, "looks": 6, "p_value": 0.02}
    first = Trained(**figures, start=0.1, best=0.3, share=1.0, history=[{"step": 1}])
    kept = Trained(**figures, start=0.3, best=0.3, share=0.0, history=[{"step": 2}]).after(first)
    assert kept == first._replace(history=[{"step": 1}, {"step": 2}])
    gained = Trained(**figures, start=0.3, best=0.4, share=0.5, history=[]).after(first)
    assert (gained.start, gained.best, gained.share, gained.looks) == (0.1, 0.4, 0.5, 1)
    assert np.isnan([gained.error, gained.p_value]).all()


def test_patience_ends_training(student, teacher, tmp_path):
    scores = iter([0.0, 0.9, *[0.1] * 10])
    found = trained(
        student,
        teacher,
        tmp_path / "run",
        how=training(steps=10, evaluate_every=1, patience=2),
        dev=lambda _: next(scores),
    )
    assert [entry["eval_dev"] for entry in found.history if "eval_dev" in entry] == [0.9, 0.1, 0.1]


def test_no_steps_give_the_start(student, teacher, tmp_path):
    found = trained(student, teacher, tmp_path / "run", how=training(steps=0), dev=lambda _: 0.25)
    assert torch.equal(parameters(found.student), parameters(student))
    assert (found.start, found.best, found.history) == (0.25, 0.25, [])


def test_embeddings_and_body_have_their_own_learning_rates(student, teacher, tmp_path):
    """Adam's first step moves every entry with a gradient by the learning rate."""
    how = training(steps=1, learning_rate=1e-3, embedding_learning_rate=1e-2)
    found = trained(student, teacher, tmp_path / "run", how=how)
    moved = {
        name: float((value - student.state_dict()[name]).abs().max())
        for name, value in found.student.state_dict().items()
    }
    (embedding,) = [name for name in moved if "word_embeddings" in name]
    assert moved.pop(embedding) == pytest.approx(1e-2, rel=0.01)
    assert max(moved.values()) == pytest.approx(1e-3, rel=0.01)


def test_dropout_is_off_unless_asked_for(student, teacher, tmp_path):
    rates = {}
    for dropout in (False, True):
        model = trained(student, teacher, tmp_path / "run", how=training(steps=1, dropout=dropout)).student
        rates[dropout] = {m.p for m in model.modules() if isinstance(m, torch.nn.Dropout)}
    assert rates == {False: {0.0}, True: {0.1}}


def test_a_multi_vector_student_learns_too(student, teacher, tmp_path):
    many, target = as_multi_vector(student), as_multi_vector(teacher)
    found = trained(many, target, tmp_path / "run", how=training(steps=20))
    losses = [entry["loss"] for entry in found.history if "loss" in entry]
    assert type(found.student) is type(many)
    assert losses[-1] < 0.8 * losses[0]


def test_the_loss_compares_each_row_with_its_own_target(student, teacher, tmp_path):
    vectors = teacher_vectors(teacher, [p.english for p in PAIRS], tmp_path / "cache")
    loss = DistillationLoss(teacher, vectors, None, Objective(ot=0.0, scores=0.0))
    features = teacher.preprocess([PAIRS[k].english for k in (5, 2)])
    right = loss([features], torch.tensor([5, 2]))["pooled"]
    wrong = loss([features], torch.tensor([2, 5]))["pooled"]
    assert right.item() == pytest.approx(0.0, abs=1e-5)
    assert wrong.item() > 1e-2


def test_the_loss_carries_gradient_to_the_student_only(student, teacher, tmp_path):
    vectors = teacher_vectors(teacher, [p.english for p in PAIRS], tmp_path / "cache")
    loss = DistillationLoss(student, vectors, None, OBJECTIVE)
    losses = loss([student.preprocess([p.foreign for p in PAIRS[:3]])], torch.arange(3))
    sum(losses.values()).backward()
    assert all(p.grad is None for p in teacher.parameters())
    assert float(student[0].auto_model.get_input_embeddings().weight.grad.abs().sum()) > 0
    assert not encode_batch(teacher, teacher.preprocess(["a"])).tokens.vectors.isnan().any()


def test_a_trained_student_is_a_plain_one_again(student, teacher, tmp_path):
    found = trained(student, teacher, tmp_path / "run")
    embedding = found.student[0].auto_model.get_input_embeddings()
    assert type(embedding) is torch.nn.Embedding
    assert embedding.weight.requires_grad
    assert found.student.state_dict().keys() == student.state_dict().keys()


@pytest.mark.usefixtures("with_bfloat16")
def test_a_student_trained_in_bfloat16_encodes_as_the_one_that_is_loaded(student, teacher, tmp_path):
    found = trained(student, teacher, tmp_path / "run", how=training(precision="bfloat16")).student
    found.save(str(tmp_path / "saved"))
    again = type(found)(str(tmp_path / "saved"), device="cpu")
    np.testing.assert_allclose(found.encode(["habari ya asubuhi"]), again.encode(["habari ya asubuhi"]), atol=1e-6)


def test_attention_is_plain_while_training_and_as_before_afterwards(student, teacher, tmp_path, monkeypatch):
    seen = []
    original = DistillationLoss.forward

    def forward(self, features, labels):
        seen.append(torch.backends.cuda.flash_sdp_enabled())  # the flag counts on a processor too
        return original(self, features, labels)

    monkeypatch.setattr(DistillationLoss, "forward", forward)
    before = torch.backends.cuda.flash_sdp_enabled()
    trained(student, teacher, tmp_path / "run", how=training(steps=1))
    assert seen == [False]
    assert torch.backends.cuda.flash_sdp_enabled() == before is True


@pytest.mark.slow
def test_a_compiled_student_learns_the_same(student, teacher, tmp_path):
    plain = trained(student, teacher, tmp_path / "plain")
    compiled = trained(student, teacher, tmp_path / "compiled", how=training(compile=True))
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 0
    moved = (parameters(plain.student) - parameters(student)).norm()
    assert (parameters(plain.student) - parameters(compiled.student)).norm() < 0.02 * moved
    assert compiled.student.state_dict().keys() == plain.student.state_dict().keys()


def test_sentences_beyond_the_limit_are_said_on_both_sides(student, teacher, tmp_path):
    pairs = [*PAIRS, Pair("she cooks rice . " * 20, "anapika wali . " * 30)]
    said: list[str] = []
    options = StudentOptions(Vocabulary(mode="off"), OBJECTIVE, Robustness(), training(steps=1, max_words=200))
    for _ in range(2):  # the second time, the teacher's vectors come from the cache
        said.clear()
        workspace = Workspace(tmp_path / "run", tmp_path / "cache", False, said.append)
        distill(teacher, {"sw": pairs}, options, workspace)
        cut = [line for line in said if "are not read" in line]
        assert [line.split(";")[0] for line in cut] == [
            "1 of 9 English sentences are longer than the 64 tokens the teacher reads",
            "1 of 9 sentences of X are longer than the 64 tokens the student reads",
        ]
