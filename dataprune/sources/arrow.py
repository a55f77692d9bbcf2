"""Arrow IPC files (.arrow, .feather), in the file or the stream format: a file, a glob, a folder.

Splits are found as for Parquet. On this machine files are mapped into memory, not read.
"""

from __future__ import annotations

from dataprune.core.recipe import SourceRecipe
from dataprune.sources import Source, SourceFormat
from dataprune.sources._assemble import FileFormat, open_files
from dataprune.sources._formats import format_of
from dataprune.sources._ipc import inspect_ipc, read_ipc


def _open(recipe: SourceRecipe) -> Source:
    return open_files(recipe, FileFormat("arrow", inspect_ipc, read_ipc))


FORMAT = SourceFormat("arrow", lambda uri: format_of(uri) == "arrow", _open)
