"""`dataprune submit` against a real Ray head: logs, exit codes, once and only once, stop, loss."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.runs.ray_head import Head, end, running_head

pytestmark = [pytest.mark.slow, pytest.mark.ray, pytest.mark.timeout(600)]

NETWORKS = """
    import math, time
    from pathlib import Path
    import ray
    from torch import nn

    def plain(shape, num_outputs):
        return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), num_outputs))

    def fails_once(shape, num_outputs, *, marker):
        if ray.is_initialized():
            try:
                Path(marker).touch(exist_ok=False)
            except FileExistsError:
                return plain(shape, num_outputs)
            raise RuntimeError("the node's disk is full")
        return plain(shape, num_outputs)

    def waits(shape, num_outputs, *, until):
        deadline = time.monotonic() + 120
        print("waiting in the unit")
        while not Path(until).exists() and time.monotonic() < deadline:
            time.sleep(0.2)
        return plain(shape, num_outputs)
"""


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    folder = Path(tempfile.mkdtemp(prefix="dp", dir="/tmp"))  # short: sockets lie below it
    with running_head(folder) as running:
        yield running
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with networks of the user's own, a recipe, what must stay at home."""
    (tmp_path / "networks.py").write_text(textwrap.dedent(NETWORKS))
    (tmp_path / "huge.parquet").write_bytes(b"not to be sent")
    (tmp_path / ".env").write_text("HF_TOKEN=hf_do_not_send")
    write_recipe(tmp_path)
    return tmp_path


def write_recipe(
    folder: Path, model: Any = "networks:plain", uri: str = "digits", **more: Any
) -> None:
    recipe = {
        "name": "tiny",
        "source": {"uri": uri},
        "probe": {"model": model, "schedule_epochs": 2},
        "scores": {"names": ["el2n"]},
        "seeds": 2,
        "prune": {"keep": 0.5},
        **more,
    }
    (folder / "tiny.yaml").write_text(yaml.safe_dump(recipe))


def arguments(address: str, project: Path, *more: str) -> list[str]:
    return [
        sys.executable, "-m", "dataprune", "submit", "tiny.yaml", "--address", address,
        "--working-dir", ".", "--work", str(project / "work"), *more,
    ]  # fmt: skip


def submit(
    head: Head, project: Path, *more: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        arguments(head.address, project, *more), cwd=project, capture_output=True, text=True,
        check=False, env={**os.environ, **environment},
    )  # fmt: skip


