"""The journal of a work folder: JSON lines of what happened, with run and unit ids.

For people and log shippers; nothing is ever decided from it, so lines may be lost.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import logging
from collections.abc import Iterator
from typing import Any

from dataprune.core.errors import DatapruneError
from dataprune.runs.place import LocalPlace, Place

NAME = "log.jsonl"


class Journal:
    """Appends lines to a work folder's journal.

    place: one behind a URL gets the lines when the run ends. run_id: on every line.
    """

    def __init__(self, place: Place, run_id: str) -> None:
        self.place, self.run_id = place, run_id
        self.path = place.folder / NAME
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if not isinstance(place, LocalPlace):
            place.fetch(NAME)

    def write(self, event: str, **about: Any) -> None:
        """Append one line; a disk that is full must not stop a run that needs no more of it."""
        now = dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")
        line = {"time": now, "run": self.run_id, "event": event, **about}
        with contextlib.suppress(OSError), self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, default=str) + "\n")

    def share(self) -> None:
        """Put it where others see it."""
        if self.path.is_file():
            with contextlib.suppress(DatapruneError):
                self.place.share(NAME)


@contextlib.contextmanager
def journal_of(place: Place, run_id: str, **about: Any) -> Iterator[Journal]:
    """Keep the journal of one run: its beginning and end, and what is logged meanwhile."""
    journal = Journal(place, run_id)
    handler = _Keeping(journal)
    logger = logging.getLogger("dataprune")
    logger.addHandler(handler)
    journal.write("run started", **about)
    ended = "run ended"
    try:
        yield journal
    except BaseException as exc:
        ended = f"run cut off by {type(exc).__name__}"
        raise
    finally:
        journal.write(ended)
        logger.removeHandler(handler)
        journal.share()


class _Keeping(logging.Handler):
    def __init__(self, journal: Journal) -> None:
        super().__init__()
        self.journal = journal

    def emit(self, record: logging.LogRecord) -> None:
        level = record.levelname.lower()
        self.journal.write("logged", level=level, message=record.getMessage())


def read_journal(place: Place) -> list[dict[str, Any]]:
    """Every line that is whole."""
    lines = (place.read(NAME) or b"").splitlines()
    found = []
    for line in lines:
        with contextlib.suppress(ValueError):
            found.append(json.loads(line))
    return [line for line in found if isinstance(line, dict)]
