"""DRoP: share the budget among classes by how badly they are learned, and draw within each.

Vysogorets et al. 2025 (ICLR, "DRoP: Distributionally Robust Data Pruning"), section 4: of class k
the share d_k = d * (1 - r_k) / Z is kept, where d is the share of all and r_k the recall of the
class; Z makes the budget come out. Where d_k is above 1 the class is kept whole, and what it cannot
take is shared on by the same rule. Within a class rows are drawn at random.

The error 1 - r_k is the mean of a score over the class: one that is never below 0 and higher for
worse rows as it is (`heldout_error`, `el2n`, `loss`); `confidence` and others in [-1, 0] plus 1;
one that is imported as higher for easier rows, in [0, 1] such as right or wrong, 1 minus it. The
paper takes the recall on held-out rows: that is `error_by: heldout_error`.
"""

from __future__ import annotations

import numpy as np

from dataprune.core.errors import UsageError
from dataprune.selection import Order, Pool, Rows, Strategy, Values
from dataprune.selection._quotas import weighted_quotas
from dataprune.tables.examples import occurrences

_SCALE = 1 << 30  # what the weights of all classes sum to, about


def _order(pool: Pool, *, error_by: str | None = None) -> Order:
    """error_by: the score whose class means are the errors; default: the score decided by.

    Raises:
        UsageError: the score is no error.
    """
    assert pool.labels is not None, "own_quotas: refused where rows are of no one class"
    sizes = np.bincount(pool.labels)
    quotas = weighted_quotas(pool.budget, _weights(_errors(pool, error_by), pool.labels), sizes)
    drawn = np.argsort(pool.ties, kind="stable")
    within = np.empty(len(drawn), dtype=np.bool_)
    within[drawn] = occurrences(pool.labels[drawn]) < quotas[pool.labels[drawn]]
    places = np.concatenate([drawn[within[drawn]], drawn[~within[drawn]]])
    return Order(places, np.full(len(places), "not_drawn"))


def _weights(errors: Values, labels: Rows) -> Rows:
    """The sum of errors of each class as a share of all, in whole numbers: no order of rows counts.

    The share of class k is d * (1 - r_k) / Z of its size, so its rows are in proportion to this.
    """
    highest = errors.max()
    whole = np.rint(errors / highest * (1 << 24)) if highest > 0 else np.zeros_like(errors)
    sums = np.bincount(labels, weights=whole)  # exact: whole numbers below 2 ** 53
    total = max(1, int(sums.sum()))
    return np.asarray([int(s) * _SCALE // total for s in sums], dtype=np.int64)


def _errors(pool: Pool, name: str | None) -> Values:
    """An error of each row, 0 or more, float64 (n,)."""
    hardness = pool.score(name).hardness
    lowest, highest = float(hardness.min()), float(hardness.max())
    if lowest >= 0:
        return hardness
    if lowest >= -1 and highest <= 0:
        return 1 + hardness
    raise UsageError(
        f"drop wants an error for each class, and {name or 'the score decided by'} is "
        f"{lowest:.4g} to {highest:.4g}",
        hint="name one in [0, inf) or [-1, 0], such as --by heldout_error or --by confidence",
    )


STRATEGY = Strategy(
    "drop",
    _order,
    reads=("error_by",),
    draws=True,
    own_quotas=True,
    says="shared the budget among the classes by their mean {by} and drew rows at random in each",
    meanings={"not_drawn": "The random draw did not choose it."},
)
