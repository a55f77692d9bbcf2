"""What the image models share: the check that their input is an image."""

from __future__ import annotations

from dataprune.core.errors import UsageError


def image_shape(model: str, shape: tuple[int, ...]) -> tuple[int, int, int]:
    """The shape as (channels, height, width).

    Raises:
        UsageError: the input is no image.
    """
    if len(shape) != 3:
        raise UsageError(
            f"model {model} wants images, and the input is {shape[0]} features",
            hint="set probe.model.name to mlp",
        )
    channels, height, width = shape
    return channels, height, width
