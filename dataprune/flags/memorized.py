"""`memorized`: rows that probes know by heart, by what is forgotten when that part is removed.

A probe's layer loses the part that its held-out rows do not miss (`probe/removal.py`). A row whose
label was fitted before and is not after was memorized by that probe; the flag's number is the share
of such probes among those that trained on the row.

Memorized is not mislabelled. A rare or odd row with a right label is memorized, too, and training
on it helps (Feldman and Zhang 2020); a probe that resists noise memorizes no wrong label. Whether
what generalizes contradicts the label is another question: label_issue, or mem_margin_pruned.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dataprune.core.errors import PartialError
from dataprune.flags import Flag
from dataprune.flags._told import share
from dataprune.flags._units import StoredUnits
from dataprune.tables.flags import FlagColumns
from dataprune.tables.trace import read_unit_trace

_HALF = 0.5
_NONE_FLAGGED = (
    "no row is flagged memorized: most seeds are not_localizable, so flips mean nothing here"
)
_SIGNALS = ("mem_flip", "mem_relabel")


@dataclass(frozen=True)
class MemorizedFlags:
    """Flags of n rows in source order.

    columns: {name: (n,)} as a score table has them: memorized, is_memorized, mem_answer,
        mem_answer_frac.
    totals: counts, and what was removed, a mean over seeds.
    warnings: what makes these flags weak, a sentence each.
    about: unit_ids, and missing, the units that did not finish.
    """

    columns: Mapping[str, npt.NDArray[Any]]
    totals: dict[str, Any]
    warnings: list[str]
    about: Mapping[str, Any] = field(default_factory=dict)

    def in_scores(self) -> FlagColumns:
        """As a score table has them."""
        table = pa.table(
            [pa.array(values) for values in self.columns.values()],
            schema=pa.schema(
                [
                    pa.field(name, pa.from_numpy_dtype(values.dtype), nullable=False)
                    for name, values in self.columns.items()
                ]
            ),
        )
        spec = {
            "score": FLAG.name,
            "higher_is": "more memorized",
            "of": "share of in-sample seeds that fit the label and lose it by removal",
            "status": FLAG.status,
            "rule": FLAG.rule,
        }
        about = {
            "rule": FLAG.rule,
            "totals": self.totals,
            "warnings": self.warnings,
            **self.about,
            "columns": table.schema.names,
            "sha256": None,
        }
        return FlagColumns(FLAG.name, table, spec, about)


def flag_memorized(stored: StoredUnits) -> MemorizedFlags:
    """Flag the rows that most probes memorized, from a run's finished units at its last epoch.

    Where most probes show nothing that can be removed (not_localizable), no row is flagged.

    Raises:
        PartialError: a row that every finished unit held out.
    """
    from dataprune.probe.removal import told_of_removals

    last = stored.recipe.checkpoints[-1]
    flips, answers, seen = [], [], []
    for record in stored.records.values():
        trace = read_unit_trace(record, _SIGNALS, [last])
        flips.append(trace.signals[last]["mem_flip"] > 0)
        answers.append(trace.signals[last]["mem_relabel"].astype(np.int32))
        seen.append(trace.in_sample_at(last))
    flip_SN, answer_SN, in_SN = np.stack(flips), np.stack(answers), np.stack(seen)
    alone = np.flatnonzero(~in_SN.any(axis=0))
    if len(alone):
        raise PartialError(
            f"{len(alone)} rows were trained on by no finished unit (first: row {alone[0]})",
            hint="score again with the same --work: the units that are missing will be trained",
        )
    removals = [record.result["removals"][str(last)] for record in stored.records.values()]
    removed = told_of_removals(removals)
    frac_n = (flip_SN & in_SN).sum(axis=0) / in_SN.sum(axis=0)
    answer_n, agree_n = plurality(answer_SN, in_SN)
    verdict_n = (frac_n >= _HALF) & bool(removed["is_localizable"])
    given_n = stored.examples.table.column("label").to_numpy()
    return MemorizedFlags(
        {
            "memorized": frac_n.astype(np.float32),
            "is_memorized": verdict_n,
            "mem_answer": answer_n,
            "mem_answer_frac": agree_n.astype(np.float32),
        },
        {
            "rows": len(frac_n),
            "memorized": int(verdict_n.sum()),
            "in_some_seed": int((frac_n > 0).sum()),
            "contradicted": int((answer_n != given_n).sum()),
            "epoch": last,
            "removed": {key: value for key, value in removed.items() if key != "warning"},
        },
        [] if removed["is_localizable"] else [_NONE_FLAGGED],
        {
            "unit_ids": [record.unit_id for record in stored.records.values()],
            "missing": stored.missing,
        },
    )


def plurality(
    answer_SN: npt.NDArray[np.int32], in_SN: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float64]]:
    """The answer that most of a row's seeds give, (N,), and the share of them that give it.

    in_SN: the seeds that count. Of answers given equally often the lowest class stands.
    """
    count_SN = np.stack(
        [((answer_SN == answer_N) & in_SN).sum(axis=0) * in_N
         for answer_N, in_N in zip(answer_SN, in_SN, strict=True)]
    )  # fmt: skip
    most_N = count_SN.max(axis=0)
    none = np.iinfo(np.int32).max
    first_N = np.where(in_SN & (count_SN == most_N), answer_SN, none).min(axis=0)
    return first_N.astype(np.int32), most_N / in_SN.sum(axis=0)


def tell(totals: dict[str, Any]) -> tuple[str, list[list[Any]]]:
    """A title, and rows of what, estimate and detail."""
    n, removed = totals["rows"], totals["removed"]
    index = f"{removed['index']:.3f} (standard error {removed['index_se']:.3f})"
    local = f"above 0 in {removed['localizable_seeds']} of {removed['seeds']} seeds"
    rows = [
        ["memorized", f"{totals['memorized']} rows", share(totals["memorized"] / n)],
        ["flip in some seed", f"{totals['in_some_seed']} rows", share(totals["in_some_seed"] / n)],
        [
            "contradicted by what is left",
            f"{totals['contradicted']} rows",
            f"{share(totals['contradicted'] / n)}, memorized or not",
        ],
        ["localizability index", index, f"{local}; by magnitude {removed['control_index']:.3f}"],
        [
            "removed, mean over seeds",
            f"{removed['removed']:.1f} of {removed['units']:.0f}",
            removed["basis"],
        ],
    ]
    return f"What probes know by heart of {n} rows: not the same as wrong labels", rows


FLAG = Flag(
    name="memorized",
    compute=flag_memorized,
    tell=tell,
    beside=("mem_flip", "mem_drop", "mem_margin_pruned", "memorization"),
    rule="memorized >= 0.5: the share of in-sample seeds in which the label is fitted before "
    "removal and not after; no row where most seeds are not_localizable",
    status="experimental",
    source="own extension of To grok or not to grok, 2023 (arXiv 2310.13061)",
    pitfalls="memorized is not mislabelled: rare and odd rows are memorized, too, and dropping "
    "them hurts (Feldman and Zhang 2020); a probe that resists noise memorizes no wrong label",
)
