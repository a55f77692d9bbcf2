"""`dataprune scores import`, and `dataprune score --traces`, on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dataprune.probe.recorder import Recorder
from dataprune.tables.scores import read_scores


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """Sixty scores for the sixty rows of the ground's data, the last row first."""
    path = tmp_path / "theirs.csv"
    path.write_text("row,aum\n" + "".join(f"{i},{i / 60}\n" for i in reversed(range(60))))
    return path


def test_scores_of_a_file_become_a_table_that_prunes(
    cli: Any, ground: Path, theirs: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.parquet"
    line = ("scores", "import", theirs, "--source", ground / "data.parquet", "--row", "row")
    done = cli(*line, "--score", "theirs=aum:lower", "--score", "raw=aum", "--out", out)
    assert done.code == 0, done.err
    assert done.out.splitlines()[-1] == str(out)
    assert "60 rows of" in done.out
    assert "negated: lower was harder" in done.out
    assert "source " in done.err
    table = read_scores(out)
    assert (table.values("theirs") == -table.values("raw")).all()
    pruned = cli("prune", out, "--keep", "20", "--name", "d", "--tag", "v1", "--json",
                 "--store", tmp_path / "store")  # fmt: skip
    assert (pruned.json["by"], pruned.json["rows_out"]) == ("theirs", 20)


def test_json_says_what_was_imported(cli: Any, ground: Path, theirs: Path, tmp_path: Path) -> None:
    done = cli("scores", "import", theirs, "--source", ground / "data.parquet", "--row", "row",
               "--score", "theirs=aum", "--out", tmp_path / "out.parquet", "--json")  # fmt: skip
    assert done.code == 0
    assert done.err == ""
    assert done.json["num_rows"] == 60
    assert done.json["columns"]["theirs"]["status"] == "imported"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--row", "row", "--score", "aum"), "'aum' is not NAME=COLUMN[:higher|:lower]"),
        (("--row", "row", "--score", "a=aum", "--score", "a=row"), "a is given twice"),
        (("--row", "row", "--score", "el2n=aum"), "is one of dataprune's own"),
        (("--row", "row"), "Missing option '--score'"),
        (("--score", "a=aum"), "one way to match rows is needed"),
    ],
)
def test_a_wrong_line_is_a_usage_error(
    cli: Any, ground: Path, theirs: Path, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    out = tmp_path / "out.parquet"
    source = ("--source", ground / "data.parquet")
    done = cli("scores", "import", theirs, *source, "--out", out, *arguments)
    assert done.code == 2
    assert message in done.err
    assert not out.exists()


def test_every_option_of_import_has_a_line_of_help(cli: Any) -> None:
    done = cli("scores", "import", "--help")
    assert done.code == 0
    for option in ("--source", "--score", "--row", "--key", "--content-hash", "--in-order",
                   "--label", "--out", "--json"):  # fmt: skip
        assert option in done.out


@pytest.fixture
def traces(tmp_path: Path) -> Path:
    """Two recorded seeds of the ground's sixty rows."""
    for seed in range(2):
        outputs = np.random.default_rng(seed).normal(size=(60, 3)).astype(np.float32)
        folder = tmp_path / "traces" / f"seed{seed}"
        with Recorder(folder, num_rows=60, mode="train") as recorder:
            for epoch in (1, 2):
                recorder.step(range(60), outputs * epoch, [row % 3 for row in range(60)])
                recorder.checkpoint(epoch)
    return tmp_path / "traces"


def test_recorded_traces_are_scored(cli: Any, ground: Path, traces: Path) -> None:
    line = ("score", ground / "data.parquet", "--traces", traces)
    done = cli(*line, "--score", "el2n", "--at", "1")
    assert done.code == 0, done.err
    assert done.out.splitlines()[-1] == str(traces / "scores.parquet")
    assert "Seed reliability at epoch 1 (2 seeds)" in done.out
    assert "the timing gate was not applied" in done.err
    told = cli(*line, "--score", "margin", "--json").json
    assert (told["seeds"], told["trained"], told["timing"]) == ([0, 1], [], [])
    assert told["notes"] == [
        "recorded traces hold no held-out accuracy: the timing gate was not applied"
    ]


@pytest.mark.parametrize(
    "option", [("--seeds", "3"), ("--runner", "local"), ("--address", "auto"), ("--work", "w")]
)
def test_an_option_without_effect_on_traces_is_a_usage_error(
    cli: Any, ground: Path, traces: Path, option: tuple[str, str]
) -> None:
    done = cli("score", ground / "data.parquet", "--traces", traces, *option)
    assert done.code == 2
    name = option[0].removeprefix("--")
    assert done.err == f"Error: {name} has no effect with traces: nothing is trained\n"
