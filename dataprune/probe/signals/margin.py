"""Label probability minus the largest other one, in [-1, 1]: high is easy."""

from __future__ import annotations

from dataprune.probe.signals import stateless

SIGNAL = stateless("margin", "margin")
