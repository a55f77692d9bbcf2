"""The ledger: `<run>/units/<unit_id>/`, data files first, `unit.json` last, each atomic.

A unit is finished when its unit.json names files that are there with the hashes it says. Totals
and states come from these files, never from memory.
"""

from __future__ import annotations

import contextlib
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dataprune.core.errors import TableError
from dataprune.core.files import exclusive, read_json, sha256_file, sync, write_json
from dataprune.core.protocols import Unit

FORMAT = "dataprune.unit"
FORMAT_VERSION = 1
_ATTEMPT = ".attempt-"
_KEYS = {"format_version", "unit_id", "identity", "files", "result", "run"}


@dataclass(frozen=True)
class Record:
    """A finished unit.

    files: {name: sha256}.
    result: what the unit function returned.
    run: seconds, host, attempt and device of the attempt that finished.
    """

    unit_id: str
    identity: dict[str, Any]
    files: dict[str, str]
    result: dict[str, Any]
    run: dict[str, Any]
    folder: Path

    def path(self, name: str) -> Path:
        """Path of one of its files."""
        assert name in self.files, f"unit {self.unit_id} has no {name}"
        return self.folder / name


class Ledger:
    """Finished, failed and running units of one run folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.units = folder / "units"

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold the run folder; attempts and half writes of a killed process are swept away.

        Raises:
            BusyError: another process works in it.
        """
        with exclusive(self.folder / "lock", what=f"run folder {self.folder}"):
            for leftover in self.units.glob(f"*/{_ATTEMPT}*"):
                shutil.rmtree(leftover, ignore_errors=True)
            for unfinished in self.units.glob("*/.*.tmp"):
                unfinished.unlink(missing_ok=True)
            yield

    def finished(self, unit_id: str) -> Record | None:
        """The unit's record if it is whole; None if it is absent or damaged."""
        path = self.units / unit_id / "unit.json"
        if not path.is_file():
            return None
        try:
            data = read_json(path)
        except TableError:
            return None
        if not isinstance(data, dict) or not data.keys() >= _KEYS:
            return None
        if data["format_version"] != FORMAT_VERSION or data["unit_id"] != unit_id:
            return None
        folder = path.parent
        for name, sha256 in data["files"].items():
            if not (folder / name).is_file() or sha256_file(folder / name) != sha256:
                return None
        return Record(unit_id, data["identity"], data["files"], data["result"], data["run"], folder)

    def records(self) -> list[Record]:
        """Every whole unit, sorted by id."""
        found = (self.finished(p.parent.name) for p in sorted(self.units.glob("*/unit.json")))
        return [record for record in found if record is not None]

    def failure(self, unit_id: str) -> dict[str, Any] | None:
        """How the unit failed last, if it did and has not finished since."""
        path = self.units / unit_id / "failed.json"
        return read_json(path) if path.is_file() else None

    def progress(self, unit_id: str) -> dict[str, Any] | None:
        """The last progress a running unit wrote; None when there is none to read."""
        try:
            progress: dict[str, Any] = read_json(self.units / unit_id / "progress.json")
        except (OSError, TableError):
            return None
        return progress

    def write_progress(self, unit_id: str, progress: dict[str, Any]) -> None:
        """Leave progress for whoever watches the folder; may be lost."""
        write_json(self.units / unit_id / "progress.json", progress, durable=False)

    def attempts(self, unit_id: str) -> int:
        """Attempts at a unit that are under way or were cut off in this run."""
        return len(list((self.units / unit_id).glob(f"{_ATTEMPT}*")))

    def open_attempt(self, unit: Unit) -> tuple[Path, int]:
        """A fresh folder for one attempt at a unit, and which attempt of this run it is.

        A worker that dies leaves its folder behind, so leftovers count the attempts before.
        """
        home = self.units / unit.unit_id
        attempt = 1 + self.attempts(unit.unit_id)
        folder = home / f"{_ATTEMPT}{secrets.token_hex(8)}"
        folder.mkdir(parents=True)
        for stale in ("failed.json", "progress.json"):
            (home / stale).unlink(missing_ok=True)
        return folder, attempt

    def commit(
        self, unit: Unit, attempt: Path, result: dict[str, Any], run: dict[str, Any]
    ) -> None:
        """Move an attempt's files into place, then write unit.json: now it is finished."""
        folder = attempt.parent
        files = {}
        for path in sorted(attempt.iterdir()):
            sync(path)
            files[path.name] = sha256_file(path)
            path.replace(folder / path.name)
        sync(folder)
        record = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "unit_id": unit.unit_id,
            "label": unit.label,
            "entrypoint": unit.entrypoint,
            "identity": unit.identity,
            "files": files,
            "result": result,
            "run": run,
        }
        write_json(folder / "unit.json", record)
        for spent in folder.glob(f"{_ATTEMPT}*"):
            shutil.rmtree(spent, ignore_errors=True)
        for stale in ("failed.json", "progress.json"):
            (folder / stale).unlink(missing_ok=True)

    def fail(self, unit: Unit, attempt: Path | None, failure: dict[str, Any]) -> None:
        """Record a failed attempt and drop its files."""
        if attempt is not None:
            shutil.rmtree(attempt, ignore_errors=True)
        folder = self.units / unit.unit_id
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "failed.json", {"label": unit.label, **failure})
        (folder / "progress.json").unlink(missing_ok=True)
