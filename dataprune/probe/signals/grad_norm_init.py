"""As grad_norm, but of the untrained weights."""

from __future__ import annotations

from dataprune.probe.signals import stateless

SIGNAL = stateless("grad_norm_init", "grad_norm", when="init")
