"""What a student is asked to do, one idea a file: tensors in, scalar out.

An objective compares what the student made of a sentence of X with what the teacher made of its English translation. It
holds no model, no optimizer and no text, and it never writes into its arguments; :mod:`optical.distill` calls it.

- :mod:`optical.objectives.ot`: tokens, by optimal transport (OPTICAL).
- :mod:`optical.objectives.product`: tokens, under the plan that knows nothing; what transport has to beat.
- :mod:`optical.objectives.greedy`: tokens, one to one, most similar pair first (DR.DECR).
- :mod:`optical.objectives.assignment`: tokens, one to one, by the best alignment.
- :mod:`optical.objectives.posterior`: tokens, as Gaussians and as sets (Minotaur).
- :mod:`optical.objectives.pooled`: sentence vectors, by cosine or squared distance (Reimers & Gurevych 2020).
- :mod:`optical.objectives.contrastive`: sentence vectors, told from the others of the batch (InfoNCE).
- :mod:`optical.objectives.scores`: the ranking of a collection, by KL divergence of score distributions.

What all of them refuse is in :mod:`optical.objectives.checked`.
"""
