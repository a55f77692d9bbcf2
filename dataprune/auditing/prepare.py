"""Flags -> draw -> page and sheet: what a person needs to judge a random sample of flags."""

from __future__ import annotations

import logging
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dataprune.auditing.draw import Draw, claim_folder, make_draw
from dataprune.auditing.inputs import Inputs, flag_class_names, open_flagged, read_inputs
from dataprune.auditing.page import render_page
from dataprune.auditing.sheet import is_changed, write_sheet
from dataprune.auditing.verdicts import token_of
from dataprune.core.files import sha256_file, write_text
from dataprune.tables.flags import FlagTable, read_flags

PAGE, SHEET = "audit.html", "audit.csv"
_EVIDENCE = ("label_q", "oof_margin", "oof_vote_frac")
UNPROVEN = (
    "rows could not be proven to be the flagged ones: neither contents nor labels could be "
    "compared; give --label, or flags from stored units"
)

log = logging.getLogger("dataprune")


@dataclass(frozen=True)
class Prepared:
    """An audit that waits for its verdicts.

    source: where the inputs came from; None if the page shows rows and labels only.
    is_proven: whether the inputs were shown to be those of the flagged rows, or there are none.
    sheet_kept: whether audit.csv was there, not as it was written, and left as it was.
    unreadable: drawn rows whose input cannot be shown.
    page_bytes: how large the page is.
    """

    draw: Draw
    folder: Path
    source: str | None
    is_proven: bool
    sheet_kept: bool
    unreadable: tuple[int, ...]
    page_bytes: int


def prepare_audit(
    path: Path,
    folder: Path,
    *,
    sample: int,
    tier: str,
    seed: int,
    source: str | None = None,
    input_column: str | None = None,
    label_column: str | None = None,
) -> Prepared:
    """Draw flagged rows and write audit.json, audit.csv and audit.html into a folder.

    sample: how many rows to draw, all if there are fewer. tier: a key of POPULATIONS.
    source: where the flags' source lies now, or which it is; the columns are for the second.

    Raises:
        UsageError: the folder holds something else, or an option has no effect.
        TableError, SourceError, AlignmentError: the flags, their source, or that they differ.
    """
    flags = read_flags(path)
    draw = make_draw(flags, sha256_file(path), tier=tier, sample=sample, seed=seed)
    opened = open_flagged(
        flags, path, source=source, input_column=input_column, label_column=label_column
    )
    inputs = None
    names = flag_class_names(flags, path)
    if opened is not None:
        log.info("reading the inputs of %d rows of %s", len(draw.rows), opened.uri)
        inputs = read_inputs(flags, path, opened, draw.rows)
        names = inputs.class_names
    items = _items(flags, draw, inputs, names)
    claim_folder(folder, draw)
    sheet = folder / SHEET
    rows = [_sheet_row(item, draw, inputs) for item in items]
    kept = is_changed(sheet, rows)
    if not kept:
        write_sheet(sheet, rows)
    is_proven = inputs is None or inputs.is_proven
    data = {**_page_data(path, draw, items), "unproven": None if is_proven else UNPROVEN}
    write_text(folder / PAGE, render_page(data))
    bad = [i["row"] for i in items if (i["input"] or {}).get("kind") == "unreadable"]
    return Prepared(
        draw=draw,
        folder=folder,
        source=opened.uri if opened else None,
        is_proven=is_proven,
        sheet_kept=kept,
        unreadable=tuple(bad),
        page_bytes=(folder / PAGE).stat().st_size,
    )


def _items(
    flags: FlagTable, draw: Draw, inputs: Inputs | None, names: list[str] | None
) -> list[dict[str, Any]]:
    """What is known of each drawn row, in the order of the draw."""
    columns = {name: flags.column(name) for name in ("given", "suggested", *_EVIDENCE, "tier")}

    def named(code: int) -> str:
        return str(code) if names is None else names[code]

    return [
        {
            "row": row,
            "given": named(columns["given"][row]),
            "suggested": named(columns["suggested"][row]),
            "key": inputs.keys[i] if inputs and inputs.keys else None,
            "tier": str(columns["tier"][row]),
            **{name: _number(columns[name][row]) for name in _EVIDENCE},
            "input": inputs.shown[i] if inputs else None,
        }
        for i, row in enumerate(draw.rows)
    ]


def _number(value: Any) -> float:
    """A float32 as its shortest text has it."""
    return float(str(value))


def _page_data(path: Path, draw: Draw, items: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": draw.id,
        "flags_sha256": draw.flags_sha256,
        "draw": {"tier": draw.tier, "sample": draw.sample, "seed": draw.seed},
        "command": f"dataprune audit {shlex.quote(path.name)} --verdicts verdicts.json",
        "items": items,
    }


def _sheet_row(item: dict[str, Any], draw: Draw, inputs: Inputs | None) -> dict[str, Any]:
    row = {name: item[name] for name in ("row", "given", "suggested")}
    row["verdict"] = ""
    if inputs and inputs.keys:
        row["key"] = item["key"]
    if inputs and any(shown["kind"] == "text" for shown in inputs.shown):
        row["text"] = item["input"].get("text", "")
    return {**row, **{name: item[name] for name in _EVIDENCE}, "draw": token_of(draw)}
