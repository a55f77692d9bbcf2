"""Where a version's files lie in a repository: as in its folder, and the manifest out of the way.

Names with a leading dot are passed over by `datasets` when it looks for data.
"""

from __future__ import annotations

import json
from typing import Any

from dataprune.core.errors import HubError
from dataprune.publishing.commit import read_small
from dataprune.sources._hub import RemoteFile
from dataprune.tables.manifest import Manifest

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
        HubError: it cannot be read, or is no manifest that this dataprune knows.
    """
    file = there.get(MANIFEST_PATH)
    if file is None:
        return None
    data = read_small(repo, commit, file)
    try:
        return Manifest.model_validate_json(data), data
    except ValueError as exc:
        raise HubError(
            f"{MANIFEST_PATH} of {repo}@{commit[:8]} is not a manifest that this dataprune reads",
            hint="use the dataprune version that published it, or a newer one",
        ) from exc


def read_yanked(repo: str, commit: str, there: dict[str, RemoteFile]) -> dict[str, dict[str, Any]]:
    """Versions that a commit marks as yanked: {tag: {"reason": ..., "use": tag or None}}."""
    file = there.get(YANKED_PATH)
    if file is None:
        return {}
    try:
        marks = json.loads(read_small(repo, commit, file))
    except ValueError as exc:
        raise HubError(f"{YANKED_PATH} of {repo}@{commit[:8]} is not valid JSON") from exc
    return marks if isinstance(marks, dict) else {}


def render_yanked(marks: dict[str, dict[str, Any]]) -> bytes:
    """The one text form of the marks."""
    return (json.dumps(marks, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()
