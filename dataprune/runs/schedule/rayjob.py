"""A RayJob: one run on a cluster of its own, now. `kubectl create -f` starts it."""

from __future__ import annotations

from dataprune.runs.schedule._kubernetes import metadata, recipe_map, to_yaml
from dataprune.runs.schedule._plan import Plan, Target
from dataprune.runs.schedule._ray_cluster import NOTES, USES, job_spec

_LONGEST = 47  # KubeRay adds to it to name the cluster


def _render(plan: Plan) -> str:
    job = {
        "apiVersion": "ray.io/v1",
        "kind": "RayJob",
        "metadata": metadata(plan.named(longest=_LONGEST)),
        "spec": job_spec(plan),
    }
    note = "For KubeRay 1.6 or newer. One run, now: delete it before it is applied again."
    return to_yaml(plan, [note, NOTES], [*recipe_map(plan), job])


TARGET = Target("rayjob", _render, USES, needs=frozenset({"work"}))
