"""L2 norm of the output-error vector (Paul et al. 2021, Definition 2.3, before the mean)."""

from __future__ import annotations

from dataprune.probe.signals import row_norms, stateless

SIGNAL = stateless("el2n", "error_BC", row_norms)
