"""Holds a process between a unit's data files and its unit.json, while its work folder says so.

On the PYTHONPATH of a process and of those it starts: Python imports this module by itself. Where
there is a file `hold` in the work folder, whoever is about to put a unit.json into place leaves a
file `held` with its pid instead, and waits.
"""

from __future__ import annotations

import os
import pathlib
import time

_replace = pathlib.Path.replace


def _hold(self: pathlib.Path, target: str | os.PathLike[str]) -> pathlib.Path:
    target = pathlib.Path(target)
    if target.name == "unit.json":
        work = target.parents[2]
        if (work / "hold").exists():
            (work / "held").write_text(str(os.getpid()))
        while (work / "hold").exists():
            time.sleep(0.02)
    return _replace(self, target)


pathlib.Path.replace = _hold  # type: ignore[method-assign]
