"""Gates before a tag that nobody looks at: each measures one thing and says whether it will do.

A gate that cannot be measured is not passed, except where there is nothing to measure: a strategy
that reads no score has neither reliability nor drift, a first version nothing to drift from.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from dataprune.releasing.scoring import LastVersion, Scored
from dataprune.scores._reliability import spearman
from dataprune.tables.matching import NEW, match_rows
from dataprune.tables.release import Gate

if TYPE_CHECKING:  # it loads torch, which only a pilot needs
    from dataprune.evaluation.outcome import EvaluationResult

# What a version is compared with: random rows of its classes, or where there are none others.
_CONTROLS = {
    "gain_over_matched": "random rows of the same classes",
    "gain_over_random": "random rows",
    "gain_over_full": "all rows",
}
_LEAST_ROWS = 2  # that have a rank correlation


def complete(scored: Scored) -> Gate:
    """Every unit finished. No option switches it off, and `--accept` does not override it."""
    whole = scored.scores.meta["status"] == "complete"
    told = "every unit finished" if whole else "units are missing: run again to finish them"
    return Gate(name="complete", value=None, threshold=None, passed=whole, told=told)


def reliability(scored: Scored, by: str | None, least: float) -> Gate:
    """Seeds agree on the score that decides: Spearman-Brown, at its last checkpoint.

    It is of the units that ran; where every score was carried over, of those that made them.
    """
    about = {"name": "reliability", "threshold": least}
    if by is None:
        return Gate(**about, value=None, passed=True, told="the strategy reads no score")
    found = scored.scores.meta["reliability"].get(by.split("@", maxsplit=1)[0], {})
    value = found.get("reliability")
    if value is None:
        return Gate(**about, value=None, passed=False, told=f"nothing tells how reliable {by} is")
    seeds = len(scored.scores.meta["seeds"])
    return Gate(**about, value=value, passed=value >= least, told=f"of {by}, {seeds} seeds")


def class_floor(classes: Mapping[str, Mapping[str, int]], least: float) -> Gate:
    """Some share of every class is kept.

    classes: {class: {source, kept}}.
    """
    shares = {n: c["kept"] / c["source"] for n, c in classes.items() if c["source"]}
    lowest = min(shares, key=lambda name: shares[name])
    told = f"class {lowest}: {classes[lowest]['kept']} of {classes[lowest]['source']} rows kept"
    value = shares[lowest]
    return Gate(name="class_floor", value=value, threshold=least, passed=value >= least, told=told)


def pilot(result: EvaluationResult, tag: str, tolerance: float) -> Gate:
    """The version trains no worse than random rows of the same class counts, drawn for each seed.

    Both are trained with the same seeds for as many steps. Of the differences, paired by seed, the
    95 % interval of the mean is taken (Student's t, as `evaluate` prints it). The gate is not
    passed if even its upper end is below minus the tolerance: the version is worse, beyond what
    seeds explain; were the two equal, that would happen in 2.5 % of all runs. With three seeds only
    losses that are large beside their spread show, and chance in the held-out rows is not counted.
    """
    row = next((row for row in result.rows if row["arm"] == tag), {})
    key = next((key for key in _CONTROLS if key in row), "")
    gain, half = row.get(key), row.get(f"{key}_half_width")
    about = {"name": "pilot", "threshold": 0.0 - tolerance}
    if result.status == "partial" or gain is None or half is None:
        return Gate(**about, value=None, passed=False, told="retrainings are missing: run again")
    upper = gain + half
    told = (
        f"gain over {_CONTROLS[key]} in {result.metric} {gain:+.4f}, 95 % interval "
        f"{gain - half:+.4f} to {upper:+.4f}, {row['seeds']} seeds; its upper end counts"
    )
    return Gate(**about, value=upper, passed=upper >= -tolerance, told=told)


def rank_drift(scored: Scored, by: str | None, last: LastVersion | None, least: float) -> Gate:
    """What decides ranks the rows that the last version knew much as it did.

    Compared are this run's own scores, before old ones are carried over.
    """
    about: dict[str, Any] = {"name": "rank_drift", "threshold": least}
    if last is None:
        return Gate(**about, value=None, passed=True, told="no earlier version")
    before = last.selection.by if last.selection.by in last.scores.columns else None
    if by is None or before is None or last.selection.strategy == "random":
        return Gate(**about, value=None, passed=True, told="one of the two reads no score")
    if scored.fresh is None:
        return Gate(**about, value=1.0, passed=True, told=f"the scores are those of {last.tag}")
    found = match_rows(scored.fresh.table, last.scores.table, labels=False)
    common = found != NEW
    count = int(np.sum(common))
    value = float("nan")
    if count >= _LEAST_ROWS:
        ours = scored.fresh.values(by)[common]
        value = spearman(ours, last.scores.values(before)[found[common]])
    if math.isnan(value):
        told = f"nothing to compare in the {count} rows in common with {last.tag}"
        return Gate(**about, value=None, passed=False, told=told)
    told = f"{by} with {before} of {last.tag}, {count} rows in common"
    return Gate(**about, value=round(value, 6), passed=value >= least, told=told)
