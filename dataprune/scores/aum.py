"""AUM, area under the margin: minus the mean over epochs of z_label - max other z.

Pleiss et al. 2020. Margins of logits, not of probabilities. The authors' low value is a wrong
label; stored negated, so higher is noisier. Range (-inf, inf); above 0 another class was ahead.

Cost: a forward pass over the rows after every epoch; none in mode train, which is how the authors
record it, up to the first drop of the learning rate.

Pitfalls. Logits grow with training, so late epochs weigh most, and values of two lengths of run do
not compare. Public code differs: probabilities instead of logits, sums instead of means, or the
last epoch alone. The authors' threshold (the 99th percentile of rows moved to an extra class) needs
training runs of its own and is not part of the score.
"""

from __future__ import annotations

from dataprune.scores import EVERY_EPOCH, Score

SCORE = Score(
    name="aum",
    signals=("mean_logit_margin",),
    compute=lambda seen: -seen.signals["mean_logit_margin"],
    higher_is="noisier",
    status="core",
    value_range="(-inf, inf)",
    source="Pleiss et al. 2020",
    cost=EVERY_EPOCH,
    pitfalls="late epochs weigh most, as logits grow; not comparable across lengths of run",
    spec={"of": "logit[label] - max other logit", "over_epochs": "mean", "sign": "negated"},
)
