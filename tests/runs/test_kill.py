"""Killed at any moment and run again, a command ends equal to the undisturbed one."""

from __future__ import annotations

import contextlib
import filecmp
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from dataprune import flow
from dataprune.core.errors import VersionNotFoundError
from dataprune.runs.status import run_status
from dataprune.versions.store import LocalStore

SEEDS = 6
WARM = Path(__file__).with_name("warm_cli.py")
INTERRUPTED = "Interrupted. What was finished is kept: run the same command to go on."


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe file whose six seeds take a quarter of a second each."""
    path = tmp_path_factory.mktemp("recipe") / "kill.yaml"
    data = {
        "name": "kill",
        "source": {"uri": "digits"},
        "probe": {
            "model": {"name": "mlp", "params": {"widths": [64]}},
            "batch_size": 32,
            "optimizer": {"lr": 0.05},
            "schedule_epochs": 6,
        },
        "scores": {"names": ["el2n", "forgetting"], "at": [3, 6]},
        "seeds": SEEDS,
    }
    path.write_text(yaml.safe_dump(data))
    return path


def start(*args: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "dataprune", *map(str, args)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def run(*args: object) -> dict[str, Any]:
    """Run a command to its end and parse what it prints."""
    process = start(*args)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    printed: dict[str, Any] = json.loads(out)
    return printed


def finished(work: Path) -> dict[Path, int]:
    """{unit.json: time of its last change, in ns}."""
    return {path: path.stat().st_mtime_ns for path in work.glob("units/*/unit.json")}


def wait_until(condition: Callable[[], object], process: subprocess.Popen[str]) -> None:
    """Wait for a condition that must come before the process ends."""
    deadline = time.monotonic() + 60
    while not condition():
        assert process.poll() is None, "the process ended too soon to be disturbed"
        assert time.monotonic() < deadline
        time.sleep(0.002)


class Warm:
    """The forking server of `warm_cli`, and the fork that it runs now."""

    def __init__(self) -> None:
        self.server = subprocess.Popen(
            [sys.executable, WARM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def start(self, *args: object) -> int:
        """Start a command; returns its pid."""
        assert self.server.stdin is not None
        self.server.stdin.write(json.dumps([str(a) for a in args]) + "\n")
        self.server.stdin.flush()
        return int(self.line())

    def kill_after(self, pid: int, seconds: float) -> int:
        """SIGKILL a command then, unless it has ended; returns its exit code."""
        time.sleep(seconds)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        return int(self.line())

    def line(self) -> str:
        """The server's next answer."""
        assert self.server.stdout is not None
        return self.server.stdout.readline().strip()


@pytest.fixture(scope="module")
def warm() -> Iterator[Warm]:
    """A server for this module's kills."""
    server = Warm()
    with server.server as process:
        assert server.line() == "ready"
        yield server
        process.kill()


@dataclass(frozen=True)
class Undisturbed:
    """A run that nobody disturbs: its score table and how long a warm process took for it."""

    table: Path
    duration_s: float


