"""What is submitted to a cluster, and which of its attempts is meant.

A job's id says what it does (a fingerprint of recipe, arguments, files and environment) and which
attempt it is, so submitting is idempotent: what is there is attached to. `runs/submit.py` talks to
the cluster; nothing here does.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from dataprune.core.errors import BusyError, DatapruneError, UsageError
from dataprune.core.fingerprint import fingerprint
from dataprune.core.recipe import load_recipe
from dataprune.runs import job_command
from dataprune.runs.staging import stage

STOPPED_CODE = 130  # of a job that somebody stopped, as of a command that was interrupted
_OURS = range(5)  # exit codes that say something here
_NOT_FOUND_CODE = 127  # of a shell
_SECRETS = (
    "put it into the environment of the cluster's containers, from a Kubernetes Secret say: the "
    "job sees it there"
)


@dataclass(frozen=True)
class Request:
    """What to submit.

    base_id: of all attempts at the same thing.
    arguments: of `dataprune`.
    working_dir: a local folder to send, the job's working folder; None: nothing is sent.
    occasion: what this run is for, such as a scheduled time.
    num_left: data files of the user's folder that are not sent.
    keeps: whether there is a run folder that another attempt finds again.
    """

    base_id: str
    arguments: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    working_dir: Path | None = None
    driver_cpus: float = 1
    occasion: str | None = None
    num_left: int = 0
    keeps: bool = True

    @property
    def entrypoint(self) -> str:
        """The shell command that the job runs."""
        return shlex.join(["dataprune", *self.arguments])

    def submission_id(self, attempt: int) -> str:
        """The id of an attempt, the first being 1."""
        return f"{self.base_id}-a{attempt}"

    def ray_command(self, address: str, attempt: int, working_dir: Path | None) -> str:
        """The `ray job submit` line that does the same, quoted for a shell."""
        line = ["ray", "job", "submit", "--address", address]
        line += ["--submission-id", self.submission_id(attempt)]
        line += ["--entrypoint-num-cpus", f"{self.driver_cpus:g}"]
        if working_dir is not None:
            line += ["--working-dir", str(working_dir)]
        if self.env:
            line += ["--runtime-env-json", json.dumps({"env_vars": dict(self.env)})]
        if self.occasion is not None:
            line += ["--metadata-json", json.dumps({"occasion": self.occasion})]
        return shlex.join([*line, "--", "dataprune", *self.arguments])


@dataclass(frozen=True)
class JobRecord:
    """How a job stands, as the cluster tells."""

    submission_id: str
    attempt: int | None
    status: str
    driver_code: int | None
    message: str
    entrypoint: str
    occasion: str | None
    started_s: float | None
    ended_s: float | None

    @property
    def ended(self) -> bool:
        """Whether it will not change any more."""
        return self.status in {"SUCCEEDED", "FAILED", "STOPPED"}

    @property
    def exit_code(self) -> int | None:
        """Of `dataprune submit`: the job's own where it is one of ours; None until it ends."""
        if not self.ended:
            return None
        if self.status == "STOPPED":
            return STOPPED_CODE
        if self.status == "SUCCEEDED":
            return 0
        return self.driver_code if self.driver_code in _OURS and self.driver_code else 1

    @property
    def hint(self) -> str | None:
        """What to do about a job that failed without a word of ours."""
        if self.status != "FAILED" or self.driver_code in _OURS:
            return None
        if self.driver_code == _NOT_FOUND_CODE:
            return "the cluster's image has no dataprune: build it from this project's Dockerfile"
        return "submit again for another attempt: units that finished are kept in the run folder"


def choose(
    attempts: Sequence[JobRecord], request: Request, mode: Literal["default", "attach", "again"]
) -> JobRecord | int:
    """What to do, given the attempts so far in order: attach to one, or start that number.

    A request with an occasion starts anew for each occasion, and is otherwise as by default.

    Raises:
        BusyError: a new run is wanted while one of before still goes on.
        DatapruneError: there is none to attach to.
    """
    last = attempts[-1] if attempts else None
    if last is None or last.attempt is None:
        if mode == "attach":
            raise DatapruneError(
                f"the cluster knows no job {request.submission_id(1)}",
                hint="leave out --attach to start it",
            )
        return 1
    same = request.occasion is None or last.occasion == request.occasion
    gone_wrong = last.status in {"FAILED", "STOPPED"}
    if mode == "attach" or (mode == "default" and same and not gone_wrong):
        return last
    if not last.ended:
        raise BusyError(
            f"job {last.submission_id} is still {last.status.lower()}, so no other is started",
            hint="leave out --again to attach to it, or end it with --stop",
        )
    return last.attempt + 1


def request_for(
    recipe: str,
    *,
    folder: Path,
    work: str | None = None,
    store: str | None = None,
    working_dir: Path | None = None,
    env: Mapping[str, str] | None = None,
    more: Sequence[str] = (),
    driver_cpus: float = 1,
    occasion: str | None = None,
) -> Request:
    """The job that runs a recipe on a cluster; all that can be checked before one is asked.

    recipe: a shipped recipe's name, or a recipe file, which is sent along.
    folder: an empty folder, where the files to send are gathered; needed until it is submitted.
    work, store: the run folder and that of a release's versions, as the cluster sees them.
    working_dir: a local folder to send along with a recipe file.
    more: further arguments of the command.

    Raises:
        RecipeError: no such recipe, or not valid.
        UsageError: a secret would be shown, a path means nothing there, or too much would be sent.
    """
    env = dict(env or {})
    loaded = load_recipe(recipe)
    job_command.check_recipe_is_public(loaded)
    job_command.check_environment(env, instead=_SECRETS)
    job_command.check_no_credentials([work or "", store or "", *more], where="the arguments")
    run_folder = work or loaded.run.work
    job_command.check_folders(loaded, run_folder, store)
    told, files, is_file = recipe, [], Path(recipe).suffix in {".yaml", ".yml"}
    num_left = 0
    if is_file:
        near = run_folder is not None and "://" not in run_folder
        without = Path(run_folder) if run_folder is not None and near else None
        staged = stage(Path(recipe), working_dir, folder, without=without)
        told, files, num_left = staged.recipe, staged.files, staged.num_left
    elif working_dir is not None:
        raise UsageError(
            f"--working-dir goes along with a recipe file, and {recipe} is a shipped recipe",
            hint="copy the recipe into that folder and name its file",
        )
    arguments = job_command.job_arguments(loaded, told, work=work, store=store, more=more)
    identity = [loaded.model_dump(mode="json"), arguments, files, env]
    return Request(
        base_id=f"dataprune-{loaded.name}-{fingerprint(identity)[:12]}",
        arguments=arguments,
        env=env,
        working_dir=folder if is_file else None,
        driver_cpus=driver_cpus,
        occasion=occasion,
        num_left=num_left,
        keeps=run_folder is not None,
    )
