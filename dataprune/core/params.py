"""Parameters of plug-ins (models, strategies), checked against the function that takes them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from dataprune.core.errors import UsageError, nearest


def check_params(function: Callable[..., Any], params: Mapping[str, Any], *, what: str) -> None:
    """Refuse parameters that `function` does not take as keywords, naming the nearest one.

    Raises:
        UsageError: an unknown parameter, or a required one that is missing.
    """
    known = {
        name: p
        for name, p in inspect.signature(function).parameters.items()
        if p.kind is inspect.Parameter.KEYWORD_ONLY
    }
    for name in params:
        if name not in known:
            hint = nearest(name, known) if known else f"{what} takes no parameters"
            raise UsageError(f"{what} has no parameter {name}", hint=hint)
    for name, parameter in known.items():
        if parameter.default is inspect.Parameter.empty and name not in params:
            raise UsageError(f"{what} needs the parameter {name}", hint=f"give it as {name}=VALUE")
