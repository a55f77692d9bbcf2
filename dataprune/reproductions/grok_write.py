"""A result as files: the pictures, then grok.json, which is complete where it stands."""

from __future__ import annotations

import os
from pathlib import Path

from dataprune.core.errors import MissingExtraError, UsageError
from dataprune.core.files import write_json
from dataprune.reproductions.grok import GrokResult
from dataprune.reproductions.grok_plots import PICTURES, draw_pictures, require_plots

RESULT = "grok.json"


def check_folder(folder: Path) -> None:
    """Make the folder, or see that it is ours to write to, before minutes are spent.

    Raises:
        UsageError: it holds other things, or cannot be written to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"{folder} cannot be written to", hint="give another folder to --out")
    theirs = [entry for entry in folder.iterdir() if entry.name not in {RESULT, *PICTURES}]
    if theirs and not (folder / RESULT).is_file():
        raise UsageError(
            f"{folder} holds other things and no {RESULT} of a run before",
            hint="give --out a new folder",
        )


def missing_plots() -> list[str]:
    """What to say if pictures cannot be drawn; empty if they can."""
    try:
        require_plots()
    except MissingExtraError as exc:
        return [f"no pictures, only numbers: {exc.message}; {exc.hint}"]
    return []


def write_result(result: GrokResult, folder: Path, *, pictures: bool) -> list[Path]:
    """Write the pictures and grok.json, each whole or not at all; give their paths.

    What a run before wrote is taken away first, so that no pictures stand beside other numbers.
    """
    for name in (RESULT, *PICTURES):
        (folder / name).unlink(missing_ok=True)
    paths = draw_pictures(result, folder) if pictures else []
    write_json(folder / RESULT, result.as_json())
    return [*paths, folder / RESULT]
