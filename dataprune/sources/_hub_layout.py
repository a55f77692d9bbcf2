"""Which files of a Hub dataset a uri names, and which split each belongs to.

A configuration of the card says it; without one, the names of files and folders do, by the rules
that hold on this machine.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote, unquote

from fsspec.utils import glob_translate

from dataprune.core.errors import SourceError, UsageError, nearest
from dataprune.core.recipe import SourceRecipe
from dataprune.sources._files import DataFile
from dataprune.sources._formats import has_suffix
from dataprune.sources._hub import check_repo_id
from dataprune.sources._places import is_hidden
from dataprune.sources._splits import check_split, split_files

SCHEME = "hf://datasets/"
_FORM = "it is hf://datasets/ORG/NAME[@REVISION][/CONFIG]"
_REVISION = re.compile(r"(refs/(?:convert|pr)/[^/]+|[^/]+)(?:/(.*))?", re.DOTALL)
_GLOB = frozenset("*?[")
_FORMATS = ("parquet", "csv", "jsonl")  # what is read from the Hub; the first that is there
_CONVERTED = "refs/convert/"
_DESCRIBES = frozenset({"README.md", "dataset_info.json", "dataset_infos.json", "LICENSE"})


@dataclass(frozen=True)
class Address:
    """What a uri names. inside: a configuration, a folder, or a path or glob; "" for all."""

    repo: str
    revision: str | None
    inside: str

    @property
    def uri(self) -> str:
        """What the user would write."""
        revision = f"@{quote(self.revision, safe='')}" if self.revision else ""
        inside = f"/{self.inside}" if self.inside else ""
        return f"{SCHEME}{self.repo}{revision}{inside}"


def parse_address(uri: str) -> Address:
    """Take a uri apart.

    Raises:
        UsageError: it is not of the form hf://datasets/ORG/NAME[@REVISION][/CONFIG].
    """
    if not uri.startswith(SCHEME):
        raise UsageError(f"{uri} names no dataset of the Hub", hint=_FORM)
    org, _, rest = uri.removeprefix(SCHEME).partition("/")
    name, at, after = rest.partition("@")
    revision, inside = None, ""
    if at and "/" not in name:
        found = _REVISION.fullmatch(after)
        if found is None:
            raise UsageError(f"{uri} names no revision after the @", hint=_FORM)
        revision, inside = unquote(found[1]), found[2] or ""
    else:
        name, _, inside = rest.partition("/")
    if not org or not name:
        raise UsageError(f"{uri} names no dataset", hint=_FORM)
    return Address(check_repo_id(f"{org}/{name}"), revision, inside.strip("/"))


def splits_of(
    recipe: SourceRecipe, address: Address, card: dict[str, Any], names: list[str]
) -> dict[str, list[str]]:
    """Paths per split: as the card's configuration says, else by the files' names.

    card: its metadata. names: every path there is, sorted.

    Raises:
        SourceError: no such configuration, folder, file or split, or a card that does not say.
    """
    configs = _configs(address, card)
    if address.inside in configs or (configs and not address.inside):
        config = configs[_chosen_config(address, configs)]
        if config.get("data_files"):
            return _of_config(recipe, address.repo, config, names)
        return _by_names(recipe, replace(address, inside=_data_dir(config)), [], names)
    return _by_names(recipe, address, list(configs), names)


def _by_names(
    recipe: SourceRecipe, address: Address, configs: list[str], names: list[str]
) -> dict[str, list[str]]:
    """Paths per split, as their names below the place say."""
    inside, repo = address.inside, address.repo
    is_folder = inside not in names and not _GLOB & set(inside)
    prefix = f"{inside}/" if inside and is_folder else ""
    found = _inside(inside, names)
    if not found and inside and not (is_folder and any(n.startswith(prefix) for n in names)):
        folders = {name.split("/")[0] for name in names if "/" in name}
        raise SourceError(
            f"{repo} has no {inside}: no configuration, folder or file",
            hint=nearest(inside, {*configs, *folders}),
        )
    if not found:
        raise SourceError(
            f"{recipe.uri} holds no data files that are read from the Hub", hint=try_converted(repo)
        )
    tops = sorted({name.split("/")[0] for name in found})
    if not inside and (address.revision or "").startswith(_CONVERTED) and len(tops) > 1:
        raise _several(address, tops)
    files = [DataFile(n.removeprefix(prefix), f"{SCHEME}{repo}/{n}") for n in found]
    by_split = split_files(recipe.uri, recipe.split, files, folder=is_folder)
    return {split: [prefix + file.name for file in of] for split, of in by_split.items()}


def _configs(address: Address, card: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The configurations that a card declares, by name."""
    listed = card.get("configs") or []
    if not isinstance(listed, list) or not all(isinstance(config, dict) for config in listed):
        if address.inside:
            return {}
        raise SourceError(
            f"the card of {address.repo} does not declare its configurations as a list",
            hint=name_them(address.repo),
        )
    return {str(config.get("config_name", "default")): config for config in listed}


