"""Verdicts -> bounds -> audited flags: what may be said of the flags, and which may be dropped."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dataprune.auditing.bounds import Prefix, largest_within, prefixes
from dataprune.auditing.draw import population
from dataprune.auditing.verdicts import WORDS, Verdicts, read_verdicts
from dataprune.core.files import sha256_file
from dataprune.tables.flags import TIERS, FlagTable, read_flags, write_flags

_LIKELY, _SUSPECT, _OK = TIERS
_RULE = (
    "by an audit, where it says something (label_q is 1 where a person judged the label wrong, 0 "
    "where right)"
)


@dataclass(frozen=True)
class Conclusion:
    """What an audit found.

    prefixes: the first 25, 50, 75 and 100 % of the audited flags, the most suspicious first.
    passed: the largest with at most a share alpha of wrong flags; None if there is none.
    ranked: rows of the audited flags, the most suspicious first.
    """

    flags: FlagTable
    verdicts: Verdicts
    alpha: float
    delta: float
    prefixes: list[Prefix]
    passed: Prefix | None
    ranked: npt.NDArray[np.int64]

    def as_json(self) -> dict[str, Any]:
        """The numbers, as they stand in the metadata of audited flags."""
        verdicts = self.verdicts
        draw = verdicts.draw
        counts = {word: len(verdicts.rows_called(word)) for word in WORDS}
        return {
            "audit": draw.id,
            "flags_sha256": draw.flags_sha256,
            "tier": draw.tier,
            "population": draw.population,
            "drawn": len(draw.rows),
            "verdicts": {**counts, "skipped": len(verdicts.skipped)},
            "alpha": self.alpha,
            "delta": self.delta,
            "prefixes": [asdict(prefix) for prefix in self.prefixes],
            "passed_share": self.passed.share if self.passed else None,
            "passed_rows": self.passed.rows if self.passed else 0,
        }

    def tiers(self) -> npt.NDArray[np.str_]:
        """Every row's tier after the audit (n,).

        The passed prefix is likely, and the rest of the audited flags suspect. Where a person
        judged, that holds instead: wrong is likely, right is ok, and unsure or skipped, which
        counts as a wrong flag, is suspect.
        """
        tiers = self.flags.column("tier").astype("U7")
        tiers[self.ranked] = _SUSPECT
        if self.passed is not None:
            tiers[self.ranked[: self.passed.rows]] = _LIKELY
        tiers[list(self.verdicts.judged)] = _SUSPECT
        tiers[list(self.verdicts.rows_called("wrong"))] = _LIKELY
        tiers[list(self.verdicts.rows_called("right"))] = _OK
        return tiers

    def label_q(self) -> npt.NDArray[np.float32]:
        """Every row's probability that its label is wrong (n,): 1 or 0 where a person judged so."""
        q: npt.NDArray[np.float32] = self.flags.column("label_q").astype(np.float32)  # a copy
        q[list(self.verdicts.rows_called("wrong"))] = 1
        q[list(self.verdicts.rows_called("right"))] = 0
        return q

    def write(self, path: Path) -> int:
        """Write the flags with the audit's tiers; gives how many rows are likely now.

        A selection by label_q keeps what was judged right, too, and drops what was judged wrong.
        """
        tiers, q = self.tiers(), self.label_q()
        columns = {name: self.flags.column(name) for name in self.flags.table.column_names}
        columns |= {"tier": tiers, "is_label_issue": tiers == _LIKELY}
        score = np.where(q == columns["label_q"], columns["label_score"], 1 - q)
        columns |= {"label_q": q, "label_score": score}
        meta = {k: v for k, v in self.flags.meta.items() if k not in {"format", "format_version"}}
        meta["audit"] = self.as_json()
        meta["rule"] = f"{_RULE}, else: {meta.get('rule')}"
        if isinstance(meta.get("totals"), dict):
            counts = {name: int((tiers == name).sum()) for name in TIERS}
            meta["totals"] = {**meta["totals"], "tiers": counts}
        write_flags(path, columns, meta)
        return int((tiers == _LIKELY).sum())


def conclude_audit(path: Path, verdicts: Path, *, alpha: float, delta: float) -> Conclusion:
    """Read verdicts back, and bound the share of wrong flags in each prefix.

    alpha: the share of wrong flags to accept. delta: one minus the confidence.

    Raises:
        TableError, AlignmentError: as `read_verdicts` and `read_flags`.
    """
    flags = read_flags(path)
    said = read_verdicts(verdicts, flags, sha256_file(path))
    rows = population(flags, said.draw.tier)
    ranked = flags.ranked(rows)
    found = prefixes(ranked, said.judged, said.wrong_flags, delta)
    return Conclusion(flags, said, alpha, delta, found, largest_within(found, alpha), ranked)
