"""Probe models, small enough to train many times. One model a file, each defines `MODEL`.

A model is `build(shape, num_outputs, *, parameters...)`; shape is (channels, height, width) for
images and (features,) for feature vectors.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from dataprune.core.registry import Registry


@dataclass(frozen=True)
class Model:
    """A probe model: its keyword-only parameters are the recipe's `probe.model.params`."""

    name: str
    build: Callable[..., nn.Module]


MODELS: Registry[Model] = Registry("dataprune.probe.models", "MODEL", "model")
