"""What `prune` decided, made and pushed; a leaf, so that nothing of the Hub is loaded for it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dataprune.selection._decide import Choice
from dataprune.tables.manifest import Manifest

if TYPE_CHECKING:
    from dataprune.publishing.publisher import Published


@dataclass(frozen=True)
class PruneResult:
    """What `prune` decided and made.

    choice, by: the strategy with its budget, and the score column, if the strategy reads one.
    classes: per class, rows in the source, kept and dropped. reasons: rows per reason.
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
    warnings: list[str]
    tag: str
    manifest: Manifest | None = None
    created: bool = False
    control: Manifest | None = None
    folder: Path | None = None
    published: tuple[Published, ...] = ()
