"""Mean over windows of epochs of the deviation (ddof 1) of the label's probability."""

from __future__ import annotations

from dataprune.probe.signals import mean_over_windows

SIGNAL = mean_over_windows("window_std", "p_label", lambda p_BJ: p_BJ.std(dim=1))
