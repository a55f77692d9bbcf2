"""Memorization: P[correct | trained on] - P[correct | held out], each a share of the seeds.

Feldman and Zhang 2020. A row that is right only when it was trained on is memorized: rare, hard or
wrongly labelled. Higher is more memorized. Range [-1, 1].

memorization_se is the standard error of the difference, with one success and one failure added to
each share (Agresti and Caffo 2000): without them, a row held out twice and right both times would
seem to have none. It is up to 0.22 with 20 seeds of which 30 per cent hold the row out; the authors
train 2000 to 4000 models on 70 per cent each. Few seeds do for groups of rows, not for single ones.

Cost: none beyond the pass that scores a checkpoint, but seeds that hold rows out: set
`holdout: {folds: K, repeats: R}`, so that R of the K R seeds hold each row out.

Pitfalls. With few seeds it takes few values, and ties are many. It depends on the share that is
held out: models of less data are wrong more often. Exact copies of a row must be held out with it.
"""

from __future__ import annotations

from dataprune.scores import FREE, Score

SCORE = Score(
    name="memorization",
    signals=("correct",),
    compute=lambda seen: seen.signals["correct"],
    higher_is="more memorized",
    status="core",
    value_range="[-1, 1]",
    source="Feldman and Zhang 2020; error: Agresti and Caffo 2000",
    cost=f"{FREE}; needs seeds that hold rows out",
    pitfalls="few seeds give few values and many ties: read memorization_se beside it",
    spec={"of": "prediction is the label", "standard_error": "Agresti-Caffo"},
    over="difference",
)
