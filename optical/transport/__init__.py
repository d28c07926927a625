"""Optimal transport between two sets of tokens: costs, masses, and the plan that moves one onto the other.

Takes cost tensors and masses, returns a :class:`~optical.transport.plan.Plan` with its marginal error and the steps it
took. Everything is batched and masked.

- :mod:`optical.transport.cost`: the cosine cost of token vectors; masses from masks, lengths and weights.
- :mod:`optical.transport.plan`: the plan, and what the solvers share.
- :mod:`optical.transport.sinkhorn`: the batched, masked, log-domain solver that training uses.
- :mod:`optical.transport.ipot`: proximal-point steps (IPOT), for comparison.
- :mod:`optical.transport.unbalanced`, :mod:`optical.transport.partial`: plans that leave some mass where it
  is, at a price or by a share.
- :mod:`optical.transport.exact`: the unregularised plan, by POT's network simplex: slow, for tests.
"""
