"""How well numbers find wrong labels: areas, what one adds to others, paired bootstrap of rows."""

from collections.abc import Callable

import numpy as np

DRAWS, FOLDS = 1000, 5
Area = Callable[[np.ndarray, np.ndarray, np.ndarray], float]  # of dense ranks, wrong, weights


def auroc(rank: np.ndarray, wrong: np.ndarray, weight: np.ndarray) -> float:
    """Chance that a wrong row ranks above a right one, ties half."""
    hits, others = np.bincount(rank, weight * wrong), np.bincount(rank, weight * ~wrong)
    below = np.cumsum(others) - others
    return float((hits * (below + others / 2)).sum() / (hits.sum() * others.sum()))


def auprc(rank: np.ndarray, wrong: np.ndarray, weight: np.ndarray) -> float:
    """Average precision: precision from the top to each wrong row, a mean over these."""
    hits, every = (np.bincount(rank, w)[::-1] for w in (weight * wrong, weight))
    precision = np.cumsum(hits) / np.maximum(np.cumsum(every), 1)
    return float((hits * precision).sum() / hits.sum())


def area(values: np.ndarray, wrong: np.ndarray, of: Area = auroc) -> float:
    return of(_ranks(values), wrong, np.ones(len(wrong)))


def gain(more: np.ndarray, less: np.ndarray, wrong: np.ndarray, of: Area = auroc) -> str:
    """The first's area less the second's, with its interval over the same draws of rows."""
    rng, n = np.random.default_rng(0), len(wrong)
    first, second = _ranks(more), _ranks(less)
    found = []
    for _ in range(DRAWS):
        weight = np.bincount(rng.integers(0, n, n), minlength=n)
        found.append(of(first, wrong, weight) - of(second, wrong, weight))
    low, high = np.quantile(found, [0.025, 0.975])
    return f"{area(more, wrong, of) - area(less, wrong, of):+.4f} ({low:+.4f} to {high:+.4f})"


def _ranks(values: np.ndarray) -> np.ndarray:
    _, rank = np.unique(values, return_inverse=True)
    return rank


def combined(wrong: np.ndarray, *columns: np.ndarray) -> np.ndarray:
    """What a logistic regression on the columns' ranks says of each row, 5-fold cross-fitted.

    It is fitted to the known wrong labels, which nobody has in earnest: what columns could add.
    """
    from scipy.stats import rankdata
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    ranks = np.stack([rankdata(column) / len(column) for column in columns], axis=1)
    features = (ranks - ranks.mean(axis=0)) / ranks.std(axis=0)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    model = LogisticRegression(max_iter=1000)
    found = cross_val_predict(model, features, wrong, cv=folds, method="decision_function")
    return np.asarray(found)
