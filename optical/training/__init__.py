"""Worse input than the bitext has: to train on, and to measure on.

Training: a shift of the student's token embeddings, the worst of a ball or a random one, or a text with other words.
Measurement: texts as people type them. Takes tensors, texts and functions, gives shifts and texts; holds no model, and
knows no objective, no trainer and no recipe.

- :mod:`optical.training.smoothing`: a random shift of a ball, and how large the ball is.
- :mod:`optical.training.adversarial`: the worst shift of the same ball, and how an embedding is shifted.
- :mod:`optical.training.augmentation`: words redrawn from their synonyms or translations while training.
- :mod:`optical.evaluation.perturbations`: typos, lost diacritics, other case, code-switching, lost words; without
  torch.
"""