@contextlib.contextmanager
def submitting(address: str, project: Path, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """The command while it runs, its log coming; ended at the latest with the block."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # may have been ignored
    process = subprocess.Popen(
        arguments(address, project), cwd=project, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, env={**os.environ, **environment},
    )  # fmt: skip
    signal.signal(signal.SIGINT, before)
    try:
        with process:
            assert process.stdout is not None
            assert any("Running entrypoint" in line for line in process.stdout)
            yield process
    finally:
        process.kill()


def job_ids(head: Head, project: Path) -> list[str]:
    """All attempts at what the project's recipe is now."""
    from dataprune.runs.job_request import request_for
    from dataprune.runs.submit import Jobs

    with tempfile.TemporaryDirectory() as folder:
        here = Path.cwd()
        os.chdir(project)
        try:
            request = request_for(
                "tiny.yaml", folder=Path(folder), working_dir=Path(), work=str(project / "work")
            )
        finally:
            os.chdir(here)
    return [job.submission_id for job in Jobs(head.address).attempts(request.base_id)]


def assert_ray_reads(told: str, work: str) -> None:
    """Ray's own command line knows every option of the line that is called the same."""
    from ray.dashboard.modules.job.cli import submit as ray_submit

    (line,) = [line for line in told.splitlines() if "ray job submit" in line]
    words = shlex.split(line[line.index("ray job submit") :])[3:]
    with ray_submit.make_context("submit", words) as context:
        assert context.params["entrypoint_num_cpus"] == 1
        assert context.params["entrypoint"][-2:] == ("--work", work)


def wait_for_status(head: Head, project: Path, wanted: str) -> dict[str, Any]:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        done = submit(head, project, "--status", "--json")
        told: dict[str, Any] = json.loads(done.stdout) if done.returncode == 0 else {}
        if told.get("status") == wanted:
            return told
    raise AssertionError(f"{told} {done.stderr}")


def test_a_job_is_streamed_ends_with_its_code_and_runs_once(head: Head, project: Path) -> None:
    # RAY_ADDRESS, which Ray's own client would put above the address given, has no say.
    first = submit(head, project, RAY_ADDRESS="http://127.0.0.1:9")
    assert first.returncode == 0, first.stderr
    assert "Seed reliability" in first.stdout
    assert str(project / "work" / "scores.parquet") in first.stdout
    assert "ray job submit --address" in first.stderr
    assert "1 data files are not sent" in first.stderr
    assert_ray_reads(first.stderr, str(project / "work"))
    trained = sorted((project / "work" / "units").iterdir())

    second = submit(head, project)
    assert second.returncode == 0
    assert "has succeeded already" in second.stderr
    assert second.stdout == first.stdout
    assert len(job_ids(head, project)) == 1

    again = submit(head, project, "--again", "--json")
    assert json.loads(again.stdout)["exit_code"] == 0
    assert len(job_ids(head, project)) == 2
    assert sorted((project / "work" / "units").iterdir()) == trained


def test_a_partial_run_exits_3_and_the_next_attempt_does_what_is_missing(
    head: Head, project: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    marker = tmp_path_factory.mktemp("elsewhere") / "marker"
    write_recipe(project, {"name": "networks:fails_once", "params": {"marker": str(marker)}})
    first = submit(head, project)
    assert first.returncode == 3, first.stdout + first.stderr
    assert "failed with exit code 3" in first.stderr
    second = submit(head, project)
    assert second.returncode == 0, second.stdout + second.stderr
    assert "1 of 2 seeds to train" in second.stdout
    assert job_ids(head, project)[-1].endswith("-a2")


def test_a_release_is_a_candidate_with_3_then_a_version_and_then_nothing_to_do(
    head: Head, project: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    store = ["--store", str(tmp_path_factory.mktemp("versions"))]
    gates = {"pilot": False, "class_floor": False, "reliability": 0.9999}
    write_recipe(project, release={"gates": gates})
    doubted = submit(head, project, *store)
    assert doubted.returncode == 3, doubted.stdout + doubted.stderr
    assert "candidate, not tagged" in doubted.stdout
    write_recipe(project, release={"gates": {**gates, "reliability": False}})
    tagged = submit(head, project, *store)
    assert tagged.returncode == 0, tagged.stdout + tagged.stderr
    again = submit(head, project, *store, "--again")
    assert again.returncode == 0
    assert "unchanged" in again.stdout


def test_a_job_that_fails_exits_1_with_its_own_sentence_in_the_log(
    head: Head, project: Path
) -> None:
    write_recipe(project, uri="/nowhere/at-all.parquet")
    done = submit(head, project)
    assert done.returncode == 1
    assert "Error: " in done.stdout
    assert "/nowhere/at-all.parquet" in done.stdout


def test_a_cluster_without_dataprune_is_told_as_such(head: Head, project: Path) -> None:
    done = submit(head, project, "--env", "PATH=/usr/bin:/bin")
    assert done.returncode == 1
    assert "the cluster's image has no dataprune" in done.stderr


def test_two_who_submit_at_once_start_one_job(head: Head, project: Path) -> None:
    both = [
        subprocess.Popen(
            arguments(head.address, project), cwd=project, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True,
        )
        for _ in range(2)
    ]  # fmt: skip
    outputs = [process.communicate() for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert len(job_ids(head, project)) == 1


def test_a_job_is_left_found_refused_a_second_time_and_stopped(head: Head, project: Path) -> None:
    write_recipe(project, {"name": "networks:waits", "params": {"until": str(project / "never")}})
    left = submit(head, project, "--detach", "--occasion", "monday")
    assert left.returncode == 0, left.stderr
    job_id = left.stdout.strip()
    assert f"--id {job_id} --status" in left.stderr
    wait_for_status(head, project, "RUNNING")

    assert submit(head, project, "--again").returncode == 4
    busy = submit(head, project, "--occasion", "tuesday")
    assert busy.returncode == 4
    assert f"{job_id} is still running" in busy.stderr
    same = submit(head, project, "--occasion", "monday", "--detach")
    assert same.stdout.strip() == job_id

    stopped = submit(head, project, "--stop")
    assert stopped.returncode == 0, stopped.stderr
    assert wait_for_status(head, project, "STOPPED")["exit_code"] == 130
    assert submit(head, project, "--attach").returncode == 130
    assert "Nothing to stop" in submit(head, project, "--stop").stderr


def test_ctrl_c_leaves_the_job_running_and_says_how_to_come_back(head: Head, project: Path) -> None:
    go = project / "go"
    write_recipe(project, {"name": "networks:waits", "params": {"until": str(go)}})
    with submitting(head.address, project) as process:
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    (job_id,) = job_ids(head, project)
    assert f"--id {job_id} --stop" in told
    go.touch()
    back = subprocess.run(
        [sys.executable, "-m", "dataprune", "submit", "--address", head.address, "--id", job_id],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert back.returncode == 0, back.stderr
    assert "Seed reliability" in back.stdout


def test_a_cluster_wants_its_token_and_its_loss_ends_the_command(project: Path) -> None:
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "a" * 64}
    folder = Path(tempfile.mkdtemp(prefix="dp", dir="/tmp"))
    write_recipe(project, {"name": "networks:waits", "params": {"until": str(project / "go")}})
    with running_head(folder, **token) as guarded:
        refused = submit(guarded, project)
        assert refused.returncode == 1
        assert "refuses this token, or wants one" in refused.stderr
        assert "RAY_AUTH_TOKEN" in refused.stderr
        assert "Traceback" not in refused.stderr

        with submitting(guarded.address, project, **token) as process:
            end(guarded)
            (project / "go").touch()
            _, told = process.communicate(timeout=180)
    assert process.returncode == 1, told
    assert "was lost while job" in told
    assert "units that finished are kept" in told
    assert token["RAY_AUTH_TOKEN"] not in told
    shutil.rmtree(folder, ignore_errors=True)
