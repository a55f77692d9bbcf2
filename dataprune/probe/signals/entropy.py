"""Entropy of the predicted distribution, in nats."""

from __future__ import annotations

from dataprune.probe.signals import stateless

SIGNAL = stateless("entropy", "entropy")
