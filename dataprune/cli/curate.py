"""`dataprune curate`: agent trajectories -> a version of those worth training on, and a ledger."""

from __future__ import annotations

from typing import Any

import click

from dataprune.cli.options import assignments, json_option, store_option

_EVERY = 1000  # rows between two lines of progress


def _settings(
    _ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]
) -> dict[str, Any]:
    """NAME=VALUE of the recipe's section, the value as YAML has it."""
    import yaml

    def read(value: str) -> Any:
        try:
            return yaml.safe_load(value)
        except yaml.YAMLError as exc:
            raise click.BadParameter(f"the value {value!r} is no YAML") from exc

    return assignments(values, read, " such as groups.policy=unanimous")


@click.command("curate")
@click.argument("recipe", metavar="RECIPE|PATH")
@click.option("--format", "format_", metavar="NAME", help="How files hold trajectories.")
@click.option("--dialect", metavar="NAME|FILE", help="How messages hold actions and answers.")
@click.option(
    "--preset", type=click.Choice(["rules-only", "datamind", "simpletir", "sft", "rl"]),
    help="Settings that go together.  [default: the recipe's, else rules-only]",
)  # fmt: skip
@click.option("--group-by", metavar="COLUMN", help="Field of the rows that names the query.")
@click.option(
    "--set", "settings", multiple=True, callback=_settings, metavar="NAME=VALUE",
    help="A setting of the recipe's curate section, such as select.policy=shortest. Repeat.",
)  # fmt: skip
@click.option("--fail-fast", is_flag=True, help="Stop at a trajectory's first rejection.")
@click.option("--name", required=True, help="Name of the version.")
@click.option("--tag", required=True, help="Tag of the version, v1; auto: the next number.")
@store_option
@click.option("--ledger", type=click.Path(dir_okay=False), help="Where to write the ledger.")
@click.option("--work", type=click.Path(file_okay=False), help="Folder of curations.")
@json_option
def command(
    recipe: str,
    format_: str | None,
    dialect: str | None,
    preset: str | None,
    group_by: str | None,
    settings: dict[str, Any],
    name: str,
    tag: str,
    store: str,
    ledger: str | None,
    work: str | None,
    *,
    fail_fast: bool,
    as_json: bool,
) -> int:
    """Keep the agent trajectories worth training on and build the version NAME@TAG of them.

    PATH is a file, a folder or a pattern of JSON, JSON Lines or Parquet, packed or not; RECIPE is a
    YAML file with a section `curate`. What is rejected becomes NAME-rejected@TAG in the local
    store, without what holds secrets. The ledger has every reason, and is a score table: `dataprune
    prune` takes it, to keep a part by pass rate or another of its numbers.
    """
    from dataprune import flow
    from dataprune.cli.output import emit_json, talk, warn

    given = {
        "format": format_, "dialect": dialect, "preset": preset, "group_by": group_by,
        "rules.fail_fast": fail_fast or None,
    }  # fmt: skip
    changes = {name: value for name, value in given.items() if value is not None} | settings
    with talk(quiet=as_json) as on_progress:

        def on_row(rows: int) -> None:
            if rows % _EVERY == 0:
                on_progress("rows", {"label": "trajectories", "state": f"{rows} read"})

        result = flow.curate(
            recipe,
            name=name,
            tag=tag,
            store=store,
            changes=changes,
            ledger=ledger,
            work=work or flow.DEFAULT_CURATIONS,
            on_row=on_row,
        )
    warn(result.warnings)
    if as_json:
        emit_json(_summary(result))
    else:
        _show(result, name)
    if result.manifest is None:
        return 1
    if result.is_partial:
        warn([f"PARTIAL: {result.num_undecided} trajectories are undecided; see the ledger"])
        return 3
    return 0


