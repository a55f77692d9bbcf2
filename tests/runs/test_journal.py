"""The journal of a work folder: lines of JSON that name the run and the unit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dataprune.core.protocols import Job, Unit
from dataprune.runs.job import run_job
from dataprune.runs.journal import NAME, journal_of, read_journal
from dataprune.runs.place import LocalPlace, open_place
from tests.runs.object_store import ObjectStore


def unit(number: int, function: str = "add") -> Unit:
    entrypoint = f"tests.runs.units:{function}"
    return Unit(f"id-{number}", entrypoint, {}, {"number": number}, f"seed {number}")


def quiet(_unit_id: str, _progress: dict[str, Any]) -> None:
    """Nobody listens."""


def test_every_line_names_the_run_and_units_say_how_they_began_and_ended(tmp_path: Path) -> None:
    import numpy as np

    units = [unit(1), unit(2, "stumble")]
    job = Job(tmp_path, units, {"values": np.arange(4.0)}, run_id="abc")
    run_job("local", job, quiet)
    lines = [json.loads(line) for line in (tmp_path / NAME).read_text().splitlines()]
    assert {line["run"] for line in lines} == {"abc"}
    assert all(line["time"].endswith("+00:00") for line in lines)
    told = [(line["event"], line.get("unit")) for line in lines if line["event"] != "logged"]
    assert told == [
        ("run started", None),
        ("unit started", "id-1"),
        ("unit finished", "id-1"),
        ("unit started", "id-2"),
        ("unit failed", "id-2"),
        ("run ended", None),
    ]
    assert lines[2]["seconds"] >= 0
    assert lines[2]["attempt"] == 1
    assert [line["error"] for line in lines if "error" in line] == ["KeyError: 'missing'"]
    assert "seed 2 failed" in next(line["message"] for line in lines if line["event"] == "logged")


def test_a_later_run_appends_and_a_torn_line_is_passed_over(tmp_path: Path) -> None:
    place = LocalPlace(tmp_path)
    with journal_of(place, "one"):
        pass
    with (tmp_path / NAME).open("a") as file:
        file.write('{"time": "2026')
    with journal_of(place, "two"):
        pass
    assert [line["run"] for line in read_journal(place)] == ["one", "one", "two"]


def test_a_run_that_is_cut_off_says_by_what(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), journal_of(LocalPlace(tmp_path), "one"):
        raise KeyboardInterrupt
    assert read_journal(LocalPlace(tmp_path))[-1]["event"] == "run cut off by KeyboardInterrupt"


def test_behind_a_url_it_is_put_at_the_end_after_what_earlier_runs_wrote(
    bucket: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = open_place("s3://bucket/run")
    with journal_of(place, "one"):
        pass
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path / "there")
    with journal_of(open_place("s3://bucket/run"), "two"):
        pass
    assert [line["run"] for line in read_journal(place)] == ["one", "one", "two", "two"]
    assert f"bucket/run/{NAME}" in bucket.objects
