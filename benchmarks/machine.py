"""What a figure was measured on."""

import importlib.metadata
import os
import platform
import subprocess
from typing import Any


def describe(**more: Any) -> dict[str, Any]:
    """Processor count, versions and commit, with whatever else belongs to the run."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    packages = {p: importlib.metadata.version(p) for p in ("torch", "numpy", "ray")}
    return {
        "cpus": os.cpu_count(),
        "processor": platform.machine(),
        "python": platform.python_version(),
        "packages": packages,
        "commit": commit,
        **more,
    }
