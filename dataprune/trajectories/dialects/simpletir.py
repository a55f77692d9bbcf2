r"""SimpleTIR: Python in a fence, the answer in \boxed{}; "Code execution result:" comes back.

As there, a fence without a language is Python, too; a fence of another one is neither action nor
answer.
"""

from __future__ import annotations

from dataprune.trajectories.dialects import Dialect, Mark

DIALECT = Dialect(
    name="simpletir",
    marks=(
        Mark("code", "```python\n", "```", language="python"),
        Mark("code", "```py\n", "```", language="python"),
        Mark("code", "```\n", "```", language="python"),
        Mark("think", "```", "```"),
        Mark("answer", "\\boxed{", "}", balanced=True),
    ),
    observation=(("Code execution result: ", ""),),
    environment=("Code execution result:",),
)
