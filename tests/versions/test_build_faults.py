"""Building under trouble: two at once, a busy name, a full disk: whole, or not there."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from dataprune import flow
from dataprune.core.errors import (
    BusyError,
)
from dataprune.versions.store import LocalStore
from tests.versions.test_build import build, tree

CONCURRENT = """
import sys
from dataprune import flow
from dataprune.core.errors import BusyError
scores, store = sys.argv[1:]
import dataprune.versions.build, polars
print("ready", flush=True)
sys.stdin.readline()
try:
    print(flow.prune(scores, name="d", tag="v1", keep=0.5, store=store).created)
except BusyError as exc:
    print(f"busy: {exc.exit_code}")
"""


def test_two_processes_that_build_one_version_never_spoil_it(
    blobs_scores: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", CONCURRENT, blobs_scores, tmp_path / "store"]
    pair = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for process in pair:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in pair:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    told = sorted(process.communicate(timeout=60)[0].strip() for process in pair)
    assert told in (["False", "True"], ["True", "busy: 4"])
    assert len(flow.load("d", "v1", store=tmp_path / "store")) == 150
    assert not list((tmp_path / "store").rglob(".staging*"))


def test_a_name_that_is_being_built_is_busy(blobs_scores: Path, tmp_path: Path) -> None:
    with LocalStore(tmp_path / "store").staging("d", "v9") as staging:
        with pytest.raises(BusyError, match=r"d in store .* is in use by another"):
            build(blobs_scores, tmp_path / "store")
        assert staging.is_dir(), "the loser swept the builder's work away"
        assert build(blobs_scores, tmp_path / "store", name="other").created


FULL_DISK = """
import json, resource, sys
from dataprune import flow
from dataprune.core.errors import DatapruneError
told = []
for limit in range(0, 60_000, 1500):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        flow.prune(sys.argv[1], name="d", tag="v1", keep=0.5, store=sys.argv[2])
    except OSError as exc:
        told.append(type(exc).__name__)
        continue
    break
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print(json.dumps(told))
"""


def test_wherever_the_disk_gets_full_nothing_half_written_stays(
    blobs_scores: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    command = [sys.executable, "-c", FULL_DISK, blobs_scores, store]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert len(json.loads(done.stdout)) >= 3, "the limits came too late to disturb anything"
    files = tree(store / "d")
    assert {name.split("/")[0] for name in files} == {"v1"}, "failed builds left something behind"
    assert len(flow.load("d", "v1", store=store)) == 150


def test_a_full_disk_is_one_sentence_and_exit_code_1(blobs_scores: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    done = subprocess.run(
        [sys.executable, "-m", "dataprune", "prune", blobs_scores, "--keep", "0.5", "--name", "d",
         "--tag", "v1", "--store", store, "--json"],
        capture_output=True, text=True, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000)),
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("Error: ")
    assert os.strerror(27) in line
    assert "Traceback" not in line
    assert tree(store / "d") == {}
