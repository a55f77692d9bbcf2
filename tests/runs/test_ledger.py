"""The ledger: what counts as finished, what a killed process leaves, who may hold the folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dataprune.core.errors import BusyError, TableError
from dataprune.core.files import write_json
from dataprune.core.protocols import Unit
from dataprune.runs.lease import OF_RELEASE, hold
from dataprune.runs.ledger import Ledger
from dataprune.runs.place import open_place
from dataprune.runs.status import run_status

HOLD = """
import pathlib, sys
from dataprune.runs.lease import OF_RELEASE, hold
from dataprune.runs.ledger import Ledger
with Ledger(pathlib.Path(sys.argv[1])).exclusive():
    print("held", flush=True)
    sys.stdin.read()
"""


def unit(name: str = "one") -> Unit:
    return Unit(f"id-{name}", "nowhere:nothing", {"name": name}, {}, f"seed {name}")


def finish(ledger: Ledger, each: Unit, content: bytes = b"0123456789") -> Path:
    """Commit a unit with one file of that content; returns the unit's folder."""
    attempt, number = ledger.open_attempt(each)
    (attempt / "trace.parquet").write_bytes(content)
    run = {"seconds": 0.1, "host": "here", "attempt": number, "device": "cpu"}
    ledger.commit(each, attempt, {"history": [{"epoch": 1, "heldout": 0.5}]}, run)
    return attempt.parent


def plan(folder: Path, *units: Unit) -> None:
    """Say which units the run has."""
    write_json(folder / "run.json", {"recipe": {}, "units": {u.unit_id: u.label for u in units}})


def states(folder: Path) -> dict[str, str]:
    return {u["label"]: u["state"] for u in run_status(folder)["units"]}


