"""Replies that were paid for: one SQLite file, only ever added to, safe to share and to kill.

A key is the hash of all that a reply hangs on. The API key is no part of it and is never stored.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from dataprune.core.errors import DatapruneError
from dataprune.trajectories.judge.replies import Reply

Add = Callable[[str, str, Reply], Reply]
"""Key, model, reply -> the reply that is stored now."""

_VERSION = 1
_WAIT_S = 60  # for another process to finish its write
_AT_ONCE = 500  # keys in one query
_TABLE = """
CREATE TABLE IF NOT EXISTS replies (
  key TEXT PRIMARY KEY,
  model TEXT NOT NULL,
  content TEXT NOT NULL,
  finish TEXT,
  refusal TEXT
) WITHOUT ROWID
"""


class Cache:
    """The replies in a work folder, in `judge.sqlite3`."""

    def __init__(self, work: Path) -> None:
        work.mkdir(parents=True, exist_ok=True)
        self.path = work / "judge.sqlite3"
        with self._open() as db:
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version not in {0, _VERSION}:
                raise DatapruneError(
                    f"{self.path} was written by another version of dataprune",
                    hint="move the file away; questions are then asked again",
                )
            if version == 0:
                # Kills lose nothing that was stored; a power cut may lose the last few replies, but
                # a write costs no flush to disk, which would be slower than many a judge.
                db.execute("PRAGMA journal_mode = WAL")
                with db:
                    db.execute(_TABLE)
                    db.execute(f"PRAGMA user_version = {_VERSION}")

    def known(self, keys: Iterable[str]) -> dict[str, Reply]:
        """The replies that are there, by key."""
        wanted = list(dict.fromkeys(keys))
        found: dict[str, Reply] = {}
        with self._open() as db:
            for at in range(0, len(wanted), _AT_ONCE):
                part = wanted[at : at + _AT_ONCE]
                marks = ",".join("?" * len(part))
                query = f"SELECT key, content, finish, refusal FROM replies WHERE key IN ({marks})"  # noqa: S608 - question marks only
                for key, content, finish, refusal in db.execute(query, part):
                    found[key] = Reply(content, finish, refusal)
        return found

    @contextlib.contextmanager
    def adding(self) -> Iterator[Add]:
        """A function that stores replies for good, for one thread and as long as this lasts.

        It gives back what is stored: the reply that was there already, if another process was
        faster.
        """
        with self._open() as db:

            def add(key: str, model: str, reply: Reply) -> Reply:
                with db:
                    row = (key, model, reply.content, reply.finish, reply.refusal)
                    db.execute("INSERT OR IGNORE INTO replies VALUES (?, ?, ?, ?, ?)", row)
                query = "SELECT content, finish, refusal FROM replies WHERE key = ?"
                return Reply(*db.execute(query, (key,)).fetchone())

            yield add

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """A connection that is closed afterwards, so that none outlives a thread or a fork."""
        try:
            with contextlib.closing(sqlite3.connect(self.path, timeout=_WAIT_S)) as db:
                db.execute("PRAGMA synchronous = NORMAL")
                yield db
        except sqlite3.Error as exc:
            raise DatapruneError(
                f"the judge's replies in {self.path} cannot be used: {exc}",
                hint="free disk space, or move a damaged file away; questions are then asked again",
            ) from exc
