"""Per-example loss of the task (cross-entropy for classification)."""

from __future__ import annotations

from dataprune.probe.signals import stateless

SIGNAL = stateless("loss", "loss")
