"""What to be warned of in decisions: it follows from what a version stores."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dataprune.selection._choice import Choice, Step
from dataprune.tables import decisions

_MANY_TIES = 0.1  # of the kept rows
_CROSSOVER = 0.4
_COLLAPSE = 0.2  # of the share that is kept of all rows
_ENOUGH = 5  # rows that a class would keep by that share; below, chance alone may take most


def warnings_for(
    table: pa.Table, choice: Choice, class_names: list[str], *, easier: bool = False
) -> list[str]:
    """What a careful colleague would say about these decisions.

    easier: whether higher scores are of easier rows.
    """
    found = []
    keep = table.column("keep").to_numpy(zero_copy_only=False)
    share = keep.mean()
    if choice.strategy == ("easiest" if easier else "hardest") and share < _CROSSOVER:
        found.append(
            f"{choice.strategy} keeps {share:.0%}: papers find that below about 40 % the hardest "
            "rows train worse than random ones (sooner on data of many classes); compare with "
            "--control"
        )
    counts = decisions.count_by_class(table, class_names)
    gone = [name for name, count in counts.items() if count["source"] and not count["kept"]]
    if gone:
        shown = ", ".join(gone[:5]) + (", ..." if len(gone) > 5 else "")
        found.append(
            f"no row is kept of {len(gone)} classes: {shown}; set --min-per-class or "
            "--class-balance to keep some"
        )
    if low := [] if choice.balance != "none" else _collapsed(counts, float(share)):
        shown = ", ".join(low[:5]) + (", ..." if len(low) > 5 else "")
        found.append(
            f"{len(low)} {'class keeps' if len(low) == 1 else 'classes keep'} less than a fifth of "
            f"the share that is kept of all rows: {shown}; set --class-balance or --min-per-class"
        )
    return found


def _collapsed(counts: dict[str, dict[str, int]], share: float) -> list[str]:
    """Classes of which far fewer rows are kept than of all, with their counts."""
    expected = {name: share * count["source"] for name, count in counts.items()}
    return [
        f"{name} {count['kept']} of {count['source']}"
        for name, count in counts.items()
        if expected[name] >= _ENOUGH and 0 < count["kept"] < _COLLAPSE * expected[name]
    ]


def warnings_of_ties(
    table: pa.Table, values: npt.NDArray[np.float64], by: str, higher_is: str, ranker: Step
) -> list[str]:
    """What to know of the score itself: it is a control, or much was drawn among equal values.

    values: the score that the decisions were made by, (n,). ranker: the rule of rows that
        competed.
    """
    found = []
    if higher_is == "nothing" and by != "random":
        found.append(f"{by} is a control: it does not tell which rows are hard")
    if ranker.plugin.draws:
        return found  # chance decides among all values
    competed = pc.equal(table.column("rule"), ranker.strategy).to_numpy(zero_copy_only=False)
    keep = table.column("keep").to_numpy(zero_copy_only=False)[competed]
    values = values[competed]
    both = np.isin(values, np.intersect1d(values[keep], values[~keep]))
    drawn, among = int((both & keep).sum()), int(both.sum())
    if drawn > _MANY_TIES * keep.sum():
        found.append(
            f"{drawn} of the {int(keep.sum())} kept rows were drawn among {among} that tie in {by}"
        )
    return found
