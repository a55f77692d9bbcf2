"""SWE-agent: a command in a fence or in XML (<function=...>), or tool calls beside the text.

A run ends with `submit`; what it answers is the state of the repository. SWE-smith trains on XML.
"""

from __future__ import annotations

from dataprune.trajectories.dialects import Dialect, Mark

DIALECT = Dialect(
    name="swe_agent",
    marks=(
        Mark("answer", "<function=submit>", "</function>"),
        Mark("code", "<function=", "</function>", language="xml"),
        Mark("answer", "```\nsubmit", "```"),
        Mark("code", "```\n", "```", language="bash"),
        Mark("think", "```", "```"),
    ),
    observation=(("OBSERVATION:\n", ""),),
    environment=("OBSERVATION:", "(Open file: ", "bash-$"),
    nags=("Your output was not formatted correctly", "Your output could not be parsed"),
    prompt_after=("ISSUE:\n",),
    ends_anywhere=True,
)
