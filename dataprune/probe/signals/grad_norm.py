"""L2 norm of the loss gradient over all parameters (Paul et al. 2021, Definition 2.1)."""

from __future__ import annotations

from dataprune.probe.signals import stateless

SIGNAL = stateless("grad_norm", "grad_norm")
