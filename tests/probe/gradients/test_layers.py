"""Each kind of layer alone, over its settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from dataprune.probe.gradients.convolution import Convolution, Geometry

Exact = Callable[..., None]

CONVS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}


class Pooled(nn.Module):
    """A layer, squared so that its gradient differs by place, and the mean over all places."""

    def __init__(self, layer: nn.Module, channels: int, *, last: bool = False) -> None:
        super().__init__()
        self.layer, self.read_out, self.last = layer, nn.Linear(channels, 3), last

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Inputs to outputs (B, C)."""
        x = self.layer(x).square()
        if x.dim() > 2:
            x = x.flatten(1, -2).mean(1) if self.last else x.flatten(2).mean(2)
        return self.read_out(x)


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[nn.Module, int, tuple[int, ...]]:
    """A convolution, its number of input channels and the size of its inputs."""
    dims = draw(st.integers(1, 3))
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    c, p = (groups * draw(st.integers(1, 3)) for _ in range(2))
    per_dim = lambda low, high: tuple(draw(st.integers(low, high)) for _ in range(dims))  # noqa: E731
    kernel, dilation, stride = per_dim(1, 3), per_dim(1, 2), per_dim(1, 2)
    size = tuple(
        draw(st.integers(d * (k - 1) + 1, 7)) for k, d in zip(kernel, dilation, strict=True)
    )
    options: dict[str, Any] = {"groups": groups, "dilation": dilation, "bias": draw(st.booleans())}
    if draw(st.integers(0, 4)) == 0:
        return TRANSPOSED[dims](c, p, kernel, stride, per_dim(0, 0), **options), c, size
    padding = draw(st.one_of(st.just("same"), st.just("valid"), st.just(per_dim(0, 2))))
    if padding == "same":
        stride = (1,) * dims
    elif draw(st.booleans()):
        options["padding_mode"] = "replicate"
    return CONVS[dims](c, p, kernel, stride, padding, **options), c, size


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_convolutions_of_any_geometry_are_exact(exact: Exact, data: st.DataObject) -> None:
    layer, channels, size = data.draw(convolutions())
    inputs = torch.randn(4, channels, *size)
    # One channel in and out: torch's own result then depends on the batch (2.13 on the CPU).
    if inputs.dim() == 4 and channels * layer.out_channels > 1 and data.draw(st.booleans()):
        inputs = inputs.to(memory_format=torch.channels_last)
    exact(Pooled(layer, layer.out_channels), inputs)


@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_the_forms_of_a_convolution_agree(padding: int, memory_format: torch.memory_format) -> None:
    a, weight = torch.randn(3, 4, 6, 6, dtype=torch.float64), torch.randn(5, 4, 3, 3)
    a = a.to(memory_format=memory_format)
    g = torch.randn_like(nn.functional.conv2d(a, weight.double(), padding=padding))
    geometry = Geometry((3, 3), (1, 1), (padding, padding), (1, 1), 1)
    factor = Convolution(a, g.to(memory_format=memory_format), geometry)
    whole = slice(0, 3)
    expected = factor.gradients(whole).flatten(1).square().sum(1)
    forms = [factor.squared_by_strips, factor.squared_by_patches, factor.squared_by_gram]
    for form in [*forms, factor.squared_by_shift] if padding == 1 else forms:
        torch.testing.assert_close(form(whole), expected)


@pytest.mark.parametrize(("width", "size"), [(1, 28), (3, 12), (16, 14), (64, 4), (96, 4)])
def test_every_form_that_shapes_choose_is_exact(exact: Exact, width: int, size: int) -> None:
    layers = [nn.Conv2d(width, 2 * width, 3, stride=s, padding=1) for s in (1, 2)]
    for layer in layers:
        inputs = torch.randn(4, width, size, size).to(memory_format=torch.channels_last)
        exact(Pooled(layer, 2 * width), inputs)


@pytest.mark.parametrize("shape", [(6,), (3, 6), (40, 6), (2, 3, 6)])
@pytest.mark.parametrize("bias", [False, True])
def test_linear_layers_are_exact_for_inputs_of_any_rank(
    exact: Exact, slow_parameters: list[int], shape: tuple[int, ...], *, bias: bool
) -> None:
    exact(Pooled(nn.Linear(6, 4, bias=bias), 4, last=True), torch.randn(5, *shape))
    assert not slow_parameters


