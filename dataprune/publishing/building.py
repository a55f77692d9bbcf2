"""Before and while a decided version is built: where it will go, its control, its tag."""

from __future__ import annotations

import logging
from dataclasses import replace

from dataprune.core.errors import UsageError
from dataprune.core.recipe import Recipe
from dataprune.publishing.prune_result import PruneResult
from dataprune.selection._decided import Decided
from dataprune.tables.manifest import SourceRef
from dataprune.versions.build import Draft, build_control, build_version
from dataprune.versions.store import LocalStore
from dataprune.versions.tags import is_template

log = logging.getLogger("dataprune")


def check_control(decided: Decided, *, control: bool) -> None:
    """Refuse a control that would hold the very rows of its version.

    Raises:
        UsageError: every row is kept.
    """
    if control and decided.rows_out == len(decided.table):
        raise UsageError(
            "control has no effect where every row is kept: it would hold the same rows",
            hint="keep fewer rows with --keep, or leave --control out and compare with the full "
            "data, which dataprune evaluate always does",
        )


def where_to_push(
    push: str | None, recipe: Recipe, source: SourceRef, *, private: bool | None, view: bool
) -> str | None:
    """Where to push, found possible before anything is built; None for nowhere.

    push: ORG/REPO, or "" for the recipe's. private: of a repository that is made by that.

    Raises:
        UsageError: as `push_target`.
    """
    if push is None and private is None:
        return None
    from dataprune.publishing.push import push_target

    return push_target(push, recipe, source, "view" if view else "materialized")


def build_pruned(
    result: PruneResult, store: LocalStore, draft: Draft, *, to: str | None, control: bool
) -> PruneResult:
    """Build a decided version, and its control, under the tag that its template stands for.

    to: ORG/REPO that it will be published to; its versions count for the number of a tag too.

    Raises:
        VersionExistsError, VersionError, BusyError: as `build_version`.
    """
    if is_template(draft.tag):
        from dataprune.publishing.push import next_tag

        draft = replace(draft, tag=next_tag(store, draft, to))
    manifest, created = build_version(store, draft)
    control_manifest = build_control(store, draft) if control else None
    if to is not None:
        log.info("%s@%s is built; publishing it to %s", draft.name, draft.tag, to)
    return replace(
        result,
        tag=draft.tag,
        manifest=manifest,
        created=created,
        control=control_manifest,
        folder=store.path(draft.name, draft.tag),
    )
