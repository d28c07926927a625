"""The transport loss: put every token of X where its English counterpart is (OPTICAL, WSDM 2023)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

from jaxtyping import Float
from torch import Tensor

from optical.models.tokens import Tokens
from optical.training.losses import checks
from optical.transport.cost import cosine_cost, uniform_mass
from optical.transport.exact import exact
from optical.transport.ipot import ipot
from optical.transport.partial import partial
from optical.transport.plan import Plan
from optical.transport.sinkhorn import sinkhorn
from optical.transport.unbalanced import unbalanced


class PlanOptions(NamedTuple):
    """Options of the plan between the tokens of two sentences.

    Attributes:
        epsilon: Entropy, in units of the cost; at 0.1 the plan is near the product coupling, 0.02 near the exact one. A
            sequence is a schedule within each solve. ``ipot``: one number, its step beta. ``exact`` does not use it.
        marginals: All mass is moved (``balanced``); as much as its price makes worth it (``unbalanced``, Arase et al.,
            ACL 2023); the cheapest share of it (``partial``).
        slack: Price of mass that is not moved, in units of the cost; ``unbalanced`` only.
        share: Share of the mass that is moved; ``partial`` only.
        solver: Of balanced plans. ``ipot`` takes ``max_steps`` proximal steps, no fewer; ``exact`` is slow.
        tolerance: Error at which a plan is good enough. A training signal needs no more than 1e-2.
        max_steps: Most iterations for each epsilon.
    """

    epsilon: float | Sequence[float] = 0.05
    marginals: Literal["balanced", "unbalanced", "partial"] = "balanced"
    slack: float = 0.5
    share: float = 0.8
    solver: Literal["sinkhorn", "ipot", "exact"] = "sinkhorn"
    tolerance: float = 1e-2
    max_steps: int = 100


DEFAULTS = PlanOptions()


class Transport(NamedTuple):
    """The value of the loss, and how far its plans can be trusted.

    Attributes:
        loss: Scalar with gradient, between 0 and 2 where masses have total 1.
        error: Mean error of the plans of the batch, a scalar; see the solver for what it measures.
        steps: Mean number of solver iterations, a scalar.
        moved: Mean mass moved, a scalar: the total of a where marginals are balanced, less where they are not.
    """

    loss: Float[Tensor, ""]
    error: Float[Tensor, ""]
    steps: Float[Tensor, ""]
    moved: Float[Tensor, ""]


_Solve = Callable[[Tensor, Tensor, Tensor, PlanOptions], Plan]


def _ipot(C: Tensor, a: Tensor, b: Tensor, options: PlanOptions) -> Plan:
    beta = options.epsilon  # one number: the recipe refuses a schedule
    return ipot(C, a, b, beta, max_steps=options.max_steps)  # pyright: ignore[reportArgumentType] - see above


_SOLVERS: dict[str, _Solve] = {
    "sinkhorn": lambda C, a, b, o: sinkhorn(C, a, b, o.epsilon, tolerance=o.tolerance, max_steps=o.max_steps),
    "ipot": _ipot,
    "exact": lambda C, a, b, o: exact(C, a, b),
}
_LOOSE: dict[str, _Solve] = {
    "unbalanced": lambda C, a, b, o: unbalanced(
        C, a, b, o.epsilon, o.slack, tolerance=o.tolerance, max_steps=o.max_steps
    ),
    "partial": lambda C, a, b, o: partial(C, a, b, o.epsilon, o.share, tolerance=o.tolerance, max_steps=o.max_steps),
}


def ot(
    x: Tokens,
    y: Tokens,
    options: PlanOptions = DEFAULTS,
    *,
    a: Float[Tensor, "b n"] | None = None,
    b: Float[Tensor, "b m"] | None = None,
    prior: Float[Tensor, "b n m"] | None = None,
) -> Transport:
    """Mean over the batch of ``<P, C>``, with P a plan between the tokens and ``C_ij = 1 - cos(x_i, y_j)``.

    The number returned is the transport cost of the plan, not the regularised value. P is a constant of the gradient,
    so the gradient is that of the regularised optimum (Danskin), not of ``<P*(C), C>``: the plan says which tokens
    belong together, the gradient pulls them together. It flows into both x and y; a teacher's y should carry none.
    Under ``unbalanced`` and ``partial`` it is the cost of the mass that is moved, and lower for that alone.

    With a prior L the plan is that of the costs ``C + L``; the loss stays ``<P, C>``, since L is a constant, which has
    no gradient, and without it values compare between priors.

    Args:
        x: Student tokens of the X sentences, ``(b, n, d)``; need not be unit vectors.
        y: Teacher tokens of the English sentences, ``(b, m, d)``.
        options: Which plan, and by which solver.
        a: Masses of the x tokens, 0 on padding; uniform where None (:mod:`optical.transport.cost` has others).
        b: Masses of the y tokens; under ``balanced`` with the totals of a.
        prior: Price of a pair of tokens in the plan beside its cost, finite, in units of the cost; a constant.

    Raises:
        ValueError: What :mod:`optical.training.losses.checks` and the solver refuse; an unknown name; a solver other
            than ``sinkhorn`` for plans that are not balanced.

    Reference: Huang, Yu and Allan, "Improving cross-lingual information retrieval on low-resource languages via optimal
    transport distillation", WSDM 2023.
    """
    C, plan = coupled(x, y, options, a=a, b=b, prior=prior)
    loss = (plan.coupling * C).sum(dim=(1, 2)).mean()
    moved = plan.coupling.sum((1, 2)).mean()
    return Transport(loss, plan.error.mean(), plan.steps.to(C.dtype).mean(), moved)


def coupled(
    x: Tokens,
    y: Tokens,
    options: PlanOptions = DEFAULTS,
    *,
    a: Float[Tensor, "b n"] | None = None,
    b: Float[Tensor, "b m"] | None = None,
    prior: Float[Tensor, "b n m"] | None = None,
) -> tuple[Float[Tensor, "b n m"], Plan]:
    """The costs, with gradient, and the plans that :func:`ot` adds them up by; its arguments and its errors."""
    solve = _chosen(options.marginals, options.solver)
    x, y = checks.tokens(x, y)
    C = cosine_cost(x.vectors, y.vectors)  # (b, n, m)
    a = uniform_mass(x.mask, C.dtype) if a is None else checks.masses("a", a, x.mask)
    b = uniform_mass(y.mask, C.dtype) if b is None else checks.masses("b", b, y.mask)
    return C, solve(C if prior is None else C + checks.prior(prior, C), a, b, options)


def _chosen(marginals: str, solver: str) -> _Solve:
    _check_name("marginals", marginals, {"balanced": None, **_LOOSE})
    _check_name("solver", solver, _SOLVERS)
    if marginals == "balanced":
        return _SOLVERS[solver]
    if solver != "sinkhorn":
        raise ValueError(
            f"{marginals} plans are found by sinkhorn only; received solver {solver!r}; leave it out, or set marginals "
            "to 'balanced'"
        )
    return _LOOSE[marginals]


def _check_name(option: str, value: str, known: Mapping[str, object]) -> None:
    if value not in known:
        raise ValueError(f"unknown {option}; received {value!r}; choose one of {', '.join(known)}")
