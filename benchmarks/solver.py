"""The Sinkhorn solver against POT's, at the same marginal error, and against what this machine could do at best.

Costs are ``1 - cos`` of 384-dimensional vectors, where each y is a noisy copy of some x of the same sentence and all x
of a sentence share a direction, as token vectors of a translation do. Every candidate has to bring the worst problem of
the batch to the marginal error asked for (L1, rows and columns together); POT's own threshold, an L2 norm of one side,
is lowered until it does. The distance of its plan to a float64 one is shown, since a small error does not prove a plan.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from benchmarks.timing import CannotRunError, Options, Times, interleaved, markdown
from optical.transport import sinkhorn as solver
from optical.transport.cost import cosine_cost, uniform_mass
from optical.transport.plan import Stop

DIMENSION = 384
MOST_STEPS = 2000
STEP_SECONDS = 0.3  # a short training step on two cores


class Shape(NamedTuple):
    """A batch of b problems; lengths are random between the two numbers of a side, both included."""

    name: str
    n: tuple[int, int]
    m: tuple[int, int]
    b: int = 64


class Problem(NamedTuple):
    """Costs (b, n, m) and masses of a batch, with what it is asked for."""

    C: Tensor
    a: Tensor
    b: Tensor
    epsilon: float
    error: float


SQUARE = Shape("64 of 32 x 32", (32, 32), (32, 32))
RAGGED = Shape("64 of 5..48 x 5..32", (5, 48), (5, 32))
TRAINING = Shape("64 of 8..14 x 10..20", (8, 14), (10, 20))

Solve = Callable[[], Tensor]  # the plan, (b, n, m)


def run(options: Options) -> str:
    """Three tables: times at equal error, the floor, the shape of training."""
    try:
        import ot  # noqa: F401 - only whether it is there
    except ImportError as missing:
        raise CannotRunError("POT is not installed; pip install pot") from missing
    warnings.filterwarnings("ignore", module="ot")
    grid = [problem(s, e, t, options.device) for s in (SQUARE, RAGGED) for e in (0.1, 0.05) for t in (1e-3, 1e-5)]
    names = [shape.name for shape in (SQUARE, RAGGED) for _ in range(4)]
    measured = [compare(p, options) for p in grid]
    training = [problem(TRAINING, e, 1e-2, options.device) for e in (0.1, 0.05)]
    steps = [compare(p, options) for p in training]
    return "\n".join([
        "## solver: 64 transport problems at a time\n",
        "Milliseconds, median >= least; in brackets the marginal error reached, the largest distance of a plan to the "
        "float64 plan in units of the largest mass, and how many times ours is faster (by the medians).\n",
        table(names, grid, measured),
        "\nThe floor: K read twice an iteration by 2 products (4 b n m flops), each problem as often as it needed; C "
        "read, K and P written, one exponential an entry; and 4 calls of torch an iteration of the slowest problem.\n",
        floor([*zip(names, grid, measured, strict=True)], options),
        "\nThe shape of training: tolerance 1e-2, at most 100 iterations.\n",
        table([TRAINING.name] * 2, training, steps, share=True),
    ])  # fmt: skip


def problem(shape: Shape, epsilon: float, error: float, device: str) -> Problem:
    """The same problem for the same shape, on every machine."""
    random = torch.Generator().manual_seed(0)
    batch, n, m = shape.b, shape.n[1], shape.m[1]
    sentence = 0.7 * torch.randn(batch, 1, DIMENSION, generator=random)
    x = torch.randn(batch, n, DIMENSION, generator=random) + sentence
    partner = torch.randint(0, n, (batch, m, 1), generator=random).expand(-1, -1, DIMENSION)
    y = x.gather(1, partner) + 0.5 * torch.randn(batch, m, DIMENSION, generator=random)
    masses = []
    for low, high in (shape.n, shape.m):
        length = torch.randint(low, high + 1, (batch, 1), generator=random)
        masses.append(uniform_mass(torch.arange(high) < length).to(device))
    a, b = masses
    return Problem(cosine_cost(x, y).to(device), a, b, epsilon, error)


def compare(p: Problem, options: Options) -> dict[str, tuple[Times, Tensor] | str]:
    """Times and plan of each candidate, or the reason why it has none."""
    chosen: dict[str, Solve] = {}
    failed: dict[str, str] = {}
    for name, attempts in candidates(p).items():
        try:
            chosen[name] = first_that_reaches(p, attempts)
        except (RuntimeError, TypeError) as reason:
            failed[name] = f"fails: {str(reason).splitlines()[0][:60]}"
    times = interleaved(chosen, options.repeats, device=options.device)
    return {**{name: (times[name], chosen[name]()) for name in chosen}, **failed}


def candidates(p: Problem) -> dict[str, Iterator[Solve]]:
    """Each with its thresholds, from loose to tight; ours and the old loop stop by the error itself."""
    stop = Stop(p.error, MOST_STEPS, 10)
    a, b = p.a[:, None, :], p.b[:, None, :]
    found = {
        "ours": iter([lambda: solver.sinkhorn(p.C, *p[1:4], tolerance=p.error, max_steps=MOST_STEPS).coupling]),
        "ours, log domain": iter([lambda: solver._log_domain(p.C, a, b, p.epsilon, stop)[0]]),
        "POT batch sinkhorn": (pot_batch(p, "sinkhorn", p.error / k) for k in (1, 2, 4, 8, 16)),
        "POT batch log_sinkhorn": (pot_batch(p, "log_sinkhorn", p.error / k) for k in (1, 2, 4, 8, 16)),
    }
    if p.C.device.type == "cpu":
        found["POT loop"] = (pot_loop(p, p.error / k) for k in (1, 2, 4))
    return found


def first_that_reaches(p: Problem, attempts: Iterator[Solve]) -> Solve:
    """The loosest threshold that gives the error asked for, or the tightest."""
    attempt = None
    for attempt in attempts:
        if marginal_error(attempt(), p) <= 1.05 * p.error:  # ours is judged by the row sums it iterates on, in float32
            return attempt
    assert attempt is not None
    return attempt


def pot_batch(p: Problem, method: str, threshold: float) -> Solve:
    """POT's batch solver, without the graph it would record."""
    import ot

    def solve() -> Tensor:
        result: Any = ot.solve_batch(
            p.C, p.epsilon, p.a, p.b, max_iter=MOST_STEPS, tol=threshold, method=method, grad="detach"
        )
        return result.plan

    return solve


