"""Optimal transport between two sets of tokens: costs, masses, and the plan that moves one onto the other.

Takes cost tensors and masses, gives a :class:`~optical.transport.sinkhorn.Plan` that carries its own doubt (marginal
error and steps). Knows tensors only: no tokens of a language, no model, no training.

- :mod:`optical.transport.cost`: the cosine cost of token vectors, masses from masks.
- :mod:`optical.transport.sinkhorn`: the batched, masked, log-domain solver that training uses.
- :mod:`optical.transport.ipot`: proximal-point steps, for comparison.
- :mod:`optical.transport.unbalanced`, :mod:`optical.transport.partial`: plans that leave mass where it is, at a
  price or by a share.
- :mod:`optical.transport.exact`: the unregularised plan, by POT's network simplex: slow, and the oracle.
"""
