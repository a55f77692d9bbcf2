"""The wheel with its core dependencies alone: prune and load work, probes say what they lack."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from dataprune import __version__, flow
from dataprune.core.recipe import recipe_names

pytestmark = pytest.mark.slow

REPO = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Clean:
    """A virtual environment that holds the wheel and what the wheel asks for."""

    folder: Path
    cwd: Path

    def run(self, *args: object, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a program of the environment, away from the checkout."""
        program, *rest = map(str, args)
        env = {k: v for k, v in os.environ.items() if k not in {"PYTHONPATH", "VIRTUAL_ENV"}}
        return subprocess.run(
            [self.folder / "bin" / program, *rest],
            cwd=self.cwd, env=env, capture_output=True, text=True, check=check,
        )  # fmt: skip

    def python(self, code: str, *args: object) -> Any:
        """Run code; what it prints last, as JSON."""
        return json.loads(self.run("python", "-c", code, *args).stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Clean:
    """Build the wheel and install it into a new environment, without extras."""
    folder = tmp_path_factory.mktemp("clean")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder]
    subprocess.run([*command, REPO], check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "venv", with_pip=True)
    (folder / "cwd").mkdir()
    made = Clean(folder / "venv", folder / "cwd")
    made.run("pip", "install", "--quiet", "--constraint", REPO / "constraints.txt", wheel)
    return made


def test_neither_torch_nor_ray_nor_pillow_is_there(clean: Clean) -> None:
    code = """
import importlib.util, json
names = ["torch", "ray", "sklearn", "scipy", "PIL", "datasets", "dataprune"]
print(json.dumps([name for name in names if importlib.util.find_spec(name)]))
"""
    assert clean.python(code) == ["dataprune"]


def test_the_wheel_holds_the_recipes_and_the_type_marker(clean: Clean) -> None:
    code = """
import json, pathlib, dataprune
from dataprune.core.recipe import recipe_names
home = pathlib.Path(dataprune.__file__).parent
print(json.dumps([dataprune.__version__, recipe_names(), (home / "py.typed").is_file()]))
"""
    assert clean.python(code) == [__version__, recipe_names(), True]


def test_a_version_built_elsewhere_loads_as_frame_and_arrow(
    clean: Clean, tiny_scores: Path, tmp_path: Path
) -> None:
    flow.prune(tiny_scores, name="digits", tag="v1", keep=0.5, by="el2n", store=tmp_path)
    code = """
import json, sys, dataprune
version = dataprune.load("digits", "v1", store=sys.argv[1])
frame, table = version.frame().collect(), version.arrow().to_table()
print(json.dumps([frame.shape, table.num_rows, frame["label"].to_list(), version.rows.tolist()]))
"""
    shape, num_rows, labels, rows = clean.python(code, tmp_path)
    here = flow.load("digits", "v1", store=tmp_path)
    assert shape == [898, 2]
    assert num_rows == 898
    assert labels == here.frame().collect()["label"].to_list()
    assert rows == here.rows.tolist()


def test_the_torch_view_says_which_extra_brings_it(
    clean: Clean, tiny_scores: Path, tmp_path: Path
) -> None:
    flow.prune(tiny_scores, name="digits", tag="v1", keep=0.5, by="el2n", store=tmp_path)
    code = """
import json, sys, dataprune
try:
    dataprune.load("digits", "v1", store=sys.argv[1]).torch()
except dataprune.DatapruneError as exc:
    print(json.dumps([type(exc).__name__, exc.message, exc.hint]))
"""
    assert clean.python(code, tmp_path) == [
        "MissingExtraError",
        "the torch view of a version needs torch, which is not installed",
        "pip install 'dataprune[probe]'",
    ]


def test_features_are_scored_by_random_pruned_explained_and_compared(
    clean: Clean, blobs_path: Path, tmp_path: Path
) -> None:
    scores = tmp_path / "scores.parquet"
    clean.run("dataprune", "score", blobs_path, "--score", "random", "--out", scores)
    command = ("dataprune", "prune", scores, "--name", "b", "--store", tmp_path / "store",
               "--json", "--control")  # fmt: skip
    for tag, keep in (("v1", "0.5"), ("v2", "0.8")):
        done = json.loads(clean.run(*command, "--tag", tag, "--keep", keep).stdout)
        assert done["created"] is True
    store = ("--store", tmp_path / "store", "--json")
    versions = json.loads(clean.run("dataprune", "versions", *store).stdout)
    assert [v["rows"] for v in versions] == [150, 150, 240, 240]
    told = json.loads(clean.run("dataprune", "explain", "b", "v1", "7", *store).stdout)
    assert told["row"] == 7
    difference = json.loads(clean.run("dataprune", "diff", "b", "v1", "v2", *store).stdout)
    assert (difference["added"], difference["removed"]) == (90, 0)
    clean.run("dataprune", "load", "b", "v1", "--store", tmp_path / "store")


def test_the_same_scores_give_the_same_version_there_and_here(
    clean: Clean, blobs_path: Path, tmp_path: Path
) -> None:
    here = flow.score(blobs_path, scores=["random"], out=tmp_path / "s.parquet", work=tmp_path)
    clean.run("dataprune", "prune", here.path, "--keep", "0.5", "--name", "b", "--tag", "v1",
              "--store", tmp_path / "there")  # fmt: skip
    flow.prune(here.path, keep=0.5, name="b", tag="v1", store=tmp_path / "here")
    for name in ("manifest.json", "decisions.parquet", "data/train-00000-of-00001.parquet"):
        ours, theirs = (tmp_path / where / "b" / "v1" / name for where in ("here", "there"))
        assert ours.read_bytes() == theirs.read_bytes()
    assert len(pq.read_table(tmp_path / "there" / "b" / "v1" / "data")) == 150


def test_scoring_with_probes_says_which_extra_brings_them(clean: Clean, blobs_path: Path) -> None:
    for source in ("digits", blobs_path):
        done = clean.run("dataprune", "score", source, "--json", check=False)
        assert done.returncode == 1
        error, hint = done.stderr.splitlines()
        assert error.startswith("Error: ")
        assert error.endswith("which is not installed")
        assert hint == "Hint: pip install 'dataprune[probe]'"


def test_evaluating_says_which_extra_it_needs(
    clean: Clean, blobs_path: Path, tmp_path: Path
) -> None:
    scores = flow.score(blobs_path, scores=["random"], work=tmp_path / "work").path
    flow.prune(scores, keep=0.5, name="b", tag="v1", store=tmp_path / "store")
    done = clean.run("dataprune", "evaluate", "b", "v1", "--store", tmp_path / "store", check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "Hint: pip install 'dataprune[probe]'"


def test_every_page_of_help_shows_without_the_extras(clean: Clean) -> None:
    code = """
import json, subprocess, sys
from dataprune.cli import COMMANDS
program = sys.executable.replace("python", "dataprune")
print(json.dumps([subprocess.run([program, c, "--help"], capture_output=True).returncode
                  for c in COMMANDS]))
"""
    assert set(clean.python(code)) == {0}
