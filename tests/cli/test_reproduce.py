"""`dataprune reproduce grok` on the command line, on a recipe that takes a blink."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

TINY = """\
version: 1
reproduces: grok
name: tiny
p: 11
num_neurons: 16
evaluate_every: 10
runs:
  - {name: plain, steps: 10, paper: {train: 0.5, test: 0.25}}
  - {name: normed, steps: 10, batch_norm: true, batch_size: 16, xi: 0.0}
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """A recipe file."""
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY)
    return path


@pytest.fixture
def no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Matplotlib is not installed, even where it is."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)


def test_the_tables_name_runs_phases_and_the_papers_numbers(cli: Any, recipe: Path) -> None:
    done = cli("reproduce", "grok", "--recipe", recipe)
    assert done.code == 0, done.err
    assert "modular addition, p = 11, 16 neurons" in done.out
    for word in ("plain", "normed", "(0.5000)", "(0.2500)", "low IPR first", "AUROC of EL2N"):
        assert word in done.out
    assert done.err.splitlines() == ["plain finished", "normed finished"]


def test_json_is_the_same_as_the_file(
    cli: Any, recipe: Path, tmp_path: Path, no_plots: None
) -> None:
    out = tmp_path / "new" / "out"
    told = cli("reproduce", "grok", "--recipe", recipe, "--out", out, "--json").json
    assert told.pop("files") == [str(out / "grok.json")]
    assert "pip install 'dataprune[plots]'" in told.pop("warnings")[0]
    assert told == json.loads((out / "grok.json").read_text())
    run = told["runs"][0]
    assert run["phase"] in {"memorization", "confusion"}
    assert [point["step"] for point in run["curve"]] == [0, 2, 5, 10]
    assert len(run["ipr"]) == 16
    assert [level["percent"] for level in run["pruning"]["low_ipr"]][::10] == [0, 50, 100]
    assert (run["alpha"], run["num_train"], told["runs"][1]["num_wrong"]) == (0.5, 60, 0)


def test_without_matplotlib_there_are_numbers_and_one_sentence(
    cli: Any, recipe: Path, tmp_path: Path, no_plots: None
) -> None:
    out = tmp_path / "out"
    done = cli("reproduce", "grok", "--recipe", recipe, "--out", out)
    assert done.code == 0
    assert done.err.splitlines()[0] == (
        "Warning: no pictures, only numbers: drawing pictures needs matplotlib, which is not "
        "installed; pip install 'dataprune[plots]'"
    )
    assert [path.name for path in out.iterdir()] == ["grok.json"]


def test_a_folder_of_a_run_before_is_written_again(
    cli: Any, recipe: Path, tmp_path: Path, no_plots: None
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "grok.json").write_text("{}")
    (out / "notes.txt").write_text("mine")
    (out / "ipr.png").write_text("of other numbers")
    assert cli("reproduce", "grok", "--recipe", recipe, "--out", out).code == 0
    assert json.loads((out / "grok.json").read_text())["recipe"]["name"] == "tiny"
    assert (out / "notes.txt").read_text() == "mine"
    assert not (out / "ipr.png").exists()


def test_a_folder_of_other_things_is_left_alone(cli: Any, recipe: Path, tmp_path: Path) -> None:
    done = cli("reproduce", "grok", "--recipe", recipe, "--out", tmp_path)
    assert done.code == 2
    assert done.err.splitlines() == [
        f"Error: {tmp_path} holds other things and no grok.json of a run before",
        "Hint: give --out a new folder",
    ]


def test_an_interruption_leaves_nothing_half_written(
    cli: Any, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataprune.reproductions import grok

    def interrupt(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(grok, "run_once", interrupt)
    done = cli("reproduce", "grok", "--recipe", recipe, "--out", tmp_path / "out")
    assert done.code == 130
    assert done.err.splitlines()[-1] == "Interrupted. No result was written."
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (["reproduce", "grook"], "no reproduction grook; did you mean grok?"),
        (["reproduce", "grok", "--recipe", "gone.yaml"], "there is no recipe file gone.yaml"),
        (["reproduce", "grok", "extra"], "unexpected extra argument"),
    ],
    ids=str,
)
def test_a_mistake_is_one_sentence(cli: Any, line: list[str], told: str) -> None:
    done = cli(*line)
    assert done.code == 2
    assert told in done.err
    assert "Traceback" not in done.err


def test_a_scoring_recipe_is_no_reproduction(cli: Any, tmp_path: Path) -> None:
    path = tmp_path / "score.yaml"
    path.write_text("name: x\nsource: {uri: digits}\n")
    done = cli("reproduce", "grok", "--recipe", path)
    assert done.code == 2
    assert "unknown key source" in done.err


def test_a_reproduction_is_no_scoring_recipe(cli: Any, recipe: Path) -> None:
    done = cli("score", recipe)
    assert done.code == 2
    assert done.err.splitlines()[-1] == "Hint: run it with dataprune reproduce"
