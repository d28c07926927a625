"""Rows in, a teacher out: no false negative in a batch, the start where nothing beats it, stopped and gone on with."""

from __future__ import annotations

import copy
import os
import signal

import pytest
import torch
from transformers import TrainerCallback

from optical.config.teaching import Teaching
from optical.config.toml import load_options
from optical.data.records import Doc, Qrel, Query
from optical.errors import DataError, RecipeError
from optical.models import encoders
from optical.models.load import load_encoder
from optical.models.projection import projected
from optical.models.prompts import document_prompt, query_prompt, with_prompts
from optical.pipeline.dev_score import score_anew
from optical.training import teacher as teacher_training
from optical.training import trainer
from optical.training.callbacks import Diverged, Interrupted
from optical.training.teacher import claimed
from optical.training.teacher_data import HeldOut
from optical.training.trainer import Workspace
from tests.conftest import ENGLISH
from tests.pipeline.test_teach import wordy

SENTENCES = [s.strip() for s in ENGLISH.replace("?", ".").split(" .") if s.strip()]
ROWS = [[s.split()[-1], s, SENTENCES[k - 3]] for k, s in enumerate(SENTENCES)]  # the last word asks for its sentence


def options(**changes) -> Teaching:
    given = {"steps": 6, "batch_size": 3, "learning_rate": 1e-3, "evaluate_every": 3, "precision": "float32"}
    return load_options(Teaching, None, {"collection": "x", **given, **changes})


def teach(encoder, tmp_path, rows=ROWS, dev=None, **changes):
    workspace = Workspace(tmp_path / "run", tmp_path / "cache", progress=False)
    return teacher_training.teach(encoder, rows, options(**changes), workspace, dev=dev)


def weights(encoder):
    return torch.cat([p.detach().flatten() for p in encoder.parameters()])


def test_a_row_claims_its_texts_and_all_right_passages_of_its_query():
    rows = [["q", "a", "n"], ["q", "b", "m"], ["r", "c", "a"]]
    assert [set(claim.values()) for claim in claimed(rows)] == [set("qabn"), set("qabm"), set("rca")]


@pytest.mark.parametrize("seed", range(5))
def test_no_batch_holds_a_right_passage_of_another_query(seed):
    # Passages a and b both answer q; r shares its passage with s, as questions on one paragraph do.
    rows = [["q", "a"], ["q", "b"], ["r", "c"], ["s", "c"], ["t", "b"], *([f"u{k}", f"d{k}"] for k in range(7))]
    right = {query: {p for q, p in rows if q == query} for query, _ in rows}
    sampler = teacher_training._batches(
        teacher_training._dataset(rows), claims=claimed(rows), batch_size=4, drop_last=True, seed=seed,
        generator=torch.Generator(),
    )  # fmt: skip
    batches = list(sampler)
    assert batches
    for batch in batches:
        assert len(batch) == 4
        for i in batch:
            assert not right[rows[i][0]] & {rows[j][1] for j in batch if j != i}


def rank(encoder) -> float:
    """Mean reciprocal rank of each row's passage among all passages."""
    passages = [row[1] for row in ROWS]
    query, doc = (
        (
            encoders.encode_tokens(encoder, texts, query=side)
            for texts, side in (([r[0] for r in ROWS], True), (passages, False))
        )
        if encoders.is_multi_vector(encoder)
        else (
            [v[None] for v in encoders.encode_sentences(encoder, texts)] for texts in ([r[0] for r in ROWS], passages)
        )
    )
    scores = torch.tensor([[float((q @ d.T).max(axis=1).sum()) for d in doc] for q in query])
    return float((1 / (1 + (scores > scores.diag()[:, None]).sum(dim=1))).mean())


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("mini_batch", [None, 2])
def test_right_passages_rise(tmp_path, late, mini_batch):
    start = wordy(tmp_path / "bert", ENGLISH)
    encoder = projected(start, SENTENCES, 4) if late else start
    before = rank(encoder)
    how = {"learning_rate": 2e-3, "temperature": 1.0} if late else {"learning_rate": 5e-3, "temperature": 0.2}
    taught = teach(encoder, tmp_path, steps=20, batch_size=5, dropout=False, mini_batch=mini_batch, **how)
    assert rank(taught.encoder) > before + 0.1
    assert encoders.is_multi_vector(taught.encoder) is late


def test_cut_batches_teach_the_same(teacher, tmp_path):
    start = projected(teacher, SENTENCES, 16)
    whole = teach(copy.deepcopy(start), tmp_path, steps=3, dropout=False).encoder
    cut = teach(copy.deepcopy(start), tmp_path, steps=3, dropout=False, mini_batch=2).encoder
    moved = (weights(whole) - weights(start)).norm()
    assert moved > 1e-2
    # Adam turns the rounding of a gradient that is all but 0 into a whole step: a few weights differ, not the way.
    assert (weights(cut) - weights(whole)).norm() < 1e-2 * moved


