"""WebDancer and Search-R1: <think>, then <tool_call> or <answer>; <tool_response> comes back."""

from __future__ import annotations

from dataprune.trajectories.dialects import Dialect, Mark

DIALECT = Dialect(
    name="webdancer",
    marks=(
        Mark("think", "<think>", "</think>"),
        Mark("tool", "<tool_call>", "</tool_call>"),
        Mark("answer", "<answer>", "</answer>"),
    ),
    observation=(("<tool_response>", "</tool_response>"),),
    environment=("<tool_response>", "User:", "Observation:"),
    prompt_after=("\nUser: ",),
)
