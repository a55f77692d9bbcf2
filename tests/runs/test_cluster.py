"""On a cluster of three nodes: whatever dies, the run ends with the undisturbed run's table."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from dataprune.runs.ledger import Ledger
from dataprune.runs.status import run_status
from dataprune.tables.scores import read_scores
from tests.runs.clusters import Cluster, ended, wait_for, wait_until_gone
from tests.runs.conftest import (
    EPOCHS,
    SEEDS,
    Undisturbed,
    left_by,
    recipe_file,
    runs_of,
    start_local,
)

pytestmark = [pytest.mark.slow, pytest.mark.ray]


def progress(work: Path) -> list[dict[str, Any]]:
    """What the units under way told last."""
    found = (Ledger(work).progress(p.parent.name) for p in work.glob("units/*/progress.json"))
    return [told for told in found if told is not None]


def all_are_midway(cluster: Cluster, work: Path) -> bool:
    """Whether each worker at work is in the first half of its unit, and not at its start."""
    epochs = [told["epoch"] for told in progress(work)]
    at_work = cluster.workers()
    return bool(epochs) and len(epochs) == len(at_work) and all(0 < e < EPOCHS / 2 for e in epochs)


def assert_equal_in_the_end(work: Path, undisturbed: Undisturbed) -> None:
    assert left_by(work) == undisturbed.traces
    assert (work / "scores.parquet").read_bytes() == undisturbed.table
    assert len(Ledger(work).records()) == SEEDS
    assert not list(work.rglob(".attempt-*")), "an attempt was left behind"


def test_a_killed_worker_is_replaced_and_the_run_ends_equal_by_itself(
    cluster: Cluster, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    work = tmp_path / "work"
    process = cluster.score(recipe_file(tmp_path), work)
    wait_for(lambda: all_are_midway(cluster, work), while_runs=process)
    os.kill(cluster.workers()[0], signal.SIGKILL)
    printed = ended(process)
    assert printed["status"] == "complete"
    assert printed["trained"] == list(range(SEEDS))
    assert sorted(run["attempt"] for run in runs_of(work)) == [*[1] * (SEEDS - 1), 2]
    assert_equal_in_the_end(work, undisturbed)


def test_a_lost_node_costs_only_the_time_of_its_units(
    cluster: Cluster, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    work = tmp_path / "work"
    process = cluster.score(recipe_file(tmp_path), work)
    doomed = cluster.nodes[-1]
    wait_for(
        lambda: all_are_midway(cluster, work) and cluster.workers(node=doomed), while_runs=process
    )
    cluster.remove(cluster.nodes.pop())
    printed = ended(process)
    cluster.nodes.append(cluster.add())
    assert printed["status"] == "complete"
    assert sorted(run["attempt"] for run in runs_of(work)) == [*[1] * (SEEDS - 1), 2]
    assert_equal_in_the_end(work, undisturbed)


@pytest.mark.parametrize("runner", ["ray", "local"])
def test_killed_between_data_and_marker_a_unit_is_not_finished_and_is_run_again(
    runner: str, request: pytest.FixtureRequest, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    recipe, work = recipe_file(tmp_path), tmp_path / "work"
    work.mkdir()
    (work / "hold").touch()
    if runner == "ray":
        cluster: Cluster = request.getfixturevalue("cluster")
        start = cluster.score
    else:
        start = start_local
    process = start(recipe, work)
    wait_for((work / "held").exists, while_runs=process)
    workers = cluster.workers() if runner == "ray" else []
    process.kill()
    process.communicate()
    wait_until_gone(*workers)
    (half,) = (
        work.glob("units/*/trace.parquet")[:1]
        if False
        else [min(work.glob("units/*/trace.parquet"))]
    )
    ledger = Ledger(work)
    assert half.read_bytes() == undisturbed.traces[half.parent.name], "the data is in place"
    assert not list(work.glob("units/*/unit.json"))
    assert ledger.finished(half.parent.name) is None
    assert ledger.records() == []
    assert run_status(work)["counts"].keys() <= {"interrupted", "waiting"}
    assert not (work / "scores.parquet").exists()

    (work / "hold").unlink()
    printed = ended(start(recipe, work))
    assert printed["trained"] == list(range(SEEDS))
    assert_equal_in_the_end(work, undisturbed)


def test_a_worker_killed_amid_a_unit_is_followed_by_one_that_goes_on_from_its_snapshot(
    cluster: Cluster, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    work = tmp_path / "work"
    process = cluster.score(recipe_file(tmp_path, snapshot_minutes=0.0001), work, "--seeds", 1)
    wait_for(lambda: [t for t in progress(work) if t["epoch"] > EPOCHS / 2], while_runs=process)
    (worker,) = cluster.workers()
    os.kill(worker, signal.SIGKILL)
    seen = set()

    def runs_again() -> bool:
        seen.update(t["epoch"] for t in progress(work) if t["attempt"] == 2)
        return process.poll() is not None

    while not runs_again():
        pass
    ended(process)
    (run,) = runs_of(work)
    assert run["attempt"] == 2
    assert {e for e in seen if 0 < e <= EPOCHS / 2} == set()
    ((unit_id, trace),) = left_by(work).items()
    assert trace == undisturbed.traces[unit_id]


def test_a_budget_stops_a_run_before_it_is_exceeded_and_raised_it_goes_on(
    cluster: Cluster, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    work = tmp_path / "work"
    limit_s = 3 * undisturbed.longest_s
    budget = {"cpu_hours": limit_s / 3600}
    printed = ended(cluster.score(recipe_file(tmp_path, budget=budget), work), code=3)
    seconds = [run["seconds"] for run in runs_of(work)]
    assert 0 < len(seconds) < SEEDS
    assert printed["status"] == "partial"
    assert len(printed["seeds"]) == len(seconds)
    assert {f["skipped"] for f in printed["failed"]} == {True}
    before = {p: p.stat().st_mtime_ns for p in work.glob("units/*/unit.json")}
    table = read_scores(work / "scores.parquet")
    assert table.meta["status"] == "partial"
    assert len(table.meta["seeds"]) == len(seconds)

    printed = ended(cluster.score(recipe_file(tmp_path, budget={"cpu_hours": 1}), work))
    assert len(printed["trained"]) == SEEDS - len(before)
    assert {p: p.stat().st_mtime_ns for p in before} == before
    assert_equal_in_the_end(work, undisturbed)
