"""How far the logit margin falls when the memorized part of a layer is removed."""

from __future__ import annotations

from dataprune.probe.signals import stateless

SIGNAL = stateless("mem_drop", "mem_drop")
