"""What `prune` decided, made and pushed; nothing of the Hub is loaded for it without need."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dataprune.selection._choice import Choice
from dataprune.selection._decided import Decided
from dataprune.selection._steps import Stage
from dataprune.tables.manifest import Manifest

if TYPE_CHECKING:
    from dataprune.publishing.publisher import Published


@dataclass(frozen=True)
class PruneResult:
    """What `prune` decided and made.

    choice, by: the strategies with their budget, and the score column, if one of them reads it.
    classes: per class, rows in the source, kept and dropped. reasons: rows per reason.
    waterfall: what each step dropped, in order.
    relabelled: kept rows whose suggested label is not their own; None where none are suggested.
    tag: of the version, once a template has become a number.
    manifest: None on a dry run. created: False if the same version was there already.
    control: the random control's manifest, if one was asked for.
    published: where it was pushed, and then its control.
    """

    choice: Choice
    by: str | None
    rows_in: int
    rows_out: int
    classes: dict[str, dict[str, int]]
    reasons: dict[str, int]
    relabelled: int | None
    waterfall: list[Stage]
    warnings: list[str]
    tag: str
    manifest: Manifest | None = None
    created: bool = False
    control: Manifest | None = None
    folder: Path | None = None
    published: tuple[Published, ...] = ()

    @classmethod
    def of(cls, choice: Choice, decided: Decided, tag: str) -> PruneResult:
        """What is known before anything is built."""
        return cls(
            choice=choice,
            by=decided.by,
            rows_in=len(decided.table),
            rows_out=decided.rows_out,
            classes=decided.classes,
            reasons=decided.reasons,
            relabelled=decided.relabelled,
            waterfall=decided.waterfall,
            warnings=decided.warnings,
            tag=tag,
        )

    @property
    def tags(self) -> list[str]:
        """Tags of what was built, the version itself last: what is published last is main."""
        return [made.version for made in (self.control, self.manifest) if made is not None]
