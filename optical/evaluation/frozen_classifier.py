"""A classifier of pairs on frozen sentence vectors: logistic regression on ``[u, v, |u - v|, u * v]``.

The features are those of Conneau et al. 2017 (InferSent, section 3.1) and of SentEval; the classifier is
scikit-learn's.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float, Int

INVERSE_PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1)  # of scikit-learn's C, for features of unit variance
_TRIED_ON = 5  # one item in so many of the training part chooses the penalty
_ITERATIONS = 500
_CONSTANT = 1e-6  # of the largest variance of a feature; a student may move what is constant in its teacher


def features(first: Float[np.ndarray, "n e"], second: Float[np.ndarray, "n e"]) -> Float[np.ndarray, "n f"]:
    """``[u, v, |u - v|, u * v]`` of each pair, ``f = 4 e``."""
    return np.hstack([first, second, np.abs(first - second), first * second])


def fit(inputs: Float[np.ndarray, "n f"], gold: Int[np.ndarray, " n"], groups: Int[np.ndarray, " n"]) -> Any:
    """Fit a logistic regression to features of unit variance, and refit it with the penalty that is best on a fifth.

    Features that are the same in all pairs are left out: all-MiniLM-L6-v2 has two dimensions of nearly 0 in every text,
    which unit variance would blow up until they give every answer about a student that has moved them by 1e-6.

    Args:
        inputs: Features.
        gold: Numbers of the classes.
        groups: Items of one group are all on one side when the penalty is chosen.

    Returns:
        A pipeline of scikit-learn; its ``predict`` takes features.
    """
    from sklearn.feature_selection import VarianceThreshold
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GroupShuffleSplit
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    constant = _CONSTANT * float(inputs.var(axis=0).max())

    def made(penalty: float) -> Any:
        varying = [VarianceThreshold(constant)] if constant else []
        return make_pipeline(*varying, StandardScaler(), LogisticRegression(C=penalty, max_iter=_ITERATIONS))

    best = INVERSE_PENALTIES[1]
    if len(np.unique(groups)) >= _TRIED_ON:
        learnt, held = next(GroupShuffleSplit(1, test_size=1 / _TRIED_ON, random_state=0).split(inputs, gold, groups))
        if set(gold[learnt]) == set(gold):
            worth = {
                c: made(c).fit(inputs[learnt], gold[learnt]).score(inputs[held], gold[held]) for c in INVERSE_PENALTIES
            }
            best = max(worth, key=lambda c: worth[c])
    return made(best).fit(inputs, gold)
