"""Keep the first row of every group of duplicates; a filter.

The groups are those that scoring found (column `group`: exact copies, and near ones if they were
asked for), or exact copies alone, by content hash. The first row is the lowest in the source among
those that no step before has dropped. To let the score choose which row of a group stays, use
`max_per_group` instead.
"""

from __future__ import annotations

import numpy as np

from dataprune.core.errors import UsageError
from dataprune.selection import Dropped, Left, Strategy
from dataprune.tables.examples import GROUP, occurrences

_COLUMNS = {"group": GROUP.name, "content": "content_hash"}


def _drop(left: Left, *, of: str = "group") -> Dropped:
    """of: "group", or "content" for exact copies alone.

    Raises:
        UsageError: another word, or the table has no groups.
    """
    if of not in _COLUMNS:
        raise UsageError(f"of is {of!r}", hint=f"it can be {' or '.join(_COLUMNS)}")
    if _COLUMNS[of] not in left.table.schema.names:
        raise UsageError(
            "strategy duplicates wants groups, and the score table has no group column",
            hint="score again with this dataprune, or drop exact copies: --param of=content",
        )
    by_row = np.argsort(left.table.column("row").to_numpy())
    alike = left.table.column(_COLUMNS[of]).to_numpy()[by_row]
    places = by_row[occurrences(alike) > 0]
    return Dropped(places, np.full(len(places), "duplicate"))


STRATEGY = Strategy(
    "duplicates",
    drop=_drop,
    needs_score=False,
    says="left out duplicates",
    meanings={"duplicate": "A row before it in the source is its copy, or nearly so."},
)
