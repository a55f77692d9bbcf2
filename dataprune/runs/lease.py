"""The lease on a work folder: who works in it, renewed while he lives, taken over when he died.

On one machine the kernel's file lock tells at once who died. Between machines it may not be seen,
and an object store has none: there a file that its holder renews says so, and one that is not
renewed any more may be taken over when it has run out.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import platform
import secrets
import threading
import time
from collections.abc import Iterator
from typing import Any

from dataprune.core.errors import BusyError, DatapruneError
from dataprune.core.files import is_held, try_lock
from dataprune.runs.place import LocalPlace, Place

NAME = "lease.json"
LOCK = "lock"
OF_RELEASE = "release-"  # a run that scores and releases, around the lease on its units
LEASE_S = 60.0
_RENEWALS = 4  # in the life of a lease
_SETTLE_S = 1.0  # after taking a lease that others may be taking, too
_POLL_S = 1.0

log = logging.getLogger("dataprune")


class Lease:
    """A work folder that is held; renews itself in a thread until it is given back.

    token: names this holder. run_id: the same in short, for logs.
    """

    def __init__(self, place: Place, life_s: float, host: str, of: str) -> None:
        self.place, self.life_s, self.host, self.name = place, life_s, host, f"{of}{NAME}"
        self.token = secrets.token_hex(16)
        self.run_id = self.token[:8]
        self.lost: str | None = None
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._renew_while_held, daemon=True)

    def check(self) -> None:
        """Go on only while the folder is still ours.

        Raises:
            BusyError: another process took it over, since this one was not heard of for too long.
        """
        if self.lost is not None:
            raise BusyError(
                f"the lease on {self.place.url} was lost: {self.lost}",
                hint="another run goes on there; finished units are kept",
            )

    def write(self) -> None:
        """Say that it is held, from now on for its life."""
        now = time.time()
        about = {
            "token": self.token,
            "host": self.host,
            "pid": os.getpid(),
            "renewed": now,
            "expires": now + self.life_s,
            "life_s": self.life_s,
        }
        self.place.write(self.name, json.dumps(about).encode(), durable=False)

    def start(self) -> None:
        """Begin to renew."""
        self._thread.start()

    def give_back(self) -> None:
        """Stop renewing, and say that nobody holds the folder."""
        self._done.set()
        if self._thread.is_alive():
            self._thread.join()
        try:
            if self.lost is None and _token(read_lease(self.place, self.name)) == self.token:
                self.place.remove(self.name)
        except (OSError, DatapruneError) as exc:  # it undoes nothing of what was done
            log.warning(
                "the lease on %s could not be given back, and ends in %g s by itself: %s",
                self.place.url, self.life_s, exc,
            )  # fmt: skip

    def _renew_while_held(self) -> None:
        renewed, expires = time.monotonic(), time.time() + self.life_s
        while not self._done.wait(self.life_s / _RENEWALS):
            try:
                holder = read_lease(self.place, self.name)
                if holder is not None and holder["token"] != self.token:
                    self.lost = f"{told(holder)} took it over"
                    return
                if holder is None and time.time() > expires:
                    self.lost = "it ran out, and another may have worked there since"
                    return
                self.write()
                renewed, expires = time.monotonic(), time.time() + self.life_s
            except Exception as exc:  # noqa: BLE001 - storage may be away for a moment: try again
                if time.monotonic() - renewed > self.life_s:
                    self.lost = f"it could not be renewed for {self.life_s:g} s: {exc}"
                    return


def read_lease(place: Place, name: str = NAME) -> dict[str, Any] | None:
    """Who holds the folder, or held it when he was killed; None for nobody."""
    data = place.read(name)
    if data is None:
        return None
    try:
        found = json.loads(data)
    except ValueError:
        return None
    keys = {"token", "host", "pid", "renewed", "expires", "life_s"}
    return found if isinstance(found, dict) and found.keys() >= keys else None


def _token(holder: dict[str, Any] | None) -> str | None:
    return None if holder is None else holder["token"]


def told(holder: dict[str, Any]) -> str:
    """A holder in words."""
    return f"process {holder['pid']} on {holder['host']}"


@contextlib.contextmanager
def hold(
    place: Place,
    *,
    what: str,
    wait_s: float = 0,
    life_s: float = LEASE_S,
    host: str | None = None,
    of: str = "",
) -> Iterator[Lease]:
    """Hold a work folder until the block ends.

    what: for the error. wait_s: how long to wait for another holder to end.
    life_s: seconds after which a holder that is not heard of may be taken for dead.
    host: this machine's name. of: tells the folder's leases apart, where it has several.

    Raises:
        BusyError: another process holds it, and did not end in time.
    """
    deadline = time.monotonic() + wait_s
    said = False
    with contextlib.ExitStack() as locks:
        while isinstance(lease := _take(place, life_s, host or platform.node(), of, locks), str):
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise BusyError(
                    f"{what} is in use by {lease}",
                    hint="wait for it to end (run.wait_minutes in a recipe), or work in another "
                    "folder",
                )
            if not said:
                log.info("waiting for %s, which %s holds", what, lease)
                said = True
            time.sleep(min(_POLL_S, left_s))
        lease.start()
        try:
            yield lease
        finally:
            lease.give_back()


def _take(
    place: Place, life_s: float, host: str, of: str, locks: contextlib.ExitStack
) -> Lease | str:
    """Take the folder, or tell who has it. locks: gets the lock file, if there is one to hold."""
    is_local = isinstance(place, LocalPlace)
    with contextlib.ExitStack() as ours:
        if isinstance(place, LocalPlace) and not _lock(place, of, ours):
            holder = read_lease(place, f"{of}{NAME}")
            return told(holder) if holder else "another dataprune process"
        holder = read_lease(place, f"{of}{NAME}")
        # The kernel gave us its lock, so whoever wrote this on this machine has died.
        died_here = is_local and holder is not None and holder["host"] == host
        if holder is not None and not died_here and not _has_died(place, holder, f"{of}{NAME}"):
            return told(holder)
        lease = Lease(place, life_s, host, of)
        lease.write()
        if not is_local or (holder is not None and not died_here):
            time.sleep(_SETTLE_S)
            winner = read_lease(place, lease.name)
            if winner is None or winner["token"] != lease.token:
                return told(winner) if winner else "another dataprune process"
        if holder is not None:
            log.info("taking over %s from %s, which died", place.url, told(holder))
        locks.push(ours.pop_all())
        return lease


def _has_died(place: Place, holder: dict[str, Any], name: str) -> bool:
    """Whether a lease has run out, by its holder's clock and, should ours be ahead, by ours."""
    if time.time() < holder["expires"]:
        return False
    time.sleep(holder["life_s"] / _RENEWALS)
    now = read_lease(place, name)
    return now is None or (now["token"], now["renewed"]) == (holder["token"], holder["renewed"])


def _lock(place: LocalPlace, of: str, ours: contextlib.ExitStack) -> bool:
    """Take the kernel's lock, which it drops when this process dies."""
    place.folder.mkdir(parents=True, exist_ok=True)
    return try_lock(ours.enter_context((place.folder / f"{of}{LOCK}").open("a+")))


def holder_of(place: Place, of: str = "") -> str | None:
    """Who works in the folder now, in words; None for nobody. of: as of `hold`."""
    holder = read_lease(place, f"{of}{NAME}")
    if isinstance(place, LocalPlace) and is_held(place.folder / f"{of}{LOCK}"):
        return told(holder) if holder else "another dataprune process"
    if holder is None or time.time() >= holder["expires"]:
        return None
    died_here = isinstance(place, LocalPlace) and holder["host"] == platform.node()
    return None if died_here else told(holder)
