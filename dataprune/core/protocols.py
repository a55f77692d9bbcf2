"""What the layers agree on without importing each other: units of work and who runs them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Protocol

from dataprune.core.disk_array import Array
from dataprune.core.recipe import Budget, RunRecipe

Shared = Mapping[str, Array]
Report = Callable[[dict[str, Any]], None]
OnProgress = Callable[[str, dict[str, Any]], None]


@dataclass(frozen=True)
class Unit:
    """One piece of work that is scheduled, retried and resumed as a whole.

    unit_id: fingerprint of what it computes; two units with one id would write the same files.
    entrypoint: `module:function`, called as `function(spec, shared, attempt)`; it writes its files
        into `attempt.folder` and returns what belongs in unit.json.
    identity: what unit_id was made from.
    spec: arguments, JSON only.
    label: for people ("seed 3").
    """

    unit_id: str
    entrypoint: str
    identity: dict[str, Any]
    spec: dict[str, Any]
    label: str


@dataclass(frozen=True)
class Gang:
    """The processes that do one unit together, and which of them this one is.

    address: HOST:PORT where they meet; "" for one alone.
    """

    rank: int = 0
    size: int = 1
    address: str = ""


class Snapshots(Protocol):
    """Where a long unit leaves how far it has come, so that a lost worker costs minutes."""

    def due(self) -> bool:
        """Whether it is time for one."""

    def save(self, write: Callable[[Path], None]) -> None:
        """Keep what `write` writes to the path it is given, in place of the last one."""

    def latest(self) -> Path | None:
        """The last one that was kept whole, in this attempt at the unit or an earlier one."""


class NoSnapshots:
    """None is kept, and none was."""

    def due(self) -> bool:
        """Never."""
        return False

    def save(self, write: Callable[[Path], None]) -> None:
        """Nothing."""

    def latest(self) -> Path | None:
        """None."""
        return None


@dataclass(frozen=True)
class Attempt:
    """What a unit's function is given besides its arguments.

    folder: where it writes its files. report: tell progress.
    gang: every process of it calls the function; only what rank 0 returns is recorded.
    """

    folder: Path
    report: Report
    snapshots: Snapshots = field(default_factory=NoSnapshots)
    gang: Gang = Gang()


@dataclass(frozen=True)
class Outcome:
    """How one unit ended.

    error: one sentence; None when the unit is in the ledger.
    skipped: it was not started.
    """

    unit_id: str
    label: str = ""
    error: str | None = None
    hint: str | None = None
    skipped: bool = False


@dataclass(frozen=True)
class Resources:
    """What one unit asks for, how often a lost worker is replaced, what all may cost.

    num_cpus, num_gpus, memory_gb: of each of a unit's workers.
    """

    num_cpus: int = 1
    num_gpus: float = 0
    max_retries: int = 3
    address: str | None = None
    workers: int = 1
    placement: str = "pack"
    memory_gb: float | None = None
    snapshot_minutes: float = 10
    autoscale: bool = False
    budget: Budget = field(default_factory=Budget)

    @classmethod
    def of(cls, run: RunRecipe) -> Resources:
        """What a recipe's `run` section asks for."""
        return cls(**{f.name: getattr(run, f.name) for f in fields(cls)})


class UnitFunction(Protocol):
    """The work of a unit."""

    def __call__(self, spec: dict[str, Any], shared: Shared, attempt: Attempt) -> dict[str, Any]:
        """Write files into `attempt.folder`; return JSON for unit.json."""


@dataclass(frozen=True)
class Job:
    """Units over the same shared arrays, with a folder whose ledger they end up in.

    folder: a path, or a URL of storage that every node reaches.
    shared: arrays every unit reads and none writes; handed over without a copy where possible.
    run_id: names this run in logs and metrics.
    check: called now and then; raises when the run must not go on.
    before: seconds of each unit that finished in earlier runs, which the budget counts.
    """

    folder: Path | str
    units: Sequence[Unit]
    shared: Shared = field(default_factory=dict)
    resources: Resources = Resources()
    run_id: str = ""
    check: Callable[[], None] = lambda: None
    before: Sequence[float] = ()


class Runner(Protocol):
    """Runs units; a finished unit is in the ledger before its outcome is told."""

    def run(self, job: Job, on_progress: OnProgress) -> list[Outcome]:
        """Run every unit once; a failed unit does not stop the others, a spent budget does."""
