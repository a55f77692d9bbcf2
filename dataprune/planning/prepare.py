"""source -> what there is to score: every check before anything is trained, for `score` and `plan`.

A job that cannot be run is refused here, in one sentence.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from dataprune.core.extras import require
from dataprune.core.recipe import Recipe
from dataprune.flags import Flag, find_flags
from dataprune.probe.check import check_signals, check_trainable
from dataprune.probe.examples import read_examples
from dataprune.probe.plan import run_place
from dataprune.runs.place import Place
from dataprune.scores import Score
from dataprune.scores._check import check_scores, find_scores
from dataprune.selection._features import with_features_read
from dataprune.sources import open_source
from dataprune.sources._embedding import read_embedding
from dataprune.sources._load import Loaded, describe
from dataprune.sources._resolve import with_default_model

log = logging.getLogger("dataprune")


@dataclass(frozen=True)
class Prepared:
    """A scoring job that can be run.

    recipe: with its model named. loaded: its source's examples.
    wanted: scores, those beside flags too. flagging: flags. place: the run folder.
    """

    recipe: Recipe
    loaded: Loaded
    wanted: list[Score]
    flagging: list[Flag]
    place: Place

    @property
    def signals(self) -> dict[str, tuple[str, ...]]:
        """{score: signals that it reads}."""
        return {score.name: score.signals for score in self.wanted}

    @property
    def trains(self) -> bool:
        """Whether any score wants a probe."""
        return any(self.signals.values())


@contextlib.contextmanager
def prepared(
    recipe: Recipe, work: str | Path | None = None, *, spool: Path | None = None
) -> Iterator[Prepared]:
    """Read the source and check the whole job; inputs that were spooled to disk go with the block.

    work: the run folder, if not the default one. spool: where streamed inputs go, if not there.

    Raises:
        DatapruneError: one of its subclasses: no such score, flag or strategy, a source that cannot
            be read, a probe that cannot be trained on it.
    """
    flagging = find_flags(recipe.flags, recipe.task)
    wanted = find_scores(recipe.score_names, *(flag.beside for flag in flagging))
    recipe = with_features_read(recipe)
    opened = open_source(recipe.source)
    embedding = read_embedding(opened)
    loaded = replace(read_examples(recipe, opened, work=spool or work), embedding=embedding)
    try:
        log.info(describe(loaded, opened.schema.names))
        recipe = with_default_model(recipe, loaded.ref.kind)
        job = Prepared(recipe, loaded, wanted, flagging, run_place(recipe, loaded, work))
        if job.trains:
            require("torch", extra="probe", why="training probes")
            check_trainable(recipe, loaded)
            check_signals(recipe, loaded, job.signals)
            check_scores(recipe, loaded, wanted)
        yield job
    finally:
        loaded.discard()
