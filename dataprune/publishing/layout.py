"""Where a version's files lie in a repository: as in its folder, and the manifest out of the way.

Names with a leading dot are passed over by `datasets` when it looks for data.
"""

from __future__ import annotations

import json

from pydantic import ValidationError

from dataprune.core.errors import HubError, VersionError
from dataprune.publishing.commit import read_small
from dataprune.sources._hub import RemoteFile
from dataprune.tables.manifest import Manifest, first_problem
from dataprune.tables.yanked import Marks, YankedFile

MANIFEST_PATH = ".dataprune/manifest.json"
YANKED_PATH = ".dataprune/yanked.json"
CARD_PATH = "README.md"
NOT_DATA = (".gitattributes", ".gitignore", "README.md", "LICENSE", "LICENSE.md", "LICENSE.txt")


def owned_paths(manifest: Manifest) -> list[str]:
    """Paths that a version put into its repository."""
    return [*(file.path for file in manifest.files), MANIFEST_PATH, CARD_PATH]


def read_manifest_at(
    repo: str, commit: str, there: dict[str, RemoteFile]
) -> tuple[Manifest, bytes] | None:
    """The manifest in a commit and its bytes; None where the commit holds no version.

    Raises:
        VersionError: it is no manifest that this dataprune knows.
        HubError: it cannot be read.
    """
    file = there.get(MANIFEST_PATH)
    if file is None:
        return None
    data = read_small(repo, commit, file)
    try:
        return Manifest.model_validate_json(data), data
    except ValidationError as exc:
        raise VersionError(
            f"{MANIFEST_PATH} of {repo}@{commit[:8]} is not a manifest that this dataprune reads: "
            f"{first_problem(exc)}",
            hint="if a newer dataprune published it, use that one",
        ) from exc


def read_yanked(repo: str, commit: str, there: dict[str, RemoteFile]) -> Marks:
    """Versions that a commit marks as yanked, by tag.

    Raises:
        HubError: the marks cannot be read.
    """
    file = there.get(YANKED_PATH)
    if file is None:
        return {}
    try:
        return YankedFile.model_validate_json(read_small(repo, commit, file)).root
    except ValidationError as exc:
        raise HubError(
            f"{YANKED_PATH} of {repo}@{commit[:8]} is not as dataprune writes it: "
            f"{first_problem(exc)}",
            hint="restore it from the repository's history",
        ) from exc


def render_yanked(marks: Marks) -> bytes:
    """The one text form of the marks."""
    data = {tag: mark.model_dump() for tag, mark in marks.items()}
    return (json.dumps(data, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()
