"""Jobs on a running Ray cluster: started, followed to their end, stopped.

The only place that knows Ray's Jobs API. Ray keeps jobs as long as the cluster lives and never
retries one: that is for the submitter to decide, in `runs/job_request.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

from dataprune.core.errors import DatapruneError, UsageError
from dataprune.core.extras import require
from dataprune.runs.job_request import JobRecord, Request

_POLL_S = 1.0
_ANSWER_S = (5, 30)  # to connect, to answer
_SILENCE_S = 300  # without a log line: ask anew, in case the connection died quietly
_LOST_TRIES, _LOST_WAIT_S = 5, 3.0
_STOP_S = 30
_NOT_READY = "No available agent"  # of a head that answers and takes no jobs yet
_READY_S = 60
_PENDING_S = 5  # then tell why a job has not started
_OLDEST = (2, 2)  # the first Ray with entrypoint_num_cpus
_LOGS = ", last available logs"  # in a message, after what went wrong
_TALKERS = (
    "ray.dashboard.modules.job.sdk", "ray.dashboard.modules.dashboard_sdk",
    "ray._private.runtime_env.packaging",
)  # fmt: skip
_OVERRIDES = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")

Write = Callable[[str], None]


class Jobs:
    """The jobs of one cluster."""

    def __init__(self, address: str) -> None:
        """Connect.

        Raises:
            UsageError: the address is not that of a cluster's dashboard.
            DatapruneError: nothing answers, the token is refused, or Ray is too old.
            MissingExtraError: Ray is not installed.
        """
        self.address = address.rstrip("/")
        check_address(self.address)
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        sdk = require("ray.job_submission", extra="ray", why="dataprune submit")
        for name in _TALKERS:
            logging.getLogger(name).setLevel(logging.ERROR)  # what they log is told here, too
        self._check_there()
        with self._errors(), _own_address():
            self._client = sdk.JobSubmissionClient(self.address)

    def attempts(self, base_id: str) -> list[JobRecord]:
        """All attempts at one thing, in order."""
        with self._errors():
            found = [_record(details) for details in self._client.list_jobs()]
        ours = [j for j in found if j.attempt is not None and _base(j.submission_id) == base_id]
        return sorted(ours, key=lambda job: job.attempt or 0)

    def job(self, submission_id: str) -> JobRecord:
        """How a job stands.

        Raises:
            DatapruneError: the cluster knows no such job.
        """
        with self._errors(submission_id):
            return _record(self._client.get_job_info(submission_id))

    def start(self, request: Request, attempt: int) -> bool:
        """Start an attempt; False if somebody else has just started the same."""
        runtime_env: dict[str, Any] = {}
        if request.working_dir is not None:
            runtime_env["working_dir"] = str(request.working_dir)
        if request.env:
            runtime_env["env_vars"] = dict(request.env)
        submission_id = request.submission_id(attempt)
        deadline = time.monotonic() + _READY_S
        while True:
            try:
                with self._errors():
                    self._client.submit_job(
                        entrypoint=request.entrypoint,
                        submission_id=submission_id,
                        runtime_env=runtime_env,
                        entrypoint_num_cpus=request.driver_cpus,
                        metadata={"occasion": request.occasion} if request.occasion else {},
                    )
            except _LostError as exc:
                told = str(exc.__cause__)
                if "already exists" in told:
                    return False
                if _NOT_READY not in told or time.monotonic() > deadline:
                    raise
                time.sleep(_POLL_S)
            else:
                return True

    def follow(self, submission_id: str, write: Write, tell: Write) -> JobRecord:
        """Hand a job's log to `write` as it grows, until the job ends; return how it ended.

        tell: why it does not start, once, if it has to wait.

        Raises:
            DatapruneError: the cluster is gone, or has forgotten the job.
        """
        seen, failures, told = 0, 0, False
        while True:
            try:
                told = self._wait_for_start(submission_id, tell, told=told)
                for text in self._tail(submission_id, skip=seen):
                    seen, failures = seen + len(text), 0
                    write(text)
                job = self.job(submission_id)
            except _LostError as exc:
                failures += 1
                if failures > _LOST_TRIES:
                    raise DatapruneError(
                        f"the cluster at {self.address} was lost while job {submission_id} ran: "
                        f"{exc.message}",
                        hint="a job ends with its cluster; submit again where it is back: units "
                        "that finished are kept in the run folder",
                    ) from exc
                time.sleep(_LOST_WAIT_S)
                continue
            if job.ended:
                return job
            time.sleep(_POLL_S)

    def stop(self, submission_id: str) -> tuple[bool, JobRecord]:
        """Ask a job to end and wait for it; whether it was there to end, and how it stands now.

        One that still waits for resources stays so: Ray hands it the request when it starts.
        """
        with self._errors(submission_id):
            was_running = self._client.stop_job(submission_id)
        deadline = time.monotonic() + _STOP_S
        while not (job := self.job(submission_id)).ended and time.monotonic() < deadline:
            if job.status == "PENDING":
                break
            time.sleep(_POLL_S)
        return was_running, job

    def _wait_for_start(self, submission_id: str, tell: Write, *, told: bool) -> bool:
        """Wait while a job is pending; whether it was told why."""
        since = time.monotonic()
        while (job := self.job(submission_id)).status == "PENDING":
            if not told and time.monotonic() - since > _PENDING_S:
                told = True
                tell(job.message)
            time.sleep(_POLL_S)
        return told

    def _tail(self, submission_id: str, skip: int) -> Iterator[str]:
        """A job's log from its beginning, without the first `skip` characters, until it ends."""
        # A Runner, not a bare loop: Ctrl-C then ends the reading before it is raised here.
        with asyncio.Runner() as runner, self._errors(submission_id):
            lines = self._client.tail_job_logs(submission_id)

            async def coming() -> str | None:
                try:
                    return await asyncio.wait_for(anext(lines), _SILENCE_S)
                except (StopAsyncIteration, TimeoutError):
                    return None

            while (text := runner.run(coming())) is not None:
                shown = text[skip:]
                skip = max(0, skip - len(text))
                if shown:
                    yield shown

    def _check_there(self) -> None:
        """Ask who answers, with a time limit: Ray's client has none."""
        requests = require("requests", extra="ray", why="dataprune submit")
        try:
            reply = requests.get(f"{self.address}/api/version", timeout=_ANSWER_S)
        except (OSError, ValueError) as exc:  # requests' own errors are these
            raise DatapruneError(
                f"nothing answers at {self.address}: {_reason(exc)}",
                hint="--address is that of the head's dashboard, such as http://HEAD:8265",
            ) from exc
        if reply.status_code in {401, 403}:
            return  # the client brings the token along
        try:
            told = str(reply.json()["ray_version"])
            version = tuple(int(part) for part in told.split(".")[:2])
        except (ValueError, KeyError, TypeError) as exc:
            raise DatapruneError(
                f"what answers at {self.address} is not a Ray cluster (HTTP {reply.status_code})",
                hint="--address is that of the head's dashboard, such as http://HEAD:8265",
            ) from exc
        if version < _OLDEST:
            raise DatapruneError(
                f"the cluster at {self.address} runs Ray {told}, which is too old to submit to",
                hint="build the cluster's image from this project's Dockerfile",
            )

    @contextlib.contextmanager
    def _errors(self, submission_id: str | None = None) -> Iterator[None]:
        """Make one sentence of what Ray's client raises."""
        from ray.exceptions import AuthenticationError

        http = require("aiohttp", extra="ray", why="dataprune submit")
        try:
            yield
        except AuthenticationError as exc:
            raise DatapruneError(
                f"the cluster at {self.address} refuses this token, or wants one: "
                f"{str(exc).splitlines()[0]}",
                hint="set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN to the cluster's token",
            ) from exc
        except (OSError, http.ClientError) as exc:
            raise _LostError(f"{self.address} does not answer: {_reason(exc)}") from exc
        except RuntimeError as exc:
            if submission_id is not None and "does not exist" in str(exc):
                raise DatapruneError(
                    f"the cluster at {self.address} knows no job {submission_id}",
                    hint="give the arguments it was submitted with; a cluster that was started "
                    "anew has forgotten its jobs",
                ) from exc
            raise _LostError(f"{self.address}: {_reason(exc)}") from exc


