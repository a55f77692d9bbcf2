"""Which features a choice reads: those beside the score table, or a file of the user's."""

from __future__ import annotations

from pathlib import Path

from dataprune.core.errors import UsageError
from dataprune.core.files import sha256_file
from dataprune.core.recipe import Recipe
from dataprune.selection._choice import Choice, check_steps, recipe_steps
from dataprune.tables.features import VECTOR, Features, read_features
from dataprune.tables.scores import ScoreTable


def with_features_read(recipe: Recipe) -> Recipe:
    """The recipe, its strategies checked, with features of probes if one of them reads any.

    Those of a column of the source need not be asked for.

    Raises:
        UsageError: as `check_steps`.
    """
    check_steps(recipe.prune)
    reads = any(step.plugin.needs_features for step in recipe_steps(recipe.prune))
    given = recipe.source.columns.embedding is not None
    if not reads or given or recipe.scores.features is not None:
        return recipe
    scores = recipe.scores.model_copy(update={"features": True})
    return recipe.model_copy(update={"scores": scores})


def features_read(
    table: ScoreTable, path: Path, choice: Choice, given: str | Path | None = None
) -> Features | None:
    """The features that some step reads; None where none does.

    path: of the score table. given: FILE.parquet, or FILE.parquet:COLUMN, in place of its own.

    Raises:
        UsageError: there are none, they are not the table's own any more, or nothing reads those
            that are given. TableError: a file that is damaged or of other rows.
    """
    readers = [s.strategy for s in (*choice.before, choice.last) if s.plugin.needs_features]
    if not readers:
        if given is not None:
            raise UsageError(f"strategy {choice.strategy} reads no features, and some are given")
        return None
    if given is not None:
        return _given(str(given), len(table.table))
    about = table.meta.get("features")
    if about is None:
        raise UsageError(
            f"strategy {readers[0]} reads features of the rows, and the score table has none",
            hint="score again with --features, or with --embedding COLUMN of the source, or give "
            "a file by --features FILE.parquet",
        )
    beside = path.with_name(about["file"])
    if not beside.is_file():
        raise UsageError(
            f"strategy {readers[0]} reads the features in {beside}, which is not there",
            hint="score again with --features: finished units are not trained again",
        )
    if sha256_file(beside) != about["sha256"]:
        raise UsageError(
            f"{beside} is not the file of features that the score table was made with",
            hint="score again with --features, or name that file by --features",
        )
    return read_features(beside, len(table.table))


def _given(given: str, num_rows: int) -> Features:
    path, colon, column = given.rpartition(":")
    if colon and column and not Path(given).is_file():
        return read_features(Path(path), num_rows, column)
    return read_features(Path(given), num_rows, VECTOR)
