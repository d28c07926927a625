from __future__ import annotations

import copy
import io

import pytest
import torch
from torch import nn

from optical.training.row_adam import RowAdamW, RowsInUse

WORDS, WIDTH = 40, 6


class Net(nn.Module):
    """Embedding, mean, linear layer: a body and a matrix of rows."""

    def __init__(self, padding_idx=None):
        super().__init__()
        self.words = nn.Embedding(WORDS, WIDTH, padding_idx=padding_idx)
        self.out = nn.Linear(WIDTH, 3)

    def forward(self, ids):
        return self.out(self.words(ids).mean(1))


def batches(steps: int, seed: int = 0) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Ids of which low ones are frequent and high ones rare, as words are, and targets."""
    random = torch.Generator().manual_seed(seed)
    frequency = 1.0 / torch.arange(1, WORDS + 1)
    ids = [torch.multinomial(frequency, 20, replacement=True, generator=random).view(4, 5) for _ in range(steps)]
    return [(i, 3 * torch.randn(4, 3, generator=random)) for i in ids]


def dense(net: Net, lr: float = 0.01, embedding_lr: float = 0.003):
    groups = [{"params": net.out.parameters()}, {"params": net.words.parameters(), "lr": embedding_lr}]
    return torch.optim.AdamW(groups, lr=lr, weight_decay=0.0)


def sparse(net: Net, lr: float = 0.01, embedding_lr: float = 0.003, max_norm: float = 1.0) -> RowAdamW:
    net.words = RowsInUse(net.words)
    return RowAdamW(net.out.parameters(), net.words, lr=lr, embedding_lr=embedding_lr, max_norm=max_norm)


def train(net, optimizer, data, *, clip: bool, schedule=None, accumulation: int = 1) -> list[float]:
    losses = []
    for k, (ids, target) in enumerate(data, start=1):
        loss = nn.functional.mse_loss(net(ids), target)
        loss.backward()
        losses.append(float(loss.detach()))
        if k % accumulation == 0:
            if clip:
                nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
            if schedule:
                schedule.step()
            net.zero_grad()
    return losses


@pytest.mark.parametrize("accumulation", [1, 3])
@pytest.mark.parametrize("padding_idx", [None, 0])
def test_takes_the_steps_of_dense_adam(padding_idx, accumulation):
    one = Net(padding_idx)
    other = copy.deepcopy(one)
    start = one.words.weight.detach().clone()
    a, b = dense(one), sparse(other)
    linear = [torch.optim.lr_scheduler.LinearLR(o, 1.0, 0.1, 60) for o in (a, b)]
    expected = train(one, a, batches(60), clip=True, schedule=linear[0], accumulation=accumulation)
    found = train(other, b, batches(60), clip=False, schedule=linear[1], accumulation=accumulation)
    b.close()
    assert found == pytest.approx(expected, rel=1e-4)
    moved = (one.words.weight - start).norm(dim=1)
    gap = (one.words.weight - other.words.weight).norm(dim=1)
    assert moved.median() > 0.01
    assert (gap <= 1e-3 * moved + 1e-7).all()


@pytest.mark.parametrize("size", [1.0, 1e-7, 1e-8, 1e-9, 1e-11])  # of the gradient; Adam's epsilon is 1e-8
@pytest.mark.parametrize("started", [1, 300])  # bias correction changes fastest in the first steps
def test_a_row_that_is_read_once_moves_as_dense_adam_moves_it_whatever_the_size_of_its_gradient(size, started):
    words = nn.Embedding.from_pretrained(torch.zeros(WORDS, WIDTH))  # zero: small steps are not lost in rounding
    matrix = nn.Parameter(words.weight.clone())
    embedding = RowsInUse(words)
    a = torch.optim.AdamW([matrix], lr=0.003, weight_decay=0.0)
    b = RowAdamW([], embedding, lr=0.01, embedding_lr=0.003, max_norm=1e6)
    schedules = [torch.optim.lr_scheduler.LinearLR(o, 0.1, 1.0, 100) for o in (a, b)]
    direction = torch.randn(WORDS, WIDTH, generator=torch.Generator().manual_seed(1))
    for k in range(1, started + 201):
        rows = torch.arange(10, 20) if k == started else torch.arange(5)
        if k in (started + 3, started + 40):
            b.pay(torch.arange(10, 15))  # as if read in evaluation: the rest is paid later
        matrix.grad = torch.zeros(WORDS, WIDTH).index_copy_(0, rows, size * direction[rows])
        embedding(rows)
        embedding.used[0][1].grad = size * direction[rows]
        for optimizer, schedule in zip((a, b), schedules, strict=True):
            optimizer.step()
            schedule.step()
    b.close()
    moved = matrix.detach()[:20].norm(dim=1)
    gap = (matrix.detach() - words.weight.detach())[:20].norm(dim=1)
    assert (moved[:5] > 0).all()
    assert (moved[10:] > 0).all()
    assert (gap <= 1e-3 * moved).all(), (gap / moved).tolist()


@pytest.mark.parametrize("accumulation", [1, 3])
def test_pulls_rows_to_their_start_as_dense_adam_with_a_decay_does(accumulation):
    one = Net()
    other = copy.deepcopy(one)
    start, pull = one.words.weight.detach().clone(), torch.linspace(0, 60, WORDS)  # rare rows are pulled hardest
    a = dense(one)
    other.words = RowsInUse(other.words)
    b = RowAdamW(other.out.parameters(), other.words, lr=0.01, embedding_lr=0.003, pull=pull)
    linear = [torch.optim.lr_scheduler.LinearLR(o, 1.0, 0.1, 60) for o in (a, b)]

    def before_the_step(optimizer, *_):
        weight, rate = optimizer.param_groups[1]["params"][0], optimizer.param_groups[1]["lr"]
        with torch.no_grad():
            weight.copy_(start + torch.exp(-pull * rate)[:, None] * (weight - start))

    a.register_step_pre_hook(before_the_step)
    free = copy.deepcopy(other)
    expected = train(one, a, batches(60), clip=True, schedule=linear[0], accumulation=accumulation)
    found = train(other, b, batches(60), clip=False, schedule=linear[1], accumulation=accumulation)
    b.close()
    assert found == pytest.approx(expected, rel=1e-4)
    moved = (one.words.weight - start).norm(dim=1)
    assert moved.median() > 0.003
    gap = (one.words.weight - other.words.weight).norm(dim=1)
    assert (gap <= 5e-3 * moved + 1e-7).all(), (gap / moved).tolist()  # the steps of a span share their mean exponent
    c = RowAdamW(free.out.parameters(), free.words, lr=0.01, embedding_lr=0.003)
    train(free, c, batches(60), clip=False, accumulation=accumulation)
    c.close()
    assert moved[30:].mean() < 0.5 * (free.words.weight - start)[30:].norm(dim=1).mean()


def test_a_pull_moves_no_row_that_was_never_read_and_goes_on_after_a_resume_to_the_bit():
    whole = Net()
    start, pull = whole.words.weight.detach().clone(), torch.full((WORDS,), 30.0)
    half = copy.deepcopy(whole)
    made = []
    for net in (whole, half):
        net.words = RowsInUse(net.words)
        made.append(RowAdamW(net.out.parameters(), net.words, lr=0.01, embedding_lr=0.003, pull=pull))
    data = [(ids % 20, target) for ids, target in batches(8)]
    train(whole, made[0], data[:4], clip=False)
    made[0].pay()  # as for a checkpoint
    train(whole, made[0], data[4:], clip=False)
    train(half, made[1], data[:4], clip=False)
    saved, weights = made[1].state_dict(), half.state_dict()
    again = Net()
    again.words.weight.data.copy_(start)
    again.words = RowsInUse(again.words)
    resumed = RowAdamW(again.out.parameters(), again.words, lr=0.01, embedding_lr=0.003, pull=pull)
    again.load_state_dict(weights)
    resumed.load_state_dict(saved)
    train(again, resumed, data[4:], clip=False)
    made[0].close()
    resumed.close()
    assert torch.equal(again.words.weight, whole.words.weight)
    assert torch.equal(whole.words.weight[20:], start[20:])
    assert (whole.words.weight[:20] != start[:20]).any()


def test_frozen_rows_do_not_move_and_do_not_count_in_the_norm():
    net = Net()
    start, frozen = net.words.weight.detach().clone(), torch.arange(WORDS) < 5
    rows = RowsInUse(net.words, frozen)
    net.words = rows
    optimizer = RowAdamW([], rows, lr=0.01, embedding_lr=0.003)
    ids, target = batches(1)[0]
    nn.functional.mse_loss(net(ids), target).backward()
    read, gradient = rows.take_gradient()
    assert (gradient[read < 5] == 0).all()
    assert (gradient[read >= 5] != 0).any()
    train(net, optimizer, batches(20), clip=False)
    optimizer.close()
    assert torch.equal(net.words.weight[:5], start[:5])
    assert (net.words.weight[5:] != start[5:]).any()


def test_a_row_that_was_never_read_does_not_move():
    net = Net()
    start = net.words.weight.detach().clone()
    optimizer = sparse(net)
    ids = torch.arange(10).view(2, 5)
    train(net, optimizer, [(ids, torch.zeros(2, 3))] * 5, clip=False)
    optimizer.close()
    assert torch.equal(net.words.weight[10:], start[10:])
    assert not torch.isclose(net.words.weight[:10], start[:10]).all(dim=1).any()


@pytest.mark.parametrize("scale", [100, 0.01])  # far above the norm that is clipped to, and far below
def test_the_gradient_of_rows_counts_in_the_norm_that_is_clipped(scale):
    one = Net()
    other = copy.deepcopy(one)
    data = [(ids, scale * target) for ids, target in batches(8)]
    train(one, dense(one), data, clip=True)
    optimizer = sparse(other)
    train(other, optimizer, data, clip=False)
    optimizer.close()
    assert torch.allclose(one.out.weight, other.out.weight, atol=1e-5)


def test_small_gradients_are_not_made_large():
    net = Net()
    optimizer = sparse(net, max_norm=1e6)
    other = copy.deepcopy(net.out)
    same = torch.optim.AdamW(other.parameters(), lr=0.01, weight_decay=0.0)
    for factor in (1.0, 0.01):  # Adam forgets a scale that never changes
        for parameters in (net.out.parameters(), other.parameters()):
            for parameter in parameters:
                parameter.grad = torch.full_like(parameter, factor)
        optimizer.step()
        same.step()
    assert torch.allclose(net.out.weight, other.weight, atol=1e-7)


def test_reading_without_gradient_sees_paid_rows():
    one = Net()
    other = copy.deepcopy(one)
    train(one, dense(one), batches(20), clip=True)
    train(other, sparse(other), batches(20), clip=False)
    every = torch.arange(WORDS)[None]
    with torch.inference_mode():
        assert torch.allclose(one.words(every), other.words(every), atol=1e-4)


def test_saving_pays_all_rows_under_the_old_names():
    one = Net()
    other = copy.deepcopy(one)
    train(one, dense(one), batches(20), clip=True)
    train(other, sparse(other), batches(20), clip=False)
    saved = other.state_dict()
    assert saved.keys() == one.state_dict().keys()
    assert torch.allclose(saved["words.weight"], one.state_dict()["words.weight"], atol=1e-4)


def test_stopped_and_resumed_it_goes_the_same_way():
    first, data = Net(), batches(30)
    whole = copy.deepcopy(first)
    a, b = sparse(whole), sparse(first)
    train(whole, a, data[:13], clip=False)
    whole.state_dict(), a.state_dict()  # a run that is not stopped saves at the same step
    train(whole, a, data[13:], clip=False)
    train(first, b, data[:13], clip=False)
    file = io.BytesIO()
    torch.save((first.state_dict(), b.state_dict()), file)
    file.seek(0)
    weights, state = torch.load(file, weights_only=True)
    again = Net()
    optimizer = sparse(again)
    again.load_state_dict(weights)
    optimizer.load_state_dict(state)
    assert optimizer.taken == 13
    train(again, optimizer, data[13:], clip=False)
    a.close(), optimizer.close()
    assert all(torch.equal(v, again.state_dict()[k]) for k, v in whole.state_dict().items())


def test_what_was_owed_is_not_paid_onto_weights_loaded_later():
    net = Net()
    best = copy.deepcopy(net.state_dict())
    optimizer = sparse(net)
    train(net, optimizer, batches(10), clip=False)
    net.load_state_dict(best)
    optimizer.close()
    assert torch.equal(net.words.weight, best["words.weight"])


def test_the_matrix_itself_gets_no_gradient_while_in_use_and_learns_again_afterwards():
    net = Net()
    optimizer = sparse(net)
    ids, target = batches(1)[0]
    nn.functional.mse_loss(net(ids), target).backward()
    assert net.words.weight.grad is None
    assert not net.words.weight.requires_grad
    optimizer.step()
    optimizer.close()
    assert net.words.weight.requires_grad
    assert net.words.used == []
