"""What an unattended run came to, for the caller of `run`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from dataprune.tables.release import Gate, Outcome

if TYPE_CHECKING:
    from dataprune.publishing.publisher import Published


@dataclass(frozen=True)
class RunResult:
    """What `run` made, or found made.

    outcome: as release.json records it. folder: of the version.
    unchanged: source and recipe are as they were at the last run, so that nothing was done.
    created: whether the version is new; False if the same one was there already.
    trained: seeds of probes trained now. notes: what to know of how rows were scored.
    """

    name: str
    outcome: Outcome
    folder: Path
    work: Path
    unchanged: bool
    created: bool = False
    trained: list[int] = field(default_factory=list)
    published: tuple[Published, ...] = ()
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def status(self) -> str:
        """Either "released" or "candidate"."""
        return self.outcome.status

    @property
    def tag(self) -> str:
        """Of the version; of a candidate the tag that it would have had."""
        return self.outcome.tag

    @property
    def gates(self) -> list[Gate]:
        """Each gate, with what was measured."""
        return self.outcome.gates

    @property
    def failed(self) -> list[Gate]:
        """Gates that were not passed."""
        return [gate for gate in self.gates if not gate.passed]

    @property
    def exit_code(self) -> int:
        """0 where a tagged version stands, 3 for a candidate."""
        return 0 if self.status == "released" else 3
