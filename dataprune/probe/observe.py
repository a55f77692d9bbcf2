"""source -> probe -> trace: run the units that the ledger lacks, and gather every trace."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from dataprune.core.errors import ProbeError
from dataprune.core.files import write_json
from dataprune.core.protocols import Job, OnProgress, Outcome, Resources
from dataprune.core.recipe import Recipe
from dataprune.probe.costs import extra_costs
from dataprune.probe.plan import holds_out_folds, plan_run, seconds_spent, shared_arrays
from dataprune.runs.job import run_job
from dataprune.runs.ledger import Ledger, Record
from dataprune.runs.place import Place
from dataprune.sources._load import Loaded
from dataprune.tables.manifest import portable_recipe
from dataprune.tables.run_examples import NAME as EXAMPLES
from dataprune.tables.run_examples import write_run_examples
from dataprune.tables.trace import Trace, read_unit_trace

log = logging.getLogger("dataprune")


@dataclass(frozen=True)
class Observed:
    """What the probes of a run have seen.

    traces: by seed; only finished units. failed: outcomes of the others.
    trained: seeds trained now, the rest were in the ledger. reasons: why some were trained again.
    """

    traces: dict[int, Trace]
    records: dict[int, Record]
    failed: list[Outcome]
    trained: list[int]
    reasons: list[str]

    @property
    def missing(self) -> list[str]:
        """Names of the units that did not finish."""
        return sorted(outcome.label for outcome in self.failed)


def observe(
    recipe: Recipe,
    loaded: Loaded,
    scores: Mapping[str, Iterable[str]],
    work: Place,
    on_progress: OnProgress,
) -> Observed:
    """Train the probes that the ledger lacks; read every finished unit's trace.

    scores: {score: signals that it reads}, which `probe/check.py` has found to be possible.
    work: the run folder, behind a URL where the cluster's nodes share no disk.

    Raises:
        ProbeError: every unit failed.
        BusyError: another process works in the folder.
    """
    wanted = sorted({signal for signals in scores.values() for signal in signals})
    ledger = Ledger(work)
    with ledger.exclusive(wait_s=60 * recipe.run.wait_minutes) as lease:
        earlier = ledger.records()
        plan = plan_run(recipe, loaded, scores, earlier)
        if holds_out_folds(recipe, loaded):
            log.info(
                "each seed holds out one of %d folds; a row's score is the mean over the seeds "
                "that trained on it",
                recipe.holdout.folds,
            )
        log.info("%d of %d seeds to train in %s", len(plan.units), recipe.seeds, work.url)
        if plan.units:
            for line in extra_costs(recipe, loaded, scores):
                log.info(line)
        for reason in plan.reasons:
            log.info(reason)
        labels = {record.unit_id: f"seed {seed}" for seed, record in plan.done.items()}
        labels |= {unit.unit_id: unit.label for unit in plan.units}
        write_run_examples(work.folder, loaded.examples, loaded.ref)
        write_json(work.folder / "run.json", {"recipe": portable_recipe(recipe), "units": labels})
        work.share(EXAMPLES, "run.json")
        shared = shared_arrays(recipe, loaded) if plan.units else {}
        job = Job(
            work.url, plan.units, shared, Resources.of(recipe.run), lease.run_id, lease.check,
            before=seconds_spent(earlier, loaded.ref.fingerprint),
        )  # fmt: skip
        finished, failed = run_job(recipe.run.runner, job, on_progress)
    new = {u.spec["seed"]: finished[u.unit_id] for u in plan.units if u.unit_id in finished}
    records = plan.done | new
    if not records:
        raise ProbeError(f"every unit failed; the first: {failed[0].error}", hint=failed[0].hint)
    traces = {
        seed: read_unit_trace(record, wanted, recipe.checkpoints)
        for seed, record in sorted(records.items())
    }
    return Observed(traces, records, failed, sorted(new), plan.reasons)
