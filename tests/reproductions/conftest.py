"""One training of the small recipe, for all tests that look at it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.reproductions.small import SMALL


@pytest.fixture(scope="session")
def small_result() -> Any:
    """Both small runs."""
    from dataprune.reproductions.grok import reproduce_grok
    from dataprune.reproductions.grok_recipe import GrokRecipe

    return reproduce_grok(GrokRecipe.model_validate(SMALL), on_progress=lambda *_: None)