def pot_loop(p: Problem, threshold: float) -> Solve:
    """One call of ``ot.sinkhorn`` for each problem, without its padding."""
    import ot

    sizes = [(int((a > 0).sum()), int((b > 0).sum())) for a, b in zip(p.a, p.b, strict=True)]

    def solve() -> Tensor:
        plan = torch.zeros_like(p.C)
        for k, (n, m) in enumerate(sizes):
            one: Any = ot.sinkhorn(
                p.a[k, :n], p.b[k, :m], p.C[k, :n, :m], p.epsilon, numItermax=MOST_STEPS, stopThr=threshold, warn=False
            )
            plan[k, :n, :m] = one
        return plan

    return solve


def marginal_error(plan: Tensor, p: Problem) -> float:
    """Of the worst problem; nan where a plan has one."""
    return float(((plan.sum(-1) - p.a).abs().sum(-1) + (plan.sum(-2) - p.b).abs().sum(-1)).max())


def table(names: list[str], grid: list[Problem], measured: list[dict], *, share: bool = False) -> str:
    """One row a problem, one column a candidate."""
    columns = list(measured[0])
    rows = []
    for name, p, found in zip(names, grid, measured, strict=True):
        C, a, b = p.C.double(), p.a.double(), p.b.double()
        exact = solver.sinkhorn(C, a, b, p.epsilon, tolerance=1e-9, max_steps=20_000).coupling
        unit = torch.maximum(p.a.amax(-1), p.b.amax(-1))[:, None, None]
        cells = [name, p.epsilon, f"{p.error:.0e}"]
        for column in columns:
            if isinstance(found[column], str):
                cells.append(found[column])
                continue
            times, plan = found[column]
            ratio = f"; x{times.median / found['ours'][0].median:.1f}" if column != "ours" else ""
            off = float(((plan - exact).abs() / unit).max())
            cells.append(
                f"{1e3 * times.median:.2f} >= {1e3 * times.low:.2f} ({marginal_error(plan, p):.0e}; {off:.0e}{ratio})"
            )
        if share:
            cells.append(f"{100 * found['ours'][0].median / STEP_SECONDS:.1f} %")
        rows.append(cells)
    last = [f"ours / {1e3 * STEP_SECONDS:.0f} ms step"] if share else []
    return markdown(["problems", "epsilon", "error", *columns, *last], rows)


