"""Mean over epochs of the label's logit minus the largest other one: the area under the margin."""

from __future__ import annotations

from dataprune.probe.signals import mean_over_epochs

SIGNAL = mean_over_epochs("mean_logit_margin", "logit_margin")
