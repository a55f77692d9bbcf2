"""Search-R1: <think>, then <search> or <answer>; <information> comes back.

A search is words, not JSON, so that it is an action of its own language.
"""

from __future__ import annotations

from dataprune.trajectories.dialects import Dialect, Mark

DIALECT = Dialect(
    name="searchr1",
    marks=(
        Mark("think", "<think>", "</think>"),
        Mark("code", "<search>", "</search>", language="search"),
        Mark("answer", "<answer>", "</answer>"),
    ),
    observation=(("<information>", "</information>"),),
    environment=("<information>",),
    nags=("My previous action is invalid.",),
    prompt_after=("Question: ",),
)
