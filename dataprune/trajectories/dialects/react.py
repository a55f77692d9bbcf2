"""ReAct under headings, as DataMind's analysis agents write it.

"## Thought:", a Python fence, and "## Final Answer:"; "## Observation:" comes back.
"""

from __future__ import annotations

from dataprune.trajectories.dialects import Dialect, Mark

DIALECT = Dialect(
    name="react",
    marks=(
        Mark("think", "## Thought:", None, at_line_start=True),
        Mark("code", "```python\n", "```", language="python"),
        Mark("think", "```", "```"),
        Mark("answer", "## Final Answer:", None, at_line_start=True),
    ),
    observation=(("## Observation:", ""),),
    environment=("## Observation:",),
)
