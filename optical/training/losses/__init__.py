"""Losses of distillation, one a file: tensors in, scalar out.

A loss compares the student's vectors of sentences of X with the teacher's vectors of their English translations. It
never writes into its arguments; :mod:`optical.training.distillation_loss` adds the weighted losses up.

- :mod:`optical.training.losses.ot`: tokens, by optimal transport (OPTICAL).
- :mod:`optical.training.losses.product`: tokens, under the uniform plan; what transport has to beat.
- :mod:`optical.training.losses.greedy`: tokens, one to one, most similar pair first (DR.DECR).
- :mod:`optical.training.losses.assignment`: tokens, one to one, by the best alignment.
- :mod:`optical.training.losses.posterior`: tokens, as Gaussians and as sets (Minotaur).
- :mod:`optical.training.losses.pooled`: sentence vectors, by cosine or squared distance (Reimers & Gurevych 2020).
- :mod:`optical.training.losses.contrastive`: sentence vectors, told from the others of the batch (InfoNCE).
- :mod:`optical.training.losses.scores`: the ranking of a collection, by KL divergence of score distributions.

What all of them check is in :mod:`optical.training.losses.checks`.
"""
