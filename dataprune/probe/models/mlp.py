"""Fully connected ReLU network; images are flattened."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import nn

from dataprune.probe.models import Model


def build(
    shape: tuple[int, ...], num_outputs: int, *, widths: Sequence[int] = (256, 256)
) -> nn.Module:
    """Layers of the given widths, then a linear read-out."""
    layers: list[nn.Module] = [nn.Flatten()]
    fan_in = math.prod(shape)
    for width in widths:
        layers += [nn.Linear(fan_in, width), nn.ReLU()]
        fan_in = width
    return nn.Sequential(*layers, nn.Linear(fan_in, num_outputs))


MODEL = Model("mlp", build)
