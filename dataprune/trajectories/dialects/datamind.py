"""DataMind: <think>, then <code> with a Python fence or <answer>; <interpreter> comes back."""

from __future__ import annotations

from dataprune.trajectories.dialects import Dialect, Mark

DIALECT = Dialect(
    name="datamind",
    marks=(
        Mark("think", "<think>", "</think>"),
        Mark("think", "<reasoning>", "</reasoning>"),
        Mark("code", "<code>", "</code>", language="python"),
        Mark("answer", "<answer>", "</answer>"),
    ),
    observation=(("<interpreter>", "</interpreter>"),),
    environment=("<interpreter>", "The code run successfully:", "The code run failed:"),
    nags=("Your previous action is invalid.",),
    failed=(
        "The code run failed",
        "We couldn't capture the output",
        "Traceback (most recent call last)",
    ),
)
