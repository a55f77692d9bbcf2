"""Tool calls beside the text, as OpenAI's chat messages have them; the agent may talk to a user."""

from __future__ import annotations

from dataprune.trajectories.dialects import Dialect

DIALECT = Dialect(
    name="tools",
    marks=(),
    calls=True,
    talks=True,
    observation_role="tool",
    failed=("Traceback (most recent call last)", "Error:"),
    ends_anywhere=True,
)
