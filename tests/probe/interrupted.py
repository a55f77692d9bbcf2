"""A unit that is stopped again and again, and goes on from what it kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from dataprune.core.protocols import Attempt, Shared, UnitFunction


class Stopped(Exception):  # noqa: N818 - no error: a worker that is gone
    """The worker is lost here."""


class Kept:
    """Snapshots in a folder: due when told so, and each one that is kept may end the process.

    due_at: which of the times it is asked, over all attempts; None: every time. stop_after: it
    stops after every so many that were kept.
    """

    def __init__(
        self, folder: Path, *, stop_after: int, due_at: Callable[[int], bool] | None = None
    ) -> None:
        self.folder, self.stop_after = folder, stop_after
        self.due_at = due_at or (lambda _time: True)
        self.asked = self.kept = 0
        folder.mkdir(parents=True, exist_ok=True)

    def due(self) -> bool:
        """As the test says."""
        self.asked += 1
        return self.due_at(self.asked)

    def save(self, write: Callable[[Path], None]) -> None:
        """Keep it; then the worker may be lost."""
        write(self.folder / "half")
        (self.folder / "half").replace(self.folder / "snapshot")
        self.kept += 1
        if self.kept % self.stop_after == 0:
            raise Stopped

    def latest(self) -> Path | None:
        """The last one, of whichever attempt."""
        path = self.folder / "snapshot"
        return path if path.exists() else None


def run_to_the_end(
    function: UnitFunction, spec: dict[str, Any], shared: Shared, home: Path, snapshots: Kept
) -> tuple[dict[str, Any], Path, int]:
    """Try until it finishes: what it returned, the folder of the last attempt, and the attempts."""
    for attempt in range(1, 1000):
        folder = home / f"attempt-{attempt}"
        folder.mkdir(parents=True)
        try:
            result = function(spec, shared, Attempt(folder, lambda _progress: None, snapshots))
        except Stopped:
            continue
        return result, folder, attempt
    raise AssertionError("it never ends")