def test_the_projection_learns_with_the_rest(teacher, tmp_path):
    start = projected(teacher, SENTENCES, 16)
    taught = teach(copy.deepcopy(start), tmp_path, steps=3).encoder
    still = [n for (n, p), q in zip(start.named_parameters(), taught.parameters(), strict=True) if torch.equal(p, q)]
    assert [name for name in still if "pooler" not in name] == []


def test_the_best_checkpoint_is_what_comes_back(teacher, tmp_path):
    seen = []

    def dev(encoder):
        seen.append((weights(encoder).clone(), [0.1, 0.9, 0.5][len(seen)]))
        return seen[-1][1]

    taught = teach(teacher, tmp_path, dev=dev, averaging=False)
    assert (taught.start, taught.best, taught.share) == (0.1, 0.9, 1.0)
    assert torch.equal(weights(taught.encoder), seen[1][0])
    assert not torch.equal(weights(taught.encoder), seen[2][0])


def test_where_nothing_beats_the_start_the_start_comes_back(teacher, tmp_path):
    before = weights(teacher)
    scores = iter([0.5, 0.4, 0.5])
    taught = teach(teacher, tmp_path, dev=lambda _: next(scores), averaging=False)
    assert (taught.start, taught.best, taught.share) == (0.5, 0.5, 0.0)
    assert torch.equal(weights(taught.encoder), before)


def test_an_average_with_the_start_comes_back_where_it_is_best(teacher, tmp_path):
    seen = []

    def dev(encoder):
        seen.append(weights(encoder).clone())
        return [0.5, 0.4, 0.6, 0.1, 0.9, 0.3][len(seen) - 1]  # start, two checkpoints, averages of .3, .5, .7

    taught = teach(teacher, tmp_path, dev=dev)
    assert (taught.best, taught.share) == (0.9, 0.5)
    assert torch.allclose(weights(taught.encoder), (seen[0] + seen[2]) / 2, atol=1e-6)


def test_no_steps_give_the_start(teacher, tmp_path):
    before = weights(teacher)
    assert torch.equal(weights(teach(teacher, tmp_path, steps=0).encoder), before)


def test_too_few_pairs_are_one_message(teacher, tmp_path):
    with pytest.raises(DataError, match=r"2 query-passage pairs do not make one batch of 3 .* set batch_size to 2 "):
        teach(teacher, tmp_path, rows=ROWS[:2])


def test_pairs_of_one_passage_make_no_batch(teacher, tmp_path):
    with pytest.raises(DataError, match="9 query-passage pairs do not make one batch of 3"):
        teach(teacher, tmp_path, rows=[[f"rice {k}", "she cooks rice"] for k in range(9)])


class _Interrupt(TrainerCallback):
    def on_step_begin(self, args, state, control, **_):
        if state.global_step == 3:  # while the fourth step is made
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("late", [False, True])
def test_stopped_it_goes_on_as_if_it_had_not_been(teacher, tmp_path, monkeypatch, late):
    start = projected(teacher, SENTENCES, 16) if late else teacher
    whole = teach(copy.deepcopy(start), tmp_path / "a").encoder
    made = trainer._trainer

    def stopping(*arguments):
        found = made(*arguments)
        found.add_callback(_Interrupt())
        return found

    monkeypatch.setattr(trainer, "_trainer", stopping)
    with pytest.raises(Interrupted, match="the same command goes on from it"):
        teach(copy.deepcopy(start), tmp_path / "b")
    monkeypatch.setattr(trainer, "_trainer", made)
    (run,) = (tmp_path / "b" / "run").iterdir()
    assert (run / "checkpoint-4").is_dir()
    halves = teach(copy.deepcopy(start), tmp_path / "b").encoder
    torch.testing.assert_close(weights(halves), weights(whole), rtol=1e-5, atol=1e-6)


def checkpoint_key(encoder, rows=ROWS, dev=None, **changes):
    return trainer.checkpoint_key(encoder, teacher_training._inputs(rows, options(**changes)), dev)


def test_other_options_do_not_go_on_from_a_checkpoint(teacher):
    keys = {checkpoint_key(teacher, **c) for c in ({}, {"steps": 7}, {"temperature": 2.0}, {"seed": 1})}
    assert len(keys) == 4
    assert checkpoint_key(teacher, out="elsewhere") in keys
    assert checkpoint_key(teacher, ROWS[1:]) not in keys


def test_another_held_out_set_does_not_go_on_from_a_checkpoint(teacher):
    queries, docs = [Query("q1", "milk"), Query("q2", "rice")], [Doc("d1", "", "the cow gives milk")]
    held_out = HeldOut(queries, docs, [Qrel("q1", "d1", 1)])
    others = [
        None,
        held_out._replace(queries=[Query("q1", "water"), queries[1]]),
        held_out._replace(docs=[Doc("d1", "", "she cooks rice")]),
        held_out._replace(docs=[Doc("d2", "", "the cow gives milk")]),
        held_out._replace(qrels=[Qrel("q2", "d1", 1)]),
        held_out._replace(qrels=[Qrel("q1", "d1", 0)]),
    ]
    key, again, *found = (
        checkpoint_key(teacher, dev=score_anew(*one) if one else None) for one in (held_out, held_out, *others)
    )
    assert again == key
    assert len({key, *found}) == 1 + len(others)


