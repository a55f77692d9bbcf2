"""dataprune: which training examples matter, which are mislabelled, shipped as dataset versions.

    import dataprune

    result = dataprune.score("digits")
    dataprune.prune(result.path, keep=0.5, name="digits", tag="v1")
    version = dataprune.load("digits", "v1")

Importing this package loads none of torch, ray, polars and pyarrow; the verbs do when called.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from dataprune._version import __version__

if TYPE_CHECKING:
    from dataprune.core.errors import DatapruneError
    from dataprune.core.recipe import Recipe, load_recipe
    from dataprune.evaluation.run import EvaluationResult
    from dataprune.flow import PruneResult, ScoreResult, evaluate, load, prune, score
    from dataprune.versions.load import LoadedVersion

_HOMES = {
    "DatapruneError": "dataprune.core.errors",
    "EvaluationResult": "dataprune.evaluation.run",
    "LoadedVersion": "dataprune.versions.load",
    "PruneResult": "dataprune.flow",
    "Recipe": "dataprune.core.recipe",
    "ScoreResult": "dataprune.flow",
    "evaluate": "dataprune.flow",
    "load": "dataprune.flow",
    "load_recipe": "dataprune.core.recipe",
    "prune": "dataprune.flow",
    "score": "dataprune.flow",
}

__all__ = [
    "DatapruneError",
    "EvaluationResult",
    "LoadedVersion",
    "PruneResult",
    "Recipe",
    "ScoreResult",
    "__version__",
    "evaluate",
    "load",
    "load_recipe",
    "prune",
    "score",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'dataprune' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
