"""Label issues in selection: which rows are likely wrong, and how far to trust that they are."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dataprune.core.errors import UsageError
from dataprune.core.fingerprint import UInt64
from dataprune.tables.decisions import count_by_class
from dataprune.tables.flags import TIERS
from dataprune.tables.join import LABEL_ISSUE
from dataprune.tables.scores import ScoreTable

REASON = "label_issue"
RULE = "drop_likely"
_LIKELY = TIERS[0]
_MANY = 0.3  # of a class
_SHOWN = 5
_NOT_AUDITED = (
    "these flags were not audited: `dataprune audit FLAGS.parquet --out DIR` draws a sample for a "
    "person to check"
)


def check_flagged(table: ScoreTable, option: str) -> None:
    """Refuse an option that wants flags of labels, where there are none.

    Raises:
        UsageError: the hint names both ways to have them.
    """
    if LABEL_ISSUE not in table.meta.get("flags", {}):
        raise UsageError(
            f"{option} wants flags of labels, and the score table has none",
            hint="give their table by --with FLAGS.parquet (dataprune flags makes one), or score "
            "with --flag label_issue",
        )


def is_likely(table: pa.Table) -> npt.NDArray[np.bool_]:
    """Which rows of a score table with flags have a label that is likely wrong, bool (n,)."""
    found = pc.fill_null(pc.equal(table.column("tier"), _LIKELY), fill_value=False)
    likely: npt.NDArray[np.bool_] = found.to_numpy(zero_copy_only=False).astype(np.bool_)
    return likely


def relabelled(table: pa.Table, decided: pa.Table) -> npt.NDArray[np.bool_]:
    """Which rows are kept, likely wrong, and suggested another label than their own, bool (n,)."""
    keep = decided.column("keep").to_numpy(zero_copy_only=False)
    differs = pc.not_equal(table.column("suggested"), table.column("label"))
    found: npt.NDArray[np.bool_] = differs.to_numpy(zero_copy_only=False).astype(np.bool_)
    found &= is_likely(table) & keep
    return found


def likely_last_first(table: pa.Table, ties: UInt64) -> npt.NDArray[np.int64]:
    """Places of rows whose label is likely wrong, int64, the least suspicious first.

    ties: uint64 (n,), distinct, a function of the row: the order of equally suspicious ones.
    """
    places = np.flatnonzero(is_likely(table))
    issue = table.column(LABEL_ISSUE).to_numpy()[places]
    return places[np.lexsort((ties[places], issue))]


def warnings_of_flags(decided: pa.Table, table: ScoreTable, *, relabels: bool) -> list[str]:
    """What a careful colleague would say about decisions or labels that rest on flags.

    decided: decisions on every row of the score table. relabels: whether the flags change labels;
        else they drop rows.
    """
    found = []
    about, class_names = table.meta["flags"][LABEL_ISSUE], table.meta["source"]["class_names"]
    likely = is_likely(table.table)
    if relabels:
        found += _unchanged(decided, table.table, likely)
    elif not likely.any():
        found.append("no row is flagged likely, so the flags drop nothing")
    if losing := _losing(decided, class_names):
        shown = ", ".join(f"{name} {share:.0%}" for name, share in losing[:_SHOWN])
        shown += ", ..." if len(losing) > _SHOWN else ""
        found.append(
            f"more than {_MANY:.0%} of the rows of {len(losing)} "
            f"{'class is' if len(losing) == 1 else 'classes are'} dropped as likely label issues: "
            f"{shown}; a hard class may look like a mislabelled one"
        )
    found += [f"the flags are weak: {warning}" for warning in about.get("warnings", [])]
    if about.get("audit") is None:
        found.append(_NOT_AUDITED)
    return found


def _unchanged(decided: pa.Table, table: pa.Table, likely: npt.NDArray[np.bool_]) -> list[str]:
    """What to know of kept rows that are likely wrong, and whose label stays."""
    kept = int((likely & decided.column("keep").to_numpy(zero_copy_only=False)).sum())
    changed = int(relabelled(table, decided).sum())
    if not kept:
        return ["no kept row is flagged likely, so the flags change no label"]
    if changed == kept:
        return []
    same = (
        f"the suggested label of {kept - changed} of the {kept} kept rows that are flagged likely "
        "is their own, so it stays; make the flags again with this dataprune"
    )
    return [same]


def _losing(decided: pa.Table, class_names: list[str]) -> list[tuple[str, float]]:
    """Classes that lose many of their rows as label issues, and how many; worst first."""
    dropped = pc.equal(decided.column("reason"), REASON)
    lost = count_by_class(decided.filter(dropped), class_names)
    counts = count_by_class(decided, class_names)
    shares = [(name, lost[name]["source"] / max(1, counts[name]["source"])) for name in counts]
    return sorted((s for s in shares if s[1] > _MANY), key=lambda s: -s[1])