class Flattened(nn.Module):
    """A linear layer that is given examples and places as one dimension, in either order."""

    def __init__(self, *, places_first: bool) -> None:
        super().__init__()
        self.places_first = places_first
        self.layer, self.norm, self.read_out = nn.Linear(6, 4), nn.LayerNorm(4), nn.Linear(4, 3)

    def forward(self, x_BTD: torch.Tensor) -> torch.Tensor:
        """Inputs to outputs (B, C)."""
        x = x_BTD.transpose(0, 1) if self.places_first else x_BTD
        x = self.norm(self.layer(x.flatten(0, 1)).square()).unflatten(0, x.shape[:2])
        return self.read_out(x.square().mean(0 if self.places_first else 1))


@pytest.mark.parametrize("places_first", [False, True])
@pytest.mark.parametrize("places", [1, 5, 7])
def test_examples_flattened_with_places_are_told_apart(
    exact: Exact, slow_parameters: list[int], *, places_first: bool, places: int
) -> None:
    exact(Flattened(places_first=places_first), torch.randn(5, places, 6))
    assert not slow_parameters


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.BatchNorm1d(6), (6,)),
        (nn.BatchNorm1d(6), (6, 5)),
        (nn.BatchNorm2d(6), (6, 4, 5)),
        (nn.BatchNorm3d(6, affine=True), (6, 2, 3, 2)),
        (nn.GroupNorm(2, 6), (6, 4, 5)),
        (nn.GroupNorm(6, 6), (6, 5)),
        (nn.InstanceNorm2d(6, affine=True), (6, 4, 5)),
        (nn.InstanceNorm1d(6, affine=True, track_running_stats=True), (6, 5)),
        (nn.PReLU(), (6, 4)),
        (nn.PReLU(6), (6, 4, 5)),
        (nn.LayerNorm((4, 5)), (6, 4, 5)),
        (nn.LayerNorm(5), (6, 5)),
        (nn.LayerNorm((6, 5), elementwise_affine=True, bias=False), (6, 5)),
    ],
    ids=str,
)
def test_normalisations_are_exact(
    exact: Exact, slow_parameters: list[int], layer: nn.Module, shape: tuple[int, ...]
) -> None:
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    if getattr(layer, "running_mean", None) is not None:
        layer.running_mean.normal_()
        layer.running_var.uniform_(0.5, 2)
    model = nn.Sequential(nn.Unflatten(1, (1, shape[0])), nn.Flatten(1, 2), Pooled(layer, 6))
    exact(model, 3 + torch.randn(5, *shape))
    assert not slow_parameters


class Looked(nn.Module):
    """An embedding of ids of any shape, and positions that all examples share."""

    def __init__(self, **options: object) -> None:
        super().__init__()
        self.embed = nn.Embedding(12, 4, **options)
        self.position, self.read_out = nn.Embedding(9, 4), nn.Linear(4, 3)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Inputs to outputs (B, C)."""
        x = self.embed(ids)
        if ids.dim() > 1:
            x = (x + self.position(torch.arange(ids.shape[-1]))).square().flatten(1, -2).mean(1)
        return self.read_out(x)


@pytest.mark.parametrize("shape", [(), (5,), (9,), (2, 5)])
@pytest.mark.parametrize("options", [{}, {"padding_idx": 0}, {"padding_idx": -1}], ids=str)
def test_embeddings_are_exact(
    exact: Exact, slow_parameters: list[int], shape: tuple[int, ...], options: dict[str, int]
) -> None:
    exact(Looked(**options), torch.randint(0, 12, (9, *shape)))
    assert not slow_parameters


def test_an_embedding_scaled_by_frequency_takes_the_general_path(
    exact: Exact, slow_parameters: list[int]
) -> None:
    exact(Looked(scale_grad_by_freq=True), torch.randint(0, 4, (6, 5)))
    assert slow_parameters == [1]


class Bagged(nn.Module):
    """A bag of embeddings, weighted by index where torch allows it."""

    def __init__(self, **options: object) -> None:
        super().__init__()
        self.bag, self.read_out = nn.EmbeddingBag(12, 4, **options), nn.Linear(4, 3)
        self.weighted = options.get("mode") == "sum" and "padding_idx" not in options

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Inputs to outputs (B, C)."""
        weights = (1 + ids).to(self.bag.weight.dtype) if self.weighted else None
        return self.read_out(self.bag(ids, per_sample_weights=weights))


@pytest.mark.parametrize(
    ("options", "general"),
    [
        ({"mode": "mean"}, []),
        ({"mode": "mean", "padding_idx": 0}, []),
        ({"mode": "sum", "padding_idx": 3}, []),
        ({"mode": "sum"}, [1]),
        ({"mode": "max"}, [1]),
    ],
    ids=str,
)
def test_embedding_bags_are_exact(
    exact: Exact, slow_parameters: list[int], options: dict[str, object], general: list[int]
) -> None:
    bags = torch.randint(0, 5, (6, 7))
    bags[0] = 0
    exact(Bagged(**options), bags)
    assert slow_parameters == general
