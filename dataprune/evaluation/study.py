"""What an evaluation begins with: scores, their source, and how to retrain on it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataprune.core.errors import UsageError
from dataprune.core.recipe import Recipe, parse_recipe
from dataprune.core.recipe_evaluate import EvaluateRecipe
from dataprune.core.recipe_file import validate
from dataprune.core.recipe_training import ModelRecipe
from dataprune.probe.examples import read_examples
from dataprune.sources._resolve import resolve_recipe
from dataprune.tables.join import join_tables
from dataprune.tables.manifest import SourceRef
from dataprune.tables.scores import ScoreTable, read_scores
from dataprune.versions.load import open_pinned

if TYPE_CHECKING:
    from dataprune.sources._load import Loaded

DEFAULT_EVALUATIONS = Path(".dataprune/evaluations")


@dataclass(frozen=True)
class Study:
    """What is evaluated: scored as one recipe said, retrained as another does.

    scored_in: run folder that tells what scoring cost, if one was named. folder: run folder of the
    retrainings. path: of the score table, or the folder of a version. extra: of what was joined to
    the table. by, balance: as asked for, or None.
    """

    name: str
    scored: Recipe
    recipe: Recipe
    settings: EvaluateRecipe
    table: ScoreTable
    loaded: Loaded
    ref: SourceRef
    scored_in: Path | None
    folder: str | Path
    path: Path
    extra: tuple[Path, ...] = ()
    by: str | None = None
    balance: str | None = None


@contextmanager
def open_study(
    scores: str | Path,
    asked: dict[str, Any],
    *,
    by: str | None,
    class_balance: str | None,
    extra: Sequence[str | Path],
    source: str | None,
    scored_in: str | Path | None,
    work: str | Path | None,
    run: dict[str, Any],
) -> Iterator[Study]:
    """Read scores and their source; what was read is given up at the end.

    asked: settings in place of the recipe's; None for the recipe's. run: likewise, of how to run.

    Raises:
        UsageError: an option that cannot be, or scores of agent trajectories.
        AlignmentError: the source is not the one that was scored.
    """
    path, others = Path(scores), tuple(Path(other) for other in extra)
    table = join_tables(read_scores(path), path, others)
    if "curate" in table.meta["recipe"]:
        raise UsageError(
            f"{path} is of agent trajectories, and evaluate trains classifiers",
            hint="train with your own trainer, on a version and on one of --control",
        )
    if by is not None:
        table.values(by)  # that there is such a score, before anything is read or trained
    scored = parse_recipe(table.meta["recipe"], where=str(path))
    settings = settings_of(scored, asked)
    recipe = retrained_recipe(scored, settings, run)
    ref = SourceRef.model_validate(table.meta["source"])
    folder = work or DEFAULT_EVALUATIONS / f"{recipe.name}-{ref.fingerprint[:12]}"
    opened = open_pinned(ref, source, examples=table.table, near=path)
    loaded = read_examples(recipe, opened, work=folder)
    try:
        yield Study(
            recipe.name, scored, recipe, settings, table, loaded, ref,
            Path(scored_in) if scored_in else None, folder, path, others, by, class_balance,
        )  # fmt: skip
    finally:
        loaded.discard()


def settings_of(scored: Recipe, asked: Mapping[str, Any]) -> EvaluateRecipe:
    """The recipe's section, with what was asked for in its place.

    Raises:
        UsageError: settings that cannot be.
    """
    base = scored.evaluate or EvaluateRecipe()
    data = base.model_dump(mode="json")
    data |= {k: list(v) if isinstance(v, tuple) else v for k, v in asked.items() if v is not None}
    for name, of in (("steps", "fixed_steps"), ("epochs", "fixed_epochs")):
        if asked.get(name) is None and data["protocol"] != of:
            data[name] = None  # of the recipe's own protocol, which is not the one asked for
    return validate(EvaluateRecipe, data, where="evaluate")


def retrained_recipe(scored: Recipe, settings: EvaluateRecipe, run: Mapping[str, Any]) -> Recipe:
    """The recipe to retrain with: the scoring one, on another model if that is asked for."""
    changes = {f"run.{key}": value for key, value in run.items()}
    if settings.model is not None:
        changes["probe.model"] = settings.model.model_dump(mode="json")
    return resolve_recipe(scored, changes)


def named(model: ModelRecipe) -> str:
    """A model with its parameters, for people."""
    params = ", ".join(f"{key}={value}" for key, value in model.params.items())
    return f"{model.chosen}({params})" if params else model.chosen
