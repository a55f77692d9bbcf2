"""Holds processes at a moment of a unit's life, as long as its work folder says so.

On the PYTHONPATH of a process and of those it starts: Python imports this module by itself. A file
`hold` in a work folder holds `NAME TIMES`: who is about to put a file of that name into place, for
that unit the so-manieth time, leaves its pid in `held/UNIT` instead and waits until `hold` is gone.
So `unit.json 1` is the moment between a unit's data and its marker.
"""

from __future__ import annotations

import os
import pathlib
import time
from collections import Counter

_replace = pathlib.Path.replace
_times: Counter[str] = Counter()


def _hold(self: pathlib.Path, target: str | os.PathLike[str]) -> pathlib.Path:
    target = pathlib.Path(target)
    if target.parent.parent.name == "units":
        hold = target.parents[2] / "hold"
        _times[str(target)] += 1
        if hold.exists():
            name, times = hold.read_text().split()
            if target.name == name and _times[str(target)] >= int(times):
                (hold.with_name("held") / target.parent.name).write_text(str(os.getpid()))
                while hold.exists():
                    time.sleep(0.02)
    return _replace(self, target)


pathlib.Path.replace = _hold  # type: ignore[method-assign]
