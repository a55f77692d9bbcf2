"""Gangs on a cluster of three CPUs: all processes of a unit or none, one error, no deadlock."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dataprune.runs.ledger import Ledger
from tests.runs.clusters import Cluster
from tests.runs.conftest import hold, recipe_file
from tests.runs.drive import unit_of
from tests.runs.processes import ended, wait_for, wait_until_gone

pytestmark = [pytest.mark.slow, pytest.mark.ray]

MEMBER, COORDINATOR = "ray::Member", "ray::run_gang"
GROUPS = """
import json, sys, ray
from ray.util import placement_group_table
ray.init(address=sys.argv[1], logging_level="ERROR")
print(json.dumps([group["state"] for group in placement_group_table().values()]))
"""


def gang(tmp_path: Path, number: int = 0, **about: Any) -> tuple[str, dict[str, Any]]:
    """A unit that several processes do together."""
    spec = {"number": number, "log": str(tmp_path / f"starts-{number}"), **about}
    return "together", spec


def starts(unit: tuple[str, dict[str, Any]]) -> list[str]:
    """Ranks of the processes that were started for a unit."""
    return sorted(Path(unit[1]["log"]).read_text().split())


def groups(cluster: Cluster) -> set[str]:
    """States of all placement groups that the cluster remembers."""
    done = subprocess.run(
        [sys.executable, "-c", GROUPS, cluster.address],
        env=cluster.env, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return set(json.loads(done.stdout))


def test_every_process_writes_its_files_and_gangs_that_do_not_fit_together_take_turns(
    cluster: Cluster, tmp_path: Path
) -> None:
    units = [gang(tmp_path, number, seconds=0.2) for number in range(4)]
    printed = ended(cluster.drive(tmp_path, units, workers=2))
    assert printed["failed"] == []
    assert [starts(each) for each in units] == [["0", "1"]] * 4
    records = Ledger(tmp_path).records()
    assert len(records) == 4
    for record in records:
        assert (record.result["rank"], record.result["size"]) == (0, 2)
        assert (record.run["workers"], record.run["attempt"]) == (2, 1)
        assert record.files == {
            f"part-{rank}.bin": hashlib.sha256(bytes([rank]) * 100).hexdigest() for rank in (0, 1)
        }
        assert sorted(path.name for path in record.folder.iterdir()) == [*record.files, "unit.json"]
    times = sorted((record.result["began"], record.result["ended"]) for record in records)
    assert all(end <= begin for (_, end), (begin, _) in itertools.pairwise(times))


def test_an_error_in_one_process_ends_the_unit_with_that_very_error_once(
    cluster: Cluster, tmp_path: Path
) -> None:
    units = [gang(tmp_path, rank, fails=rank) for rank in (0, 1)]
    printed = ended(cluster.drive(tmp_path, units, workers=2))
    for each, outcome in zip(units, printed["failed"], strict=True):
        assert outcome["error"] == "this part cannot be done"
        assert outcome["hint"] == "ask for another"
        assert starts(each) == ["0", "1"]
        unit_id = unit_of(*each).unit_id
        failure = Ledger(tmp_path).failure(unit_id)
        assert failure is not None
        assert failure["error"] == "this part cannot be done"
        assert [path.name for path in (tmp_path / "units" / unit_id).iterdir()] == ["failed.json"]
    wait_until_gone(*cluster.workers(MEMBER))


def test_a_gang_that_loses_a_process_is_run_again_as_a_whole_as_often_as_it_may(
    cluster: Cluster, tmp_path: Path
) -> None:
    once, always = (gang(tmp_path, deaths, dies=1, deaths=deaths) for deaths in (1, 99))
    printed = ended(cluster.drive(tmp_path, [once, always], workers=2, max_retries=1))
    assert starts(once) == starts(always) == ["0", "0", "1", "1"]
    record = Ledger(tmp_path).finished(unit_of(*once).unit_id)
    assert record is not None
    assert record.run["attempt"] == 2
    names = [path.name for path in record.folder.iterdir()]
    assert sorted(names) == ["part-0.bin", "part-1.bin", "unit.json"]
    (outcome,) = printed["failed"]
    assert outcome["unit_id"] == unit_of(*always).unit_id
    assert outcome["error"].startswith("worker lost 2 times: ")
    assert "\n" not in outcome["error"]
    left = [path.name for path in (tmp_path / "units" / outcome["unit_id"]).iterdir()]
    assert left == ["failed.json"]


def test_a_gang_whose_coordinator_is_killed_gets_its_room_back_and_finishes(
    cluster: Cluster, tmp_path: Path
) -> None:
    each = gang(tmp_path, seconds=1)
    process = cluster.drive(tmp_path, [each], workers=3)  # all the room there is
    wait_for(lambda: len(list(tmp_path.glob("units/*/.*/part-*"))) == 3, while_runs=process)
    (coordinator,) = cluster.workers(COORDINATOR)
    os.kill(coordinator, signal.SIGKILL)
    printed = ended(process)
    assert printed["failed"] == []
    assert starts(each) == [*"001122"]


def test_a_gang_that_loses_a_node_goes_on_where_there_is_room(
    cluster: Cluster, tmp_path: Path
) -> None:
    each = gang(tmp_path, seconds=1)
    process = cluster.drive(tmp_path, [each], workers=2, placement="spread")
    wait_for(lambda: len(list(tmp_path.glob("units/*/.*/part-*"))) == 2, while_runs=process)
    doomed = next(node for node in cluster.nodes[1:] if cluster.workers(MEMBER, node))
    cluster.nodes.remove(doomed)
    cluster.remove(doomed)
    printed = ended(process)
    cluster.nodes.append(cluster.add())
    assert printed["failed"] == []
    assert starts(each) == [*"0011"]


def test_training_by_two_that_loses_one_ends_with_the_same_table(
    cluster: Cluster, tmp_path: Path
) -> None:
    recipe = recipe_file(tmp_path, workers=2)
    undisturbed, work = tmp_path / "undisturbed", tmp_path / "work"
    ended(cluster.score(recipe, undisturbed, "--seeds", 2))
    held = hold(work, "progress.json", times=2)  # which only the first of a gang writes
    process = cluster.score(recipe, work, "--seeds", 2)
    wait_for(held, while_runs=process)
    ((first, unit_id),) = held().items()
    (second,) = set(cluster.workers(MEMBER)) - {first}
    os.kill(second, signal.SIGKILL)
    (work / "hold").unlink()
    assert ended(process)["status"] == "complete"
    records = {record.unit_id: record for record in Ledger(work).records()}
    assert records[unit_id].run["attempt"] == 2
    expected = {record.unit_id: record.files for record in Ledger(undisturbed).records()}
    assert {record.unit_id: record.files for record in records.values()} == expected
    table = (undisturbed / "scores.parquet").read_bytes()
    assert (work / "scores.parquet").read_bytes() == table


def test_more_processes_than_there_is_room_for_are_refused_at_once(
    cluster: Cluster, tmp_path: Path
) -> None:
    printed = ended(cluster.drive(tmp_path, [gang(tmp_path)], workers=4))
    assert printed == {
        "error": "a unit asks for 4 workers at once, and the nodes have room for fewer",
        "hint": "lower run.workers, run.num_cpus or run.num_gpus in the recipe, or set "
        "run.autoscale if the cluster adds nodes",
    }


def test_ctrl_c_of_a_driver_with_gangs_leaves_no_process_and_no_room_taken(
    cluster: Cluster, tmp_path: Path
) -> None:
    units = [gang(tmp_path, number, seconds=60) for number in range(3)]
    process = cluster.drive(tmp_path, units, workers=2)
    wait_for(lambda: len(list(tmp_path.glob("units/*/.*/part-*"))) == 2, while_runs=process)
    family = cluster.workers(MEMBER) + cluster.workers(COORDINATOR)
    assert len(family) >= 3
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    wait_until_gone(*family)
    assert groups(cluster) <= {"REMOVED"}
