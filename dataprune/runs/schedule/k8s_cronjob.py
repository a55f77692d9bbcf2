"""A Kubernetes CronJob that submits to a Ray cluster which is there, and waits for the end.

Fields are those of Kubernetes' batch/v1.
"""

from __future__ import annotations

from dataprune.runs.schedule._kubernetes import (
    AUTH_KEY,
    Document,
    from_secret,
    image,
    metadata,
    pod,
    recipe_map,
    resources,
    schedule,
    to_yaml,
)
from dataprune.runs.schedule._plan import Plan, Target

_LONGEST = 52  # Kubernetes adds the scheduled time to name the Job
_START_S = 3600  # a run that could not start for so long is left out
_OCCASION = "OCCASION"
_NOTES = (
    "For Kubernetes 1.27 or newer. Its pod submits to the cluster and shows the job's log. "
    "The job is known by the name of the Kubernetes Job: a pod that is evicted is replaced "
    "and attaches to it, and one that failed is not tried again. A run that meets the one "
    "before does not start: concurrencyPolicy says so here, and exit code 4 where that one "
    "was left behind."
)


def _render(plan: Plan) -> str:
    document = {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": metadata(plan.named(longest=_LONGEST)),
        "spec": {
            **schedule(plan),
            "concurrencyPolicy": "Forbid",
            "startingDeadlineSeconds": _START_S,
            "successfulJobsHistoryLimit": 3,
            "failedJobsHistoryLimit": 3,
            "jobTemplate": {"spec": _job(plan)},
        },
    }
    return to_yaml(plan, [_NOTES], [*recipe_map(plan), document])


def _job(plan: Plan) -> Document:
    arguments = plan.submit_arguments(plan.pod_recipe, again=["--occasion", f"$({_OCCASION})"])
    job_name = "metadata.labels['batch.kubernetes.io/job-name']"
    variables: list[Document] = [
        {"name": _OCCASION, "valueFrom": {"fieldRef": {"fieldPath": job_name}}}
    ]
    if plan.auth_secret is not None:
        variables.append({"name": "RAY_AUTH_MODE", "value": "token"})
        variables.append(from_secret("RAY_AUTH_TOKEN", plan.auth_secret, AUTH_KEY))
    container = {
        "name": "submit",
        "image": image(plan),
        "command": ["dataprune"],
        # Kubernetes reads $(NAME) in arguments, and $$ as one $.
        "args": [a if _OCCASION in a else a.replace("$", "$$") for a in arguments],
        "env": variables,
        "resources": resources(cpus=1, memory_gb=1),
    }
    evicted = {"type": "DisruptionTarget", "status": "True"}
    return {
        "backoffLimit": 0,
        "podFailurePolicy": {"rules": [{"action": "Ignore", "onPodConditions": [evicted]}]},
        "activeDeadlineSeconds": plan.deadline_s,
        "template": pod(container, plan),
    }


TARGET = Target(
    "k8s_cronjob",
    _render,
    frozenset({"timezone", "work", "image", "auth_secret", "env", "deadline_hours"}),
    needs=frozenset({"cron", "address"}),
)