def _chosen_config(address: Address, configs: dict[str, dict[str, Any]]) -> str:
    if address.inside:
        return address.inside
    preferred = [name for name, config in configs.items() if config.get("default")]
    if preferred or "default" in configs or len(configs) == 1:
        return (preferred or (["default"] if "default" in configs else list(configs)))[0]
    raise _several(address, sorted(configs))


def _several(address: Address, configs: list[str]) -> SourceError:
    return SourceError(
        f"{address.repo} has several configurations: {', '.join(configs)}",
        hint=f"name one: {replace(address, inside=configs[0]).uri}",
    )


def try_converted(repo: str) -> str:
    """A hint for a dataset of other formats."""
    return (
        "Parquet, CSV and JSON Lines are; the Hub converts many datasets to Parquet: "
        f"try {SCHEME}{repo}@{_CONVERTED}parquet"
    )


def _of_config(
    recipe: SourceRecipe, repo: str, config: dict[str, Any], names: list[str]
) -> dict[str, list[str]]:
    """Paths per split of a configuration; patterns are globs from its folder."""
    folder = _data_dir(config)
    splits: dict[str, list[str]] = {}
    unmatched: dict[str, str] = {}
    for split, pattern in _patterns(recipe.split, repo, config["data_files"]):
        full = f"{folder}/{pattern}" if folder else pattern
        found = _matching(full, names)
        if not found and not _GLOB & set(full):
            raise SourceError(f"{full}, which the card of {repo} names, is not there")
        if not found:
            unmatched[split] = full
        splits.setdefault(split, []).extend(found)
    there = {name: list(dict.fromkeys(paths)) for name, paths in splits.items() if paths}
    if recipe.split in unmatched and recipe.split not in there:
        pattern = unmatched[recipe.split]
        raise SourceError(
            f"no file of {repo} matches {pattern}, which its card names for split {recipe.split}"
        )
    check_split(recipe.uri, recipe.split, sorted(there))
    return there


def _patterns(split: str, repo: str, listed: Any) -> Iterator[tuple[str, str]]:
    """Each split and path or glob that a configuration lists; `split` where it names none."""
    for entry in listed if isinstance(listed, list) else [listed]:
        where = entry if isinstance(entry, dict) else {"path": entry}
        paths = where.get("path")
        paths = paths if isinstance(paths, list) else [paths]
        if not paths or not all(isinstance(path, str) for path in paths):
            raise SourceError(
                f"the card of {repo} lists data files in a way that is not read: {entry}",
                hint=name_them(repo),
            )
        for path in paths:
            yield str(where.get("split", split)), path.removeprefix("./")


def _data_dir(config: dict[str, Any]) -> str:
    folder = str(config.get("data_dir") or "").strip("/")
    return "" if folder == "." else folder.removeprefix("./")


def name_them(repo: str) -> str:
    """A hint: how to say which files are meant."""
    return f"name the files yourself: {SCHEME}{repo}/**/*.parquet"


def _matching(pattern: str, names: list[str]) -> list[str]:
    """The file of that name, else the data files that a glob matches."""
    if pattern in names:
        return [pattern]
    if not _GLOB & set(pattern):
        return []
    matches = re.compile(glob_translate(pattern)).match
    return [n for n in _visible(names) if matches(n)]


def _visible(names: list[str]) -> list[str]:
    """Files that may hold data: not hidden, and not those that describe a dataset."""
    return [n for n in names if not is_hidden(n, ".", "__") and n not in _DESCRIBES]


def _inside(inside: str, names: list[str]) -> list[str]:
    """Data files of a folder, or those that a path or glob names; the Hub's `data` folder first."""
    if inside in names or _GLOB & set(inside):
        return _matching(inside, names)
    prefix = f"{inside}/" if inside else ""
    below = [n for n in _visible(names) if n.startswith(prefix) and format_in(n)]
    below = [n for n in below if n.startswith(f"{prefix}data/")] or below
    first = next((form for form in _FORMATS if any(has_suffix(n, form) for n in below)), None)
    return [n for n in below if format_in(n) == first]


def format_in(name: str) -> str | None:
    """The format that is read from the Hub of a file, by its name; None for any other file."""
    return next((form for form in _FORMATS if has_suffix(name, form)), None)
