"""Probe models: output shapes, parameters, and inputs that are refused."""

from __future__ import annotations

import pytest
import torch

from dataprune.core.errors import UsageError
from dataprune.probe.models import MODELS


@pytest.mark.parametrize("shape", [(5,), (1, 8, 8), (3, 6, 10)])
@pytest.mark.parametrize("widths", [[], [7], [16, 8]])
def test_mlp_gives_one_output_per_class_for_features_and_images(
    shape: tuple[int, ...], widths: list[int]
) -> None:
    model = MODELS.get("mlp").build(shape, 4, widths=widths)
    assert model(torch.randn(3, *shape)).shape == (3, 4)
    linear = [m for m in model.modules() if isinstance(m, torch.nn.Linear)]
    assert [layer.out_features for layer in linear] == [*widths, 4]


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (3, 5, 9), (1, 4, 4)])
def test_small_cnn_gives_one_output_per_class_for_any_large_enough_image(
    shape: tuple[int, int, int],
) -> None:
    model = MODELS.get("small_cnn").build(shape, 10, widths=(4, 8, 8))
    images = torch.randn(6, *shape).to(memory_format=torch.channels_last)
    assert model(images).shape == (6, 10)


def test_small_cnn_in_eval_mode_treats_each_image_alone() -> None:
    model = MODELS.get("small_cnn").build((1, 8, 8), 3, widths=(4, 8)).eval()
    images = torch.randn(5, 1, 8, 8)
    with torch.inference_mode():
        together = model(images)
        alone = torch.cat([model(image[None]) for image in images])
    torch.testing.assert_close(together, alone)


@pytest.mark.parametrize("shape", [(1, 3, 3), (3, 32, 3), (1, 1, 28)])
def test_an_image_too_small_to_be_halved_is_refused_with_its_size(
    shape: tuple[int, int, int],
) -> None:
    with pytest.raises(UsageError, match=f"{shape[2]}x{shape[1]} are too small") as caught:
        MODELS.get("small_cnn").build(shape, 10)
    assert "widths" in (caught.value.hint or "")


def test_small_cnn_refuses_feature_vectors_and_names_the_model_to_use() -> None:
    with pytest.raises(UsageError, match="5 features") as caught:
        MODELS.get("small_cnn").build((5,), 2)
    assert "mlp" in (caught.value.hint or "")


SHAPES = {"mlp": (6,), "small_cnn": (1, 8, 8)}


@pytest.mark.parametrize("name", MODELS.names())
def test_every_registered_model_builds_runs_backwards_and_is_named_like_its_file(name: str) -> None:
    model = MODELS.get(name)
    assert model.name == name
    net = model.build(SHAPES[name], 3)
    net(torch.randn(4, *SHAPES[name])).sum().backward()
    assert all(p.grad is not None for p in net.parameters())
