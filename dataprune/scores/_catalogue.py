"""The table of all scores, made from the code: `dataprune scores list`, and README.md beside it.

`python -m dataprune.scores._catalogue` writes README.md; with `--check` it fails if it has drifted.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from pathlib import Path
from typing import Any

from dataprune.scores import SCORES

README = Path(__file__).parent / "README.md"
KEYS = ("score", "status", "higher_is", "range", "cost", "source", "pitfalls")
_INTRODUCTION = """\
# Scores

Made by `make schemas` from the code; `dataprune scores list` prints it, and `dataprune scores list
NAME` all about one. Higher is always harder, noisier, more uncertain or more memorized: a score
whose authors define it the other way round is stored negated. `core` scores keep their definition;
`experimental` ones may change. The cost is beyond training, of one seed.

"""


def catalogue() -> list[dict[str, Any]]:
    """One entry per registered score, core ones first."""
    scores = [SCORES.get(name) for name in SCORES.names()]
    return [
        {
            "score": score.name,
            "status": score.status,
            "higher_is": score.higher_is,
            "range": score.value_range,
            "cost": score.cost,
            "source": score.source,
            "pitfalls": score.pitfalls,
        }
        for score in sorted(scores, key=lambda s: (s.status != "core", s.name))
    ]


def about(name: str) -> str:
    """The whole docstring of a score.

    Raises:
        UsageError: there is no such score.
    """
    compute = SCORES.get(name).compute
    module = sys.modules.get(f"{SCORES.package}.{name}") or importlib.import_module(
        compute.__module__
    )
    return inspect.cleandoc(module.__doc__ or "")


def markdown() -> str:
    """The catalogue as a page."""
    lines = [" | ".join(KEYS).replace("_", " "), " | ".join("---" for _ in KEYS)]
    lines += [" | ".join(entry[key] for key in KEYS) for entry in catalogue()]
    return _INTRODUCTION + "".join(f"| {line} |\n" for line in lines)


def main(args: list[str]) -> int:
    """Write README.md, or check it."""
    if "--check" in args:
        is_same = README.is_file() and README.read_text() == markdown()
        if not is_same:
            sys.stderr.write(f"{README} drifted: run make schemas\n")
        return 0 if is_same else 1
    README.write_text(markdown())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
