"""The unattended run: nothing where nothing changed, else score, gates, and a tag or a candidate.

    pin -> (unchanged: done) -> scores, old ones carried over -> gates -> tag
                                                                      or candidate -> (accept) tag

Everything before the tag is found again after a kill: units and pilot in the work folder, the
version by its content. release.json is written last, so that until then the run is the same again.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from dataprune.core.errors import UsageError
from dataprune.core.files import sha256_file
from dataprune.core.protocols import OnProgress
from dataprune.core.recipe import Recipe
from dataprune.releasing.plan import Plan, plan_release
from dataprune.releasing.result import RunResult
from dataprune.runs.lease import OF_RELEASE, Lease, hold
from dataprune.tables.release import NAME, Outcome, ReleaseFile, read_release, write_release
from dataprune.versions.store import DEFAULT_STORE, LocalStore

if TYPE_CHECKING:  # what an unchanged run does not load
    from dataprune.publishing.prune_result import PruneResult
    from dataprune.releasing.scoring import Scored
    from dataprune.tables.release import Gate

_GONE = "{tag}, the last version, is not in the store: nothing was carried from or compared with it"
_QUIET: OnProgress = lambda _unit_id, _told: None  # noqa: E731 - no progress wanted
log = logging.getLogger("dataprune")


def run(
    recipe: str | Path | Recipe,
    *,
    source: str | None = None,
    work: str | Path | None = None,
    store: str | Path = DEFAULT_STORE,
    push: str | None = None,
    private: bool | None = None,
    runner: str | None = None,
    address: str | None = None,
    accept: bool = False,
    on_progress: OnProgress = _QUIET,
) -> RunResult:
    """A recipe's next version, unattended: tagged if it passes every gate, else a candidate.

    recipe: with a section `release`. work: keeps units, scores and what the last run came to, a
        folder or a URL; default: the recipe's run.work, else .dataprune/releases/NAME.
    push: ORG/REPO on the Hub to send a tagged version to; "" for the recipe's `publish.to`.
    accept: tag the candidate of the last run, whatever gates it failed.

    Raises:
        UsageError: the recipe has no section `release`, or there is no candidate to accept.
        BusyError: another run works in the folder.
        DatapruneError: one of its subclasses, with what to do next.
    """
    changes = {"source.uri": source, "run.runner": runner, "run.address": address}
    plan = plan_release(
        recipe,
        changes,
        work=work,
        store=Path(store),
        push=push,
        private=private,
    )
    what = f"release {plan.name} in {plan.place.url}"
    wait_s = 60 * plan.recipe.run.wait_minutes
    with hold(plan.place, what=what, wait_s=wait_s, of=OF_RELEASE) as lease:
        return _run(plan, lease, on_progress, accept=accept)


def _run(plan: Plan, lease: Lease, on_progress: OnProgress, *, accept: bool) -> RunResult:
    state = _opened(plan)
    inputs = plan.inputs()  # before anything is read: what changes meanwhile is seen the next time
    last = state.outcome
    same = inputs == state.inputs and _stands(plan, last)
    if accept:  # without a pin, too: what is tagged is proven to be what was scored
        return _accept(plan, state, unchanged=same)
    if same and last is not None and inputs.pin is not None:
        return _unchanged(plan, state, last)
    from dataprune.releasing.build import (
        build_candidate,
        build_release,
        discard_candidates,
        pass_gates,
    )
    from dataprune.releasing.scoring import last_version, score_release

    before = last_version(plan.store, plan.name, state.released)
    gone = before is None and state.released is not None
    scored = score_release(plan, before, on_progress)
    gates = pass_gates(plan, scored, before, on_progress)
    lease.check()
    if all(gate.passed for gate in gates):
        made, status = build_release(plan, scored.table.name), "released"
        discard_candidates(plan)
    else:
        made, status = build_candidate(plan, scored), "candidate"
    outcome = _outcome(plan, status, made, scored, gates)
    released = outcome.tag if status == "released" else state.released
    changed = {"inputs": inputs, "outcome": outcome, "released": released}
    plan.place.share(scored.table.name)
    _write(plan, state.model_copy(update=changed))
    return RunResult(
        plan.name,
        outcome,
        folder=_store_of(plan, outcome).path(plan.name, outcome.tag),
        work=plan.work,
        unchanged=False,
        created=made.created,
        trained=scored.trained,
        published=made.published,
        notes=scored.notes,
        warnings=[*[_GONE.format(tag=state.released)] * gone, *scored.warnings, *made.warnings],
    )


def _opened(plan: Plan) -> ReleaseFile:
    """What the last run left; for a first one, the newest version in the store is the last.

    It is written at once: a run that is killed after its tag must not find that tag as the last.
    """
    store = str(plan.store.folder.resolve())
    is_there = plan.place.fetch(NAME) is not None  # a mirror may have one that is there no more
    state = read_release(plan.work) if is_there else None
    if state is not None and (state.name, state.store) == (plan.name, store):
        return state
    tags = plan.store.tags(plan.name)
    own = [t for t in tags if plan.store.manifest(plan.name, t).control_of is None]
    state = ReleaseFile(name=plan.name, store=store, released=own[-1] if own else None)
    _write(plan, state)
    return state


def _write(plan: Plan, state: ReleaseFile) -> None:
    write_release(plan.work, state)
    plan.place.share(NAME)


def _stands(plan: Plan, last: Outcome | None) -> bool:
    """Whether what the last run ended with is still there, and whole scores are behind it."""
    if last is None or not last.complete:  # missing units are tried again
        return False
    store = _store_of(plan, last)
    tags = [last.tag] if last.control is None else [last.tag, last.control]
    return all(store.has(plan.name, tag) for tag in tags)


def _store_of(plan: Plan, outcome: Outcome) -> LocalStore:
    return plan.store if outcome.status == "released" else plan.candidates


def _unchanged(plan: Plan, state: ReleaseFile, last: Outcome) -> RunResult:
    """The last outcome stands; a tagged version that was not sent yet is sent now."""
    folder = _store_of(plan, last).path(plan.name, last.tag)
    result = RunResult(plan.name, last, folder, plan.work, unchanged=True)
    if plan.to is None or last.status == "candidate" or last.pushed == plan.to:
        return result
    from dataclasses import replace

    from dataprune.flow import publish

    tags = [tag for tag in (last.control, last.tag) if tag is not None]  # what is last is main
    sent = tuple(
        publish(plan.name, t, to=plan.to, store=plan.store.folder, private=plan.private)
        for t in tags
    )
    outcome = last.model_copy(update={"pushed": plan.to})
    _write(plan, state.model_copy(update={"outcome": outcome}))
    return replace(result, outcome=outcome, published=sent)


def _accept(plan: Plan, state: ReleaseFile, *, unchanged: bool) -> RunResult:
    """Tag the very candidate of the last run, from the same scores; nothing is measured again.

    Raises:
        UsageError: there is none, or source or recipe have changed since.
    """
    last = state.outcome
    if last is None or last.status == "released":
        stands = "" if last is None else f": {plan.name}@{last.tag} is tagged already"
        raise UsageError(
            f"there is no candidate of {plan.name} to accept{stands}",
            hint="run without --accept first" if last is None else None,
        )
    if not last.complete:
        raise UsageError(
            f"the candidate of {plan.name} lacks units, and such a version is never tagged",
            hint="run without --accept: finished units count, the others are trained",
        )
    table = plan.place.fetch(last.table)
    if not unchanged or table is None or sha256_file(table) != last.table_sha256:
        raise UsageError(
            f"the candidate of {plan.name} is not what would be tagged now: its source, recipe or "
            "files have changed",
            hint="run without --accept, look at the new candidate, then accept that",
        )
    from dataprune.releasing.build import build_release, discard_candidates

    made = build_release(plan, last.table)
    assert made.manifest is not None, "it is no dry run"
    assert made.manifest.fingerprint == last.fingerprint, "the same scores, the same version"
    failed = [gate.name for gate in last.gates if not gate.passed]
    update = {"status": "released", "tag": made.tag, "accepted": failed, "pushed": plan.to}
    update["control"] = made.control.version if made.control else None
    outcome = last.model_copy(update=update)
    changed = {"outcome": outcome, "released": outcome.tag}
    _write(plan, state.model_copy(update=changed))
    discard_candidates(plan)
    folder = plan.store.path(plan.name, outcome.tag)
    return RunResult(
        plan.name, outcome, folder, plan.work, unchanged=False, created=made.created,
        published=made.published, warnings=made.warnings,
    )  # fmt: skip


def _outcome(
    plan: Plan, status: str, made: PruneResult, scored: Scored, gates: list[Gate]
) -> Outcome:
    from dataprune.releasing.scoring import rows_carried

    assert made.manifest is not None, "it is no dry run"
    return Outcome(
        status="released" if status == "released" else "candidate",
        tag=made.tag,
        fingerprint=made.manifest.fingerprint,
        rows_in=made.rows_in,
        rows_out=made.rows_out,
        control=made.control.version if made.control else None,
        complete=scored.scores.meta["status"] == "complete",
        carried=rows_carried(scored),
        table=scored.table.name,
        table_sha256=scored.sha256,
        gates=gates,
        pushed=plan.to if status == "released" else None,
    )
