"""A small convolutional network that two CPU cores can train on tens of thousands of images."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from dataprune.core.errors import UsageError
from dataprune.probe.models import Model
from dataprune.probe.models._images import image_shape


def build(
    shape: tuple[int, ...], num_outputs: int, *, widths: Sequence[int] = (16, 32, 64)
) -> nn.Module:
    """Per width: 3x3 convolution, batch norm, ReLU; halved after each but the last; mean pool.

    Raises:
        UsageError: the input is no image, or too small to be halved that often.
    """
    channels, height, width_px = image_shape("small_cnn", shape)
    if min(height, width_px) >> (len(widths) - 1) < 1:
        raise UsageError(
            f"images of {width_px}x{height} are too small for {len(widths)} widths",
            hint="give probe.model.params.widths fewer entries",
        )
    layers: list[nn.Module] = []
    for i, width in enumerate(widths):
        layers += [
            nn.Conv2d(channels, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
        ]
        if i < len(widths) - 1:
            layers.append(nn.MaxPool2d(2))
        channels = width
    pool = [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, *pool, nn.Linear(channels, num_outputs))


MODEL = Model("small_cnn", build)