def _summary(result: Any) -> dict[str, Any]:
    made = result.curation
    return {
        **made.told,
        "spent": made.spent,
        "ledger": made.ledger,
        "rows": made.rows,
        "folder": result.folder,
        "fingerprint": result.manifest.fingerprint if result.manifest else None,
        "tag": result.manifest.version if result.manifest else None,
        "created": result.created,
        "rejected": result.rejected.name if result.rejected else None,
        "rows_out": result.rows_out,
        "reasons": result.reasons,
        "warnings": result.warnings,
    }


def _show(result: Any, name: str) -> None:
    from dataprune.cli.output import emit_table

    told = result.curation.told
    click.echo(f"format {told['format']['name']}, dialect {told['dialect']['name']}", err=True)
    rows = [
        [s["stage"], s["rows_in"], s["rows_in"] - s["rows_out"], s["rows_out"]]
        for s in told["stages"]
    ]
    emit_table("Trajectories by stage", ["stage", "in", "taken out", "left"], rows)
    found = [
        [c["code"], c["rows"], c["rejected"], c["alone"], c["means"]]
        for c in sorted(told["codes"], key=lambda c: not c["rejected"])
    ]
    if found:
        header = ["code", "trajectories", "rejects", "and nothing else does", "means"]
        emit_table("What was found; a code that rejects none is a note", header, found)
    _show_pass_rates(told)
    _show_rewards(told)
    _show_categories(told)
    for line in told.get("bounds", []):
        click.echo(line)
    decisions = ", ".join(f"{word} {count}" for word, count in told["decisions"].items())
    alone = f", {told['queries_of_one_run']} of them with one run"
    click.echo(f"decisions: {decisions}; queries: {told['queries']}{alone}", err=True)
    if result.manifest is not None:
        version = f"{name}@{result.manifest.version}"
        click.echo(f"{version} {'built' if result.created else 'was there already'}", err=True)
    if result.rejected is not None:
        shown, all_ = result.rejected.selection.rows_out, told["decisions"]["reject"]
        held = f"; {all_ - shown} more hold secrets and are left out" if shown < all_ else ""
        version = f"{result.rejected.name}@{result.rejected.version}"
        click.echo(f"rejected: {version}, {shown} trajectories{held}", err=True)
    click.echo(str(result.curation.ledger))
    if result.folder is not None:
        click.echo(str(result.folder))


def _show_rewards(told: dict[str, Any]) -> None:
    """What the rules made of rewards, which they do not look at."""
    rewards = told.get("rewards")
    if rewards is None or rewards["mean_after"] is None:
        return
    click.echo(
        f"mean reward {rewards['mean_before']:.3f} before, {rewards['mean_after']:.3f} after; "
        f"{rewards['kept_below_best']} kept trajectories have less than the best "
        "(select.min_reward drops them)"
    )


def _show_categories(told: dict[str, Any]) -> None:
    """Candidates and kept runs of each category that has any; the empty ones in a line."""
    from dataprune.cli.output import emit_table

    counts = [c for c in told.get("categories", []) if c["before"]]
    if not counts:
        return
    rows = [[c["category"] or "none", c["before"], c["after"]] for c in counts]
    emit_table("Categories", ["category", "candidates", "kept"], rows)
    if told["empty_categories"]:
        click.echo(f"without a trajectory: {', '.join(told['empty_categories'])}", err=True)


def _show_pass_rates(told: dict[str, Any]) -> None:
    """How many queries are left at each pass rate, before and after."""
    from dataprune.cli.output import emit_table

    first, last = told["stages"][0]["pass_rates"], told["stages"][-1]["pass_rates"]
    if first is None:
        return
    tenths = [f"{i / 10:.1f} to {(i + 1) / 10:.1f}" for i in range(9)]
    ends = ["never", *tenths, "0.9 to 1", "always"]
    after = last or [0] * len(first)
    rows = [[e, a, b] for e, a, b in zip(ends, first, after, strict=True) if a or b]
    emit_table(
        "Queries with a trajectory, by pass rate of all", ["solved", "before", "after"], rows
    )
    if told["frontier_retention"] is not None:
        share = told["frontier_retention"]
        click.echo(f"of the queries that are solved sometimes, {share:.1%} have a trajectory left")
