"""Mean over epochs of how much the loss's input gradient changes nearby."""

from __future__ import annotations

from dataprune.probe.signals import mean_over_epochs

SIGNAL = mean_over_epochs("mean_curvature", "input_curvature")
