"""Mean loss over epochs."""

from __future__ import annotations

from dataprune.probe.signals import mean_over_epochs

SIGNAL = mean_over_epochs("mean_loss", "loss")
