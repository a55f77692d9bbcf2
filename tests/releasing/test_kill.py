"""Two schedulers at once, and a run killed at any moment: real processes."""

from __future__ import annotations

import filecmp
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
import yaml

from tests.releasing.conftest import Release


def start(release: Release, folder: Path, *options: str) -> subprocess.Popen[str]:
    """`dataprune run` of the recipe with its own work folder and store."""
    recipe = folder / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(release.recipe))
    places = ["--work", str(folder / "work"), "--store", str(folder / "store")]
    command = [sys.executable, "-m", "dataprune", "run", str(recipe), *places, "--json", *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str]) -> str:
    """Wait for its end; the tag that it made."""
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    tag: str = json.loads(out)["tag"]
    return tag


def tree(folder: Path) -> list[str]:
    """Every file of a store but its locks."""
    return sorted(
        p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file() and p.suffix
    )


@pytest.mark.slow
def test_of_two_schedulers_one_works_and_the_other_exits_4(
    release: Release, tmp_path: Path
) -> None:
    release.recipe["seeds"] = 40
    first = start(release, tmp_path)
    deadline = time.monotonic() + 60
    while not list((tmp_path / "work").glob("units/*/unit.json")):
        assert first.poll() is None, first.stderr.read() if first.stderr else ""
        assert time.monotonic() < deadline
        time.sleep(0.01)
    first.send_signal(signal.SIGSTOP)  # so that it holds the folder however slow the other starts
    second = start(release, tmp_path)
    _, err = second.communicate(timeout=60)
    first.send_signal(signal.SIGCONT)
    assert second.returncode == 4
    error, hint = err.splitlines()
    assert error.startswith("Error: release grows in ")
    assert f"is in use by process {first.pid} on " in error
    assert hint.startswith("Hint: ")
    assert finish(first) == "v1-el2n-keep0.5"


# What is there when the second run is killed, in the order in which it comes.
MOMENTS: dict[str, Callable[[Path], bool]] = {
    "a probe": lambda home: len(list(home.glob("work/units/*/unit.json"))) > 4,
    "old scores carried over": lambda home: (home / "work/scores-carried.parquet").exists(),
    "the version on trial": lambda home: (home / "work/trial").exists(),
    "a pilot": lambda home: len(list(home.glob("work/pilot/units/*/unit.json"))) > 6,
    "the tag": lambda home: (home / "store/grows/v2-el2n-keep0.5").exists(),
    "its control": lambda home: (home / "store/grows/v2-el2n-keep0.5-control").exists(),
}


@pytest.mark.slow
def test_killed_at_any_moment_it_ends_with_the_same_tag_and_bytes(
    release: Release, rows: pa.Table, tmp_path: Path
) -> None:
    release.section["incremental"] = True
    release.section["gates"]["pilot"] = {"seeds": 2, "tolerance": 1.0}
    release.recipe["seeds"] = 4
    undisturbed, before = tmp_path / "undisturbed", tmp_path / "before"
    undisturbed.mkdir()
    finish(start(release, undisturbed))
    shutil.copytree(undisturbed, before)
    release.write(rows)
    finish(start(release, undisturbed))
    files = tree(undisturbed / "store")
    were_killed = 0
    for i, is_there in enumerate(MOMENTS.values()):
        home = tmp_path / f"killed-{i}"
        shutil.copytree(before, home)
        state = home / "work" / "release.json"
        state.write_text(state.read_text().replace(str(undisturbed), str(home)))
        assert not is_there(home)
        process = start(release, home)
        while not is_there(home) and process.poll() is None:
            time.sleep(0.001)
        process.kill()
        process.communicate()
        assert is_there(home)
        were_killed += process.returncode == -signal.SIGKILL
        assert finish(start(release, home)) == "v2-el2n-keep0.5"
        assert tree(home / "store") == files
        pair = (undisturbed / "store", home / "store")
        assert filecmp.cmpfiles(*pair, files, shallow=False)[1:] == ([], [])
        assert not (home / "work" / "trial").exists()
    assert were_killed >= len(MOMENTS) - 1  # the last moment is short


@pytest.mark.slow
def test_an_interrupted_run_says_how_to_go_on(release: Release, tmp_path: Path) -> None:
    release.recipe["seeds"] = 40
    process = start(release, tmp_path)
    while not list((tmp_path / "work").glob("units/*/unit.json")):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "run the same command to go on" in err
