"""Seconds of work timed in part, and what the whole of it takes in proportion."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

Kind = Literal["train", "score", "held-out", "rest"]


@dataclass(frozen=True)
class Part:
    """One kind of work of a unit.

    kind, what: for people.
    done, whole: steps, rows or times that were timed, and that a unit has.
    seconds, cpu_seconds: of those that were timed; by the clock, and of this process's threads.
    """

    kind: Kind
    what: str
    done: int
    whole: int
    seconds: float
    cpu_seconds: float

    @property
    def unit_seconds(self) -> float:
        """Seconds of it in a whole unit."""
        return self.seconds * self.whole / self.done

    @property
    def unit_cpu_seconds(self) -> float:
        """CPU seconds of it in a whole unit."""
        return self.cpu_seconds * self.whole / self.done


class Stopwatch:
    """Adds up seconds while it runs.

    wait: returns once the device has done all it was asked to, so that its work is counted.
    """

    def __init__(self, wait: Callable[[], None]) -> None:
        self._wait = wait
        self._before = (0.0, 0.0)
        self.seconds = self.cpu_seconds = 0.0

    def start(self) -> None:
        """Go on."""
        self._wait()
        self._before = (time.perf_counter(), time.process_time())

    def stop(self) -> None:
        """Add what has passed since it was started."""
        self._wait()
        self.seconds += time.perf_counter() - self._before[0]
        self.cpu_seconds += time.process_time() - self._before[1]

    def since_start(self) -> float:
        """Seconds since it was started last, without waiting for the device."""
        return time.perf_counter() - self._before[0]

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Run for the length of a block."""
        self.start()
        yield
        self.stop()

    def part(self, kind: Kind, what: str, done: int, whole: int) -> Part:
        """What was timed, as a part of a unit."""
        return Part(kind, what, done, whole, self.seconds, self.cpu_seconds)
