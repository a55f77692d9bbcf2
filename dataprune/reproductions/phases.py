"""What a network has learned, in the words of the paper (tables 1 and 2 of arXiv 2310.13061)."""

from __future__ import annotations

from typing import Literal

Phase = Literal[
    "coexistence", "partial inversion", "full inversion", "memorization", "forgetting", "confusion"
]
_HIGH = 0.9


def classify(train: float, test: float, *, xi: float, best_test: float) -> Phase:
    """The phase of a network with these accuracies, all of them shares.

    train: on the training labels as given. xi: the share of them that was drawn at random.
    best_test: the best test accuracy so far. It tells forgetting (it had generalized, then the
        weights collapsed) from confusion (it never did).

    Where xi is below 0.15 the paper's bounds of coexistence and full inversion overlap; the first
    line of its table decides here, too.
    """
    if test >= _HIGH:
        if train >= _HIGH:
            return "coexistence"
        return "partial inversion" if train >= 1.05 - xi else "full inversion"
    if train >= _HIGH:
        return "memorization"
    return "forgetting" if best_test >= _HIGH else "confusion"
