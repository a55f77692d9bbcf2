"""`dataprune audit`: a person judges some flags, and then it is known how many are wrong."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click

from dataprune.cli.options import json_option, source_option

_DEFAULTS: dict[str, Any] = {"sample": 120, "tier": "likely", "seed": 0}
_BOUNDS = {"alpha": 0.2, "delta": 0.1}
_LARGE_BYTES = 100_000_000  # browsers open more, slowly


@click.command("audit")
@click.argument("flags", metavar="FLAGS.parquet", type=click.Path(dir_okay=False))
@click.option(
    "--out", metavar="DIR|FILE",
    help="Folder to write the audit to; with --verdicts: the audited flags to write.",
)  # fmt: skip
@click.option(
    "-n", "--sample", type=click.IntRange(60, 240), help="How many flags to judge.  [default: 120]"
)
@click.option(
    "--tier", type=click.Choice(["likely", "flagged"]),
    help="Which flags are audited; flagged: likely and suspect ones.  [default: likely]",
)  # fmt: skip
@source_option
@click.option("--input", "input_column", metavar="COLUMN", help="Input column of --source.")
@click.option("--label", "label_column", metavar="COLUMN", help="Label column of --source.")
@click.option("--seed", type=click.IntRange(min=0), help="Seed of the draw.  [default: 0]")
@click.option(
    "--verdicts", metavar="FILE", type=click.Path(dir_okay=False),
    help="What was judged: verdicts.json, or audit.csv filled in.",
)  # fmt: skip
@click.option(
    "--alpha", type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="With --verdicts: the share of wrong flags to accept.  [default: 0.2]",
)  # fmt: skip
@click.option(
    "--delta", type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="With --verdicts: one minus the confidence.  [default: 0.1]",
)  # fmt: skip
@json_option
def command(
    flags: str,
    out: str | None,
    verdicts: str | None,
    alpha: float | None,
    delta: float | None,
    *,
    as_json: bool,
    **drawing: Any,
) -> None:
    """Judge a random sample of flagged labels, and learn how many of all flags are wrong.

    First without --verdicts: writes a page, audit.html, and a sheet, audit.csv; fill in one.
    Then with --verdicts: says which flags can be dropped, and writes them with --out.
    """
    if verdicts is None:
        _refuse({"--alpha": alpha, "--delta": delta}, "has no effect without --verdicts")
        if out is None:
            raise click.UsageError("--out DIR says where to write the audit")
        _prepare(Path(flags), Path(out), drawing, as_json=as_json)
        return
    names = {"sample": "--sample", "input_column": "--input", "label_column": "--label"}
    given = {names.get(name, f"--{name}"): value for name, value in drawing.items()}
    _refuse(given, "has no effect with --verdicts: the sample is drawn")
    bounds = {"alpha": alpha or _BOUNDS["alpha"], "delta": delta or _BOUNDS["delta"]}
    _conclude(Path(flags), Path(verdicts), out, bounds, as_json=as_json)


def _refuse(options: dict[str, Any], why: str) -> None:
    for option, value in options.items():
        if value is not None:
            raise click.UsageError(f"{option} {why}")


def _prepare(flags: Path, folder: Path, drawing: dict[str, Any], *, as_json: bool) -> None:
    from dataprune.auditing.prepare import PAGE, SHEET, UNPROVEN, prepare_audit
    from dataprune.cli.output import emit_json, talk, warn

    asked: dict[str, Any] = {
        k: _DEFAULTS.get(k) if value is None else value for k, value in drawing.items()
    }
    with talk(quiet=as_json):
        made = prepare_audit(flags, folder, **asked)
    draw = made.draw
    page, sheet = str(folder / PAGE), str(folder / SHEET)
    warnings = []
    if made.source is None:
        warnings.append(
            "the page shows rows and labels only, since these flags name no source; --source "
            "PATH|URI shows the inputs"
        )
    if not made.is_proven:
        warnings.append(UNPROVEN)
    if made.unreadable:
        rows = ", ".join(map(str, made.unreadable[:5])) + (", ..." if made.unreadable[5:] else "")
        warnings.append(f"inputs that cannot be shown: {len(made.unreadable)} (row {rows})")
    if made.page_bytes > _LARGE_BYTES:
        warnings.append(
            f"{page} has {made.page_bytes / 1e6:.0f} MB, since it holds the images as they are; a "
            "smaller sample (-n) makes it smaller"
        )
    if made.sheet_kept:
        warnings.append(
            f"{sheet} is not as this audit writes it and was left as it was, since that may be "
            "somebody's work; remove it to have it anew"
        )
    warn(warnings)
    if as_json:
        told = {k: v for k, v in draw.as_json().items() if k not in {"format", "format_version"}}
        told |= {"page": page, "sheet": sheet, "source": made.source, "warnings": warnings}
        emit_json({**told, "census": draw.is_census})
        return
    word = "likely" if draw.tier == "likely" else "likely and suspect"
    if draw.is_census:
        click.echo(
            f"All {draw.population:,} {word} flags are drawn, since there are no more than "
            f"{draw.sample}: once each is judged, the counts are exact.",
            err=True,
        )
    else:
        click.echo(
            f"{len(draw.rows)} of {draw.population:,} {word} flags are drawn. Judge them in this "
            "order; who stops early has still judged a random sample, who skips rows has not.",
            err=True,
        )
    click.echo(f"Then: dataprune audit {flags} --verdicts verdicts.json (or {sheet})", err=True)
    click.echo(page)


def _conclude(
    flags: Path, verdicts: Path, out: str | None, bounds: dict[str, float], *, as_json: bool
) -> None:
    from dataprune.auditing.conclude import conclude_audit
    from dataprune.cli.output import emit_json, emit_table, warn
    from dataprune.tables.flags import check_flags_path

    if out is not None and Path(out).resolve() == flags.resolve():
        raise click.UsageError("--out names the audited flags themselves: write to another file")
    target = None if out is None else check_flags_path(out, audited=True)
    found = conclude_audit(flags, verdicts, **bounds)
    skipped = len(found.verdicts.skipped)
    warnings = []
    if skipped:
        warnings.append(
            f"{skipped} rows before the last verdict have none; they count as unsure, because rows "
            "that are skipped may be the hard ones"
        )
    warn(warnings)
    likely = found.write(target) if target is not None else None
    sentence = _sentence(found, out, likely or 0)
    if as_json:
        told = {**found.as_json(), "likely_after": likely, "flags": out, "warnings": warnings}
        emit_json({**told, "sentence": sentence})
        return
    rows = [
        [f"{p.share:.0%}", p.rows, p.judged, p.wrong_flags, _share(p.estimate), _share(p.bound)]
        for p in found.prefixes
    ]
    counts = found.as_json()["verdicts"]
    words = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
    judged, population = len(found.verdicts.judged), found.verdicts.draw.population
    emit_table(
        f"{judged} of {population} flagged rows judged; their labels: {words}",
        ["most suspicious", "flags", "judged", "wrong flags", "estimate", "at most"],
        rows,
    )
    click.echo(sentence)
    if out is not None:
        which = "the part that passed, if one did, with what you judged as you judged it"
        click.echo(f"{likely:,} rows are likely in {out}: {which}", err=True)
        click.echo(out)


def _sentence(found: Any, out: str | None, likely: int) -> str:
    """What the audit says, for people; with the command to go on with."""
    alpha = f"{100 * found.alpha:g}%"
    drop = (
        f"dataprune prune scores.parquet --with {shlex.quote(out or 'AUDITED.parquet')} "
        "--drop-likely --name mine --tag v1"
    )
    if found.passed is None:
        seen = f". Drop the {likely:,} whose label you judged wrong with {drop}" if likely else ""
        return (
            f"No prefix can be said to have at most {alpha} wrong flags; nothing is safe to drop "
            "unseen: judge more rows (-n; for a second look halve --delta), or accept a higher "
            f"--alpha{seen}"
        )
    known = (
        "each was judged" if found.passed.is_census else f"{100 * (1 - found.delta):g}% confidence"
    )
    write = "" if out else "write them with --out AUDITED.parquet, then "
    these = f"these {found.passed.rows:,} flags are wrong ({known})"
    return f"At most {alpha} of {these}: {write}drop them with {drop}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"
