"""A recipe whose networks memorize and generalize in a second."""

from __future__ import annotations

from typing import Any

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
