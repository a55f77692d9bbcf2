"""A small modular addition that memorizes and generalizes in a second."""

from __future__ import annotations

from typing import Any

import pytest

SMALL: dict[str, Any] = {
    "reproduces": "grok",
    "name": "small",
    "p": 23,
    "num_neurons": 64,
    "alpha": 0.8,
    "xi": 0.2,
    "evaluate_every": 100,
    "runs": [
        {"name": "mild", "weight_decay": 1, "steps": 200},
        {"name": "strong", "weight_decay": 5, "steps": 300},
    ],
}


@pytest.fixture(scope="session")
def small_result() -> Any:
    """Both small runs."""
    from dataprune.reproductions.grok import reproduce_grok
    from dataprune.reproductions.grok_recipe import GrokRecipe

    return reproduce_grok(GrokRecipe.model_validate(SMALL), on_progress=lambda *_: None)
