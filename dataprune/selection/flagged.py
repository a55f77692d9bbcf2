"""Drop the rows that a flag of the score table speaks against; a filter.

With `flag: label_issue` this is the step that `drop_likely` takes before all others: the rows of
tier likely go, never a suspect one unless `tier: suspect` asks for those too. Of any other flag the
rows go whose verdict `is_FLAG` is true.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dataprune.core.errors import UsageError
from dataprune.selection import Dropped, Left, Strategy
from dataprune.tables.flags import TIERS
from dataprune.tables.join import LABEL_ISSUE

_BAD = TIERS[:-1]  # all but ok


def _drop(left: Left, *, flag: str = LABEL_ISSUE, tier: str = TIERS[0]) -> Dropped:
    """flag: its name. tier: of label_issue, the mildest to drop: likely or suspect.

    Raises:
        UsageError: the score table has no such flag, or the tier is not one of a flagged row.
    """
    if tier not in _BAD:
        raise UsageError(f"tier is {tier!r}", hint=f"a flagged row is {' or '.join(_BAD)}")
    if flag != LABEL_ISSUE and tier != TIERS[0]:
        raise UsageError(f"tier has no effect: only {LABEL_ISSUE} has tiers, and not {flag}")
    bad = _verdict(left.table, flag, _BAD[: _BAD.index(tier) + 1])
    places = np.flatnonzero(bad)
    number = left.table.column(flag).to_numpy()[places]
    places = places[np.lexsort((left.pool.ties[places], number))]
    return Dropped(places, np.full(len(places), flag))


def _verdict(table: pa.Table, flag: str, tiers: tuple[str, ...]) -> npt.NDArray[np.bool_]:
    name = f"is_{flag}"
    if not {flag, name} <= set(table.schema.names):
        others = [n[3:] for n in table.schema.names if n.startswith("is_")]
        raise UsageError(
            f"strategy flagged drops by the flag {flag}, and the score table has no such flag",
            hint=f"it has {', '.join(others)}"
            if others
            else "give a table of flags by --with FLAGS.parquet (dataprune flags makes one), or "
            f"score with --flag {flag}",
        )
    column = table.column(name)
    if flag == LABEL_ISSUE:
        column = pc.is_in(table.column("tier"), pa.array(tiers))
    found = pc.fill_null(column, fill_value=False)
    verdict: npt.NDArray[np.bool_] = found.to_numpy(zero_copy_only=False).astype(np.bool_)
    return verdict


STRATEGY = Strategy(
    "flagged",
    drop=_drop,
    needs_score=False,
    row_local=True,
    says="left out the rows that a flag speaks against",
    meanings={
        LABEL_ISSUE: "Its label is likely wrong, so that it did not compete.",
        "memorized": "The probes know it by heart, so that it did not compete.",
    },
)
