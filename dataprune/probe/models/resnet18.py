"""ResNet-18 for small images: the network of the Data Diet paper (Paul et al. 2021, supplement).

The low-resolution form of He et al. 2016: a 3x3 stem of stride 1 and no max-pool. For 10 classes
of colour images it has 11,173,962 parameters. Weights start from torch's default draw.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from dataprune.core.errors import UsageError
from dataprune.probe.models import Model
from dataprune.probe.models._images import image_shape
from dataprune.probe.models._params import check_whole

_SMALLEST = 8  # pixels: three halvings leave one


def build(shape: tuple[int, ...], num_outputs: int, *, width: int = 64) -> nn.Module:
    """Four stages of two basic blocks, `width` to 8 * `width` channels, then the mean over pixels.

    Raises:
        UsageError: the input is no image, or smaller than 8 pixels, or the width is below 1.
    """
    channels, height, width_px = image_shape("resnet18", shape)
    if min(height, width_px) < _SMALLEST:
        raise UsageError(
            f"images of {width_px}x{height} are too small for resnet18, which halves them 3 times",
            hint="set probe.model.name to mlp, or to small_cnn with fewer widths",
        )
    check_whole("resnet18", "width", width)
    layers: list[nn.Module] = [_conv(channels, width, size=3), _norm(width), nn.ReLU()]
    fan_in = width
    for stage in range(4):
        fan_out = width * 2**stage
        for block in range(2):
            layers.append(_BasicBlock(fan_in, fan_out, stride=2 if stage and not block else 1))
            fan_in = fan_out
    return nn.Sequential(
        *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(fan_in, num_outputs)
    )


class _BasicBlock(nn.Module):
    """Two 3x3 convolutions and a way around them, projected where the shape changes."""

    def __init__(self, fan_in: int, fan_out: int, *, stride: int) -> None:
        super().__init__()
        self.conv1, self.norm1 = _conv(fan_in, fan_out, size=3, stride=stride), _norm(fan_out)
        self.conv2, self.norm2 = _conv(fan_out, fan_out, size=3), _norm(fan_out)
        self.around: nn.Module = nn.Identity()
        if stride != 1 or fan_in != fan_out:
            self.around = nn.Sequential(
                _conv(fan_in, fan_out, size=1, stride=stride), _norm(fan_out)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, fan_in, H, W) -> (B, fan_out, H / stride, W / stride)."""
        inside = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        return F.relu(inside + self.around(x))  # a new tensor: hooks keep what the layers gave


def _conv(fan_in: int, fan_out: int, *, size: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(fan_in, fan_out, size, stride=stride, padding=size // 2, bias=False)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-5, momentum=0.1)  # the paper's flax calls it 0.9


MODEL = Model("resnet18", build)
