"""What is to be scheduled, settled once for every target: a recipe, its command, where, when."""

from __future__ import annotations

import hashlib
import re
import zoneinfo
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from dataprune.core.errors import UsageError
from dataprune.core.recipe import Recipe
from dataprune.runs import job_command
from dataprune.runs.submit import check_address

RECIPE_FOLDER = PurePosixPath("/etc/dataprune")  # where pods find a recipe of the user's own
_LABEL = re.compile(r"[a-z]([a-z0-9-]*[a-z0-9])?")


@dataclass(frozen=True)
class Plan:
    """A recipe and how it is to be run.

    told: the recipe as it was named: a shipped one, or a file.
    recipe_text: of a file; None for a shipped recipe.
    made_by: the command line that renders this.
    secret_env: variable -> (Secret, key in it). claims: PersistentVolumeClaim -> its mount path.
    more: further arguments of the command that runs the recipe.
    executable, folder: `dataprune` and the working folder on this machine.
    """

    recipe: Recipe
    told: str
    recipe_text: str | None
    made_by: str
    name: str | None = None
    cron: str | None = None
    timezone: str | None = None
    work: str | None = None
    store: str | None = None
    address: str | None = None
    image: str | None = None
    ray_version: str | None = None
    auth_secret: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    secret_env: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    claims: Mapping[str, str] = field(default_factory=dict)
    max_workers: int | None = None
    deadline_hours: float | None = None
    more: tuple[str, ...] = ()
    executable: Path = Path("dataprune")
    folder: Path = Path()

    @property
    def pod_recipe(self) -> str:
        """How the recipe is named inside a pod."""
        return self.told if self.recipe_text is None else str(RECIPE_FOLDER / Path(self.told).name)

    @property
    def local_recipe(self) -> str:
        """How the recipe is named on this machine, from any folder."""
        return self.told if self.recipe_text is None else str(Path(self.told).resolve())

    @property
    def run_folder(self) -> str | None:
        """Where the run will keep its units: as asked for here, else as the recipe says."""
        return self.work or self.recipe.run.work

    @property
    def deadline_s(self) -> int:
        """After how long a run is given up."""
        return int((self.deadline_hours or 24) * 3600)

    def named(self, *, longest: int) -> str:
        """The document's name, as Kubernetes wants it: a DNS label.

        Raises:
            UsageError: the name that was given is none, or too long.
        """
        if self.name is not None:
            if not _LABEL.fullmatch(self.name) or len(self.name) > longest:
                raise UsageError(
                    f"--name {self.name} is no name here",
                    hint=f"at most {longest} of a-z, 0-9 and -, beginning with a letter",
                )
            return self.name
        slug = re.sub(r"[^a-z0-9]+", "-", f"dataprune-{self.recipe.name.lower()}").strip("-")
        if len(slug) <= longest:
            return slug
        digest = hashlib.sha256(self.recipe.name.encode()).hexdigest()[:6]
        return f"{slug[: longest - 7].rstrip('-')}-{digest}"

    def submit_arguments(self, recipe: str, *, again: list[str]) -> list[str]:
        """`dataprune submit ...`, to a cluster that is there already.

        again: the option by which each scheduled time starts a run of its own.
        """
        assert self.address is not None, "it was asked for"
        line = ["submit", recipe, "--address", self.address, *again]
        line += job_command.places(self.work, self.store)
        for name, value in self.env.items():
            line += ["--env", f"{name}={value}"]
        return [*line, "--", *self.more] if self.more else line

    def local_arguments(self) -> list[str]:
        """The command on this machine: submit to a cluster if there is an address, or run here."""
        if self.address is not None:
            return self.submit_arguments(self.local_recipe, again=["--again"])
        places = job_command.places(self.work, self.store)
        return [job_command.job_verb(self.recipe), self.local_recipe, *places, *self.more]


@dataclass(frozen=True)
class Target:
    """A kind of document.

    uses: the options that have an effect, by their name in Plan; another one is an error.
    needs: those without which there is no document.
    """

    name: str
    render: Callable[[Plan], str]
    uses: frozenset[str]
    needs: frozenset[str] = frozenset()


def check_plan(plan: Plan, target: Target) -> None:
    """Refuse options without an effect, missing ones, secrets, and an unknown time zone.

    Raises:
        UsageError: the first that is wrong.
    """
    shown = target.name.replace("_", "-")
    optional = (
        "cron", "timezone", "work", "address", "image", "ray_version", "auth_secret", "env",
        "secret_env", "claims", "max_workers", "deadline_hours",
    )  # fmt: skip
    for option in optional:
        given = getattr(plan, option) not in (None, {})
        there = given or (option == "work" and plan.run_folder is not None)
        flag = "--" + option.rstrip("s" if option == "claims" else "").replace("_", "-")
        if given and option not in target.uses | target.needs:
            raise UsageError(f"{flag} has no effect on the target {shown}")
        if not there and option in target.needs:
            raise UsageError(f"the target {shown} needs {flag}")
    if plan.timezone is not None and plan.timezone not in zoneinfo.available_timezones():
        raise UsageError(
            f"there is no time zone {plan.timezone}", hint="IANA names, such as Europe/Berlin"
        )
    job_command.check_recipe_is_public(plan.recipe)
    job_command.check_environment(
        plan.env, instead="keep it in a Kubernetes Secret: --secret-env NAME=SECRET:KEY, or in the "
        "environment of the cluster or the scheduler"
    )  # fmt: skip
    folders = [plan.work or "", plan.store or ""]
    job_command.check_no_credentials([*folders, *plan.more], where="the arguments")
    if plan.address is not None:
        check_address(plan.address)
    if plan.address is not None or "image" in target.uses:  # else it runs on this machine
        job_command.check_folders(plan.recipe, plan.run_folder, plan.store)
    job_command.check_store_has_an_effect(plan.recipe, plan.store)
