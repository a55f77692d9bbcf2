"""1 where the label was fitted, and is not once the memorized part is removed."""

from __future__ import annotations

from dataprune.probe.signals import stateless

SIGNAL = stateless("mem_flip", "mem_flip")
