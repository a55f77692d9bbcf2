"""The process behind `WarmClient`: one JSON call a line on stdin, one JSON answer a line on stdout.

The client's back-off is capped, which is its patience and nothing of what it sends; warnings are
errors in the calls.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
import traceback
import warnings
from typing import Any

import huggingface_hub.utils._http as client_http

_CLIENT_WARNS = "Use 'content="  # huggingface_hub's LFS upload, of its own call into httpx


class _ImpatientTime:
    """The time module with short sleeps."""

    def __init__(self, max_sleep_s: float) -> None:
        self._max_sleep_s = max_sleep_s

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)

    def sleep(self, seconds: float) -> None:
        """Sleep, but not for long."""
        time.sleep(min(seconds, self._max_sleep_s))


def answer(line: str) -> dict[str, Any]:
    """Run one call; what it returned or raised."""
    asked = json.loads(line)
    module, _, name = asked["function"].partition(":")
    try:
        function = getattr(importlib.import_module(module), name)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.filterwarnings("ignore", _CLIENT_WARNS, DeprecationWarning)
            return {"result": function(**asked["kwargs"])}
    except Exception as error:  # noqa: BLE001  # whatever it is, the test is told
        kinds = [kind.__name__ for kind in type(error).__mro__]
        trace = traceback.format_exc()
        told = {"kind": kinds[0], "kinds": kinds, "message": str(error), "trace": trace}
        return {"error": told}


def serve() -> None:
    """Answer until stdin ends; what the calls print goes to stderr."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    client_http.time = _ImpatientTime(float(sys.argv[1]))  # type: ignore[assignment]
    for module in sys.argv[2:]:
        importlib.import_module(module)
    answers.write('"ready"\n')
    answers.flush()
    for line in iter(sys.stdin.readline, ""):
        answers.write(json.dumps(answer(line)) + "\n")
        answers.flush()


if __name__ == "__main__":
    serve()
