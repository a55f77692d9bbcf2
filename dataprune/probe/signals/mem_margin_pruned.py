"""The logit margin once the memorized part of a layer is removed."""

from __future__ import annotations

from dataprune.probe.signals import stateless

SIGNAL = stateless("mem_margin_pruned", "mem_margin_pruned")
