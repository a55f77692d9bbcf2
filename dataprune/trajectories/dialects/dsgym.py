"""DSGym: <reasoning>, then <python> or <answer>; <information> comes back."""

from __future__ import annotations

from dataprune.trajectories.dialects import Dialect, Mark

DIALECT = Dialect(
    name="dsgym",
    marks=(
        Mark("think", "<reasoning>", "</reasoning>"),
        Mark("code", "<python>", "</python>", language="python"),
        Mark("answer", "<answer>", "</answer>"),
    ),
    observation=(("<information>", "</information>"),),
    environment=("<information>",),
)
