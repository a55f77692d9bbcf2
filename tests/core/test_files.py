"""Files are whole or absent, and a lock dies with the process that held it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataprune.core.errors import BusyError, TableError
from dataprune.core.files import (
    atomic_path,
    exclusive,
    is_held,
    read_json,
    sha256_file,
    write_json,
    write_text,
)

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def names(folder: Path) -> list[str]:
    """Everything in a folder, hidden files too."""
    return sorted(path.name for path in folder.iterdir())


def python(code: str, *args: object) -> subprocess.Popen[str]:
    """A second process; it says what it has to say on stdout."""
    command = [sys.executable, "-c", code, *map(str, args)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def line(process: subprocess.Popen[str]) -> str:
    """Wait for the next line a process prints."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


@contextlib.contextmanager
def ended(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    """Kill a process on the way out, and close its pipe."""
    with process:
        try:
            yield process
        finally:
            process.kill()


HOLD = """
import subprocess, sys, time
from pathlib import Path
from dataprune.core.files import exclusive
with exclusive(Path(sys.argv[1]), what="the folder"):
    child = subprocess.Popen(["sleep", "60"], stdout=subprocess.DEVNULL) if sys.argv[2:] else None
    print(child.pid if child else "held", flush=True)
    time.sleep(60)
"""

ASK_FOREVER = """
import sys
from pathlib import Path
from dataprune.core.files import is_held
lock = Path(sys.argv[1])
is_held(lock)
print("asking", flush=True)
while True:
    is_held(lock)
"""

DIE_WRITING = """
import os, signal, sys
from pathlib import Path
from dataprune.core.files import atomic_path
with atomic_path(Path(sys.argv[1])) as temporary:
    temporary.write_text("half of the ne")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def write_half(path: Path, failure: type[BaseException]) -> None:
    """A writer that fails before it is done."""
    with atomic_path(path) as temporary:
        temporary.write_text("half of the ne")
        raise failure


# --- atomic writes


@pytest.mark.parametrize("durable", [True, False])
def test_a_finished_write_takes_the_name_and_leaves_nothing_else(
    tmp_path: Path, *, durable: bool
) -> None:
    with atomic_path(tmp_path / "a.txt", durable=durable) as temporary:
        temporary.write_text("new")
    assert (tmp_path / "a.txt").read_text() == "new"
    assert names(tmp_path) == ["a.txt"]


def test_a_write_replaces_the_old_file(tmp_path: Path) -> None:
    for text in ("old", "new"):
        write_text(tmp_path / "a.txt", text)
    assert (tmp_path / "a.txt").read_text() == "new"


def test_a_file_is_not_there_before_it_is_whole(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "a.txt") as temporary:
        temporary.write_text("new")
        assert not (tmp_path / "a.txt").exists()


@pytest.mark.parametrize("failure", [ZeroDivisionError, KeyboardInterrupt])
def test_a_failing_writer_leaves_the_old_file_and_no_other(
    tmp_path: Path, failure: type[BaseException]
) -> None:
    write_text(tmp_path / "a.txt", "old")
    with pytest.raises(failure):
        write_half(tmp_path / "a.txt", failure)
    assert (tmp_path / "a.txt").read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_a_failing_first_write_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        write_half(tmp_path / "a.txt", ZeroDivisionError)
    assert names(tmp_path) == []


def test_a_writer_that_wrote_nothing_is_an_error_and_leaves_the_old_file(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "old")
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "a.txt"):
        pass
    assert (tmp_path / "a.txt").read_text() == "old"


def test_a_writer_killed_half_way_leaves_the_old_file(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "old")
    with ended(python(DIE_WRITING, tmp_path / "a.txt")) as process:
        assert process.wait(30) == -signal.SIGKILL
    assert (tmp_path / "a.txt").read_text() == "old"


def test_two_writers_of_one_file_do_not_share_a_temporary(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with atomic_path(path) as one, atomic_path(path) as other:
        assert one != other
        one.write_text("one")
        other.write_text("other")
    assert path.read_text() == "one"


def test_folders_on_the_way_are_made(tmp_path: Path) -> None:
    write_text(tmp_path / "x" / "y" / "a.txt", "new")
    assert (tmp_path / "x" / "y" / "a.txt").read_text() == "new"


def test_text_is_utf8_whatever_the_name(tmp_path: Path) -> None:
    write_text(tmp_path / "données 数.txt", "größe")
    assert (tmp_path / "données 数.txt").read_bytes() == "größe".encode()


# --- JSON


@settings(deadline=None)
@given(JSON)
def test_json_comes_back_as_it_went(tmp_path_factory: pytest.TempPathFactory, value: Any) -> None:
    path = tmp_path_factory.getbasetemp() / "value.json"
    write_json(path, value, durable=False)
    assert read_json(path) == value


def test_json_text_does_not_depend_on_the_order_of_keys(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": 1, "a": 2})
    write_json(tmp_path / "b.json", {"a": 2, "b": 1})
    assert (tmp_path / "a.json").read_bytes() == b'{\n  "a": 2,\n  "b": 1\n}\n'
    assert (tmp_path / "b.json").read_bytes() == (tmp_path / "a.json").read_bytes()


def test_a_value_json_cannot_hold_leaves_the_old_file(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", 1)
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", {"a": {1, 2}})
    assert read_json(tmp_path / "a.json") == 1


@pytest.mark.parametrize("damage", [b"", b'{"a": ', b"\xff\xfe{}", b"not json"])
def test_a_damaged_json_file_is_named(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "a.json").write_bytes(damage)
    with pytest.raises(TableError, match=r"a\.json is not valid JSON"):
        read_json(tmp_path / "a.json")


# --- hashes


@pytest.mark.parametrize("num_bytes", [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 3 << 20])
def test_a_file_hash_is_the_sha256_of_its_bytes(tmp_path: Path, num_bytes: int) -> None:
    data = bytes(i % 251 for i in range(1 << 10)) * (num_bytes // (1 << 10) + 1)
    (tmp_path / "a").write_bytes(data[:num_bytes])
    assert sha256_file(tmp_path / "a") == hashlib.sha256(data[:num_bytes]).hexdigest()


# --- the lock


def test_a_second_process_is_told_that_the_folder_is_busy(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with ended(python(HOLD, lock)) as holder:
        assert line(holder) == "held"
        with (
            pytest.raises(BusyError, match="the folder is in use") as caught,
            exclusive(lock, what="the folder"),
        ):
            pass
        assert caught.value.exit_code == 4
        assert caught.value.hint is not None


def test_whether_a_lock_is_held_can_be_asked(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    assert not is_held(lock)
    assert names(tmp_path) == []
    with ended(python(HOLD, lock)) as holder:
        assert line(holder) == "held"
        assert is_held(lock)
    assert not is_held(lock)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_lock_is_free_once_its_holder_is_killed(tmp_path: Path, how: signal.Signals) -> None:
    lock = tmp_path / "lock"
    with ended(python(HOLD, lock)) as holder:
        assert line(holder) == "held"
        holder.send_signal(how)
        holder.wait(30)
    with exclusive(lock, what="the folder"):
        assert is_held(lock)


def test_a_program_the_dead_holder_started_does_not_keep_the_lock(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with ended(python(HOLD, lock, "with a child")) as holder:
        child = int(line(holder))
        holder.kill()
        holder.wait(30)
    try:
        with exclusive(lock, what="the folder"):
            assert is_held(lock)
    finally:
        os.kill(child, signal.SIGKILL)


def test_a_lock_is_free_after_its_block_even_when_the_block_fails(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with pytest.raises(ValueError, match="no"), exclusive(lock, what="the folder"):
        raise ValueError("no")
    assert not is_held(lock)


def test_the_same_process_cannot_take_a_lock_twice(tmp_path: Path) -> None:
    with (
        exclusive(tmp_path / "lock", what="it"),
        pytest.raises(BusyError),
        exclusive(tmp_path / "lock", what="it"),
    ):
        pass


def test_locks_on_two_folders_do_not_meet(tmp_path: Path) -> None:
    with exclusive(tmp_path / "a" / "lock", what="a"), exclusive(tmp_path / "b" / "lock", what="b"):
        assert is_held(tmp_path / "a" / "lock")


def test_asking_whether_a_lock_is_held_never_turns_a_taker_away(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with exclusive(lock, what="it"):
        pass
    with ended(python(ASK_FOREVER, lock)) as asker:
        assert line(asker) == "asking"
        for _ in range(5_000):
            with exclusive(lock, what="it"):
                pass
