"""VoG, variance of gradients: how much the label logit's input gradient changes over epochs.

Agarwal et al. 2022, section 2. S_t is the gradient of the label's logit by each pixel, a mean over
channels, after epoch t. Per row: the mean over pixels of the standard deviation (ddof 0) of S over
epochs. Then z-scored within each class, with the class's mean and standard deviation (ddof 0) over
the rows that this seed trained on; a class of one row, or without spread, gets 0. Higher is harder.
Range (-inf, inf), with mean 0 in each class.

Cost: a forward and a backward pass over the rows after every epoch, and in memory two floats for
each pixel of each row: 400 MB for 50,000 images of 32 x 32.

Pitfalls. Needs two epochs: after one it is 0. The authors take a few snapshots, early or late in
the run; here all epochs so far are the snapshots. The z-score hides whole classes that are hard.
Public code differs: gradients of the probability, means over another number of snapshots than were
summed, or no z-score.
"""

from __future__ import annotations

import numpy as np

from dataprune.scores import Score, Seen, Values


def _compute(seen: Seen) -> Values:
    spread, classes = seen.signals["gradient_spread"], seen.labels
    _, one_of_class, codes = np.unique(classes, return_index=True, return_inverse=True)
    # Less one of the class's own values: rows that are all alike become zeros, without rounding.
    values = spread - spread[one_of_class][codes]
    trained = codes[seen.in_sample]
    count = np.maximum(np.bincount(trained, minlength=len(one_of_class)), 1)

    def class_mean(of: Values) -> Values:
        sums = np.bincount(trained, weights=of[seen.in_sample], minlength=len(one_of_class))
        means: Values = sums / count
        return means[codes]

    values -= class_mean(values)
    deviation = np.sqrt(class_mean(np.square(values)))
    return np.divide(values, deviation, out=np.zeros_like(values), where=deviation > 0)


SCORE = Score(
    name="vog",
    signals=("gradient_spread",),
    compute=_compute,
    higher_is="harder",
    status="experimental",
    value_range="(-inf, inf)",
    source="Agarwal et al. 2022, section 2",
    cost="a forward and a backward pass after every epoch; two floats held per pixel and row",
    pitfalls="0 after one epoch; class means are taken out, so hard classes do not show",
    spec={
        "of": "gradient of logit[label] by pixel, mean over channels",
        "over_epochs": "std",
        "ddof": 0,
        "over_pixels": "mean",
        "then": "z-score within class, over rows trained on",
    },
)
