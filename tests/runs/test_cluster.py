"""On a cluster of three nodes: whatever dies, the run ends with the undisturbed run's table."""

from __future__ import annotations

import os
import signal
import time
import urllib.request
from pathlib import Path

import pytest

from dataprune.runs.ledger import Ledger
from dataprune.tables.scores import read_scores
from tests.runs.clusters import Cluster
from tests.runs.conftest import (
    SEEDS,
    Undisturbed,
    assert_equal_in_the_end,
    assert_half_written,
    hold,
    left_by,
    recipe_file,
    tamper_with,
)
from tests.runs.processes import ended, wait_for, wait_until_gone

pytestmark = [pytest.mark.slow, pytest.mark.ray]


PROGRESS = "progress.json", 2  # the second time: after some epochs


def attempts(work: Path) -> dict[str, int]:
    """{unit id: which attempt at it finished}."""
    return {record.unit_id: record.run["attempt"] for record in Ledger(work).records()}


def test_a_killed_worker_is_replaced_and_the_run_ends_equal_by_itself(
    cluster: Cluster, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    work = tmp_path / "work"
    held = hold(work, *PROGRESS)
    process = cluster.score(recipe_file(tmp_path), work)
    wait_for(lambda: len(held()) == 3, while_runs=process)
    pid, unit_id = held().popitem()
    os.kill(pid, signal.SIGKILL)
    (work / "hold").unlink()
    printed = ended(process)
    assert printed["status"] == "complete"
    assert printed["trained"] == list(range(SEEDS))
    assert attempts(work) == dict.fromkeys(undisturbed.traces, 1) | {unit_id: 2}
    assert_equal_in_the_end(work, undisturbed)


def test_a_lost_node_costs_only_the_time_of_its_units(
    cluster: Cluster, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    work = tmp_path / "work"
    held = hold(work, *PROGRESS)
    process = cluster.score(recipe_file(tmp_path), work)
    wait_for(lambda: len(held()) == 3, while_runs=process)
    (pid,) = cluster.workers(node=cluster.nodes[-1])
    unit_id = held()[pid]
    cluster.remove(cluster.nodes.pop())
    (work / "hold").unlink()
    printed = ended(process)
    cluster.nodes.append(cluster.add())
    assert printed["status"] == "complete"
    assert attempts(work) == dict.fromkeys(undisturbed.traces, 1) | {unit_id: 2}
    assert_equal_in_the_end(work, undisturbed)


def test_killed_between_data_and_marker_a_unit_is_not_finished_and_is_run_again(
    cluster: Cluster, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    recipe, work = recipe_file(tmp_path), tmp_path / "work"
    held = hold(work, "unit.json")
    process = cluster.score(recipe, work)
    wait_for(held, while_runs=process)
    workers = cluster.workers()
    process.kill()
    process.communicate()
    wait_until_gone(*workers)
    assert_half_written(work, undisturbed)
    (work / "hold").unlink()
    printed = ended(cluster.score(recipe, work))
    assert printed["trained"] == list(range(SEEDS))
    assert_equal_in_the_end(work, undisturbed)


def test_a_killed_workers_successor_goes_on_from_its_snapshot_with_the_same_trace(
    cluster: Cluster, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    """One of two snapshots is changed before the kill: that its trace differs shows its use."""
    work = tmp_path / "work"
    held = hold(work, "snapshot-0", times=5)
    recipe = recipe_file(tmp_path, snapshot_minutes=0.0003)
    process = cluster.score(recipe, work, "--seeds", 2)
    wait_for(lambda: len(held()) == 2, while_runs=process)
    workers, (changed, untouched) = list(held()), held().values()
    tamper_with(work / "units" / changed / "snapshot-0")
    for worker in workers:
        os.kill(worker, signal.SIGKILL)
    (work / "hold").unlink()
    ended(process)
    assert attempts(work) == {changed: 2, untouched: 2}
    traces = left_by(work)
    assert traces[untouched] == undisturbed.traces[untouched]
    assert traces[changed] != undisturbed.traces[changed]
    assert not list(work.rglob("snapshot-*")), "a finished unit needs no snapshot"


def test_a_spent_budget_leaves_a_partial_table_and_raised_the_run_goes_on(
    cluster: Cluster, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    work = tmp_path / "work"
    ended(cluster.score(recipe_file(tmp_path), work, "--seeds", "2"))
    spent = {"cpu_hours": 1e-7}
    printed = ended(cluster.score(recipe_file(tmp_path, budget=spent), work), code=3)
    assert printed["status"] == "partial"
    assert (printed["seeds"], printed["trained"]) == ([0, 1], [])
    assert {f["skipped"] for f in printed["failed"]} == {True}
    before = {p: p.stat().st_mtime_ns for p in work.glob("units/*/unit.json")}
    table = read_scores(work / "scores.parquet")
    assert table.meta["status"] == "partial"
    assert table.meta["seeds"] == [0, 1]

    printed = ended(cluster.score(recipe_file(tmp_path, budget={"cpu_hours": 1}), work))
    assert len(printed["trained"]) == SEEDS - len(before)
    assert {p: p.stat().st_mtime_ns for p in before} == before
    assert_equal_in_the_end(work, undisturbed)


def test_prometheus_finds_the_units_of_a_run_with_its_id(cluster: Cluster, tmp_path: Path) -> None:
    units = [("add", {"number": number}) for number in range(3)]
    process = cluster.drive(tmp_path, units)
    printed = ended(process)
    wanted = f'run="{printed["run"]}"', 'state="finished"'

    def found() -> list[float]:
        with urllib.request.urlopen(f"http://127.0.0.1:{cluster.nodes[0].metrics}/metrics") as page:
            lines = page.read().decode().splitlines()
        lines = [line for line in lines if line.startswith("ray_dataprune_units_total{")]
        return [float(line.split()[-1]) for line in lines if all(w in line for w in wanted)]

    deadline = time.monotonic() + 30
    while not found():
        assert time.monotonic() < deadline, "nothing was told"
        time.sleep(0.5)
    assert found() == [3.0]
