"""Held-out error: the share of the seeds that held the row out which were wrong about it.

Of the seeds that did not train on the row, how many put it into a class other than its label; of
several labels, how many did not give all of them exactly. One minus its mean over a class is the
recall on held-out rows by which DRoP (Vysogorets et al. 2025, section 4) shares a budget among
classes. Higher is harder. Range [0, 1].

Cost: none beyond the pass that scores a checkpoint, but seeds that hold rows out.

Pitfalls. It has as many steps as seeds held the row out, often one to three, so that most rows tie:
it tells classes apart, and within a class hardly more than right from wrong. Of several labels the
exact match is a high bar, which most rows may fail.
"""

from __future__ import annotations

from dataprune.scores import FREE, Score

SCORE = Score(
    name="heldout_error",
    signals=("correct",),
    compute=lambda seen: 1.0 - seen.signals["correct"],
    higher_is="harder",
    status="experimental",
    value_range="[0, 1]",
    source="Vysogorets et al. 2025, section 4: one minus the recall, by row",
    cost=f"{FREE}; needs seeds that hold rows out",
    pitfalls="as many steps as seeds held the row out, so most rows tie; made for class means",
    spec={"of": "prediction is not the label"},
    over="held_out",
)
