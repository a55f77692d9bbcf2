"""A source file that grows between runs, and a release of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataprune.core.recipe import parse_recipe
from dataprune.releasing.result import RunResult
from dataprune.releasing.run import run
from dataprune.tables.scores import ScoreTable, read_scores
from dataprune.versions.store import LocalStore
from tests.conftest import blobs


class Release:
    """A recipe, its source file, its work folder and its store."""

    def __init__(self, folder: Path) -> None:
        self.source = folder / "source.parquet"
        self.work, self.folder = folder / "work", folder / "store"
        self.store = LocalStore(self.folder)
        self.recipe: dict[str, Any] = {
            "name": "grows",
            "source": {"uri": str(self.source)},
            "probe": {
                "model": {"name": "mlp", "params": {"widths": [8]}},
                "batch_size": 16,
                "schedule_epochs": 2,
            },
            "scores": {"names": ["el2n"], "timing_gate": "off"},
            "seeds": 2,
            "prune": {"keep": 0.5, "class_balance": "proportional"},
            "release": {
                "gates": {"reliability": 0.0, "class_floor": 0.1, "rank_drift": 0.0, "pilot": False}
            },
        }

    @property
    def section(self) -> dict[str, Any]:
        """The recipe's section `release`."""
        section: dict[str, Any] = self.recipe["release"]
        return section

    def without_probes(self) -> None:
        """Score by a seeded hash: nothing is trained, and runs take a blink."""
        self.recipe["scores"] = {"names": ["random"]}
        self.section["gates"] |= {"reliability": None, "rank_drift": None}

    def write(self, table: pa.Table) -> None:
        """Put this into the source file."""
        pq.write_table(table, self.source)

    def run(self, **options: Any) -> RunResult:
        """What the scheduler starts."""
        recipe = parse_recipe(self.recipe, where="tests")
        return run(recipe, **{"work": self.work, "store": self.folder, **options})

    def tags(self) -> list[str]:
        """Tags of versions, controls left out."""
        return [t for t in self.store.tags("grows") if not t.endswith("-control")]

    def scores(self, tag: str) -> ScoreTable:
        """The scores that a version was decided from."""
        return read_scores(self.store.path("grows", tag) / "scores.parquet")

    def units(self) -> dict[str, int]:
        """{unit: when it was finished}, of probes and of the pilot."""
        found = self.work.glob("**/unit.json")
        return {path.parent.name: path.stat().st_mtime_ns for path in found}


@pytest.fixture
def rows() -> pa.Table:
    """160 separable rows in three classes."""
    return blobs(160)


@pytest.fixture
def release(tmp_path: Path, rows: pa.Table) -> Release:
    """A release whose source holds the first 120 of the rows."""
    made = Release(tmp_path)
    made.write(rows.slice(0, 120))
    return made


@pytest.fixture
def quick(release: Release) -> Release:
    """The same, scored without probes."""
    release.without_probes()
    return release
