"""Mean over windows of epochs of std (1 - mean) of the label's probability, std with ddof 1."""

from __future__ import annotations

from dataprune.probe.signals import mean_over_windows

SIGNAL = mean_over_windows(
    "window_dual", "p_label", lambda p_BJ: p_BJ.std(dim=1) * (1 - p_BJ.mean(dim=1))
)
