"""L2 norm of the standardised input: what the model reads."""

from __future__ import annotations

from dataprune.probe.signals import stateless

SIGNAL = stateless("input_norm", "input_norm", when="init")
