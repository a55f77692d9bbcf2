"""mini-SWE-agent: shell commands in a fence of their own; one of them says that it is done.

What it answers is the state of the machine, so that nothing stands in the answer.
"""

from __future__ import annotations

from dataprune.trajectories.dialects import Dialect, Mark

_FENCE = "```mswea_bash_command\n"

DIALECT = Dialect(
    name="mini_swe",
    marks=(
        Mark("code", _FENCE, "```", language="bash"),
        Mark("answer", f"{_FENCE}echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT", "```"),
        Mark("answer", f"{_FENCE}echo MINI_SWE_AGENT_FINAL_OUTPUT", "```"),
        Mark("think", "```", "```"),
    ),
    environment=("<returncode>",),
    nags=("Please always provide EXACTLY ONE action",),
    failed=("<returncode>1<", "<returncode>2<", "<returncode>126<", "<returncode>127<"),
    prompt_after=("Please solve this issue: ",),
    ends_anywhere=True,
)
