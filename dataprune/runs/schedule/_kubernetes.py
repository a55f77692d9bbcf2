"""What documents for Kubernetes have in common: containers' environment, mounts, the recipe, YAML.

Fields are those of Kubernetes' core/v1.
"""

from __future__ import annotations

import math
import textwrap
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from dataprune._version import __version__
from dataprune.core.errors import UsageError
from dataprune.runs.schedule._plan import RECIPE_FOLDER, Plan

Document = dict[str, Any]
AUTH_KEY = "auth_token"  # the key that KubeRay reads in the Secret of a cluster's token
_IMAGE_USER = 1000  # of the Dockerfile; a claim's files belong to its group
_RECIPE_BYTES = 1 << 20  # of a ConfigMap


def image(plan: Plan) -> str:
    """The image that was named, or the one that the Dockerfile makes of this version."""
    return plan.image or f"dataprune:{__version__}"


def metadata(name: str) -> Document:
    """Name and label of a document."""
    return {"name": name, "labels": {"app.kubernetes.io/name": "dataprune"}}


def schedule(plan: Plan) -> Document:
    """When a CronJob or RayCronJob runs."""
    spec: Document = {"schedule": plan.cron}
    if plan.timezone is not None:
        spec["timeZone"] = plan.timezone
    return spec


def resources(*, cpus: int, memory_gb: float, gpus: int = 0) -> Document:
    """Requests that are limits, too: Ray counts on what a pod may use."""
    amounts: Document = {"cpu": str(cpus), "memory": f"{math.ceil(memory_gb * 1024)}Mi"}
    if gpus:
        amounts["nvidia.com/gpu"] = str(gpus)
    return {"requests": dict(amounts), "limits": dict(amounts)}


def environment(plan: Plan) -> list[Document]:
    """Variables of a container: plain ones, then those that come from Secrets."""
    plain = [{"name": name, "value": value} for name, value in plan.env.items()]
    secret = [from_secret(name, *place) for name, place in plan.secret_env.items()]
    return [*plain, *secret]


def from_secret(name: str, secret: str, key: str) -> Document:
    """A variable whose value stays in a Secret."""
    return {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}


def mounts(plan: Plan) -> tuple[list[Document], list[Document]]:
    """Volumes of a pod, and where its container has them: the claims, and a recipe of one's own."""
    volumes: list[Document] = []
    places: list[Document] = []
    for claim, path in plan.claims.items():
        if not path.startswith("/"):
            raise UsageError(f"--claim {claim}={path}: the place must be a path from the root")
        volumes.append({"name": claim, "persistentVolumeClaim": {"claimName": claim}})
        places.append({"name": claim, "mountPath": path})
    if plan.recipe_text is not None:
        volumes.append({"name": "recipe", "configMap": {"name": recipe_map_name(plan)}})
        places.append({"name": "recipe", "mountPath": str(RECIPE_FOLDER), "readOnly": True})
    return volumes, places


def pod(container: Document, plan: Plan, **more: Any) -> Document:
    """A pod of one container, with the plan's volumes; never restarted in place."""
    volumes, places = mounts(plan)
    spec: Document = {"restartPolicy": "Never", "containers": [container], **more}
    if places:
        container["volumeMounts"] = places
        spec["volumes"] = volumes
    if plan.claims:
        spec["securityContext"] = {"fsGroup": _IMAGE_USER}
    return {"spec": spec}


def recipe_map_name(plan: Plan) -> str:
    """Name of the ConfigMap that holds a recipe of one's own."""
    return f"{plan.named(longest=47)}-recipe"


def recipe_map(plan: Plan) -> list[Document]:
    """The ConfigMap, if there is a recipe of one's own.

    Raises:
        UsageError: it is larger than a ConfigMap can be.
    """
    if plan.recipe_text is None:
        return []
    if len(plan.recipe_text.encode()) >= _RECIPE_BYTES:
        raise UsageError(f"{plan.told} is over 1 MiB, which no ConfigMap holds")
    return [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": metadata(recipe_map_name(plan)),
            "data": {Path(plan.told).name: plan.recipe_text},
        }
    ]


def check_folders_are_shared(plan: Plan) -> None:
    """Pods share no folder but that of a claim: refuse a run folder or a store outside one.

    Raises:
        UsageError: one is neither a URL nor within a claim.
    """
    claimed = [PurePosixPath(path) for path in plan.claims.values()]
    for flag, folder in (("--work", plan.run_folder), ("--store", plan.store)):
        if folder is None or "://" in folder:
            continue
        if not any(PurePosixPath(folder).is_relative_to(path) for path in claimed):
            url = " --work a URL, or" if flag == "--work" else ""
            raise UsageError(
                f"pods share no folder {folder}, so none would find what another has written",
                hint=f"give{url} --claim NAME=PATH of a PersistentVolumeClaim above it",
            )


def to_yaml(plan: Plan, notes: list[str], documents: list[Document]) -> str:
    """The documents as YAML in the order of their fields, below comments."""
    lines = [f"Made by: {plan.made_by}"]
    for note in notes:
        lines += textwrap.wrap(note, 96)
    head = "".join(f"# {line}\n" for line in lines)
    return head + "---\n".join(
        yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=1000) for document in documents
    )


class _Dumper(yaml.SafeDumper):
    """Text of several lines as a block, and no aliases."""

    def ignore_aliases(self, _data: Any) -> bool:
        """An object that occurs twice is written twice."""
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)
