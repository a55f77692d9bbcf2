"""The job of a RayJob or RayCronJob: a cluster of its own, made for a run and deleted after it.

Fields are those of KubeRay's ray.io/v1 (1.6 and newer).
"""

from __future__ import annotations

import importlib.metadata
import math
import shlex
from typing import Any

from dataprune.core.errors import UsageError
from dataprune.runs import job_command
from dataprune.runs.schedule._kubernetes import (
    Document,
    check_folders_are_shared,
    environment,
    image,
    pod,
    resources,
)
from dataprune.runs.schedule._plan import Plan

_RETRIES = 1
_KEPT_S = 3600  # a finished cluster, for its logs
_IDLE_S = 300
_MEMORY_GB = 8.0
_CLAIMABLE = 0.7  # of a pod's memory; the rest is Ray's object store
_MOST_WORKERS = 8
_PORTS = (("gcs-server", 6379), ("dashboard", 8265), ("client", 10001))
USES = frozenset({
    "image", "ray_version", "auth_secret", "env", "secret_env", "claims", "max_workers",
    "deadline_hours",
})  # fmt: skip
NOTES = (
    "The image has dataprune and this very Ray; the head runs no work, the driver has a pod "
    "of its own. Pods for units come and go; with run.autoscale in the recipe the first is "
    "not waited for. A retry starts a new cluster and goes on from the run folder; exit codes"
    " are not told apart, so a partial run (3) and a busy folder (4) are tried again, too."
)


def job_spec(plan: Plan) -> Document:
    """The spec of a RayJob.

    Raises:
        UsageError: no run folder that pods share, or an argument that needs quotes.
    """
    check_folders_are_shared(plan)
    spec: Document = {
        "entrypoint": _entrypoint(plan),
        "entrypointNumCpus": 1,
        "submissionMode": "K8sJobMode",
        "backoffLimit": _RETRIES,
        "activeDeadlineSeconds": plan.deadline_s,
        "shutdownAfterJobFinishes": True,
        "ttlSecondsAfterFinished": _KEPT_S,
        "rayClusterSpec": {
            "rayVersion": plan.ray_version or _installed_ray(),
            "enableInTreeAutoscaling": True,
            "autoscalerOptions": {"version": "v2", "idleTimeoutSeconds": _IDLE_S},
            "headGroupSpec": _head(plan),
            "workerGroupSpecs": [_driver(plan), _units(plan)],
        },
    }
    if plan.auth_secret is not None:
        spec["rayClusterSpec"]["authOptions"] = {"mode": "token", "secretName": plan.auth_secret}
    return spec


def _entrypoint(plan: Plan) -> str:
    arguments = job_command.job_arguments(
        plan.recipe, plan.pod_recipe, work=plan.work, store=plan.store, more=plan.more
    )
    for argument in arguments:
        if shlex.quote(argument) != argument:
            # KubeRay puts the text into a shell line unquoted, and `ray job submit` quotes anew.
            raise UsageError(
                f"the argument {argument!r} would not survive the shells that KubeRay hands it to",
                hint="say it in the recipe instead",
            )
    return " ".join(["dataprune", *arguments])


def _head(plan: Plan) -> Document:
    container: Document = {
        "name": "ray-head",
        "image": image(plan),
        "ports": [{"name": name, "containerPort": port} for name, port in _PORTS],
        "resources": resources(cpus=1, memory_gb=4),
    }
    spec = {"restartPolicy": "Never", "containers": [container]}
    return {"rayStartParams": {"num-cpus": "0"}, "template": {"spec": spec}}


def _driver(plan: Plan) -> Document:
    """One CPU for the job's own process, which reads the source: no GPU waits for it."""
    return _group("driver", plan, resources(cpus=1, memory_gb=_memory(plan)), least=1, most=1)


def _units(plan: Plan) -> Document:
    """Pods for units: one GPU each and as many units as share it, or one unit's CPUs.

    A run refuses a cluster on which no unit fits now, unless its recipe says that nodes will come.
    """
    run = plan.recipe.run
    least = 0 if run.autoscale else run.workers
    sharing = max(1, int(1 / run.num_gpus)) if run.num_gpus else 1
    processes = plan.recipe.seeds * run.workers
    most = plan.max_workers or min(_MOST_WORKERS, math.ceil(processes / sharing))
    if most < run.workers:
        raise UsageError(
            f"{run.workers} processes train a unit together, and --max-workers {most} is fewer",
            hint="give as many pods as run.workers, at least",
        )
    amounts = resources(
        cpus=run.num_cpus * sharing,
        memory_gb=_memory(plan) * sharing,
        gpus=1 if run.num_gpus else 0,
    )
    more: Document = {}
    if run.num_gpus:
        toleration = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
        more["tolerations"] = [toleration]
    return _group("units", plan, amounts, least=least, most=most, **more)


def _memory(plan: Plan) -> float:
    """Of a pod for one unit (GiB), so that what the unit claims can be claimed."""
    claimed = plan.recipe.run.memory_gb
    return _MEMORY_GB if claimed is None else claimed / _CLAIMABLE


def _group(
    name: str, plan: Plan, amounts: Document, *, least: int, most: int, **more: Any
) -> Document:
    container: Document = {"name": "ray-worker", "image": image(plan), "resources": amounts}
    if variables := environment(plan):
        container["env"] = variables
    return {
        "groupName": name,
        "replicas": least,
        "minReplicas": least,
        "maxReplicas": most,
        "rayStartParams": {},
        "template": pod(container, plan, **more),
    }


def _installed_ray() -> str:
    try:
        return importlib.metadata.version("ray")
    except importlib.metadata.PackageNotFoundError as exc:
        raise UsageError(
            "Ray is not installed here, so its version in the image is not known",
            hint="give --ray-version, such as 2.60.0",
        ) from exc
