"""Mean over epochs of p (1 - p) for the label's probability p."""

from __future__ import annotations

from dataprune.probe.signals import mean_over_epochs

SIGNAL = mean_over_epochs("mean_p_variance", "p_label", lambda p: p * (1 - p))
