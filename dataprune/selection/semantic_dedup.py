"""Drop rows whose features are nearly those of another: SemDeDup; a filter.

Abbas et al. 2023 ("SemDeDup"): k-means on features of length 1; within a cluster the rows are
sorted by cosine to its centre, the least similar first, and a row is dropped if its cosine to any
row before it exceeds 1 - eps. So of two that are alike the one farther from the centre stays; a
chain of likenesses loses all but its first, as in the authors' code. Pairs in different clusters
are not compared. Within a cluster it goes in blocks: memory is linear in the rows.

`clusters` defaults to one for each 1,000 rows. `per_class: true` keeps classes apart.
"""

from __future__ import annotations

import numpy as np

from dataprune.core.errors import UsageError
from dataprune.selection import Dropped, Left, Rows, Strategy
from dataprune.selection._cloud import (
    BLOCK_NUMBERS,
    Float32,
    check_count,
    check_yes_no,
    classes_of,
    features_in_tie_order,
    unit_length,
)
from dataprune.selection._kmeans import k_means

_ROWS_PER_CLUSTER = 1000


def _drop(
    left: Left, *, eps: object, clusters: object = None, per_class: object = False
) -> Dropped:
    """eps: how much the cosine of two rows may fall short of 1 for them to be alike, in (0, 1).

    Raises:
        UsageError: a parameter is out of range.
    """
    if isinstance(eps, bool) or not isinstance(eps, int | float) or not 0 < eps < 1:
        raise UsageError(f"eps is {eps!r}", hint="give a number in (0, 1), such as 0.05")
    if clusters is not None:
        check_count("clusters", clusters)
    places, features = features_in_tie_order(left.pool)
    features = unit_length(features)
    found = []
    apart = check_yes_no("per_class", per_class)
    for rows in classes_of(left.pool, places, per_class=apart) if len(places) else []:
        usual = max(1, round(len(rows) / _ROWS_PER_CLUSTER))
        wanted = clusters if isinstance(clusters, int) else usual
        seed = int(left.pool.ties[places[rows[0]]])
        of, centres = k_means(features[rows], min(wanted, len(rows)), seed)
        for k in range(len(centres)):
            members = rows[of == k]
            closeness = (features[members] @ centres[k]).astype(np.float32)
            members = members[np.argsort(closeness, kind="stable")]
            found.append(members[like_an_earlier(features[members], 1 - eps)])
    alike = places[np.concatenate(found)] if found else np.empty(0, dtype=np.int64)
    return Dropped(alike, np.full(len(alike), "near_duplicate"))


def like_an_earlier(features: Float32, limit: float) -> Rows:
    """Places of rows whose cosine to some row before them exceeds the limit, ascending."""
    exact = features.astype(np.float64)
    step = max(1, BLOCK_NUMBERS // max(1, len(exact)))
    found = []
    for start in range(0, len(exact), step):
        stop = min(start + step, len(exact))
        cosine = (exact[start:stop] @ exact[:stop].T).astype(np.float32)
        earlier = np.arange(stop) < np.arange(start, stop)[:, None]
        found.append(start + np.flatnonzero(((cosine > limit) & earlier).any(axis=1)))
    return np.concatenate(found) if found else np.empty(0, dtype=np.int64)


STRATEGY = Strategy(
    "semantic_dedup",
    drop=_drop,
    needs_score=False,
    needs_features=True,
    says="left out rows with nearly the features of another",
    meanings={"near_duplicate": "Its features are nearly those of a row that came before it."},
)
