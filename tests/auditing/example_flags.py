"""FLAGS.parquet of made-up rows, for tests of audits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from dataprune.tables.flags import METADATA, write_flags


def example_flags(
    path: Path,
    n: int = 900,
    *,
    class_names: Any = None,
    meta: dict[str, Any] | None = None,
    **columns: Any,
) -> Path:
    """Write n rows; every third is likely, of the rest every other one suspect."""
    rng = np.random.default_rng(n)
    rows = np.arange(n)
    tier = np.where(rows % 3 == 0, "likely", np.where(rows % 3 == 1, "suspect", "ok"))
    tier = np.asarray(columns.pop("tier", tier))
    q = rng.random(n).astype(np.float32)
    given = np.asarray(columns.pop("given", rows % 4)).astype(np.int32)
    values = {
        "row": rows,
        "given": given,
        "suggested": ((given + 1) % 4).astype(np.int32),
        "label_q": q,
        "label_score": 1 - q,
        "oof_margin": rng.normal(size=n).astype(np.float32),
        "oof_vote_frac": rng.random(n).astype(np.float32),
        "n_votes": np.full(n, 2, np.int32),
        "tier": tier,
        "is_label_issue": tier == "likely",
        **columns,
    }
    told = {**dict.fromkeys(METADATA), "class_names": class_names, **(meta or {})}
    write_flags(path, values, told)
    return path
