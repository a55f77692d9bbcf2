"""One number that logits are multiplied by, fitted: a slope brought to zero."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from dataprune.flags._votes import Values

BETA_RANGE = (0.01, 100.0)
_STEPS = 60


def best_scale(slope_and_curvature: Callable[[float], tuple[float, float]]) -> float:
    """The beta in 0.01..100 where a loss's slope in beta is 0, from 1 on.

    Newton's steps, kept inside a bracket that shrinks; a step out of it halves it in log beta.
    """
    low, high = BETA_RANGE
    beta = 1.0
    for _ in range(_STEPS):
        slope, curvature = slope_and_curvature(beta)
        if slope == 0:
            break
        low, high = (beta, high) if slope < 0 else (low, beta)
        newton = beta - slope / curvature if curvature > 0 else np.inf
        following = newton if low < newton < high else float(np.sqrt(low * high))
        done = abs(following - beta) <= 1e-9 * beta
        beta = following
        if done:
            break
    return beta


def softmax(logits_bC: Values) -> Values:
    """Rows that sum to 1, float64 (b, C), freshly made."""
    p_bC: Values = logits_bC - logits_bC.max(axis=1, keepdims=True)
    np.exp(p_bC, out=p_bC)
    p_bC /= p_bC.sum(axis=1, keepdims=True)
    return p_bC
