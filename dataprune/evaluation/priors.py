"""What `auto` tries, and what it expects to be best, before anything is trained.

The order of the candidates is the prior, argued from published results:

- Where half or more is kept of clean data, the hardest rows are within a few tenths of the best
  (EL2N, forgetting, DUAL on CIFAR-10); where less is kept, they fall below random rows, by 10 and
  more points at 30 % of CIFAR-100 and ImageNet. Methods that cover the range of the score (CCS,
  Zheng et al. 2023), move towards easy rows (beta sampling, DUAL, Cho et al. 2025) or cover the
  space of the features (D2, Maharana et al. 2024) hold up.
- With wrong labels the hardest rows are the wrong ones. Dropping them first comes first: by flags
  where there are some, else a share of the hardest as large as the noise (the beta of CCS).
- With very little kept, easy rows may be best (Sorscher et al. 2022). Where labels are right, to
  leave the hardest out costs what they teach, so that D2 is tried with them, too.
- Random rows are always tried, and are expected to be last.

CCS's beta follows the authors' by fraction (none at half, 0.1 at 30 and 20 %, 0.3 at 10 %), and is
never below the noise. A share dropped as hardest leaves room for a choice: at most nine tenths of
what is dropped.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dataprune.evaluation.strategies import Asked, parse_strategy
from dataprune.selection._columns import is_easier
from dataprune.selection._label_issues import is_likely
from dataprune.tables.join import LABEL_ISSUE
from dataprune.tables.scores import ScoreTable

RANDOM = "random"
MOST = 6
_HALF, _LITTLE = 0.5, 0.3
_NOISY = 0.05
_TOP = 0.05  # what a window skips of the hardest rows where nothing is known of noise
# Scores that tell of another class being ahead of the label where they are above zero.
_AHEAD = {
    "heldout_margin": "rows that probes which had not seen them put into another class",
    "aum": "rows where another class was ahead on the mean of the epochs (AUM)",
}


@dataclass(frozen=True)
class Noise:
    """A share of wrong labels, by an estimate; rate: None where nothing tells."""

    rate: float | None
    told_by: str

    @property
    def matters(self) -> bool:
        """Whether candidates should reckon with it."""
        return self.rate is not None and self.rate >= _NOISY


@dataclass(frozen=True)
class Candidate:
    """A strategy to try, and why."""

    asked: Asked
    why: str


def noise_of(table: ScoreTable) -> Noise:
    """The mean probability of a wrong label, where there are flags; else a bound from above.

    A bound counts rows that are hard and right as well: it makes candidates careful, no more.
    """
    if LABEL_ISSUE in table.columns:
        rate = float(table.values(LABEL_ISSUE).mean())
        return Noise(rate, "mean probability of a wrong label, by the flags")
    for name, told in _AHEAD.items():
        if name in table.columns:
            return Noise(float((table.values(name) > 0).mean()), f"at most: {told}")
    return Noise(None, f"unknown: the table has neither flags nor {' nor '.join(_AHEAD)}")


def candidates(table: ScoreTable, keep: float, by: str, noise: Noise) -> list[Candidate]:
    """What to try at a kept fraction, the one that is expected to be best first; random last.

    by: the score column that decides, but for beta sampling, which is of `dual`.
    """
    easier = is_easier(table, by)
    hard, easy = ("easiest", "hardest") if easier else ("hardest", "easiest")
    rate = noise.rate if noise.matters and noise.rate is not None else 0.0
    room = math.floor(round(90 * (1 - keep), 6)) / 100
    usual = 0.0 if keep >= _HALF else 0.1 if keep >= 0.2 else 0.3
    skipped = min(round(max(rate, _TOP), 2), room)
    ccs, careful = (
        _cut(table, by, "ccs", "beta", beta, room) for beta in (usual, max(usual, rate))
    )
    d2 = (_cut(table, by, "d2", "hard_cutoff", max(usual, rate), room), by, _D2)
    d2_all = ("d2:hard_cutoff=0", by, f"{_D2}; the hardest may be right")
    beta = ("beta", "dual", "uncertain rows, easier ones the less is kept")
    why_ccs = "covers the range of the score"
    why_careful = f"{why_ccs} without its hardest end, where wrong labels gather"
    why_hard = "hard rows teach most where much is kept"
    window = (f"window:skip_hardest={skipped:g}", by, f"the hardest but for the top {skipped:.0%}")
    wrong = likely_wrong(table)
    known_wrong = wrong is not None and bool(wrong.any())
    best = (hard, by, why_hard) if keep >= _HALF else (ccs, by, why_ccs)
    wanted: list[tuple[str, str | None, str]] = []
    if known_wrong:
        wanted += [
            (f"flagged->{best[0]}", by, f"likely wrong labels go first; {best[2]}"),
            ("flagged->random", None, "likely wrong labels go first, and the rest is of all kinds"),
        ]
    after_best = [beta, d2, d2_all] if "features" in table.meta else [beta]
    if keep >= _HALF:
        after_best = after_best[:2]
    if noise.matters:
        wanted += [(careful, by, why_careful), *after_best]
        wanted += [window, (hard, by, why_hard)] if keep >= _HALF else [(easy, by, _EASY)]
    elif keep >= _HALF:
        wanted += [best, *after_best, (ccs, by, why_ccs), window]
    else:
        wanted += [best, *after_best]
        wanted += [(hard, by, why_hard)] if keep >= _LITTLE else [(easy, by, _EASY)]
    if not _has_dual(table):
        wanted.remove(beta)
    found = {name: (column, why) for name, column, why in reversed(wanted)}
    chosen = [(name, *found[name]) for name in dict.fromkeys(name for name, _by, _why in wanted)]
    made = [Candidate(_asked(name, column), why) for name, column, why in chosen[: MOST - 1]]
    return [*made, Candidate(parse_strategy(RANDOM), "needs no score")]


def likely_wrong(table: ScoreTable) -> npt.NDArray[np.bool_] | None:
    """Which rows have a likely wrong label, bool (n,); None where the table has no flags."""
    return is_likely(table.table) if LABEL_ISSUE in table.meta.get("flags", {}) else None


def untried(table: ScoreTable) -> list[str]:
    """What is no candidate for want of columns, and how to get them."""
    found = []
    if not _has_dual(table):
        found.append("auto did not try beta: score dual and confidence, too, for that")
    if "features" not in table.meta:
        found.append("auto did not try d2: score with --features for that")
    return found


def _has_dual(table: ScoreTable) -> bool:
    return {"dual", "confidence"} <= set(table.columns)


_D2 = "hard rows, and of alike ones only some"
_EASY = "easy rows are safe where little is kept"


def _cut(table: ScoreTable, by: str, strategy: str, param: str, share: float, room: float) -> str:
    """A strategy that drops a share of the hardest rows, as typed.

    These are by AUM, as CCS's authors have it, where the table has that.
    """
    share = min(round(share, 2), room)
    hard_by = ",hard_by=aum" if "aum" in table.columns and by != "aum" and share > 0 else ""
    return f"{strategy}:{param}={share:g}{hard_by}"


def _asked(name: str, by: str | None) -> Asked:
    asked = parse_strategy(name)
    return Asked(asked.label, asked.steps, by)


def fraction(keep: float | int, num_rows: int) -> float:
    """A budget as a share of the rows."""
    return float(np.float64(keep)) if isinstance(keep, float) else keep / num_rows
