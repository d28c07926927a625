"""What a student is asked to do, one idea a file: tensors in, scalar out.

An objective compares what the student made of a sentence of X with what the teacher made of its English translation. It
holds no model, no optimizer and no text, and it never writes into its arguments; :mod:`optical.distill` calls it.

- :mod:`optical.training.losses.ot`: tokens, by optimal transport (OPTICAL).
- :mod:`optical.training.losses.product`: tokens, under the plan that knows nothing; what transport has to beat.
- :mod:`optical.training.losses.greedy`: tokens, one to one, most similar pair first (DR.DECR).
- :mod:`optical.training.losses.assignment`: tokens, one to one, by the best alignment.
- :mod:`optical.training.losses.posterior`: tokens, as Gaussians and as sets (Minotaur).
- :mod:`optical.training.losses.pooled`: sentence vectors, by cosine or squared distance (Reimers & Gurevych 2020).
- :mod:`optical.training.losses.contrastive`: sentence vectors, told from the others of the batch (InfoNCE).
- :mod:`optical.training.losses.scores`: the ranking of a collection, by KL divergence of score distributions.

What all of them refuse is in :mod:`optical.training.losses.checks`.
"""
