"""One holder of a work folder at a time, over real processes that are killed, on both kinds."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dataprune.core.errors import BusyError
from dataprune.runs import lease as leases
from dataprune.runs.lease import hold, holder_of, read_lease
from dataprune.runs.ledger import Ledger
from dataprune.runs.place import Place, open_place
from tests.runs.object_store import ObjectStore

LIFE_S = 1.2
# Holds the folder of argv[1] as the machine argv[2], by leases of argv[3] s, until its stdin ends.
HOLD = """
import sys
from dataprune.runs.lease import hold
from dataprune.runs.place import open_place
life_s = float(sys.argv[3])
with hold(open_place(sys.argv[1]), what="it", life_s=life_s, host=sys.argv[2]) as lease:
    print(lease.run_id, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "folder":
        return open_place(tmp_path / "work")
    request.getfixturevalue("bucket")
    return open_place("s3://bucket/run")


@contextmanager
def holder(
    place: Place, host: str = "elsewhere", life_s: float = LIFE_S
) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the folder, on a machine of that name."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, place.url, host, str(life_s)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with process:
        assert process.stdout is not None
        assert process.stdout.readline().strip()
        yield process
        process.kill()


def test_a_second_process_is_told_who_holds_the_folder(place: Place) -> None:
    with holder(place, life_s=60) as process:
        began = time.monotonic()
        with pytest.raises(BusyError, match=rf"process {process.pid} on elsewhere") as caught:
            hold(place, what="the folder").__enter__()
        assert time.monotonic() - began < 10  # and not a lease's life
        assert caught.value.exit_code == 4
        assert holder_of(place) == f"process {process.pid} on elsewhere"


@pytest.mark.slow
def test_a_holder_that_ends_well_leaves_the_folder_free_at_once(place: Place) -> None:
    with holder(place) as process:
        process.communicate("")
        assert process.returncode == 0
        assert holder_of(place) is None
        with hold(place, what="the folder"):
            pass
    assert read_lease(place) is None


@pytest.mark.slow
def test_a_live_holder_keeps_the_folder_long_after_its_lease_would_have_run_out(
    place: Place,
) -> None:
    with holder(place):
        time.sleep(2 * LIFE_S)
        with pytest.raises(BusyError):
            hold(place, what="the folder").__enter__()


@pytest.mark.slow
def test_a_killed_holder_on_another_machine_is_replaced_when_its_lease_has_run_out(
    tmp_path: Path, request: pytest.FixtureRequest, place: Place
) -> None:
    with holder(place) as process:
        process.kill()
        process.wait()
        assert process.returncode == -signal.SIGKILL
        with pytest.raises(BusyError):
            hold(place, what="the folder").__enter__()
        began = time.monotonic()
        with hold(place, what="the folder", wait_s=30) as lease:
            assert time.monotonic() - began > LIFE_S / 4
            found = read_lease(place)
            assert found is not None
            assert found["token"] == lease.token


def test_on_one_machine_the_kernel_tells_that_a_holder_died_and_nothing_is_waited_for(
    tmp_path: Path,
) -> None:
    place = open_place(tmp_path)
    with hold(place, what="the folder") as before:
        host = before.host
    with holder(place, host) as process:
        assert holder_of(place) is not None
        process.kill()
        process.wait()
        assert holder_of(place) is None
        began = time.monotonic()
        with hold(place, what="the folder"):
            assert time.monotonic() - began < 0.5


@pytest.mark.slow
def test_waiting_ends_when_the_holder_does_and_is_told(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="dataprune")
    with holder(place) as process:
        assert process.stdin is not None
        threading.Timer(0.5, process.stdin.close).start()
        with hold(place, what="the folder", wait_s=30):
            assert process.wait() == 0
    assert [m for m in caplog.messages if "waiting for the folder, which process" in m]


@pytest.mark.slow
def test_of_two_that_take_over_at_once_one_works_and_the_other_is_told(place: Place) -> None:
    with holder(place) as process:
        process.kill()
    command = [sys.executable, "-c", HOLD.replace('what="it"', 'what="it", wait_s=4')]
    several = [
        subprocess.Popen([*command, place.url, host, str(LIFE_S)], stdin=subprocess.PIPE,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for host in ("north", "south")
    ]  # fmt: skip
    deadline = time.monotonic() + 60
    while all(each.poll() is None for each in several) and time.monotonic() < deadline:
        time.sleep(0.1)
    codes = []
    errors = ""
    losers = [each for each in several if each.poll() is not None]
    assert len(losers) == 1, "both hold the folder, or neither"
    for each in several:
        _out, err = each.communicate("")
        codes.append(each.returncode)
        errors += err
    assert sorted(codes) == [0, 1]
    assert "BusyError" in errors


def test_a_holder_that_was_taken_for_dead_is_told_and_leaves_the_other_alone(place: Place) -> None:
    with hold(place, what="the folder", life_s=0.4) as lease:
        lease.check()
        thief = {**(read_lease(place) or {}), "token": "other", "pid": 7, "host": "there"}
        place.write(leases.NAME, json.dumps(thief).encode())
        deadline = time.monotonic() + 10
        while lease.lost is None and time.monotonic() < deadline:
            time.sleep(0.02)
        with pytest.raises(BusyError, match="was lost: process 7 on there took it over"):
            lease.check()
    left = read_lease(place)
    assert left is not None
    assert left["pid"] == 7


def test_a_lease_that_cannot_be_given_back_hides_neither_a_result_nor_an_error(
    bucket: ObjectStore, caplog: pytest.LogCaptureFixture
) -> None:
    place = open_place("s3://bucket/run")

    def go_wrong() -> None:
        with hold(place, what="it", life_s=9):
            bucket.refusing = {"DELETE"}
            raise ValueError("what went wrong")

    with pytest.raises(ValueError, match="what went wrong"):
        go_wrong()
    assert "could not be given back, and ends in 9 s by itself" in caplog.text


@pytest.mark.slow
def test_a_holder_that_slept_while_another_came_and_went_goes_on_no_more(tmp_path: Path) -> None:
    script = HOLD + "\n    lease.check()"
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path), "here", str(LIFE_S)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline().strip()
    process.send_signal(signal.SIGSTOP)
    time.sleep(1.5 * LIFE_S)
    (tmp_path / leases.NAME).unlink()  # as another leaves it that took over, and ended
    process.send_signal(signal.SIGCONT)
    time.sleep(LIFE_S)
    _out, err = process.communicate("")
    assert process.returncode == 1
    assert "was lost: it ran out" in err


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'{"token": "x"}'])
def test_a_damaged_lease_holds_nobody_up(tmp_path: Path, text: bytes) -> None:
    place = open_place(tmp_path)
    place.write(leases.NAME, text)
    assert holder_of(place) is None
    with hold(place, what="the folder"):
        pass


def test_a_run_folder_that_is_held_says_what_a_recipe_may_do_about_it(tmp_path: Path) -> None:
    with holder(open_place(tmp_path)), pytest.raises(BusyError, match="run folder") as caught:
        Ledger(tmp_path).exclusive().__enter__()
    assert caught.value.hint is not None
    assert "run.wait_minutes" in caught.value.hint
