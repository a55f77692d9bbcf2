"""The label's logit minus the largest other one: high is easy."""

from __future__ import annotations

from dataprune.probe.signals import stateless

SIGNAL = stateless("logit_margin", "logit_margin")