def floor(cases: list[tuple[str, Problem, dict]], options: Options) -> str:
    """Least time that counting allows, from rates measured on tensors as large as the batch's, so in the same cache."""
    rows = []
    for name, p, found in cases:
        rates = machine(p.C, options)
        plan = solver.sinkhorn(*p[:4], tolerance=p.error, max_steps=MOST_STEPS)
        sizes = (p.a > 0).sum(-1) * (p.b > 0).sum(-1)
        entries, work = p.C.numel(), float((sizes * plan.steps).sum())
        data, flops = 4 * (2 * work + 3 * entries), 4 * work
        parts = {
            "memory": data / rates["bytes"],
            "arithmetic": flops / rates["flops"] + entries / rates["exponentials"],
            "calls": 4 * int(plan.steps.max()) * rates["call"],
        }
        bound = max(parts, key=lambda k: parts[k])
        median = found["ours"][0].median
        rows.append([
            name, p.epsilon, f"{p.error:.0e}", f"{plan.steps.double().mean():.0f} / {int(plan.steps.max())}",
            f"{data / 1e6:.1f}", f"{flops / 1e6:.1f}", *(f"{1e3 * s:.2f}" for s in parts.values()),
            f"{1e3 * median:.2f}", f"{median / parts[bound]:.1f} ({bound})",
        ])  # fmt: skip
    seen = machine(cases[0][1].C, options)
    said = (
        f"Measured at {SQUARE.name}: {seen['bytes'] / 1e9:.0f} GB/s read, {seen['flops'] / 1e9:.0f} Gflop/s, "
        f"{seen['exponentials'] / 1e9:.2f} G exponentials/s, {1e6 * seen['call']:.1f} us a call.\n\n"
    )
    header = ["problems", "epsilon", "error", "iterations mean / most", "MB", "Mflop", "memory ms", "arithmetic ms"]
    return said + markdown([*header, "calls ms", "ours ms", "ours / floor"], rows)


def machine(C: Tensor, options: Options) -> dict[str, float]:
    """Bytes, flops and exponentials a second, and the seconds of a call, each by its best round: a floor is a floor."""
    flat, out = C.reshape(-1).abs(), torch.empty_like(C).reshape(-1)
    side = 512
    square = torch.rand(side, side, device=C.device)
    one = torch.ones(1, device=C.device)
    loops = 20

    def many(op: Callable[[], object]) -> Callable[[], object]:
        return lambda: [op() for _ in range(loops)]

    best = interleaved(
        {
            "bytes": many(lambda: torch.dot(flat, flat)),
            "flops": many(lambda: square @ square),
            "exponentials": many(lambda: torch.exp2(flat, out=out)),
            "call": many(lambda: torch.div(one, one)),
        },
        max(options.repeats, 7),
        device=options.device,
    )
    seconds = {name: times.low / loops for name, times in best.items()}
    return {
        "bytes": 4 * flat.numel() / seconds["bytes"],
        "flops": 2 * math.pow(side, 3) / seconds["flops"],
        "exponentials": flat.numel() / seconds["exponentials"],
        "call": seconds["call"],
    }
