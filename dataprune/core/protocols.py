"""What the layers agree on without importing each other: units of work and who runs them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from dataprune.core.disk_array import Array
from dataprune.core.recipe import RunRecipe

Shared = Mapping[str, Array]
Report = Callable[[dict[str, Any]], None]
OnProgress = Callable[[str, dict[str, Any]], None]


@dataclass(frozen=True)
class Unit:
    """One piece of work that is scheduled, retried and resumed as a whole.

    unit_id: fingerprint of what it computes; two units with one id would write the same files.
    entrypoint: `module:function`, called as `function(spec, shared, folder, report)`; it writes its
        files into `folder` and returns what belongs in unit.json.
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
class Outcome:
    """How one unit ended.

    error: one sentence; None when the unit is in the ledger.
    """

    unit_id: str
    label: str = ""
    error: str | None = None
    hint: str | None = None


@dataclass(frozen=True)
class Resources:
    """What one unit asks for, and how often a lost worker is replaced."""

    num_cpus: int = 1
    num_gpus: float = 0
    max_retries: int = 3
    address: str | None = None

    @classmethod
    def of(cls, run: RunRecipe) -> Resources:
        """What a recipe's `run` section asks for."""
        return cls(run.num_cpus, run.num_gpus, run.max_retries, run.address)


class UnitFunction(Protocol):
    """The work of a unit."""

    def __call__(
        self, spec: dict[str, Any], shared: Shared, folder: Path, report: Report
    ) -> dict[str, Any]:
        """Write files into `folder`; return JSON for unit.json."""


@dataclass(frozen=True)
class Job:
    """Units over the same shared arrays, with a folder whose ledger they end up in.

    shared: arrays every unit reads and none writes; handed over without a copy where possible.
    """

    folder: Path
    units: Sequence[Unit]
    shared: Shared = field(default_factory=dict)
    resources: Resources = Resources()


class Runner(Protocol):
    """Runs units; a finished unit is in the ledger before its outcome is told."""

    def run(self, job: Job, on_progress: OnProgress) -> list[Outcome]:
        """Run every unit once; a failed unit does not stop the others."""
