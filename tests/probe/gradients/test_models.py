"""Norms of whole networks against plain autograd on one example at a time."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from dataprune.probe.gradients import GradientNorms, gradient_norms
from dataprune.probe.gradients.losses import cross_entropy
from dataprune.probe.models import MODELS

Exact = Callable[..., None]


def lived_in(model: nn.Module) -> nn.Module:
    """Batch norms with statistics, scales and shifts as training leaves them."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
    return model


def image_model(name: str, **params: object) -> nn.Module:
    return lived_in(MODELS.get(name).build((3, 16, 16), 5, **params))


def ids(num: int = 6, length: int = 9) -> torch.Tensor:
    found = torch.randint(1, 20, (num, length))
    found[0, 4:] = 0
    found[-1, 1:] = found[-1, 0]
    return found


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("mlp", {"widths": (16, 8)}),
        ("small_cnn", {"widths": (4, 8, 16)}),
        ("small_cnn", {"widths": (16, 32)}),
        ("resnet18", {"width": 4}),
    ],
)
def test_image_models_are_exact(
    exact: Exact,
    slow_parameters: list[int],
    name: str,
    params: dict[str, object],
    memory_format: torch.memory_format,
) -> None:
    model = image_model(name, **params).to(memory_format=memory_format)  # type: ignore[call-overload]
    exact(model, torch.randn(6, 3, 16, 16).to(memory_format=memory_format))
    assert not slow_parameters


@pytest.mark.parametrize("name", ["text_bag", "text_transformer"])
def test_text_models_are_exact(exact: Exact, slow_parameters: list[int], name: str) -> None:
    params = {"heads": 2} if name == "text_transformer" else {}
    model = MODELS.get(name).build((12,), 5, buckets=20, dim=8, **params)
    exact(model, ids().int())
    if name == "text_bag":
        texts = ids()
        texts[2] = 0
        exact(model, texts)
    assert not slow_parameters


class Encoder(nn.Module):
    """torch's own encoder over words and a class token; tied: read out by the embeddings."""

    def __init__(self, *, tied: bool, batch_first: bool, norm_first: bool) -> None:
        super().__init__()
        self.tied, self.batch_first = tied, batch_first
        self.embed = nn.Embedding(20, 8, padding_idx=0)
        self.first = nn.Parameter(torch.randn(1, 1, 8))
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=batch_first, norm_first=norm_first)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.read_out = nn.Linear(8, 20)

    def forward(self, ids_BL: torch.Tensor) -> torch.Tensor:
        """Inputs to outputs (B, C)."""
        x = torch.cat([self.first.expand(len(ids_BL), -1, -1), self.embed(ids_BL)], dim=1)
        padding = nn.functional.pad(ids_BL == 0, (1, 0))
        if self.batch_first:
            x = self.layers(x, src_key_padding_mask=padding)[:, 0]
        else:
            x = self.layers(x.transpose(0, 1), src_key_padding_mask=padding)[0]
        return nn.functional.linear(x, self.embed.weight) if self.tied else self.read_out(x)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("norm_first", [False, True])
def test_torchs_transformer_encoder_is_exact(
    exact: Exact, slow_parameters: list[int], *, tied: bool, batch_first: bool, norm_first: bool
) -> None:
    exact(Encoder(tied=tied, batch_first=batch_first, norm_first=norm_first), ids())
    assert not slow_parameters


class Attention(nn.Module):
    """Learned queries that attend to the inputs."""

    def __init__(self, **options: object) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, **options)
        self.queries = nn.Parameter(torch.randn(3, 1, 8))
        self.read_out = nn.Linear(8, 4)

    def forward(self, x_BLE: torch.Tensor) -> torch.Tensor:
        """Inputs to outputs (B, C)."""
        queries = self.queries.repeat(1, len(x_BLE), 1)
        if self.attention.batch_first:
            mixed = self.attention(queries.transpose(0, 1), x_BLE, x_BLE)[0].mean(1)
        else:
            x_LBE = x_BLE.transpose(0, 1)
            mixed = self.attention(queries, x_LBE, x_LBE, need_weights=False)[0].mean(0)
        return self.read_out(mixed)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"batch_first": True},
        {"add_bias_kv": True},
        {"add_zero_attn": True, "batch_first": True},
        {"kdim": 6, "vdim": 6, "bias": False},
    ],
)
def test_multihead_attention_is_exact(
    exact: Exact, slow_parameters: list[int], options: dict[str, object]
) -> None:
    exact(Attention(**options), torch.randn(5, 7, int(options.get("kdim", 8))))  # type: ignore[call-overload]
    assert not slow_parameters


