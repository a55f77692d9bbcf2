"""Input norm: the L2 norm of the standardised input; the control for `grand_init`.

What the model reads: pixels or features less the source's mean, divided by its deviation. It knows
neither label nor model, and a score that does no better has learned nothing (Kirsch 2023, arXiv
2303.14753). Higher is nothing. Range [0, inf).

Cost: a pass over the rows, once before training. Not for texts, whose inputs are token ids.

Pitfall. The same for every seed, so its reliability is 1 and says nothing of its use.
"""

from __future__ import annotations

from dataprune.scores import Score

SCORE = Score(
    name="input_norm",
    signals=("input_norm",),
    compute=lambda seen: seen.signals["input_norm"],
    higher_is="nothing",
    status="experimental",
    value_range="[0, inf)",
    source="control; Kirsch 2023",
    cost="a forward pass over the rows, once before training",
    pitfalls="control: knows neither label nor model; seeds agree because nothing changes",
    spec={"norm": "l2", "of": "standardised input"},
    at_init=True,
)
