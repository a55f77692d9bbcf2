"""Faults a test puts at chosen requests: refused, dropped, lost, slow or cut short."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass
from typing import Literal, get_args

Kind = Literal["status", "drop", "lost", "slow", "truncate"]


@dataclass
class Fault:
    """One fault: what happens, and to which of the requests that match."""

    kind: Kind
    nth: int
    times: int | None
    method: str | None
    path: re.Pattern[str] | None
    status: int
    retry_after_s: int | None
    delay_s: float
    after: bool
    seen: int = 0
    fired: int = 0

    def matches(self, method: str, target: str) -> bool:
        """Whether a request counts for this fault."""
        if self.method is not None and method != self.method:
            return False
        return self.path is None or self.path.search(target) is not None

    @property
    def due(self) -> bool:
        """Whether the request just counted is one of the chosen."""
        past = self.seen - 1 - self.nth
        return past >= 0 and (self.times is None or past < self.times)

    def __str__(self) -> str:
        return f"{self.kind} {self.status}" if self.kind == "status" else self.kind


class Faults:
    """The faults that are set, asked once per request as it arrives."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._lock = threading.Lock()

    def add(self, fault: Fault) -> Fault:
        """Set a fault; its count of matching requests starts now."""
        assert fault.kind in get_args(Kind), f"no fault is called {fault.kind!r}"
        with self._lock:
            self._faults.append(fault)
        return fault

    def clear(self) -> None:
        """Take all faults away."""
        with self._lock:
            self._faults.clear()

    def take(self, method: str, target: str) -> Fault | None:
        """The fault for a request that has just arrived, if any; each that matches counts it."""
        with self._lock:
            chosen: Fault | None = None
            for fault in self._faults:
                if fault.matches(method, target):
                    fault.seen += 1
                    if chosen is None and fault.due:
                        fault.fired += 1
                        chosen = fault
            return chosen
