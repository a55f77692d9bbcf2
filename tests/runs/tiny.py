"""A recipe whose seeds take a blink, for tests of how units run and not of what they find."""

from __future__ import annotations

from typing import Any

from dataprune.core.recipe import Recipe, parse_recipe


def tiny_recipe(*, scores: list[str], seeds: int = 2, epochs: int = 2, **more: Any) -> Recipe:
    """Probes of one small layer on the digits; `more` are further sections."""
    data = {
        "name": "tiny",
        "source": {"uri": "digits"},
        "probe": {
            "model": {"name": "mlp", "params": {"widths": [16]}},
            "batch_size": 64,
            "optimizer": {"lr": 0.1},
            "schedule_epochs": epochs,
        },
        "scores": {"names": scores, "timing_gate": "off"},
        "seeds": seeds,
        **more,
    }
    return parse_recipe(data, where="tests")
