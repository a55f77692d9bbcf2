"""source -> examples, as a recipe says: labels, image policy, groups, streamed or not."""

from __future__ import annotations

import logging
import secrets
from pathlib import Path

from dataprune.core.errors import UsageError
from dataprune.core.recipe import Recipe
from dataprune.similarity.find import group_rows
from dataprune.sources import Source, open_source
from dataprune.sources._load import Loaded, describe, load
from dataprune.sources._resolve import with_default_model

DEFAULT_RUNS = Path(".dataprune/runs")

log = logging.getLogger("dataprune")


def read_examples(recipe: Recipe, source: Source) -> Loaded:
    """An opened source's examples with their groups; `discard` them when inputs are done with.

    Raises:
        SourceError: as `load`.
        UsageError: streaming or near-duplicates are asked of an input that has none.
    """
    spool = DEFAULT_RUNS / f"spool-{secrets.token_hex(6)}" if recipe.run.stream else None
    if source.kind == "text" and spool is not None:
        raise UsageError(
            "run.stream has no effect on text, whose token ids are held in memory",
            hint="leave run.stream out",
        )
    loaded = load(source, task=recipe.task, images=recipe.source.image, spool=spool)
    wanted = recipe.source.groups
    try:
        groups = group_rows(
            loaded.hashes,
            kind=loaded.ref.kind,
            images=loaded.inputs,
            texts=loaded.texts,
            own=loaded.groups,
            near=wanted.near,
            params=wanted.params,
        )
    except BaseException:
        loaded.discard()
        raise
    return loaded.with_groups(groups)


def read_rows(recipe: Recipe) -> tuple[Recipe, Loaded]:
    """The recipe with its model named, and its source's examples for work that reads no input.

    Raises:
        SourceError: as `load`.
    """
    loaded = read_examples(recipe, open_source(recipe.source))
    loaded.discard()
    log.info(describe(loaded))
    return with_default_model(recipe, loaded.ref.kind), loaded
