"""RayJob, RayCronJob, CronJob: valid by KubeRay's and Kubernetes' schemas, right in detail."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from jsonschema import ValidationError

from dataprune.core.errors import UsageError
from dataprune.runs.schedule._plan import Plan
from tests.runs.schedule.conftest import recipe

MakePlan = Callable[..., Plan]
Render = Callable[[str, Plan], str]
Read = Callable[[str], list[dict[str, Any]]]

TOKEN = {"auth_secret": "ray-token"}
ON_A_CLAIM = {"work": "/mnt/d/runs", "claims": {"data": "/mnt/d"}, "ray_version": "2.60.0"}
SUBMITTED = {"cron": "0 2 * * *", "address": "http://head:8265", "work": "/mnt/d/runs"}


def job(document: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = document["spec"]
    return spec.get("jobTemplate", spec)


def groups(document: dict[str, Any]) -> dict[str, Any]:
    return {g["groupName"]: g for g in job(document)["rayClusterSpec"]["workerGroupSpecs"]}


def container(group: dict[str, Any]) -> dict[str, Any]:
    (only,) = group["template"]["spec"]["containers"]
    return dict(only)


@pytest.mark.parametrize(
    ("target", "changes"),
    [
        ("rayjob", {}),
        ("ray_cronjob", {"cron": "0 2 * * *", "timezone": "Europe/Berlin"}),
    ],
)
def test_a_ray_job_brings_its_cluster_and_takes_it_down(
    target: str, changes: dict[str, Any], plan: MakePlan, rendered: Render, documents: Read
) -> None:
    text = rendered(target, plan(**ON_A_CLAIM, **changes))
    assert "# The image has dataprune and this very Ray" in text
    (document,) = documents(text)
    spec = job(document)
    assert spec["entrypoint"] == (
        "dataprune score mine --runner ray --address auto --work /mnt/d/runs"
    )
    assert spec["shutdownAfterJobFinishes"] is True
    assert spec["ttlSecondsAfterFinished"] > 0
    cluster = spec["rayClusterSpec"]
    assert cluster["rayVersion"] == "2.60.0"
    assert cluster["enableInTreeAutoscaling"] is True
    assert cluster["headGroupSpec"]["rayStartParams"] == {"num-cpus": "0"}
    # The head has no CPU to give, so what claims one runs elsewhere: on the driver's pod.
    assert spec["entrypointNumCpus"] == 1
    assert groups(document)["driver"]["minReplicas"] == 1
    for group in groups(document).values():
        assert container(group)["volumeMounts"] == [{"name": "data", "mountPath": "/mnt/d"}]


def test_a_schedule_says_when_in_which_zone_and_that_it_is_alpha(
    plan: MakePlan, rendered: Render, documents: Read
) -> None:
    text = rendered("ray_cronjob", plan(**ON_A_CLAIM, cron="0 2 * * 1-5", timezone="Europe/Berlin"))
    (document,) = documents(text)
    assert document["spec"]["schedule"] == "0 2 * * 1-5"
    assert document["spec"]["timeZone"] == "Europe/Berlin"
    assert "feature gate RayCronJob=true" in " ".join(text.replace("\n#", "").split())


@pytest.mark.parametrize(
    ("run", "amounts", "most"),
    [
        ({"num_cpus": 2}, {"cpu": "2", "memory": "8192Mi"}, 4),
        ({"num_gpus": 1, "memory_gb": 24},
         {"cpu": "1", "memory": "35109Mi", "nvidia.com/gpu": "1"}, 4),
        ({"num_gpus": 0.5}, {"cpu": "2", "memory": "16384Mi", "nvidia.com/gpu": "1"}, 2),
        ({"num_gpus": 1, "workers": 2}, {"cpu": "1", "memory": "8192Mi", "nvidia.com/gpu": "1"}, 8),
    ],
)  # fmt: skip
def test_pods_for_units_are_as_the_recipe_says(
    run: dict[str, Any], amounts: dict[str, str], most: int,
    plan: MakePlan, rendered: Render, documents: Read,
) -> None:  # fmt: skip
    (document,) = documents(rendered("rayjob", plan(recipe=recipe(run=run), **ON_A_CLAIM)))
    units = groups(document)["units"]
    assert container(units)["resources"]["limits"] == amounts
    assert units["maxReplicas"] == most
    assert "nvidia.com/gpu" not in container(groups(document)["driver"])["resources"]["limits"]
    (other,) = documents(
        rendered("rayjob", plan(recipe=recipe(run=run), max_workers=3, **ON_A_CLAIM))
    )
    assert groups(other)["units"]["maxReplicas"] == 3


@pytest.mark.parametrize(
    ("run", "least"),
    [
        ({}, 1),
        ({"workers": 2}, 2),
        ({"autoscale": True}, 0),
        ({"autoscale": True, "workers": 2}, 0),
    ],
)
def test_pods_for_units_come_and_go_where_the_run_will_wait_for_them(
    run: dict[str, Any], least: int, plan: MakePlan, rendered: Render, documents: Read
) -> None:
    # Without run.autoscale a run refuses a cluster on which no unit fits when it starts.
    (document,) = documents(rendered("rayjob", plan(recipe=recipe(run=run), **ON_A_CLAIM)))
    units = groups(document)["units"]
    assert units["minReplicas"] == units["replicas"] == least
    assert units["maxReplicas"] > least


def test_a_gang_must_fit_the_pods(plan: MakePlan, rendered: Render) -> None:
    settled = plan(recipe=recipe(run={"workers": 4}), max_workers=3, **ON_A_CLAIM)
    with pytest.raises(UsageError, match="4 processes train a unit together"):
        rendered("rayjob", settled)


def test_secrets_stay_where_they_are(plan: MakePlan, rendered: Render, documents: Read) -> None:
    settled = plan(
        **ON_A_CLAIM, **TOKEN, env={"A": "1"},
        secret_env={"HF_TOKEN": ("hub", "token")},
    )  # fmt: skip
    (document,) = documents(rendered("rayjob", settled))
    cluster = job(document)["rayClusterSpec"]
    assert cluster["authOptions"] == {"mode": "token", "secretName": "ray-token"}
    assert container(groups(document)["driver"])["env"] == [
        {"name": "A", "value": "1"},
        {"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": "hub", "key": "token"}}},
    ]
    with pytest.raises(UsageError, match="HF_TOKEN looks like a secret"):
        rendered("rayjob", plan(**ON_A_CLAIM, env={"HF_TOKEN": "hf_x"}))


def test_a_recipe_of_ones_own_comes_as_a_config_map(
    plan: MakePlan, rendered: Render, documents: Read
) -> None:
    text = "name: mine\nsource:\n  uri: digits  # with a comment\n"
    settled = plan(told="some/mine.yaml", recipe_text=text, **ON_A_CLAIM)
    recipes, document = documents(rendered("rayjob", settled))
    assert recipes["data"] == {"mine.yaml": text}
    assert "score /etc/dataprune/mine.yaml" in job(document)["entrypoint"]
    driver = groups(document)["driver"]["template"]["spec"]
    assert {"name": "recipe", "configMap": {"name": recipes["metadata"]["name"]}} in driver[
        "volumes"
    ]
    assert {"name": "recipe", "mountPath": "/etc/dataprune", "readOnly": True} in container(
        groups(document)["driver"]
    )["volumeMounts"]


def test_pods_must_share_the_run_folder(plan: MakePlan, rendered: Render, documents: Read) -> None:
    documents(rendered("rayjob", plan(work="s3://bucket/run", ray_version="2.60.0")))
    with pytest.raises(UsageError, match="pods share no folder /mnt/other"):
        rendered("rayjob", plan(**{**ON_A_CLAIM, "work": "/mnt/other"}))
    own = recipe(run={"work": "s3://bucket/run"})
    documents(rendered("rayjob", plan(recipe=own, ray_version="2.60.0")))
    with pytest.raises(UsageError, match="needs --work"):
        rendered("rayjob", plan(ray_version="2.60.0"))


def test_a_release_keeps_its_versions_on_a_claim(
    plan: MakePlan, rendered: Render, documents: Read
) -> None:
    releasing = recipe(release={})
    (document,) = documents(
        rendered("rayjob", plan(recipe=releasing, store="/mnt/d/store", **ON_A_CLAIM))
    )
    assert job(document)["entrypoint"].startswith("dataprune run mine ")
    assert job(document)["entrypoint"].endswith(" --store /mnt/d/store")
    with pytest.raises(UsageError, match="pods share no folder /store"):
        rendered("rayjob", plan(recipe=releasing, store="/store", **ON_A_CLAIM))
    with pytest.raises(UsageError, match="which the next run must find"):
        rendered("rayjob", plan(recipe=releasing, **ON_A_CLAIM))
    (document,) = documents(
        rendered("k8s_cronjob", plan(recipe=releasing, store="/mnt/d/store", **SUBMITTED))
    )
    only = container(document["spec"]["jobTemplate"]["spec"])
    assert only["args"][-2:] == ["--store", "/mnt/d/store"]


def test_an_argument_that_needs_quotes_is_refused(plan: MakePlan, rendered: Render) -> None:
    with pytest.raises(UsageError, match="would not survive"):
        rendered("rayjob", plan(**ON_A_CLAIM, more=("--out", "/mnt/d/my scores")))


def test_a_cron_job_submits_once_for_each_time_and_is_not_retried(
    plan: MakePlan, rendered: Render, documents: Read
) -> None:
    settled = plan(**SUBMITTED, **TOKEN, env={"A": "$B"}, more=("--seeds", "3"))
    (document,) = documents(rendered("k8s_cronjob", settled))
    spec = document["spec"]
    assert spec["concurrencyPolicy"] == "Forbid"
    work = spec["jobTemplate"]["spec"]
    assert work["backoffLimit"] == 0
    assert work["template"]["spec"]["restartPolicy"] == "Never"
    only = container(work)
    assert [*only["command"], *only["args"]] == [
        "dataprune", "submit", "mine", "--address", "http://head:8265", "--occasion", "$(OCCASION)",
        "--work", "/mnt/d/runs", "--env", "A=$$B", "--", "--seeds", "3",
    ]  # fmt: skip
    variables = {v["name"]: v for v in only["env"]}
    assert "job-name" in variables["OCCASION"]["valueFrom"]["fieldRef"]["fieldPath"]
    assert variables["RAY_AUTH_TOKEN"]["valueFrom"]["secretKeyRef"] == {
        "name": "ray-token", "key": "auth_token",
    }  # fmt: skip


def test_an_evicted_pod_is_replaced_and_attaches(
    plan: MakePlan, rendered: Render, documents: Read
) -> None:
    (document,) = documents(rendered("k8s_cronjob", plan(**SUBMITTED)))
    (rule,) = document["spec"]["jobTemplate"]["spec"]["podFailurePolicy"]["rules"]
    assert rule == {
        "action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("target", "longest", "more"),
    [
        ("rayjob", 47, ON_A_CLAIM),
        ("ray_cronjob", 36, {**ON_A_CLAIM, "cron": "0 2 * * *"}),
        ("k8s_cronjob", 52, SUBMITTED),
    ],
)
def test_names_are_what_kubernetes_takes(
    target: str, longest: int, more: dict[str, Any],
    plan: MakePlan, rendered: Render, documents: Read,
) -> None:  # fmt: skip
    names = set()
    for name in ("X_y.Z", "a" * 64, "a" * 63 + "b"):
        (document,) = documents(rendered(target, plan(recipe=recipe(name=name), **more)))
        names.add(document["metadata"]["name"])
        assert len(document["metadata"]["name"]) <= longest
    assert "dataprune-x-y-z" in names
    assert len(names) == 3
    for bad in ("Mine", "1st", "a" * (longest + 1), "a_b", "end-"):
        with pytest.raises(UsageError, match="is no name here"):
            rendered(target, plan(name=bad, **more))


def test_the_schemas_refuse_a_misspelt_field(
    plan: MakePlan, rendered: Render, documents: Read
) -> None:
    text = rendered("k8s_cronjob", plan(**SUBMITTED))
    for right, wrong in (
        ("concurrencyPolicy", "concurencyPolicy"), ("backoffLimit", "backOffLimit"),
        ("Forbid", "Forbidden"), ("image:", "images:"),
    ):  # fmt: skip
        with pytest.raises(ValidationError):
            documents(text.replace(right, wrong))
    text = rendered("rayjob", plan(**ON_A_CLAIM))
    for right, wrong in (
        ("entrypointNumCpus", "entrypointNumCPUs"), ("minReplicas: 1", "minReplicas: one"),
        ("groupName", "name"), ("K8sJobMode", "k8sJobMode"),
    ):  # fmt: skip
        with pytest.raises(ValidationError):
            documents(text.replace(right, wrong))
