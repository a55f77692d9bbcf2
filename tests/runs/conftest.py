"""One Ray cluster of three nodes, and a recipe whose units are long enough to be disturbed."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from dataprune.runs.ledger import Ledger
from dataprune.runs.status import run_status
from tests.runs.clusters import Cluster
from tests.runs.forks import Fork, ForkServer
from tests.runs.processes import ended

Start = Callable[..., Fork]

SEEDS = 4
EPOCHS = 20


@pytest.fixture(scope="session")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkServer]:
    """Starts commands without the seconds of imports."""
    server = ForkServer(tmp_path_factory.mktemp("forks"))
    yield server
    server.end()


@pytest.fixture(scope="session")
def cluster(forks: ForkServer) -> Iterator[Cluster]:
    """The cluster; a test that removes a node adds another."""
    with tempfile.TemporaryDirectory(prefix="r-", ignore_cleanup_errors=True) as name:
        made = Cluster(Path(name), num_nodes=3, forks=forks)
        yield made
        made.end()


RECIPE: dict[str, Any] = {
    "name": "faults",
    "source": {"uri": "digits"},
    "probe": {
        "model": {"name": "mlp", "params": {"widths": [64]}},
        "batch_size": 32,
        "optimizer": {"lr": 0.05},
        "schedule_epochs": EPOCHS,
    },
    "scores": {"names": ["el2n", "forgetting"], "at": [4, EPOCHS]},
    "seeds": SEEDS,
}


def recipe_file(folder: Path, **run: Any) -> Path:
    """The recipe with that `run` section."""
    path = folder / "faults.yaml"
    path.write_text(yaml.safe_dump({**RECIPE, "run": run}))
    return path


@pytest.fixture
def start_local(forks: ForkServer) -> Start:
    """Starts `dataprune score` with the local runner: recipe, work folder and more options."""
    return lambda recipe, work, *args: forks.start("score", recipe, "--work", work, "--json", *args)


@dataclass(frozen=True)
class Undisturbed:
    """A run that nobody disturbs: its folder, its score table, and each unit's trace by id."""

    work: Path
    table: bytes
    traces: dict[str, bytes]


def left_by(work: Path) -> dict[str, bytes]:
    """{unit id: trace} of a work folder."""
    return {path.parent.name: path.read_bytes() for path in work.glob("units/*/trace.parquet")}


@pytest.fixture(scope="session")
def undisturbed(forks: ForkServer, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """On the local runner."""
    folder = tmp_path_factory.mktemp("undisturbed")
    work = folder / "work"
    ended(forks.start("score", recipe_file(folder), "--work", work, "--json"))
    return Undisturbed(work, (work / "scores.parquet").read_bytes(), left_by(work))


def hold(work: Path, name: str, times: int = 1) -> Callable[[], dict[int, str]]:
    """Hold every unit where it is about to put that file into place for the so-manieth time.

    Returns a function that tells whom it holds: {pid: unit id}. It ends when work/hold is gone.
    """
    (work / "held").mkdir(parents=True)
    (work / "hold").write_text(f"{name} {times}")

    def held() -> dict[int, str]:
        told = [(path.read_text(), path.name) for path in (work / "held").iterdir()]
        return {int(pid): unit_id for pid, unit_id in told if pid}

    return held


def assert_half_written(work: Path, undisturbed: Undisturbed) -> None:
    """A unit's data is in place without its marker, and nobody takes it for finished."""
    half = min(work.glob("units/*/trace.parquet"))
    assert half.read_bytes() == undisturbed.traces[half.parent.name]
    assert not list(work.glob("units/*/unit.json"))
    assert Ledger(work).finished(half.parent.name) is None
    assert Ledger(work).records() == []
    assert run_status(work)["counts"].keys() <= {"interrupted", "waiting"}
    assert not (work / "scores.parquet").exists()


def assert_equal_in_the_end(work: Path, undisturbed: Undisturbed) -> None:
    """Every trace and the score table are those of the undisturbed run; nothing else is left."""
    assert left_by(work) == undisturbed.traces
    assert (work / "scores.parquet").read_bytes() == undisturbed.table
    assert len(Ledger(work).records()) == SEEDS
    assert not list(work.rglob(".attempt-*")), "an attempt was left behind"


def tamper_with(snapshot: Path) -> None:
    """Change a snapshot's weights: whoever goes on from it ends with another trace."""
    import torch

    whole = torch.load(snapshot, weights_only=True)
    for weights in whole["model"].values():
        weights.add_(1)
    torch.save(whole, snapshot)