@pytest.fixture(scope="module")
def undisturbed(recipe: Path, warm: Warm, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    work = tmp_path_factory.mktemp("undisturbed")
    started = time.monotonic()
    warm.start("score", recipe, "--work", work, "--json")
    assert warm.line() == "0"
    return Undisturbed(work / "scores.parquet", time.monotonic() - started)


@pytest.mark.slow
def test_a_killed_run_goes_on_where_it_stopped_and_ends_equal(
    recipe: Path, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    work = tmp_path / "work"
    command = ("score", recipe, "--work", work, "--json")
    with start(*command) as process:
        wait_until(lambda: finished(work), process)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    before = finished(work)
    assert 0 < len(before) < SEEDS
    assert not (work / "scores.parquet").exists()
    counts = run_status(work)["counts"]
    assert counts["finished"] == len(before)
    assert counts.keys() <= {"finished", "interrupted", "waiting"}

    printed = run(*command)

    after = finished(work)
    assert {path: after[path] for path in before} == before, "a finished unit was written again"
    assert len(after) == SEEDS
    assert printed["status"] == "complete"
    assert len(printed["trained"]) == SEEDS - len(before)
    names = [json.loads(path.read_text())["identity"]["seed"] for path in before]
    assert sorted([*names, *printed["trained"]]) == list(range(SEEDS))
    assert filecmp.cmp(work / "scores.parquet", undisturbed.table, shallow=False)
    assert not list(work.rglob(".attempt-*")), "an attempt was left behind"


@pytest.mark.slow
def test_killed_at_random_moments_until_done_it_ends_equal(
    recipe: Path, undisturbed: Undisturbed, warm: Warm, tmp_path: Path
) -> None:
    rng = random.Random(20260101)  # noqa: S311 - moments to kill at, no secret
    work = tmp_path / "work"
    seen: dict[Path, int] = {}
    codes: list[int] = []
    while 0 not in codes:
        assert len(codes) < 50, "it never comes to an end"
        enough = len(seen) + rng.choice([0, 1])
        pid = warm.start("score", recipe, "--work", work, "--json")
        while len(finished(work)) < enough and Path(f"/proc/{pid}").exists():
            time.sleep(0.002)
        codes.append(warm.kill_after(pid, rng.uniform(0, 0.25) * undisturbed.duration_s))
        now = finished(work)
        assert {path: now[path] for path in seen} == seen, "a finished unit was written again"
        seen = now
        if (work / "scores.parquet").exists():
            assert filecmp.cmp(work / "scores.parquet", undisturbed.table, shallow=False)
    assert codes.count(-signal.SIGKILL) == len(codes) - 1 >= 2
    assert len(seen) == SEEDS
    assert filecmp.cmp(work / "scores.parquet", undisturbed.table, shallow=False)


@pytest.mark.slow
def test_ctrl_c_exits_130_with_one_line_and_keeps_what_had_finished(
    recipe: Path, tmp_path: Path
) -> None:
    with start("score", recipe, "--work", tmp_path, "--json") as process:
        wait_until(lambda: finished(tmp_path), process)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.split() == INTERRUPTED.split()
    assert out == ""
    assert finished(tmp_path)


@pytest.fixture(scope="module")
def scored_blobs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A score table of 20,000 rows that lie in a Parquet file."""
    folder = tmp_path_factory.mktemp("blobs")
    rng = np.random.default_rng(0)
    features = pa.FixedSizeListArray.from_arrays(rng.normal(size=20_000 * 8), 8)
    table = pa.table({"features": features, "label": [f"class-{i % 4}" for i in range(20_000)]})
    pq.write_table(table, folder / "blobs.parquet")
    return flow.score(folder / "blobs.parquet", scores=["random"], work=folder / "work").path


@pytest.mark.slow
def test_a_killed_build_leaves_the_whole_version_or_none(
    scored_blobs: Path, warm: Warm, tmp_path: Path
) -> None:
    whole = tmp_path / "whole"
    command = ("prune", scored_blobs, "--keep", "50%", "--name", "d", "--tag", "v1", "--control",
               "--json")  # fmt: skip
    started = time.monotonic()
    warm.start(*command, "--store", whole)
    while not LocalStore(whole).has("d", "v1-control"):
        time.sleep(0.002)
    duration_s = time.monotonic() - started
    assert warm.line() == "0"
    killed, found = 0, []
    for i in range(14):
        shutil.rmtree(tmp_path / "store", ignore_errors=True)
        store = LocalStore(tmp_path / "store")
        pid = warm.start(*command, "--store", store.folder)
        killed += warm.kill_after(pid, duration_s * i / 11) == -signal.SIGKILL
        tags = store.tags("d")
        found.append(tags)
        assert tags in ([], ["v1"], ["v1", "v1-control"])
        for tag in tags:
            assert len(flow.load("d", tag, store=store.folder)) == 10_000
        if not tags:
            with pytest.raises(VersionNotFoundError):
                flow.load("d", "v1", store=store.folder)
        made = flow.prune(
            scored_blobs, name="d", tag="v1", keep=0.5, control=True, store=store.folder
        )
        assert made.created is ("v1" not in tags)
        assert not list(store.folder.rglob(".staging*")), "the next build did not sweep"
        for tag in ("v1", "v1-control"):
            ours, theirs = (folder / "d" / tag for folder in (whole, store.folder))
            assert _same_tree(ours, theirs)
    assert killed >= 6, "the kills came too late to disturb anything"
    assert [] in found


def _same_tree(ours: Path, theirs: Path) -> bool:
    names = [sorted(p.relative_to(f) for f in [x] for p in f.rglob("*")) for x in (ours, theirs)]
    return names[0] == names[1] and all(
        (ours / name).is_dir() or (ours / name).read_bytes() == (theirs / name).read_bytes()
        for name in names[0]
    )


def descendants(pid: int) -> dict[int, str]:
    """{pid: command line} of every process below one, from /proc."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = stat.read_text()
        except OSError:  # it ended meanwhile
            continue
        parents[int(stat.parent.name)] = int(text.rpartition(")")[2].split()[1])
    below: dict[int, str] = {}
    for each in parents:
        above = each
        while above in parents and above != pid:
            above = parents[above]
        if above == pid and each != pid:
            try:
                below[each] = (Path("/proc") / str(each) / "cmdline").read_text()
            except OSError:
                continue
    return below


def workers_at_work(pid: int) -> list[int]:
    """Pids of a driver's own Ray workers that run a unit."""
    return [p for p, line in descendants(pid).items() if line.startswith("ray::_run_in_worker")]


def wait_for_the_end_of(family: dict[int, str]) -> None:
    """Ray ends its own processes when their driver has died, but for two idle agents: end those."""
    agents = {pid for pid, line in family.items() if line.rstrip("\0 ").endswith("Agent")}
    deadline = time.monotonic() + 60
    while any((Path("/proc") / str(pid)).exists() for pid in family.keys() - agents):
        assert time.monotonic() < deadline, "processes of a dead driver live on"
        time.sleep(0.1)
    for pid in agents:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.ray
def test_a_run_on_ray_whose_driver_is_killed_goes_on_and_ends_equal(
    recipe: Path, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    work = tmp_path / "work"
    command = ("score", recipe, "--work", work, "--runner", "ray", "--json")
    with start(*command) as process:
        wait_until(lambda: finished(work), process)
        family = descendants(process.pid)
        process.kill()
    before = finished(work)
    assert 0 < len(before) < SEEDS
    wait_for_the_end_of(family)
    printed = run(*command)
    after = finished(work)
    assert {path: after[path] for path in before} == before
    assert printed["status"] == "complete"
    assert len(after) == SEEDS
    assert filecmp.cmp(work / "scores.parquet", undisturbed.table, shallow=False)


@pytest.mark.slow
@pytest.mark.ray
def test_a_run_on_ray_outlives_the_kill_of_a_worker(
    recipe: Path, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    command = ("score", recipe, "--work", tmp_path, "--runner", "ray", "--json")
    with start(*command) as process:
        wait_until(lambda: len(list(tmp_path.glob("units/*/.attempt-*"))) > 1, process)
        wait_until(lambda: workers_at_work(process.pid), process)
        os.kill(workers_at_work(process.pid)[0], signal.SIGKILL)
        out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    printed = json.loads(out)
    assert printed["status"] == "complete"
    assert printed["failed"] == []
    attempts = [json.loads(p.read_text())["run"]["attempt"] for p in finished(tmp_path)]
    assert len(attempts) == SEEDS
    assert set(attempts) <= {1, 2}  # 1 only, if the kill fell between two units
    assert filecmp.cmp(tmp_path / "scores.parquet", undisturbed.table, shallow=False)


@pytest.mark.slow
@pytest.mark.ray
def test_ctrl_c_on_ray_exits_130_and_leaves_no_process(recipe: Path, tmp_path: Path) -> None:
    with start("score", recipe, "--work", tmp_path, "--runner", "ray", "--json") as process:
        wait_until(lambda: finished(tmp_path), process)
        family = descendants(process.pid)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    # Ray's threads may write a line of their own between the signal and the shutdown.
    assert [line for line in err.splitlines() if line and ".cc:" not in line] == [INTERRUPTED]
    wait_for_the_end_of(family)
