"""source -> examples, as a recipe says: labels, image policy, groups, streamed or not."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np

from dataprune.core.errors import UsageError
from dataprune.core.recipe import Recipe
from dataprune.runs.place import open_place
from dataprune.similarity.find import group_rows
from dataprune.sources import Source, open_source
from dataprune.sources._embedding import read_embedding
from dataprune.sources._load import Loaded, describe, load, load_rows
from dataprune.sources._resolve import with_default_model

DEFAULT_RUNS = Path(".dataprune/runs")

log = logging.getLogger("dataprune")


def read_examples(recipe: Recipe, source: Source, *, work: str | Path | None = None) -> Loaded:
    """An opened source's examples with their groups; `discard` them when inputs are done with.

    work: the run folder, where inputs are spooled to if they are streamed; default: among the runs.

    Raises:
        SourceError: as `load`.
        UsageError: streaming or near-duplicates are asked of an input that has none.
    """
    spool = None
    if recipe.run.stream:
        spool = _new_spool(open_place(work or recipe.run.work or DEFAULT_RUNS).folder)
    if source.kind == "text" and spool is not None:
        raise UsageError(
            "run.stream has no effect on text, whose token ids are held in memory",
            hint="leave run.stream out",
        )
    loaded = load(source, task=recipe.task, images=recipe.source.image, spool=spool)
    try:
        return _with_groups(recipe, loaded)
    except BaseException:
        loaded.discard()
        raise


def _with_groups(recipe: Recipe, loaded: Loaded) -> Loaded:
    wanted = recipe.source.groups
    groups = group_rows(
        loaded.hashes,
        kind=loaded.ref.kind,
        images=loaded.inputs,
        texts=loaded.texts,
        own=loaded.groups,
        near=wanted.near,
        params=wanted.params,
    )
    several = int((np.bincount(groups)[groups] > 1).sum()) if len(groups) else 0
    if several:
        found = len(np.unique(groups))
        what = "copies or near-copies" if wanted.near else "copies"
        if loaded.groups is not None:
            what += ", or share a group column's value"
        log.info(
            "%d rows are %s of others: %d groups of %d rows", several, what, found, len(groups)
        )
    return loaded.with_groups(groups)


def _new_spool(folder: Path) -> Path:
    """A folder for one process's inputs; those of processes that were killed are swept away."""
    for left in folder.glob("spool-*-*"):
        pid = left.name.split("-")[1]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists():
            shutil.rmtree(left, ignore_errors=True)
    return folder / f"spool-{os.getpid()}-{secrets.token_hex(4)}"


def read_rows(recipe: Recipe) -> tuple[Recipe, Loaded]:
    """The recipe with its model named, and its source's examples for work that reads no input.

    Raises:
        SourceError: as `load`.
    """
    source = open_source(recipe.source)
    if recipe.source.groups.near:
        loaded = read_examples(recipe, source)
        loaded.discard()
    else:
        loaded = _with_groups(recipe, load_rows(source, task=recipe.task))
    loaded = replace(loaded, embedding=read_embedding(source))
    log.info(describe(loaded))
    return with_default_model(recipe, loaded.ref.kind), loaded
