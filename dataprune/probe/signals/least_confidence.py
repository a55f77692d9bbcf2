"""One minus the largest probability."""

from __future__ import annotations

from dataprune.probe.signals import stateless

SIGNAL = stateless("least_confidence", "least_confidence")
