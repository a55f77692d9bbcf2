"""1.0 where the prediction is the label."""

from __future__ import annotations

from dataprune.probe.signals import stateless

SIGNAL = stateless("correct", "correct")
