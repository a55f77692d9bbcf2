"""What a job on a cluster runs: one `dataprune` command line, and nothing secret in it.

`dataprune submit` hands it to a running cluster, `dataprune schedule render` writes it into the
documents of a scheduler. Both end in places that many can read (job lists, logs, manifests), so
credentials are refused here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dataprune.core.errors import UsageError
from dataprune.core.recipe import Recipe

_SECRET_ENDINGS = (
    "TOKEN", "TOKENS", "KEY", "KEYS", "SECRET", "SECRETS", "PASSWORD", "PASSWD", "CREDENTIAL",
    "CREDENTIALS",
)  # fmt: skip
_VARIABLE = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*$")
# Azure's abfs://CONTAINER@ACCOUNT... names no user.
_URL_WITH_USER = re.compile(r"\b(?!abfss?://[^/:\s?#@]+@)[A-Za-z][A-Za-z0-9+.-]*://[^/\s?#@]+@")


def job_verb(recipe: Recipe) -> str:
    """`run` where the recipe says what to release, else `score`."""
    return "score" if recipe.release is None else "run"


def job_arguments(
    recipe: Recipe, told: str, *, work: str | None, store: str | None, more: Sequence[str] = ()
) -> list[str]:
    """The arguments of `dataprune` in the job, which finds its own cluster under `auto`.

    told: the recipe's name, or its file as the job sees it.
    work, store: the run folder, which all nodes must see, and the folder of a release's versions.
    more: what the user adds; what comes later wins.
    """
    on_cluster = ["--runner", "ray", "--address", "auto"]
    return [job_verb(recipe), told, *on_cluster, *places(work, store), *more]


def places(work: str | None, store: str | None) -> list[str]:
    """The options that name folders."""
    named = (("--work", work), ("--store", store))
    return [word for flag, folder in named if folder is not None for word in (flag, folder)]


def is_secret_name(name: str) -> bool:
    """Whether a variable's name says that its value is a secret: a word of it ends like one."""
    return any(word.endswith(_SECRET_ENDINGS) for word in name.upper().split("_"))


def check_environment(env: Mapping[str, str], *, instead: str) -> None:
    """Refuse what is no variable's name, and secrets.

    instead: the hint, how a secret comes to the job.

    Raises:
        UsageError: one is refused; the message does not repeat its value.
    """
    for name in env:
        if not _VARIABLE.match(name):
            raise UsageError(f"{name!r} is no name of an environment variable")
        if is_secret_name(name):
            raise UsageError(
                f"{name} looks like a secret, and whoever sees the job would see its value",
                hint=instead,
            )
    check_no_credentials(env.values(), where="--env")


def check_no_credentials(texts: Iterable[str], *, where: str) -> None:
    """Refuse URLs that carry a user name or a password.

    Raises:
        UsageError: one does; the message does not repeat it.
    """
    if any(_URL_WITH_USER.search(text) for text in texts):
        raise UsageError(
            f"a URL in {where} holds credentials, and whoever sees the job would see them",
            hint="leave them out, and give the cluster's containers their own access",
        )


def check_recipe_is_public(recipe: Recipe) -> None:
    """Refuse a recipe in which a URL carries credentials: the job takes it along.

    Raises:
        UsageError: one does.
    """
    check_no_credentials(_texts(recipe.model_dump(mode="json")), where=f"recipe {recipe.name}")


def _texts(value: Any) -> Iterable[str]:
    match value:
        case str():
            yield value
        case dict():
            for item in value.values():
                yield from _texts(item)
        case list():
            for item in value:
                yield from _texts(item)


def check_folders(recipe: Recipe, work: str | None, store: str | None) -> None:
    """Refuse folders that mean nothing on another machine, and a release without its versions.

    Raises:
        UsageError: one is relative, a release has no store, or a store has no effect.
    """
    if work is not None and "://" not in work and not work.startswith("/"):
        raise UsageError(
            f"the run folder {work} is read on the cluster, where it would mean another folder",
            hint="give --work a path from the root that all nodes see, or a URL",
        )
    check_store_has_an_effect(recipe, store)
    if recipe.release is not None and (store is None or not store.startswith("/")):
        raise UsageError(
            f"recipe {recipe.name} releases versions, which the next run must find again"
            + ("" if store is None else f", and {store} is no path from the root"),
            hint="give --store a folder that the cluster keeps, as a path from the root",
        )


def check_store_has_an_effect(recipe: Recipe, store: str | None) -> None:
    """Refuse a store for a recipe that only scores.

    Raises:
        UsageError: it does.
    """
    if store is not None and recipe.release is None:
        raise UsageError(
            f"--store has no effect: recipe {recipe.name} has no section release, so it only scores"
        )