class _LostError(DatapruneError):
    """The cluster did not answer as it should; it may again."""


def check_address(address: str) -> None:
    """Refuse what is not the URL of a dashboard.

    Raises:
        UsageError: it is none; the hint shows what one looks like.
    """
    url = re.fullmatch(r"https?://(?P<user>[^/@]*@)?[^/@\s]+(/.*)?", address)
    if url is None:
        raise UsageError(
            f"{address!r} is not the address of a cluster's dashboard",
            hint="give a URL such as http://HEAD:8265",
        )
    if url["user"]:
        raise UsageError(
            "the address holds credentials, which would be shown",
            hint="leave them out; a cluster's token goes into RAY_AUTH_TOKEN",
        )


@contextlib.contextmanager
def _own_address() -> Iterator[None]:
    """Hide the variables which Ray's client puts above the address that it is given."""
    kept = {name: os.environ.pop(name) for name in _OVERRIDES if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(kept)


def _record(details: Any) -> JobRecord:
    submission_id = details.submission_id or details.job_id or ""
    number = re.search(r"-a(\d+)$", submission_id)
    return JobRecord(
        submission_id=submission_id,
        attempt=int(number[1]) if number else None,
        status=str(getattr(details.status, "value", details.status)),
        driver_code=details.driver_exit_code,
        message=" ".join((details.message or "").partition(_LOGS)[0].split()),
        entrypoint=details.entrypoint,
        occasion=(details.metadata or {}).get("occasion"),
        started_s=details.start_time / 1000 if details.start_time else None,
        ended_s=details.end_time / 1000 if details.end_time else None,
    )


def _base(submission_id: str) -> str:
    return re.sub(r"-a\d+$", "", submission_id)


def _reason(exc: BaseException) -> str:
    """The innermost cause of a network error, or the end of a server's traceback, in short."""
    lines = str(exc).strip().splitlines() or [""]
    text = " ".join((lines[-1] if "Traceback" in str(exc) else " ".join(lines)).split())
    inner = re.search(r"(Connection refused|timed out|Name or service not known|No route)", text)
    return inner[1].lower() if inner else text[:200] or type(exc).__name__
