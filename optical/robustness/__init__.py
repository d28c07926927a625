"""Worse input than the bitext has: to train on, and to measure on.

Training: a shift of the student's token embeddings, the worst of a ball or a random one, or a text with other words.
Measurement: texts as people type them. Takes tensors, texts and functions, gives shifts and texts; holds no model, and
knows no objective, no trainer and no recipe.

- :mod:`optical.robustness.smoothing`: a random shift of a ball, and how large the ball is.
- :mod:`optical.robustness.adversarial`: the worst shift of the same ball, and how an embedding is shifted.
- :mod:`optical.robustness.augment`: words redrawn from their synonyms or translations while training.
- :mod:`optical.robustness.perturb`: typos, lost diacritics, other case, code-switching, lost words; without torch.
"""
