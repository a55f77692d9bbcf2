"""Which published versions should not be used: marks beside the versions, which never change."""

from __future__ import annotations

from pydantic import Field, RootModel

from dataprune.core.recipe_training import Strict


class Mark(Strict):
    """Why a version should not be used, and which should be.

    retracted: rows of the source that were asked to be erased, and of which source.
    """

    reason: str = Field(min_length=1)
    use: str | None = Field(None, description="tag of the version to use instead")
    retracted: tuple[int, ...] = Field((), description="rows that were asked to be erased")
    source: str | None = Field(None, description="fingerprint of the source that the rows are of")


Marks = dict[str, Mark]


class YankedFile(RootModel[Marks]):
    """What lies at .dataprune/yanked.json on the main branch: marks by tag."""
