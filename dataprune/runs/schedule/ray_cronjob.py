"""A RayCronJob: a new RayJob, with a cluster of its own, at each scheduled time."""

from __future__ import annotations

from dataprune.runs.schedule._kubernetes import metadata, recipe_map, schedule, to_yaml
from dataprune.runs.schedule._plan import Plan, Target
from dataprune.runs.schedule._ray_cluster import NOTES, USES, job_spec

_LONGEST = 36  # the scheduled time is added to name the RayJob
_NOTES = (
    "For KubeRay 1.6 or newer, with a time zone 1.7. RayCronJob is alpha there: the operator must "
    "run with the feature gate RayCronJob=true. It has no concurrencyPolicy: a run that meets the "
    "one before ends with exit code 4, since that one holds the run folder, and "
    "activeDeadlineSeconds ends what hangs. It keeps every RayJob: delete old ones, or use the "
    "target k8s-cronjob."
)


def _render(plan: Plan) -> str:
    document = {
        "apiVersion": "ray.io/v1",
        "kind": "RayCronJob",
        "metadata": metadata(plan.named(longest=_LONGEST)),
        "spec": {**schedule(plan), "jobTemplate": job_spec(plan)},
    }
    return to_yaml(plan, [_NOTES, NOTES], [*recipe_map(plan), document])


TARGET = Target("ray_cronjob", _render, USES | {"timezone"}, needs=frozenset({"cron", "work"}))
