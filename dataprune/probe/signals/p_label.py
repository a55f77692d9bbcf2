"""Probability of the label."""

from __future__ import annotations

from dataprune.probe.signals import stateless

SIGNAL = stateless("p_label", "p_label")
