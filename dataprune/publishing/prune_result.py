"""What `prune` decided, made and pushed; nothing of the Hub is loaded for it without need."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from dataprune.core.recipe import Recipe
from dataprune.selection._decide import Choice
from dataprune.selection._decided import Decided
from dataprune.tables.manifest import Manifest, SourceRef
from dataprune.versions.build import Draft, build_control, build_version
from dataprune.versions.store import LocalStore
from dataprune.versions.tags import is_template

if TYPE_CHECKING:
    from dataprune.publishing.publisher import Published

log = logging.getLogger("dataprune")


@dataclass(frozen=True)
class PruneResult:
    """What `prune` decided and made.

    choice, by: the strategy with its budget, and the score column, if the strategy reads one.
    classes: per class, rows in the source, kept and dropped. reasons: rows per reason.
    tag: of the version, once a template has become a number.
    manifest: None on a dry run. created: False if the same version was there already.
    control: the random control's manifest, if one was asked for.
    published: where it was pushed, and then its control.
    """

    choice: Choice
    by: str | None
    rows_in: int
    rows_out: int
    classes: dict[str, dict[str, int]]
    reasons: dict[str, int]
    warnings: list[str]
    tag: str
    manifest: Manifest | None = None
    created: bool = False
    control: Manifest | None = None
    folder: Path | None = None
    published: tuple[Published, ...] = ()

    @classmethod
    def of(cls, choice: Choice, decided: Decided, tag: str) -> PruneResult:
        """What is known before anything is built."""
        return cls(
            choice=choice,
            by=decided.by,
            rows_in=len(decided.table),
            rows_out=decided.rows_out,
            classes=decided.classes,
            reasons=decided.reasons,
            warnings=decided.warnings,
            tag=tag,
        )

    @property
    def tags(self) -> list[str]:
        """Tags of what was built, the version itself last: what is published last is main."""
        return [made.version for made in (self.control, self.manifest) if made is not None]


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