def test_as_many_examples_as_words_confuse_nothing(exact: Exact) -> None:
    exact(Encoder(tied=False, batch_first=False, norm_first=False), ids(8, 7))
    exact(Encoder(tied=False, batch_first=True, norm_first=True), ids(9, 9))


def test_norms_do_not_depend_on_the_batch_or_its_order(one_thread: None) -> None:
    model = image_model("small_cnn", widths=(8, 16)).eval()
    inputs, targets = torch.randn(12, 3, 16, 16), torch.arange(12) % 5
    norms = gradient_norms(model, inputs, targets)
    order = torch.randperm(12)
    torch.testing.assert_close(gradient_norms(model, inputs[order], targets[order]), norms[order])
    for size in (1, 5):
        parts = zip(inputs.split(size), targets.split(size), strict=True)
        torch.testing.assert_close(torch.cat([gradient_norms(model, *p) for p in parts]), norms)


def test_batches_of_other_lengths_share_one_session(
    one_thread: None, slow: Callable[..., torch.Tensor]
) -> None:
    model = Encoder(tied=False, batch_first=True, norm_first=True).eval()
    with GradientNorms(model) as norms:
        for num, length in ((4, 1), (6, 5), (4, 9), (1, 3), (4, 1)):
            inputs, targets = ids(num, 12)[:, :length], torch.arange(num)
            outputs, found = norms(inputs, lambda z, t=targets: cross_entropy(z, t))
            torch.testing.assert_close(outputs, model(inputs).detach())
            torch.testing.assert_close(
                found.double(), slow(model, inputs, targets), rtol=1e-4, atol=0
            )


def test_examples_learned_by_heart_keep_their_digits(
    one_thread: None, slow: Callable[..., torch.Tensor]
) -> None:
    model = image_model("small_cnn", widths=(4, 8)).eval()
    inputs = torch.randn(6, 3, 16, 16)
    with torch.no_grad():
        model[-1].weight.mul_(45)
        targets = model(inputs).argmax(1)

    def loss(outputs: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        label = nn.functional.one_hot(target, outputs.shape[1]).bool()
        others = outputs.masked_fill(label, -torch.inf).logsumexp(1)
        return nn.functional.softplus(others - outputs.masked_fill(~label, 0).sum(1)).sum()

    expected = slow(model, inputs, targets, loss)
    assert float(expected.min()) < 1e-12
    norms = gradient_norms(model, inputs, targets)
    # The outputs themselves are float32: an error of 1e-6 of a logit of 100 is 1e-4 of its exp.
    torch.testing.assert_close(norms.double(), expected, rtol=1e-3, atol=0)


@pytest.mark.parametrize("loss", ["binary_cross_entropy", "mse"])
def test_other_losses_are_exact(
    one_thread: None, slow: Callable[..., torch.Tensor], loss: str
) -> None:
    model = MODELS.get("mlp").build((6,), 4, widths=(8,)).eval()
    inputs = torch.randn(5, 6)
    targets = torch.randint(0, 2, (5, 4)) if loss != "mse" else torch.randn(5, 4)

    def reference(outputs: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        if loss == "mse":
            return nn.functional.mse_loss(outputs, target)
        return nn.functional.binary_cross_entropy_with_logits(
            outputs, target.double(), reduction="sum"
        )

    norms = gradient_norms(model, inputs, targets, loss=loss)
    torch.testing.assert_close(
        norms.double(), slow(model, inputs, targets, reference), rtol=1e-4, atol=0
    )
    mine = gradient_norms(model, inputs, targets, loss=lambda z, t: (z - t).square().mean(1))
    if loss == "mse":
        torch.testing.assert_close(mine, norms)
