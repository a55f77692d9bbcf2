"""A plan to render, and the schemas of what Kubernetes and KubeRay take."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from dataprune.core.recipe import Recipe, parse_recipe
from dataprune.runs.schedule import TARGETS
from dataprune.runs.schedule._plan import Plan, check_plan

FACTS = Path(__file__).parent / "facts"
KINDS = {"ConfigMap": "kubernetes", "CronJob": "kubernetes", "RayJob": "kuberay",
         "RayCronJob": "kuberay"}  # fmt: skip
DATA: dict[str, Any] = {"name": "mine", "source": {"uri": "digits"}, "seeds": 4}


def recipe(**changes: Any) -> Recipe:
    return parse_recipe({**DATA, **changes}, where="tests")


@pytest.fixture
def plan() -> Callable[..., Plan]:
    """A plan of a shipped recipe's name; any field may be another."""

    def made(**changes: Any) -> Plan:
        basis: dict[str, Any] = {
            "recipe": recipe(), "told": "mine", "recipe_text": None, "made_by": "dataprune ...",
            "executable": Path("/opt/bin/dataprune"), "folder": Path("/home/me"),
        }  # fmt: skip
        return Plan(**{**basis, **changes})

    return made


@pytest.fixture
def rendered() -> Callable[[str, Plan], str]:
    """The document of a target, its options checked as the command does."""

    def render(target: str, plan: Plan) -> str:
        chosen = TARGETS.get(target)
        check_plan(plan, chosen)
        return chosen.render(plan)

    return render


@pytest.fixture(scope="session")
def documents() -> Callable[[str], list[dict[str, Any]]]:
    """YAML's documents, each checked against the schema of its kind."""
    facts = {name: json.loads((FACTS / f"{name}.json").read_text()) for name in set(KINDS.values())}
    registry: Registry[Any] = Registry().with_resources(
        (name, Resource.from_contents({"$schema": Draft202012Validator.META_SCHEMA["$id"], **fact}))
        for name, fact in facts.items()
    )

    def read(text: str) -> list[dict[str, Any]]:
        found = list(yaml.safe_load_all(text))
        for document in found:
            kind = document["kind"]
            schema = {"$ref": f"{KINDS[kind]}#/$defs/{kind}"}
            Draft202012Validator(schema, registry=registry).validate(document)
        return found

    return read
