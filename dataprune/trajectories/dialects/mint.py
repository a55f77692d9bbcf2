"""MINT and CodeAct: <thought>, <execute> for Python, <solution>; observations begin "Observation:".

An agent may think aloud outside of tags and act inside a thought, so thoughts hide nothing, and
code that does not compile is the environment's to answer: it is no void turn.
"""

from __future__ import annotations

from dataprune.trajectories.dialects import Dialect, Mark

DIALECT = Dialect(
    name="mint",
    marks=(
        Mark("think", "<thought>", "</thought>"),
        Mark("code", "<execute>", "</execute>", language="python"),
        Mark("answer", "<solution>", "</solution>"),
    ),
    think_hides=False,
    observation=(("Observation:\n", ""), ("Observation:", "")),
    environment=("Observation:", "Human:"),
    after_action=True,
    nags=("Your answer is wrong.",),
    prefixes=("Assistant:",),
    prompt_after=("\nTask:\n", "Task:\n"),
    void_kinds=("empty", "text_only", "partial_action", "truncated"),
)
