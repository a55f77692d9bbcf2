"""A full or read-only work folder: one sentence, nothing half-written is read, and it goes on."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from dataprune.core.protocols import Job, Resources
from dataprune.runs.ledger import Ledger
from dataprune.runs.local import LocalRunner
from dataprune.runs.status import run_status
from tests.runs.conftest import (
    SEEDS,
    Start,
    Undisturbed,
    assert_equal_in_the_end,
    assert_half_written,
    hold,
    left_by,
    recipe_file,
    tamper_with,
)
from tests.runs.drive import unit_of
from tests.runs.forks import Fork
from tests.runs.processes import ended, wait_for

pytestmark = pytest.mark.slow

HINT = "make room and run again: finished units are kept"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB in memory; only root may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("no right to mount a file system")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path, *, but: int = 0) -> Path:
    """Write a file until the file system is full, then leave so many bytes free."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    os.truncate(ballast, ballast.stat().st_size - but)
    return ballast


def refused(process: Fork, code: int = 1) -> str:
    """What a run that ended with that exit code told."""
    out, err = process.communicate(timeout=120)
    assert process.returncode == code, err
    assert "Traceback" not in err
    assert "unexpected" not in err
    assert out == ""
    return err


@pytest.mark.parametrize("runner", ["local", pytest.param("ray", marks=pytest.mark.ray)])
def test_a_run_that_fills_the_disk_says_so_and_ends_equal_once_there_is_room(
    runner: str, request: pytest.FixtureRequest, small_disk: Path, undisturbed: Undisturbed
) -> None:
    start: Start
    if runner == "local":
        start = request.getfixturevalue("start_local")
    else:
        start = request.getfixturevalue("cluster").score
    recipe, work = recipe_file(small_disk.parent), small_disk / "work"
    held = hold(work, "progress.json", times=1)
    process = start(recipe, work)
    wait_for(held, while_runs=process)
    ballast = fill(small_disk)  # no progress and no trace can be written from now on
    (work / "hold").unlink()
    told = refused(process)
    assert "every unit failed; the first: no room to write its files" in told
    assert "No space left on device" in told
    assert told.splitlines()[-1] == f"Hint: {HINT}"
    assert Ledger(work).records() == []
    assert "finished" not in run_status(work)["counts"]
    assert not (work / "scores.parquet").exists()
    ballast.unlink()
    printed = ended(start(recipe, work))
    assert printed["trained"] == list(range(SEEDS))
    assert_equal_in_the_end(work, undisturbed)


def test_a_disk_that_is_full_from_the_start_is_one_sentence(
    small_disk: Path, start_local: Start
) -> None:
    (small_disk / "work").mkdir()
    fill(small_disk)
    told = refused(start_local(recipe_file(small_disk.parent), small_disk / "work"))
    assert told.startswith(f"Error: No space left on device ({small_disk / 'work'}")
    assert len(told.splitlines()) == 1


def test_a_read_only_work_folder_is_one_sentence(small_disk: Path, start_local: Start) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    told = refused(start_local(recipe_file(small_disk.parent), small_disk / "work"))
    assert told.startswith("Error: Read-only file system (")
    assert len(told.splitlines()) == 1


def test_a_limit_on_the_size_of_files_is_told_like_a_full_disk(
    start_local: Start, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    """A disk that is too small for traces and large enough for all else; no right is needed."""
    recipe, work = recipe_file(tmp_path), tmp_path / "work"
    shutil.copytree(undisturbed.work, work)  # what is larger than a trace is there already
    for trace in work.glob("units/*/trace.parquet"):
        trace.unlink()
    held = hold(work, "progress.json")
    process = start_local(recipe, work)
    wait_for(held, while_runs=process)
    limit = min(len(trace) for trace in undisturbed.traces.values()) - 1
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    (work / "hold").unlink()
    told = refused(process)
    assert "every unit failed; the first: no room to write its files: File too large" in told
    assert Ledger(work).records() == []
    ended(start_local(recipe, work))
    assert_equal_in_the_end(work, undisturbed)


@pytest.mark.parametrize("every_minutes", [0.0, 1e-4])
def test_a_unit_goes_on_where_progress_and_snapshots_cannot_be_written(
    every_minutes: float, small_disk: Path
) -> None:
    work = small_disk / "work"
    unit = unit_of("work_on_a_full_disk", {"ballast": str(small_disk / "ballast")})
    resources = Resources(snapshot_minutes=every_minutes)
    (outcome,) = LocalRunner().run(Job(work, [unit], resources=resources), lambda _u, _t: None)
    assert outcome.error is None
    record = Ledger(work).finished(unit.unit_id)
    assert record is not None
    assert record.result == {"progress_failed": True, "snapshots_asked": every_minutes > 0}


def test_killed_amid_a_unit_the_local_runner_goes_on_from_its_snapshot_with_the_same_trace(
    start_local: Start, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    recipe = recipe_file(tmp_path, snapshot_minutes=0.0003)
    traces = []
    for work in (tmp_path / "untouched", tmp_path / "changed"):
        held = hold(work, "snapshot-0", times=5)
        process = start_local(recipe, work, "--seeds", 2)
        wait_for(held, while_runs=process)
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        (unit_id,) = held().values()
        if work.name == "changed":
            tamper_with(work / "units" / unit_id / "snapshot-0")
        (work / "hold").unlink()
        ended(start_local(recipe, work, "--seeds", 2))
        traces.append(left_by(work))
    assert traces[0] == {i: undisturbed.traces[i] for i in traces[1]}
    differing = {i for i, trace in traces[1].items() if trace != undisturbed.traces[i]}
    assert differing == {unit_id}, "it was not the snapshot that it went on from"


def test_killed_between_data_and_marker_the_local_runner_runs_the_unit_again(
    start_local: Start, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    recipe, work = recipe_file(tmp_path), tmp_path / "work"
    held = hold(work, "unit.json")
    process = start_local(recipe, work)
    wait_for(held, while_runs=process)
    process.kill()
    process.communicate()
    assert_half_written(work, undisturbed)
    (work / "hold").unlink()
    printed = ended(start_local(recipe, work))
    assert printed["trained"] == list(range(SEEDS))
    assert_equal_in_the_end(work, undisturbed)
