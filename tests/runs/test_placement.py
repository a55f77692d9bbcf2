"""Where units run: what they claim is honoured, what no node has is refused or awaited."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dataprune.runs.journal import read_journal
from dataprune.runs.ledger import Ledger
from dataprune.runs.place import LocalPlace
from tests.runs.clusters import Cluster, Node
from tests.runs.processes import ended, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.ray]

GIB = 1 << 30


@pytest.fixture(scope="module")
def large(cluster: Cluster) -> Iterator[Node]:
    """A node with 8 CPUs, one GPU and 1 GiB of memory; no other has more than a CPU."""
    node = cluster.add(num_cpus=8, num_gpus=1, memory=GIB)
    yield node
    cluster.remove(node)


def notes(tmp_path: Path, count: int, **spec: Any) -> list[tuple[str, dict[str, Any]]]:
    """Units that say where and when they ran."""
    here = str(tmp_path / "here")
    return [("note", {"number": number, "here": here, **spec}) for number in range(count)]


def told(tmp_path: Path) -> list[dict[str, Any]]:
    """What they said."""
    return [record.result for record in Ledger(tmp_path / "work").records()]


def one_by_one(results: list[dict[str, Any]]) -> bool:
    """Whether no two ran at the same time."""
    times = sorted((result["began"], result["ended"]) for result in results)
    return all(end <= begin for (_, end), (begin, _) in itertools.pairwise(times))


def test_four_units_of_a_quarter_of_a_gpu_share_one(
    cluster: Cluster, large: Node, tmp_path: Path
) -> None:
    units = notes(tmp_path, 4, meet=4)  # each waits for the other three
    printed = ended(cluster.drive(tmp_path / "work", units, num_gpus=0.25))
    assert printed["failed"] == []
    assert [(result["node"], result["gpus"]) for result in told(tmp_path)] == [(large.id, [0])] * 4


def test_units_of_a_whole_gpu_take_turns(cluster: Cluster, large: Node, tmp_path: Path) -> None:
    printed = ended(cluster.drive(tmp_path / "work", notes(tmp_path, 3, seconds=0.2), num_gpus=1))
    assert printed["failed"] == []
    assert {result["node"] for result in told(tmp_path)} == {large.id}
    assert one_by_one(told(tmp_path))


def test_memory_that_is_claimed_is_not_given_twice(
    cluster: Cluster, large: Node, tmp_path: Path
) -> None:
    units = notes(tmp_path, 3, seconds=0.2)
    printed = ended(cluster.drive(tmp_path / "work", units, num_cpus=2, memory_gb=0.6))
    assert printed["failed"] == []
    assert {result["node"] for result in told(tmp_path)} == {large.id}
    assert one_by_one(told(tmp_path))


@pytest.mark.parametrize(("placement", "num_nodes"), [("pack", 1), ("spread", 2)])
@pytest.mark.usefixtures("large")
def test_units_are_packed_or_spread(
    placement: str, num_nodes: int, cluster: Cluster, tmp_path: Path
) -> None:
    other = cluster.add(num_cpus=8)
    units = notes(tmp_path, 2, meet=2)
    process = cluster.drive(tmp_path / "work", units, num_cpus=2, placement=placement)
    printed = ended(process)
    cluster.remove(other)
    assert printed["failed"] == []
    assert len({result["node"] for result in told(tmp_path)}) == num_nodes


@pytest.mark.usefixtures("large")
def test_what_no_node_has_is_refused_in_one_sentence(cluster: Cluster, tmp_path: Path) -> None:
    process = cluster.drive(tmp_path / "work", notes(tmp_path, 1), num_cpus=1, memory_gb=4000)
    printed = ended(process)
    assert printed["error"].startswith(
        "a unit asks for 1 CPUs and 0 GPUs and 4000 GiB, and no node has more than 8 CPUs and "
        "1 GPUs and "
    )
    assert "set run.autoscale if the cluster adds nodes" in printed["hint"]


def test_on_a_cluster_that_grows_a_unit_waits_for_a_node_that_fits(
    cluster: Cluster, tmp_path: Path
) -> None:
    work = tmp_path / "work"
    process = cluster.drive(work, notes(tmp_path, 2), num_cpus=9, autoscale=True)
    wait_for(lambda: read_journal(LocalPlace(work)), while_runs=process)
    node = cluster.add(num_cpus=9)
    printed = ended(process)
    cluster.remove(node)
    assert printed["failed"] == []
    assert {result["node"] for result in told(tmp_path)} == {node.id}


def test_of_equal_units_exactly_as_many_run_as_a_budget_pays_for(
    cluster: Cluster, tmp_path: Path
) -> None:
    units = notes(tmp_path, 6, seconds=1)
    budget = {"cpu_hours": 2.8 / 3600}
    printed = ended(cluster.drive(tmp_path / "work", units, budget=budget))
    assert len(printed["finished"]) == 2
    assert [outcome["skipped"] for outcome in printed["failed"]] == [True] * 4
    assert "of the budget of 0.000777778 CPU hours is spent" in printed["failed"][0]["error"]
    before = {record.unit_id: record for record in Ledger(tmp_path / "work").records()}
    printed = ended(cluster.drive(tmp_path / "work", units, budget={"cpu_hours": 1}))
    assert len(printed["finished"]) == 4
    after = {record.unit_id: record for record in Ledger(tmp_path / "work").records()}
    assert len(after) == 6
    assert {unit_id: after[unit_id] for unit_id in before} == before