def test_a_committed_unit_is_finished_and_says_what_it_made(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    folder = finish(ledger, unit())
    record = ledger.finished("id-one")
    assert record is not None
    assert record.identity == {"name": "one"}
    assert record.result["history"][0]["epoch"] == 1
    assert record.run["attempt"] == 1
    assert record.path("trace.parquet") == folder / "trace.parquet"
    assert record.path("trace.parquet").read_bytes() == b"0123456789"


def test_without_unit_json_a_unit_is_not_finished_though_its_data_lies_there(
    tmp_path: Path,
) -> None:
    ledger = Ledger(tmp_path)
    folder = finish(ledger, unit())
    (folder / "unit.json").unlink()
    assert ledger.finished("id-one") is None
    assert ledger.records() == []


def test_data_is_in_place_before_unit_json_is_written(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    attempt, _ = ledger.open_attempt(unit())
    (attempt / "trace.parquet").write_bytes(b"whole")
    (attempt.parent / "unit.json").mkdir()  # makes the last step of the commit impossible
    with pytest.raises(OSError, match=r"unit\.json"):
        ledger.commit(unit(), attempt, {}, {})
    assert (attempt.parent / "trace.parquet").read_bytes() == b"whole"
    assert ledger.finished("id-one") is None


def test_a_commit_leaves_no_attempt_no_failure_and_no_progress_behind(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.fail(unit(), None, {"error": "no", "hint": None, "attempt": 1})
    ledger.open_attempt(unit())  # of a worker that died
    ledger.write_progress("id-one", {"epoch": 1})
    folder = finish(ledger, unit())
    assert sorted(p.name for p in folder.iterdir()) == ["trace.parquet", "unit.json"]


def _flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _remove(path: Path) -> None:
    path.unlink()


def _lengthen(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0")


@pytest.mark.parametrize("damage", [_flip_a_bit, _truncate, _empty, _remove, _lengthen])
def test_a_unit_with_a_damaged_trace_is_not_finished(damage: Any, tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    folder = finish(ledger, unit())
    finish(ledger, unit("other"))
    damage(folder / "trace.parquet")
    assert ledger.finished("id-one") is None
    assert [r.unit_id for r in ledger.records()] == ["id-other"]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param('{"format": "dataprune.unit", "format_ver', id="truncated"),
        pytest.param("{}", id="no keys"),
        pytest.param("[]", id="a list"),
        pytest.param("null", id="null"),
        pytest.param('{"format_version": 1, "unit_id": "id-one"}', id="no files"),
        pytest.param("\x00\x00", id="zeros"),
    ],
)
def test_a_unit_with_a_damaged_unit_json_is_not_finished(text: str, tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    (finish(ledger, unit()) / "unit.json").write_text(text)
    assert ledger.finished("id-one") is None


def test_a_unit_of_another_format_or_another_id_is_not_finished(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    path = finish(ledger, unit()) / "unit.json"
    written = json.loads(path.read_text())
    for change in ({"format_version": 2}, {"unit_id": "id-two"}):
        path.write_text(json.dumps({**written, **change}))
        assert ledger.finished("id-one") is None
    path.write_text(json.dumps(written))
    assert ledger.finished("id-one") is not None


def test_a_damaged_unit_is_made_whole_by_finishing_it_again(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    _truncate(finish(ledger, unit()) / "trace.parquet")
    finish(ledger, unit())
    record = ledger.finished("id-one")
    assert record is not None
    assert record.path("trace.parquet").read_bytes() == b"0123456789"


def test_attempts_count_what_dead_workers_left(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    assert [ledger.open_attempt(unit())[1] for _ in range(3)] == [1, 2, 3]
    finish(ledger, unit())
    record = ledger.finished("id-one")
    assert record is not None
    assert record.run["attempt"] == 4


def test_attempts_of_one_unit_do_not_share_a_folder(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    assert len({ledger.open_attempt(unit())[0] for _ in range(3)}) == 3


def test_taking_the_folder_sweeps_leftover_attempts_and_nothing_else(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    whole = finish(ledger, unit("whole"))
    attempt, _ = ledger.open_attempt(unit())
    (attempt / "half.parquet").write_bytes(b"ha")
    with ledger.exclusive():
        assert not attempt.exists()
        assert sorted(p.name for p in whole.iterdir()) == ["trace.parquet", "unit.json"]
        assert ledger.open_attempt(unit())[1] == 1


def test_taking_the_folder_sweeps_the_temporary_files_of_writes_that_were_killed(
    tmp_path: Path,
) -> None:
    ledger = Ledger(tmp_path)
    folder = finish(ledger, unit())
    (folder / ".unit.json.4711.00ff00ff.tmp").write_text('{"half')
    with ledger.exclusive():
        assert sorted(p.name for p in folder.iterdir()) == ["trace.parquet", "unit.json"]
    assert ledger.finished("id-one") is not None


def test_a_failure_is_kept_until_the_unit_finishes(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    attempt, number = ledger.open_attempt(unit())
    (attempt / "half.parquet").write_bytes(b"ha")
    ledger.fail(unit(), attempt, {"error": "too bad", "hint": "try", "attempt": number})
    assert ledger.failure("id-one") == {
        "label": "seed one", "error": "too bad", "hint": "try", "attempt": 1,
    }  # fmt: skip
    assert not attempt.exists()
    finish(ledger, unit())
    assert ledger.failure("id-one") is None


def test_a_second_process_is_told_that_the_folder_is_busy(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        attempt, _ = Ledger(tmp_path).open_attempt(unit())
        with pytest.raises(BusyError, match=r"in use by process \d+ on ") as caught:
            Ledger(tmp_path).exclusive().__enter__()
        assert str(tmp_path) in caught.value.message
        assert caught.value.exit_code == 4
        assert attempt.exists(), "the loser swept the holder's work away"
        holder.kill()
        holder.wait()
        with Ledger(tmp_path).exclusive():
            assert not attempt.exists()


def test_states_tell_finished_failed_waiting_interrupted_and_running_apart(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    begun, done, bad, idle = (unit(n) for n in ("begun", "done", "bad", "idle"))
    plan(tmp_path, begun, done, bad, idle)
    finish(ledger, done)
    ledger.fail(bad, None, {"error": "too bad", "hint": None, "attempt": 1})
    ledger.write_progress(begun.unit_id, {"epoch": 2, "epochs": 4})
    expected = {"seed done": "finished", "seed bad": "failed", "seed idle": "waiting"}
    assert states(tmp_path) == {**expected, "seed begun": "interrupted"}
    with ledger.exclusive():
        assert states(tmp_path) == {**expected, "seed begun": "running"}
        assert run_status(tmp_path)["busy"] is True
    status = run_status(tmp_path)
    assert status["busy"] is False
    assert status["counts"] == {"failed": 1, "finished": 1, "interrupted": 1, "waiting": 1}
    by_label = {u["label"]: u for u in status["units"]}
    assert by_label["seed done"]["heldout"] == 0.5
    assert by_label["seed bad"]["error"] == "too bad"
    assert by_label["seed begun"]["epoch"] == 2


def test_a_release_whose_units_are_done_still_works_in_the_folder(tmp_path: Path) -> None:
    plan(tmp_path, unit())
    Ledger(tmp_path).write_progress(unit().unit_id, {"epoch": 2, "epochs": 4})
    with hold(open_place(tmp_path), what="it", of=OF_RELEASE) as lease:
        status = run_status(tmp_path)
        assert (status["busy"], status["holder"]) == (
            True,
            f"process {os.getpid()} on {lease.host}",
        )
        assert states(tmp_path) == {"seed one": "interrupted"}  # nobody trains it now
    assert run_status(tmp_path)["busy"] is False


def test_a_finished_unit_that_was_damaged_later_is_not_told_as_finished(tmp_path: Path) -> None:
    plan(tmp_path, unit())
    _flip_a_bit(finish(Ledger(tmp_path), unit()) / "trace.parquet")
    assert states(tmp_path) == {"seed one": "waiting"}


def test_units_are_listed_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    plan(tmp_path, *(unit(str(n)) for n in (10, 2, 1)))
    assert list(states(tmp_path)) == ["seed 1", "seed 2", "seed 10"]


def test_a_folder_without_a_run_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"elsewhere holds no run"):
        run_status(tmp_path / "elsewhere")
