"""What scoring a source made, for the caller of `score`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataprune.core.protocols import Outcome
from dataprune.core.recipe import Recipe
from dataprune.scores._reliability import advice
from dataprune.tables.manifest import SourceRef

if TYPE_CHECKING:
    from dataprune.probe.gate import CheckpointQuality


@dataclass(frozen=True)
class ScoreResult:
    """What `score` made.

    path: the score table. work: the run folder, whose finished units later runs use.
    status: "complete", or "partial" when units failed; the table says so too.
    reliability: per score, how well the seeds agree. between: every pair of scores, how far they
        rank alike. timing: accuracy at each scored epoch.
    flags: totals of each flag that was asked for. flag_overlap: rows by each two flags' verdicts.
    seeds: what the scores are a mean of. trained: those of them trained now.
    """

    path: Path
    work: Path
    status: str
    recipe: Recipe
    source: SourceRef
    reliability: dict[str, Any]
    between: list[dict[str, Any]]
    seeds: list[int]
    timing: list[CheckpointQuality] = field(default_factory=list)
    trained: list[int] = field(default_factory=list)
    failed: list[Outcome] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    flags: dict[str, dict[str, Any]] = field(default_factory=dict)
    flag_overlap: list[dict[str, Any]] = field(default_factory=list)

    @property
    def advice(self) -> list[str]:
        """Of each score whose seeds are too few to trust it: how many more would do."""
        from dataprune.scores import SCORES

        holdout, told = self.recipe.holdout, []
        for name, r in self.reliability.items():
            score = SCORES.get(name)
            in_folds = holdout.repeats is not None or score.over != "in_sample"
            folds = holdout.folds if in_folds else 1
            if score.higher_is != "nothing":
                seeds = len(self.seeds)
                told.append(advice(name, r["reliability"], seeds, over=score.over, folds=folds))
        return [sentence for sentence in told if sentence is not None]
