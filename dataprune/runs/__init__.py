"""Runs units and remembers them: the ledger, an in-process runner and Ray. Knows no probe."""

from __future__ import annotations

from dataprune.core.errors import UsageError, nearest
from dataprune.core.protocols import Runner


def get_runner(name: str) -> Runner:
    """The runner of that name: `local` (in this process) or `ray`.

    Raises:
        UsageError: there is no such runner.
    """
    if name == "local":
        from dataprune.runs.local import LocalRunner

        return LocalRunner()
    if name == "ray":
        from dataprune.runs.ray_tasks import RayRunner

        return RayRunner()
    raise UsageError(f"there is no runner named {name}", hint=nearest(name, ["local", "ray"]))
