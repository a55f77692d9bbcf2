"""Before a version is pushed: where to, and by which number."""

from __future__ import annotations

from dataprune.core.errors import UsageError
from dataprune.core.recipe import Recipe
from dataprune.publishing.found import at_commit, names_taken
from dataprune.publishing.publisher import check_source
from dataprune.sources._hub import Refs, check_repo_id
from dataprune.tables.manifest import SourceRef
from dataprune.versions.build import Draft, draft_fingerprint
from dataprune.versions.store import LocalStore
from dataprune.versions.tags import settle_tag


def push_target(push: str | None, recipe: Recipe, source: SourceRef, kind: str) -> str:
    """Where to push, settled and found possible before anything is built.

    push: ORG/REPO; "" for what the recipe says; None if only the repository's visibility was given.

    Raises:
        UsageError: nothing says where, or it is no repository's name.
    """
    if push is None:
        raise UsageError(
            "private has no effect on a version that stays in the local store",
            hint="add --push ORG/REPO, or leave --private and --public out",
        )
    to = push or recipe.publish.to
    if to is None:
        raise UsageError(
            f"recipe {recipe.name} does not say where to push",
            hint="name it: --push ORG/REPO, or publish: {to: ORG/REPO} in the recipe",
        )
    if kind == "view":
        check_source("this", kind, source)
    return check_repo_id(to)


def next_tag(store: LocalStore, draft: Draft, to: str | None) -> str:
    """The tag that a template stands for, given the versions here and where it is pushed."""
    here, wanted = store.tags(draft.name), draft_fingerprint(draft)
    names = names_taken(to) if to is not None else Refs({}, {})

    def is_same(tag: str) -> bool:
        found = []
        if tag in here:
            found.append(store.manifest(draft.name, tag).fingerprint)
        if to is not None and tag in names.tags:
            found.append(at_commit(to, tag, names.tags[tag], names).manifest.fingerprint)
        return set(found) == {wanted}

    return settle_tag(draft.tag, {*here, *names.tags}, is_same)
