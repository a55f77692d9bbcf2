"""Before a version is pushed: where to, and by which number."""

from __future__ import annotations

from dataprune.core.errors import UsageError
from dataprune.core.recipe import Recipe
from dataprune.publishing.remote import find, tags_taken
from dataprune.sources._hub import check_repo_id
from dataprune.versions.build import Draft, draft_fingerprint
from dataprune.versions.store import LocalStore
from dataprune.versions.tags import settle_tag


def push_target(push: str | None, recipe: Recipe) -> str:
    """Where to push, settled before anything is built.

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
    return check_repo_id(to)


def next_tag(store: LocalStore, draft: Draft, to: str | None) -> str:
    """The tag that a template stands for, given the versions here and where it is pushed."""
    here, wanted = store.tags(draft.name), draft_fingerprint(draft)
    there = tags_taken(to) if to is not None else set()

    def is_same(tag: str) -> bool:
        if tag in here:
            return store.manifest(draft.name, tag).fingerprint == wanted
        assert to is not None, "a tag is here or there"
        return find(to, tag).manifest.fingerprint == wanted

    return settle_tag(draft.tag, there | set(here), is_same)
