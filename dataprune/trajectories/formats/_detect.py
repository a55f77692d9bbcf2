"""Which format rows are of: by what stands in them, with the evidence said; unsure is an error."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dataprune.core.errors import UsageError
from dataprune.trajectories.formats import FORMATS, TrajectoryFormat
from dataprune.trajectories.formats._json import Problem
from dataprune.trajectories.formats._objects import Item

SAMPLE = 100  # rows that are looked at
# A list of chat messages is in many formats; one that shows more than that is taken before it.
_WIDE = "messages"


@dataclass(frozen=True, slots=True)
class Found:
    """A format, and why it is that one, for people."""

    name: str
    evidence: str


def shows_format(value: Any) -> bool:
    """Whether a value is a row of any format."""
    return bool(_shown(value))


def _shown(value: Any) -> dict[str, str]:
    """{format: evidence} of a row."""
    shown = {format_.name: said for format_ in _formats() if (said := format_.evidence(value))}
    if len(shown) > 1:
        shown.pop(_WIDE, None)
    return shown


@functools.cache
def _formats() -> tuple[TrajectoryFormat, ...]:
    """Every format; listing them asks all installed packages, too slow for every row."""
    return tuple(FORMATS.get(name) for name in FORMATS.names())


def detect_format(sample: Sequence[Item]) -> Found:
    """The one format that all rows of a sample show; rows that cannot be read do not count.

    Raises:
        UsageError: no row can be read, they show no format, or not all show the same one.
    """
    rows = [item for item in sample if not isinstance(item.value, Problem)]
    if not rows:
        wrong = next((f"{i.where}: {i.value.says}" for i in sample), "there are no rows")
        raise UsageError(f"no row can be read ({wrong})", hint="name files with JSON objects")
    shown = [_shown(item.value) for item in rows]
    seen = Counter(name for said in shown for name in said)
    full = [name for name, number in seen.items() if number == len(rows)]
    if len(full) == 1 and all(len(said) == 1 for said in shown):
        evidence = shown[0][full[0]]
        return Found(full[0], f"in {len(rows)} of {len(rows)} rows, {evidence}")
    counts = ", ".join(f"{name} {seen[name]}" for name in FORMATS.names() if seen[name])
    most = [name for name, _ in seen.most_common(1)]
    odd = next(
        (i.where for i, names in zip(rows, shown, strict=True) if [*names] != most), rows[0].where
    )
    said = f"the first {len(rows)} rows show: {counts}" if counts else "no row shows a known one"
    raise UsageError(
        f"the format cannot be told: {said}; see {odd}",
        hint=f"name it with --format: {', '.join(FORMATS.names())}",
    )
