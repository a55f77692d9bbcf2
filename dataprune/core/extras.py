"""Import an optional dependency, or say in one sentence which extra brings it."""

from __future__ import annotations

import importlib
from typing import Any

from dataprune.core.errors import MissingExtraError


def require(module: str, *, extra: str, why: str) -> Any:
    """Import `module`, which the extra `dataprune[extra]` installs.

    Raises:
        MissingExtraError: it is not installed; the hint is the pip command.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as exc:
        if exc.name is None or exc.name.split(".")[0] != module.split(".", maxsplit=1)[0]:
            raise
        raise MissingExtraError(
            f"{why} needs {module.split('.', maxsplit=1)[0]}, which is not installed",
            hint=f"pip install 'dataprune[{extra}]'",
        ) from exc
