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
    from dataprune.evaluation.auto import choose_strategies
    from dataprune.evaluation.choices import Chosen
    from dataprune.evaluation.of_scores import evaluate_cells
    from dataprune.evaluation.outcome import EvaluationResult
    from dataprune.flags.label_issue import LabelFlags, flag_labels
    from dataprune.flow import curate, evaluate, flag, load, prune, publish, score
    from dataprune.planning.plan import PlanResult, plan
    from dataprune.probe.gradients import gradient_norms
    from dataprune.probe.recorder import Recorder
    from dataprune.probe.trainer_callback import RecorderCallback
    from dataprune.publishing.curated import CurateResult
    from dataprune.publishing.prune_result import PruneResult
    from dataprune.publishing.publisher import Published
    from dataprune.releasing.result import RunResult
    from dataprune.releasing.run import run
    from dataprune.scores._import import ImportResult, import_scores
    from dataprune.scores._result import ScoreResult
    from dataprune.selection._what_if import WhatIf, what_if
    from dataprune.versions.load import LoadedVersion

_HOMES = {
    "Chosen": "dataprune.evaluation.choices",
    "CurateResult": "dataprune.publishing.curated",
    "DatapruneError": "dataprune.core.errors",
    "EvaluationResult": "dataprune.evaluation.outcome",
    "ImportResult": "dataprune.scores._import",
    "LabelFlags": "dataprune.flags.label_issue",
    "LoadedVersion": "dataprune.versions.load",
    "PlanResult": "dataprune.planning.plan",
    "PruneResult": "dataprune.publishing.prune_result",
    "Published": "dataprune.publishing.publisher",
    "Recipe": "dataprune.core.recipe",
    "Recorder": "dataprune.probe.recorder",
    "RecorderCallback": "dataprune.probe.trainer_callback",
    "RunResult": "dataprune.releasing.result",
    "ScoreResult": "dataprune.scores._result",
    "WhatIf": "dataprune.selection._what_if",
    "choose_strategies": "dataprune.evaluation.auto",
    "curate": "dataprune.flow",
    "evaluate": "dataprune.flow",
    "evaluate_cells": "dataprune.evaluation.of_scores",
    "flag": "dataprune.flow",
    "flag_labels": "dataprune.flags.label_issue",
    "gradient_norms": "dataprune.probe.gradients",
    "import_scores": "dataprune.scores._import",
    "load": "dataprune.flow",
    "load_recipe": "dataprune.core.recipe",
    "plan": "dataprune.planning.plan",
    "prune": "dataprune.flow",
    "publish": "dataprune.flow",
    "run": "dataprune.releasing.run",
    "score": "dataprune.flow",
    "what_if": "dataprune.selection._what_if",
}

__all__ = [
    "Chosen",
    "CurateResult",
    "DatapruneError",
    "EvaluationResult",
    "ImportResult",
    "LabelFlags",
    "LoadedVersion",
    "PlanResult",
    "PruneResult",
    "Published",
    "Recipe",
    "Recorder",
    "RecorderCallback",
    "RunResult",
    "ScoreResult",
    "WhatIf",
    "__version__",
    "choose_strategies",
    "curate",
    "evaluate",
    "evaluate_cells",
    "flag",
    "flag_labels",
    "gradient_norms",
    "import_scores",
    "load",
    "load_recipe",
    "plan",
    "prune",
    "publish",
    "run",
    "score",
    "what_if",
]


def __getattr__(name: str) -> Any:
    if name == "gradient_norms":
        from dataprune.core.extras import require

        require("torch", extra="probe", why="gradient_norms")
    if name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'dataprune' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
