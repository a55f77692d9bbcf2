"""L2 norm of the gradient of the example's loss over the last linear layer's parameters."""

from __future__ import annotations

from dataprune.probe.signals import stateless

SIGNAL = stateless("grad_norm_last", "grad_norm_last")
