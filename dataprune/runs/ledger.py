"""The ledger: `<run>/units/<unit_id>/`, data files first, `unit.json` last, each whole or absent.

A unit is finished when its unit.json names files that are there with the hashes it says. Totals
and states come from these files, never from memory.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dataprune.core.files import json_text, sha256_file
from dataprune.core.protocols import Unit
from dataprune.runs.lease import Lease, hold
from dataprune.runs.place import Place, open_place

FORMAT = "dataprune.unit"
FORMAT_VERSION = 1
_KEYS = {"format_version", "unit_id", "identity", "files", "result", "run"}
_SNAPSHOT = "snapshot-"


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
    """Finished, failed and running units of one run folder, which may lie behind a URL."""

    def __init__(self, where: Path | str | Place) -> None:
        self.place = open_place(where)
        self.folder = self.place.folder
        self.units = self.folder / "units"

    @contextlib.contextmanager
    def exclusive(self, *, wait_s: float = 0) -> Iterator[Lease]:
        """Hold the run folder; attempts and half writes of a killed process are swept away.

        Raises:
            BusyError: another process works in it.
        """
        with hold(self.place, what=f"run folder {self.place.url}", wait_s=wait_s) as lease:
            self.place.sweep()
            yield lease

    def finished(self, unit_id: str) -> Record | None:
        """The unit's record if it is whole; None if it is absent or damaged."""
        record = self.told(unit_id)
        if record is None:
            return None
        for name, sha256 in record.files.items():
            if not self._is_here(f"units/{unit_id}/{name}", sha256):
                return None
        return record

    def told(self, unit_id: str) -> Record | None:
        """What unit.json says, its files not looked at; for a glance at many units."""
        data = self.json(f"units/{unit_id}/unit.json")
        if not isinstance(data, dict) or not data.keys() >= _KEYS:
            return None
        if data["format_version"] != FORMAT_VERSION or data["unit_id"] != unit_id:
            return None
        folder = self.units / unit_id
        return Record(unit_id, data["identity"], data["files"], data["result"], data["run"], folder)

    def _is_here(self, name: str, sha256: str) -> bool:
        """Whether a file with that hash can be read here; fetched, where only elsewhere it can."""
        path = self.folder / name
        if path.is_file() and sha256_file(path) == sha256:
            return True
        fetched = self.place.fetch(name)
        return fetched is not None and sha256_file(fetched) == sha256

    def has_files(self, record: Record) -> bool:
        """Whether a record's files are there, their bytes not looked at."""
        names = set(self.place.names(f"units/{record.unit_id}/*"))
        return all(f"units/{record.unit_id}/{name}" in names for name in record.files)

    def json(self, name: str) -> Any:
        """A JSON file's value; None where there is none, or half of one."""
        data = self.place.read(name)
        try:
            return None if data is None else json.loads(data)
        except (json.JSONDecodeError, UnicodeDecodeError):
            return None

    def records(self) -> list[Record]:
        """Every whole unit, sorted by id."""
        names = self.place.names("units/*/unit.json")
        found = (self.finished(name.split("/")[1]) for name in names)
        return [record for record in found if record is not None]

    def failure(self, unit_id: str) -> dict[str, Any] | None:
        """How the unit failed last, if it did and has not finished since."""
        failure: dict[str, Any] | None = self.json(f"units/{unit_id}/failed.json")
        return failure

    def progress(self, unit_id: str) -> dict[str, Any] | None:
        """The last progress a running unit wrote; None when there is none to read."""
        progress: dict[str, Any] | None = self.json(f"units/{unit_id}/progress.json")
        return progress

    def write_progress(self, unit_id: str, progress: dict[str, Any]) -> None:
        """Leave progress for whoever watches the folder; may be lost."""
        self._write(f"units/{unit_id}/progress.json", progress, durable=False)

    def _write(self, name: str, value: Any, *, durable: bool = True) -> None:
        self.place.write(name, json_text(value).encode(), durable=durable)

    def attempts(self, unit_id: str) -> int:
        """Attempts at a unit that are under way or were cut off in this run."""
        return self.place.attempts(f"units/{unit_id}")

    def open_attempt(self, unit: Unit, rank: int = 0) -> tuple[Path, int]:
        """A fresh folder for one attempt at a unit, and which attempt of this run it is.

        A worker that dies leaves its folder behind, so leftovers count the attempts before.
        rank: of the process in its gang; the first one's folder counts for all.
        """
        home = f"units/{unit.unit_id}"
        if rank:
            return self.place.scratch(home, counts=False), self.place.attempts(home)
        attempt = 1 + self.place.attempts(home)
        folder = self.place.scratch(home)
        self.place.remove(f"{home}/failed.json", f"{home}/progress.json")
        return folder, attempt

    def place_files(self, unit: Unit, attempt: Path) -> dict[str, str]:
        """Move an attempt's files into place; returns their hashes. Nothing names them yet."""
        files = {}
        for path in sorted(attempt.iterdir()):
            files[path.name] = sha256_file(path)
            self.place.take(path, f"units/{unit.unit_id}/{path.name}")
        return files

    def seal(
        self, unit: Unit, files: dict[str, str], result: dict[str, Any], run: dict[str, Any]
    ) -> None:
        """Write unit.json over files that are in place: now the unit is finished."""
        home = f"units/{unit.unit_id}"
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
        self._write(f"{home}/unit.json", record)
        self.place.end(home, None)
        spent = self.place.names(f"{home}/{_SNAPSHOT}*")
        self.place.remove(f"{home}/failed.json", f"{home}/progress.json", *spent)

    def commit(
        self, unit: Unit, attempt: Path, result: dict[str, Any], run: dict[str, Any]
    ) -> None:
        """Move an attempt's files into place, then write unit.json."""
        self.seal(unit, self.place_files(unit, attempt), result, run)

    def fail(self, unit: Unit, attempt: Path | None, failure: dict[str, Any]) -> None:
        """Record a failed attempt and drop its files."""
        home = f"units/{unit.unit_id}"
        if attempt is not None:
            self.place.end(home, attempt)
        self._write(f"{home}/failed.json", {"label": unit.label, **failure})
        self.place.remove(f"{home}/progress.json")

    def save_snapshot(self, unit_id: str, rank: int, write: Callable[[Path], None]) -> None:
        """Keep what `write` writes as the unit's snapshot, in place of the last."""
        home = f"units/{unit_id}"
        folder = self.place.scratch(home, counts=False)
        try:
            path = folder / f"{_SNAPSHOT}{rank}"
            write(path)
            self.place.take(path, f"{home}/{path.name}")
        finally:
            self.place.end(home, folder)

    def snapshot(self, unit_id: str, rank: int) -> Path | None:
        """The unit's last snapshot, where it can be read; None if none was kept."""
        return self.place.fetch(f"units/{unit_id}/{_SNAPSHOT}{rank}")
