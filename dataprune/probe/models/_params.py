"""A check that the models share: parameters that must be whole numbers in a range."""

from __future__ import annotations

from dataprune.core.errors import UsageError


def check_whole(
    model: str, name: str, value: object, *, least: int = 1, most: int | None = None
) -> None:
    """Refuse a parameter that is no whole number in least..most.

    Raises:
        UsageError: it is not; the hint gives the range.
    """
    in_range = (
        isinstance(value, int)
        and not isinstance(value, bool)
        and least <= value
        and (most is None or value <= most)
    )
    if not in_range:
        wanted = f"{least} or more" if most is None else f"from {least} to {most}"
        raise UsageError(
            f"model {model} cannot take {name} {value!r}",
            hint=f"set probe.model.params.{name} to a whole number, {wanted}",
        )
