"""Adam that touches only the embedding rows of the batch, and takes the same steps as dense Adam.

A student with a grown vocabulary has most of its weights in one matrix, of which a batch reads a few hundred rows. The
dense gradient of that matrix, its norm and its update cost memory and time for rows that have nothing to learn. Here
the batch's rows are gathered into a small parameter. The steps that Adam's momentum would have taken on a row since it
was last read ("what is owed") are taken at once ("paid") when the row is next read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

REACH = 154  # steps that a row's momentum is followed for: (.9 / sqrt(.999))^154 is 1e-7
SPANS = (1, 2, 3, 4, 5, 6, 8, 10, 13, 17, 22, 29, 38, 50, 70, 100)  # steps since a row was read, where each span begins


class RowsInUse(nn.Module):
    """Replace an ``nn.Embedding`` while training; the rows read get their gradients in small parameters.

    Attributes:
        weight: The embedding matrix ``(v, d)``, under the name that it has in the module replaced; without gradient.
        read: Called with the rows about to be read, and with None before all are (saving, loading).
        used: For every forward pass since the last step: the rows read, ``(u,)``, and the parameter that holds them.
        frozen: Rows that never have a gradient, ``(v,)``; None for no row but that of padding.
    """

    def __init__(self, embedding: nn.Embedding, frozen: Tensor | None = None) -> None:
        """Take over the matrix of an embedding; nothing is copied."""
        super().__init__()
        self.weight, self.frozen = embedding.weight, frozen
        self.padding_idx = embedding.padding_idx
        self.read: Callable[[Tensor | None], None] = lambda _: None
        self.used: list[tuple[Tensor, nn.Parameter]] = []
        self.register_state_dict_pre_hook(lambda module, *_: module.read(None))
        self.register_load_state_dict_pre_hook(lambda module, *_: module.read(None))

    def forward(self, ids: Tensor) -> Tensor:
        """Vectors ``(*, d)`` of ids ``(*)``."""
        rows, inverse = ids.unique(return_inverse=True)
        self.read(rows)
        if not torch.is_grad_enabled():
            return nn.functional.embedding(ids, self.weight)
        leaf = nn.Parameter(self.weight.detach()[rows])
        self.used.append((rows, leaf))
        return nn.functional.embedding(inverse, leaf)

    def take_gradient(self) -> tuple[Tensor, Tensor]:
        """Return the rows read since the last call that have a gradient, ``(u,)``, and the gradient ``(u, d)``.

        Both are forgotten. The gradient of a padding row is 0, as in ``nn.Embedding``, and that of a frozen row.
        """
        found = [(rows, leaf.grad) for rows, leaf in self.used if leaf.grad is not None]
        self.used = []
        if not found:
            return torch.zeros(0, dtype=torch.int64), self.weight.new_zeros(0, self.weight.shape[1])
        rows, inverse = torch.cat([rows for rows, _ in found]).unique(return_inverse=True)
        gradient = self.weight.new_zeros(len(rows), self.weight.shape[1])
        gradient.index_add_(0, inverse, torch.cat([grad for _, grad in found]))
        if self.padding_idx is not None:
            gradient[rows == self.padding_idx] = 0.0
        if self.frozen is not None:
            gradient[self.frozen[rows]] = 0.0
        return rows, gradient


class RowAdamW(torch.optim.AdamW):
    """AdamW without weight decay for a body of dense parameters and one :class:`RowsInUse`.

    A row without gradient moves on by its momentum in dense Adam. With ``j = k - s`` steps since the step s that read
    it last, step k adds ``-c_k m b1^j / (sqrt(v b2^j) + eps sqrt(1 - b2^k))`` where
    ``c_k = lr_k sqrt(1 - b2^k) / (1 - b1^k)`` (Kingma & Ba 2015, section 2). That is ``-m w_k / (sqrt(v) + e_k)`` with
    ``w_k = c_k (b1 / sqrt(b2))^j`` and ``e_k = eps sqrt(1 - b2^k) / b2^(j/2)``, which are the same numbers for all
    rows that were last read in step s. The sum over k has two short cuts:

    - It ends after :data:`REACH` steps; w_k is then a ten-millionth of ``c_k``.
    - e_k changes slowly, so the steps of a span of :data:`SPANS` share its mean, weighted by w_k. Where epsilon is
      small beside ``sqrt(v)`` that changes nothing; where it is large, what is owed is within .1 % for s = 1, .04 %
      for s = 10 and .002 % for s = 100.

    Rows may be pulled back to where they were when the optimizer was made: before Adam's step k each row's way from
    there is multiplied by ``exp(-pull lr_k)``, whether it is read or not, as AdamW decays weights apart from the
    gradient (Loshchilov & Hutter 2019). What is owed of step k is multiplied by the factors after it; the steps of a
    span share their mean exponent.
    """

    def __init__(
        self,
        body: Iterable[nn.Parameter],
        embedding: RowsInUse,
        *,
        lr: float,
        embedding_lr: float,
        max_norm: float = 1.0,
        pull: Tensor | None = None,
    ) -> None:
        """Set up two groups of parameters, the body's first.

        Args:
            body: Dense parameters.
            embedding: Trained by its rows.
            lr: Learning rate of the body.
            embedding_lr: Learning rate of the rows.
            max_norm: All gradients together are clipped to this l2 norm.
            pull: How strongly each row is pulled to where it is now, ``(v,)``; None for not at all, and no copy.
        """
        groups = [{"params": list(body)}, {"params": [embedding.weight], "lr": embedding_lr}]
        super().__init__(groups, lr=lr, weight_decay=0.0, fused=True)
        self.embedding, self.max_norm = embedding, max_norm
        self.last = torch.zeros(len(embedding.weight), dtype=torch.int64)  # step up to which each row is paid
        self.scales = torch.zeros(1, dtype=torch.float64)  # c_k of every step taken since loading, step 0 first
        self.rates = torch.zeros(1, dtype=torch.float64)  # learning rates up to each of these steps, added up
        weight = embedding.weight
        self.pull, self.start = pull, None if pull is None else weight.detach().clone()
        moments = {"exp_avg": torch.zeros_like(weight), "exp_avg_sq": torch.zeros_like(weight)}
        self.state[weight] = {"step": torch.zeros(()), **moments}
        weight.requires_grad_(False)
        embedding.read = self.pay

    @property
    def taken(self) -> int:
        """Steps taken."""
        return int(self.state[self.embedding.weight]["step"])

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride] - no closure's loss
        """Clip all gradients together, step the body, step the rows that were read."""
        rows, gradient = self.embedding.take_gradient()
        body = [p.grad for p in self.param_groups[0]["params"] if p.grad is not None]
        norm = torch.nn.utils.get_total_norm([*body, gradient])
        torch._foreach_mul_([*body, gradient], torch.clamp(self.max_norm / (norm + 1e-6), max=1.0))
        super().step(closure)
        self._step_rows(rows, gradient)

    def _step_rows(self, rows: Tensor, gradient: Tensor) -> None:
        group, state = self.param_groups[1], self.state[self.embedding.weight]
        beta1, beta2 = group["betas"]
        state["step"] += 1
        t = self.taken
        scale = group["lr"] * (1 - beta2**t) ** 0.5 / (1 - beta1**t)
        self.scales = torch.cat([self.scales, torch.tensor([scale], dtype=torch.float64)])
        self.rates = torch.cat([self.rates, self.rates[-1:] + group["lr"]])
        self._pull_back(rows, self.rates[t] - self.rates[t - 1])
        m = state["exp_avg"][rows].lerp_(gradient, 1 - beta1)
        v = state["exp_avg_sq"][rows].mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        step = m / (v.sqrt() + group["eps"] * (1 - beta2**t) ** 0.5)
        self.embedding.weight.index_add_(0, rows, step, alpha=-scale)
        state["exp_avg"].index_copy_(0, rows, m)
        state["exp_avg_sq"].index_copy_(0, rows, v)
        self.last[rows] = t

    @torch.no_grad()
    def pay(self, rows: Tensor | None = None) -> None:
        """Bring rows, or all of them, to where dense Adam would have them after the steps taken."""
        group, state, weight = self.param_groups[1], self.state[self.embedding.weight], self.embedding.weight
        (beta1, beta2), taken = group["betas"], self.taken
        late = (self.last < taken).nonzero()[:, 0] if rows is None else rows[self.last[rows] < taken]
        late = late[self.last[late].argsort()]
        for some in late.split(8192):  # a full matrix of temporaries would be as large as what is saved
            s = self.last[some]
            m, v = state["exp_avg"][some], state["exp_avg_sq"][some]
            self._pull_back(some, self.rates[taken] - self.rates[s])
            weight.index_add_(0, some, m * self._owed(some, s, v.sqrt()), alpha=-1)
            age = (taken - s).to(weight.dtype)[:, None]
            state["exp_avg"].index_copy_(0, some, m * beta1**age)
            state["exp_avg_sq"].index_copy_(0, some, v * beta2**age)
            self.last[some] = taken

    def _pull_back(self, rows: Tensor, rates: Tensor) -> None:
        """Pull rows to their start, by learning rates added up, one ``()`` or one a row ``(u,)``."""
        if self.pull is not None and self.start is not None:
            weight, share = self.embedding.weight, -torch.expm1(-self.pull[rows] * rates).to(self.start.dtype)
            weight.index_add_(0, rows, (self.start[rows] - weight[rows]) * share[:, None])

    def _owed(self, rows: Tensor, last: Tensor, root: Tensor) -> Tensor:
        """Sum over k, for one unit of momentum, the steps that a row is owed: ``w_k / (sqrt(v) + e_k)``.

        Args:
            rows: The rows, ``(u,)``.
            last: Step that each row is paid up to, ``(u,)``, ascending.
            root: ``sqrt(v)`` of the rows, ``(u, d)``.
        """
        group = self.param_groups[1]
        (beta1, beta2), taken = group["betas"], self.taken
        steps, inverse = last.unique_consecutive(return_inverse=True)
        j = torch.arange(1, REACH + 1)
        k = steps[:, None] + j  # (s, REACH)
        w = self.scales[k.clamp(max=taken)] * (beta1 / beta2**0.5) ** j.double() * (k <= taken)
        e = group["eps"] * (1 - beta2 ** k.double()).sqrt() / beta2 ** (j.double() / 2)
        span = torch.bucketize(j, torch.tensor(SPANS), right=True) - 1
        weights = w.new_zeros(len(steps), len(SPANS)).index_add_(1, span, w)
        epsilons = w.new_zeros(len(steps), len(SPANS)).index_add_(1, span, w * e) / weights
        if self.pull is not None:
            since = w * (self.rates[taken] - self.rates[k.clamp(max=taken)])
            since = w.new_zeros(len(steps), len(SPANS)).index_add_(1, span, since) / weights
            weights = weights[inverse] * torch.exp(-self.pull[rows, None] * since.nan_to_num(0.0)[inverse])
        else:
            weights = weights[inverse]
        weights, epsilons = (x.to(root.dtype) for x in (weights, epsilons.nan_to_num(1.0)[inverse]))
        owed = torch.zeros_like(root)
        for b, begin in enumerate(SPANS):
            n = int(torch.searchsorted(last, taken - begin, right=True))  # rows that have missed so many steps
            owed[:n] += weights[:n, b, None] / (root[:n] + epsilons[:n, b, None])
        return owed

    def state_dict(self) -> dict[str, Any]:
        """Pay all rows first, so that nothing owed has to be saved."""
        self.pay()
        return super().state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a saved state; the weights must be those of the same moment."""
        super().load_state_dict(state_dict)
        self.last.fill_(self.taken)
        self.scales = torch.zeros(self.taken + 1, dtype=torch.float64)  # no row owes anything of these steps
        self.rates = torch.zeros(self.taken + 1, dtype=torch.float64)

    def close(self) -> None:
        """Pay all rows and let go of the embedding."""
        self.pay()
        self.embedding.read = lambda _: None
        self.embedding.weight.requires_grad_(True)


@contextmanager
def rows_in_use(
    model: Any,
    parameters: Iterable[nn.Parameter],
    *,
    lr: float,
    embedding_lr: float,
    frozen: Tensor | None = None,
    pull: Tensor | None = None,
) -> Iterator[RowAdamW]:
    """Replace the input embedding of a transformers model by :class:`RowsInUse`, while open; gives the optimizer.

    Args:
        model: With ``get_input_embeddings`` and ``set_input_embeddings``.
        parameters: What is to be trained; the embedding matrix may be among them.
        lr: Learning rate of the body.
        embedding_lr: Learning rate of the embedding matrix.
        frozen: See :class:`RowsInUse`.
        pull: See :class:`RowAdamW`.
    """
    embedding = model.get_input_embeddings()
    rows = RowsInUse(embedding, frozen)
    body = [parameter for parameter in parameters if parameter is not embedding.weight]
    optimizer = RowAdamW(body, rows, lr=lr, embedding_lr=embedding_lr, pull=pull)
    model.set_input_embeddings(rows)
    try:
        yield optimizer
    finally:
        optimizer.close()
        model.set_input_embeddings(embedding)
