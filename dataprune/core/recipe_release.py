"""What a recipe says of unattended runs: how versions are tagged, and the gates before a tag."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from dataprune.core.recipe_training import Strict


def _off(value: Any) -> Any:
    """`false` switches a gate off, as null does."""
    if value is True:
        raise ValueError("true is no threshold; give a number, or false to switch the gate off")
    return None if value is False else value


def _pilot_off(value: Any) -> Any:
    return {} if value is True else _off(value)


def _or_false(schema: dict[str, Any]) -> None:
    schema["anyOf"].append({"const": False})


_CAN_BE_OFF = (BeforeValidator(_off), Field(json_schema_extra=_or_false))
_Correlation = Annotated[Annotated[float, Field(ge=-1, le=1)] | None, *_CAN_BE_OFF]
_Share = Annotated[Annotated[float, Field(ge=0, le=1)] | None, *_CAN_BE_OFF]


class Pilot(Strict):
    """A short retraining of the recipe's probe on the version and on random rows of its classes."""

    seeds: int = Field(3, ge=2, description="retrainings of each; differences are paired by seed")
    tolerance: float = Field(
        0.0,
        ge=0,
        le=1,
        description="how much worse the version may be, in the metric's own units: it fails if the "
        "whole 95 % interval of its gain over random rows is below minus this",
    )


class Gates(Strict):
    """What must hold before a tag is made with nobody looking; null or false switches one off."""

    reliability: _Correlation = Field(
        0.8, description="least reliability (Spearman-Brown) of the score pruned by"
    )
    class_floor: _Share = Field(0.1, description="least share of any class that is kept")
    pilot: Annotated[
        Pilot | None, BeforeValidator(_pilot_off), Field(json_schema_extra=_or_false)
    ] = Field(
        Pilot(), description="the version trains no worse than random rows of the same classes"
    )
    rank_drift: _Correlation = Field(
        0.7,
        description="least Spearman correlation of new scores with those of the last version, over "
        "the rows that both have",
    )


class ReleaseRecipe(Strict):
    """What `dataprune run` makes of a recipe each time it is started."""

    name: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
        max_length=64,
        description="of the versions; default: the recipe's name",
    )
    tag: str = Field(
        "auto",
        min_length=1,
        description="auto: v{n}-SCORE-keepSHARE, or STRATEGY in place of a score that it does not "
        "read; or a template of your own, with {n} for the next number",
    )
    incremental: bool = Field(
        False,
        description="rows that the last version's scores know by content and label keep these",
    )
    control: bool = Field(
        True, description="also make the random control of the same class counts, TAG-control"
    )
    push: bool = Field(
        False, description="send each tagged version to publish.to; a candidate is never sent"
    )
    gates: Gates = Gates()

    @model_validator(mode="after")
    def _numbers_its_tags(self) -> ReleaseRecipe:
        if self.tag != "auto" and "{n}" not in self.tag:
            raise ValueError(
                f"tag {self.tag} names one version for ever; use auto, or a template such as "
                "v{n}-el2n"
            )
        return self
