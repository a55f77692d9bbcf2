"""The class that is answered once the memorized part of a layer is removed."""

from __future__ import annotations

from dataprune.probe.signals import stateless

SIGNAL = stateless("mem_relabel", "mem_relabel")
