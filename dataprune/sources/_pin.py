"""What tells that a source may have changed, without reading it: a look at files, or a commit id.

Unequal pins mean nothing but that the source must be read; equal ones that it need not be. So more
than what a source reads may be in a pin (every file of a folder), and never less.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from dataprune.core.fingerprint import canonical_json
from dataprune.core.recipe import Recipe
from dataprune.sources import expand
from dataprune.sources._files import DataFile, told
from dataprune.sources._formats import format_of
from dataprune.sources._places import place_of

Pin = dict[str, Any]
# What a remote store says of a file that changes with its content.
_MARKS = (
    "ETag", "etag", "LastModified", "last_modified", "mtime", "updated", "modified", "generation",
    "md5Hash", "content_md5", "version_id",
)  # fmt: skip


def source_pin(recipe: Recipe) -> Pin | None:
    """The pin of a recipe's source and of a model of the user's own; None where nothing would tell.

    Raises:
        SourceError, HubError: the source cannot be listed, or the Hub does not answer.
    """
    pin = _source(expand(recipe.source.uri))
    model = recipe.probe.model.name or ""
    if pin is None or ":" not in model:
        return pin
    code = _code(model.partition(":")[0])
    return None if code is None else {**pin, "code": code}


def _source(uri: str) -> Pin | None:
    if uri == "digits":
        return {"scikit-learn": importlib.metadata.version("scikit-learn")}
    if uri.startswith("hf://datasets/"):
        from dataprune.sources._hub import patiently, resolve
        from dataprune.sources._hub_layout import parse_address

        address = parse_address(uri)
        return {"commit": patiently(lambda: resolve(address.repo, address.revision)).commit}
    if format_of(uri) is None:  # of a format from outside: only it knows what it reads
        return None
    return _of_files(place_of(uri).files())


def _of_files(files: Iterable[DataFile]) -> Pin | None:
    digest, count = hashlib.sha256(), 0
    for file in files:
        look = _look(file)
        if look is None:
            return None
        digest.update(canonical_json([file.name, *look]).encode())
        count += 1
    return {"files": count, "sha256": digest.hexdigest()} if count else None


def _look(file: DataFile) -> list[int | str] | None:
    """Size and times of a file; behind a URL what its store says of it, None if that is nothing."""
    with told(f"{file.where} cannot be looked at", remote=file.remote is not None):
        if file.remote is None:
            stat = os.stat(file.where)  # noqa: PTH116 - its times in ns, as they are
            return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]
        fs, path = file.remote
        info = fs.info(path)
    marks = [f"{key}={info[key]}" for key in _MARKS if info.get(key)]
    return [int(info.get("size") or 0), *marks] if marks else None


def _code(module: str) -> Pin | None:
    """The Python files beside a module, which it may import; None if it is not found."""
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return None
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent
    return _of_files(DataFile(path.name, str(path)) for path in sorted(folder.glob("*.py")))
