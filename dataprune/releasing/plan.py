"""Before an unattended run: what it is to do, and whether it can end well at all."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dataprune._version import __version__
from dataprune.core.errors import UsageError, nearest
from dataprune.core.fingerprint import HASH_VERSION, fingerprint
from dataprune.core.recipe import Recipe
from dataprune.core.recipe_release import Gates
from dataprune.probe.plan import PROBE_VERSION
from dataprune.runs.place import Place, open_place
from dataprune.selection import STRATEGIES
from dataprune.sources._pin import source_pin
from dataprune.sources._resolve import resolve_recipe
from dataprune.tables.join import LABEL_ISSUE
from dataprune.tables.manifest import portable_recipe
from dataprune.tables.release import Inputs
from dataprune.versions.build import check_version
from dataprune.versions.store import LocalStore

DEFAULT_RELEASES = Path(".dataprune/releases")
CANDIDATES = ".candidates"
_SECTION = "release:\n  tag: auto\n  gates: {reliability: 0.8}"


@dataclass(frozen=True)
class Plan:
    """One release of a recipe.

    template: of its tags. by: the score that decides; None if the strategy reads none.
    store: of tagged versions. to: ORG/REPO to send them to; None for nowhere.
    """

    recipe: Recipe
    name: str
    template: str
    by: str | None
    incremental: bool
    control: bool
    gates: Gates
    place: Place
    store: LocalStore
    to: str | None
    private: bool | None

    @property
    def work(self) -> Path:
        """The work folder, or its mirror on this machine."""
        return self.place.folder

    @property
    def candidates(self) -> LocalStore:
        """Versions that failed a gate, whole, and listed nowhere."""
        return LocalStore(self.store.folder / CANDIDATES)

    def inputs(self) -> Inputs:
        """What the run depends on, as it is now; the source is not read."""
        return Inputs(
            recipe=_fingerprint(self.recipe),
            code=f"{__version__}, probes {PROBE_VERSION}, hashes {HASH_VERSION}",
            pin=source_pin(self.recipe),
        )


def plan_release(
    recipe: str | Path | Recipe,
    changes: dict[str, Any],
    *,
    work: str | Path | None,
    store: Path,
    push: str | None,
    private: bool | None,
) -> Plan:
    """What a recipe's `release` section asks for, found possible before anything is read.

    changes: of the recipe. push: ORG/REPO; "" for the recipe's.

    Raises:
        UsageError: no such section, nothing says how much to keep, or where to push.
    """
    settled = resolve_recipe(recipe, changes)
    release = settled.release
    if settled.curate is not None:
        raise UsageError(
            f"recipe {settled.name} curates trajectories, and run scores and prunes",
            hint="use dataprune curate; it makes a version at once",
        )
    if release is None:
        raise UsageError(
            f"recipe {settled.name} has no section release, so run may tag nothing of it",
            hint=f"add these lines to the recipe:\n{_SECTION}",
        )
    _check_prune(settled, control=release.control)
    _check_pilot(settled, release.gates)
    wants_push = push is not None or release.push
    if private is not None and not wants_push:
        raise UsageError(
            "private has no effect on a version that stays in the local store",
            hint="add --push, or leave --private and --public out",
        )
    name = release.name or settled.name
    by = _deciding(settled)
    template = _template(settled, by) if release.tag == "auto" else release.tag
    check_version(name, template, control=release.control)
    return Plan(
        recipe=settled,
        name=name,
        template=template,
        by=by,
        incremental=release.incremental,
        control=release.control,
        gates=release.gates,
        place=open_place(work or settled.run.work or DEFAULT_RELEASES / name),
        store=LocalStore(store),
        to=_where_to_push(push, settled) if wants_push else None,
        private=private,
    )


def _check_prune(recipe: Recipe, *, control: bool) -> None:
    """Refuse what pruning would refuse, before hours of training instead of after."""
    prune = recipe.prune
    if prune.keep is None:
        raise UsageError(
            f"recipe {recipe.name} does not say how much to keep",
            hint="add it to the recipe: prune: {keep: 0.5}",
        )
    if control and isinstance(prune.keep, float) and prune.keep >= 1:
        raise UsageError(
            "a control has no effect where every row is kept: it would hold the same rows",
            hint="keep fewer rows, or set release.control to false",
        )
    columns = [f"{name}@{epoch}" for name in recipe.score_names for epoch in recipe.checkpoints]
    columns += [*recipe.score_names, *recipe.flags]
    by = _deciding(recipe)
    if by is not None and by not in columns:
        raise UsageError(
            f"recipe {recipe.name} prunes by {by}, which it does not score",
            hint=nearest(by, columns),
        )
    reads_flags = prune.drop_likely or prune.relabel
    if reads_flags and LABEL_ISSUE not in recipe.flags:
        raise UsageError(
            f"recipe {recipe.name} prunes by flags of labels, and raises none",
            hint=f"add them to the recipe: flags: [{LABEL_ISSUE}]",
        )


def _check_pilot(recipe: Recipe, gates: Gates) -> None:
    if gates.pilot is None:
        return
    keep = recipe.prune.keep
    if isinstance(keep, float) and keep >= 1 and not recipe.prune.relabel:
        raise UsageError(
            "the pilot compares a version with random rows, and where every row is kept these are "
            "the same",
            hint="keep fewer rows, or set release.gates.pilot to false",
        )
    if recipe.task is None:
        raise UsageError(
            "the pilot trains on labels, and the recipe has none",
            hint="set release.gates.pilot to false",
        )


def _where_to_push(push: str | None, recipe: Recipe) -> str:
    to = push or recipe.publish.to
    if to is None:
        raise UsageError(
            f"recipe {recipe.name} does not say where to push",
            hint="name it: --push ORG/REPO, or publish: {to: ORG/REPO} in the recipe",
        )
    from dataprune.sources._hub import check_repo_id

    return check_repo_id(to)


def _deciding(recipe: Recipe) -> str | None:
    if not STRATEGIES.get(recipe.prune.strategy).needs_score:
        return None
    return recipe.prune.by or recipe.score_names[0]


def _template(recipe: Recipe, by: str | None) -> str:
    """The tag `auto`: what decided, and how much is kept, as in v{n}-el2n-keep0.5."""
    word = re.sub(r"[^a-z0-9]+", "-", (by or recipe.prune.strategy).lower()).strip("-")
    return f"v{{n}}-{word}-keep{recipe.prune.keep:g}"


def _fingerprint(recipe: Recipe) -> str:
    """What of a recipe decides what a run ends with: not where it runs, nor where it is sent."""
    assert recipe.release is not None
    data = portable_recipe(recipe)
    data.pop("publish")
    data.pop("evaluate", None)
    data["release"] = recipe.release.model_dump(mode="json", exclude={"push"})
    return fingerprint(data)
