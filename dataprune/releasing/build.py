"""scores -> version of a release: tried out, tagged, or built as a candidate."""

from __future__ import annotations

import logging
import shutil
from typing import Any

from dataprune import flow
from dataprune.core.errors import VersionError
from dataprune.core.extras import require
from dataprune.core.protocols import OnProgress
from dataprune.core.recipe_release import Gates, Pilot
from dataprune.publishing.prune_result import PruneResult
from dataprune.releasing import gates
from dataprune.releasing.plan import Plan
from dataprune.releasing.scoring import LastVersion, Scored
from dataprune.tables.release import Gate
from dataprune.versions.build import control_tag
from dataprune.versions.store import LocalStore
from dataprune.versions.tags import NUMBER, next_number

_TRIAL, _PILOT = "trial", "pilot"

log = logging.getLogger("dataprune")


def pass_gates(
    plan: Plan, scored: Scored, last: LastVersion | None, on_progress: OnProgress
) -> list[Gate]:
    """Measure every gate that is not switched off, whether or not another is passed.

    Raises:
        DatapruneError: as `flow.prune` and `try_version`.
    """
    wanted: Gates = plan.gates
    found = [gates.complete(scored)]
    if wanted.reliability is not None:
        found.append(gates.reliability(scored, plan.by, wanted.reliability))
    if wanted.class_floor is not None:
        decided = flow.prune(
            scored.table, name=plan.name, tag=plan.template, control=plan.control, dry_run=True
        )
        found.append(gates.class_floor(decided.classes, wanted.class_floor))
    if wanted.rank_drift is not None:
        found.append(gates.rank_drift(scored, plan.by, last, wanted.rank_drift))
    if wanted.pilot is not None and found[0].passed:
        found.append(_try_out(plan, scored, wanted.pilot, on_progress))
    return found


def _try_out(plan: Plan, scored: Scored, pilot: Pilot, on_progress: OnProgress) -> Gate:
    """Retrain on the version that would be tagged and on random rows, as a view of the source."""
    folder, run, tag = plan.work / _TRIAL, plan.recipe.run, _next_tag(plan)
    shutil.rmtree(folder, ignore_errors=True)  # of an earlier run, or one that was killed
    view = not plan.recipe.prune.relabel
    flow.prune(scored.table, name=plan.name, tag=tag, store=folder, view=view, order="source")
    log.info("pilot: %d seeds on the version and on random rows", pilot.seeds)
    require("torch", extra="probe", why="the pilot")
    from dataprune.evaluation.of_versions import try_version

    where = {"runner": run.runner, "address": run.address, "stream": run.stream or None}
    result = try_version(
        LocalStore(folder), plan.name, tag, seeds=pilot.seeds, run=where,
        work=f"{plan.place.url}/{_PILOT}", on_progress=on_progress,
    )  # fmt: skip
    for told in result.warnings:
        log.warning("pilot: %s", told)
    shutil.rmtree(folder, ignore_errors=True)
    return gates.pilot(result, tag, pilot.tolerance)


def build_release(plan: Plan, table: str) -> PruneResult:
    """Build, tag and, if asked for, publish the version; the same one built before is found.

    table: name of the score table in the work folder.

    Raises:
        DatapruneError: as `flow.prune`.
    """
    return flow.prune(
        plan.work / table, name=plan.name, tag=plan.template, store=plan.store.folder,
        control=plan.control, push=plan.to, private=plan.private,
    )  # fmt: skip


def build_candidate(plan: Plan, scored: Scored) -> PruneResult:
    """Build the version whole, apart from the tagged ones, in place of any candidate before it.

    Its tag is the one it would have had, which stays free.
    """
    tag = _next_tag(plan)
    about: dict[str, Any] = {
        "name": plan.name, "tag": tag, "store": plan.candidates.folder, "control": plan.control,
    }  # fmt: skip
    discard_candidates(plan, but=tag)
    try:
        return flow.prune(scored.table, **about)
    except VersionError as exc:  # other content under that tag, or damaged
        log.info("the candidate before is taken away: %s", exc.message)
    discard_candidates(plan)
    return flow.prune(scored.table, **about)


def _next_tag(plan: Plan) -> str:
    """The tag that a new version would have, by the versions in the store."""
    return plan.template.replace(NUMBER, str(next_number(plan.store.tags(plan.name))))


def discard_candidates(plan: Plan, *, but: str | None = None) -> None:
    """Delete the candidates of the name, one of a tag and its control perhaps left out."""
    store = plan.candidates
    for tag in store.tags(plan.name):
        if but is None or tag not in {but, control_tag(but)}:
            shutil.rmtree(store.path(plan.name, tag))