def test_a_loss_that_is_no_number_ends_with_a_diagnosis(teacher, tmp_path):
    with torch.no_grad():
        next(teacher.parameters()).fill_(float("nan"))
    with pytest.raises(Diverged, match="teaching diverged by step 1: the loss is not a number; .* lower learning_rate"):
        teach(teacher, tmp_path)


@pytest.mark.usefixtures("with_bfloat16")
def test_trained_in_bfloat16_it_encodes_as_the_one_that_is_loaded(teacher, tmp_path):
    taught = teach(projected(teacher, SENTENCES, 16), tmp_path, precision="bfloat16").encoder
    taught.save(str(tmp_path / "saved"))
    read = load_encoder(tmp_path / "saved", "cpu")
    for a, b in zip(*(encoders.encode_tokens(e, SENTENCES, query=False) for e in (taught, read)), strict=True):
        assert abs(a - b).max() < 1e-6


@pytest.mark.parametrize(("late", "mini_batch"), [(False, None), (False, 2), (True, None)])
def test_teaching_with_prompts_is_teaching_on_texts_that_have_them(tmp_path, late, mini_batch):
    start = wordy(tmp_path / "start", ENGLISH)
    prompted = with_prompts(start, {"query": "who ", "document": "the "})
    written = [["who " + query, *("the " + passage for passage in passages)] for query, *passages in ROWS]
    start, prompted = (encoders.as_multi_vector(e) if late else e for e in (start, prompted))
    how = {"steps": 2, "mini_batch": mini_batch, "dropout": False}
    by_prompt = teach(prompted, tmp_path / "a", **how).encoder
    by_text = teach(start, tmp_path / "b", written, **how).encoder
    without = teach(start, tmp_path / "c", **how).encoder
    torch.testing.assert_close(weights(by_prompt), weights(by_text), rtol=0, atol=1e-6)
    assert (weights(by_prompt) - weights(without)).abs().max() > 1e-5
    assert (query_prompt(by_prompt), document_prompt(by_prompt)) == ("who ", "the ")


@pytest.mark.parametrize("late", [False, True])
def test_a_ranking_is_learnt_from_the_sentence_vectors_of_the_start(tmp_path, late):
    ranker = wordy(tmp_path / "ranker", ENGLISH)
    start = encoders.as_multi_vector(ranker) if late else copy.deepcopy(ranker)
    with torch.no_grad():
        for parameter in start.parameters():  # another encoder, which ranks otherwise
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)) * 0.1)
    rows = [[q, p, n, SENTENCES[k - 5]] for k, (q, p, n) in enumerate(ROWS)]
    wanted = teacher_training.ranking_of(ranker, rows)
    assert wanted.shape == (len(rows), 3)

    def divergence(encoder) -> float:
        found = torch.tensor(_scores(encoder, rows)).log_softmax(-1)
        aim = torch.tensor(wanted / 0.2).log_softmax(-1)
        return float((aim.exp() * (aim - found)).sum(-1).mean())

    how = {"loss": "ranking", "ranking_temperature": 0.2, "temperature": 1.0, "learning_rate": 5e-3}
    before = divergence(start)
    workspace = Workspace(tmp_path / "run", tmp_path / "cache", progress=False)
    chosen = options(steps=40, batch_size=2, dropout=False, late_interaction=late, **how)
    taught = teacher_training.teach(start, rows, chosen, workspace, ranking=wanted)
    assert divergence(taught.encoder) < before / 2


def _scores(encoder, rows):
    """Scores of the passages of each row, by MaxSim or by cosines."""
    if not encoders.is_multi_vector(encoder):
        return teacher_training.ranking_of(encoder, rows).tolist()
    queries = encoders.encode_tokens(encoder, [row[0] for row in rows], query=True)
    passages = [encoders.encode_tokens(encoder, row[1:], query=False) for row in rows]
    return [[float((q @ d.T).max(axis=1).sum()) for d in own] for q, own in zip(queries, passages, strict=True)]


def test_another_loss_does_not_go_on_from_a_checkpoint(teacher):
    assert checkpoint_key(teacher, loss="ranking") != checkpoint_key(teacher)


@pytest.mark.parametrize(
    ("given", "message"),
    [({"negatives": 0}, "needs wrong passages to rank"), ({"mini_batch": 2}, "reads whole batches: leave mini_batch")],
)
def test_what_a_ranking_cannot_be_learnt_with_is_refused(given, message):
    with pytest.raises(RecipeError, match=message):
        options(loss="ranking", **given)
