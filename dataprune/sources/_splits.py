"""Which files belong to which split: the same rules for every format made of files.

A file's split is what its name says, else the name of the nearest folder that is a split's. In the
name it is the whole stem (`train`), its last word (`imagenet-train`), either with a number after
it (`train-0003`), or what stands before a shard's `-00000-of-00003`.
"""

from __future__ import annotations

import re

from dataprune.core.errors import SourceError
from dataprune.sources._files import DataFile
from dataprune.sources._formats import stem

SPLITS = ("train", "test", "validation", "valid", "val", "dev")
_SHARD = re.compile(r"^(?P<rest>.+)-(?P<i>\d{5})-of-(?P<n>\d{5})(-[0-9a-f]{16})?$")
_ANY_SPLIT = re.compile(r"\w+(\.\w+)*")
_LAST_WORD = re.compile(rf"^.+[-_](?P<split>{'|'.join(SPLITS)})$")
_NUMBER = re.compile(r"[-_.]\d+$")


def split_files(
    uri: str, split: str, files: list[DataFile], *, folder: bool
) -> dict[str, list[DataFile]]:
    """Files per split, in order; files of which none names a split are all of `split`.

    folder: whether the uri is a folder. One file and a glob are what was asked for, so that their
        names mean nothing.

    Raises:
        SourceError: a file belongs to no split and others do, there is no such split, or a split
            lacks a shard.
    """
    by_split: dict[str, list[DataFile]] = {}
    for file in files:
        by_split.setdefault(split_of(file.name), []).append(file)
    named = sorted(set(by_split) - {""})
    if not named or not folder:
        return {split: files}
    if "" in by_split:
        raise SourceError(
            f"{by_split[''][0].where} belongs to no split, and other files of {uri} do",
            hint="name one file or a glob, or move the file away",
        )
    check_split(uri, split, named)
    for name in named:
        _check_shards(uri, name, by_split[name])
    return by_split


def split_of(name: str) -> str:
    """The split that a file's name says, or the nearest folder's name; "" if none does."""
    *folders, _ = name.split("/")
    shard = _SHARD.match(stem(name))
    rest = shard["rest"] if shard else _NUMBER.sub("", stem(name))
    if shard and _ANY_SPLIT.fullmatch(rest):
        return rest
    if last := _LAST_WORD.match(rest):
        return last["split"]
    return next((part for part in (rest, *reversed(folders)) if part in SPLITS), "")


def check_split(uri: str, split: str, there: list[str]) -> None:
    """Refuse to score a split that there is not."""
    if split not in there:
        raise SourceError(
            f"source {uri} has no split {split}",
            hint=f"set source.split; splits: {', '.join(sorted(there))}",
        )


def _check_shards(uri: str, split: str, files: list[DataFile]) -> None:
    shards = [m for file in files if (m := _SHARD.match(stem(file.name)))]
    if not shards:
        return
    have = {int(m["i"]) for m in shards}
    missing = sorted(set(range(int(shards[0]["n"]))) - have)
    if missing or len({m["n"] for m in shards}) > 1 or len(have) != len(shards):
        problem = f"shard {missing[0]:05d} is missing" if missing else "shards of several sets mix"
        raise SourceError(f"split {split} of {uri} is not whole: {problem}")
