"""The Hugging Face Hub, asked with care: time limits, errors in one sentence, commits not names.

The client's own calls wait for ever, and some of them answer from a cache when the Hub does not
answer. Here every question has a time limit, every failure says what failed and why, and content
is only read at a commit id, where it cannot change, with its hash checked.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import json
import logging
import random
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx2
from huggingface_hub import HfApi, constants, set_client_factory
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
    XetDownloadError,
)
from huggingface_hub.hf_api import RepoFile, RepoFolder
from huggingface_hub.utils import _http as client
from huggingface_hub.utils import tqdm, validate_repo_id

from dataprune._version import __version__
from dataprune.core.errors import (
    DatapruneError,
    HubError,
    HubMissingError,
    HubUnsureError,
    UsageError,
)
from dataprune.core.files import sha256_file
from dataprune.sources._files import one_line

T = TypeVar("T")

log = logging.getLogger("dataprune")

COMMIT = re.compile(r"[0-9a-f]{40}")
REPO_TYPE = "dataset"
TRIES = 4
_TRIES_OVERTAKEN = 24  # by other publishers, each of which got on
_CONNECT_S = 10.0
_READ_S = 120.0  # a commit of thousands of files takes the Hub two minutes
_MAX_WAIT_S = 60.0
_TOKEN = re.compile(r"hf_[A-Za-z0-9_]{6,}")
_LOCAL_TROUBLE = frozenset(
    {errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EDQUOT, errno.ENOTDIR, errno.ENOENT, errno.EIO}
    | {errno.EMFILE, errno.EISDIR}
)
_OBJECT_NOT_THERE_YET = "LFS pointer pointed to a file that does not exist"

wait_s = 1.0  # before the second try; doubled for each further one


@dataclass(frozen=True)
class RemoteFile:
    """A file of a dataset repository at one commit.

    sha256: of its bytes, where it is kept in LFS or Xet; None for a file that git holds itself.
    blob: git's id of what git holds: the file, or the pointer to it.
    """

    path: str
    size: int
    blob: str
    sha256: str | None


@dataclass(frozen=True)
class Refs:
    """Names of a repository and the commits they lead to."""

    branches: dict[str, str]
    tags: dict[str, str]


def check_repo_id(repo: str) -> str:
    """Return the id if it is a legal ORG/REPO.

    Raises:
        UsageError: it is not.
    """
    try:
        validate_repo_id(repo)
        legal = repo.count("/") == 1
    except HFValidationError:
        legal = False
    if not legal:
        pasted = re.search(r"datasets/([\w.-]+/[\w.-]+)", repo)
        meant = f"did you mean {pasted[1]}? " if pasted else ""
        raise UsageError(
            f"{repo!r} is not the name of a Hub dataset",
            hint=f"{meant}it is ORG/REPO or USER/REPO, of letters, digits, '-', '_' and '.'",
        )
    return repo


@functools.cache
def api() -> HfApi:
    """The client; its token comes from the usual places (HF_TOKEN, `hf auth login`).

    Time limits hold for all that this process asks through huggingface_hub, unless the user has set
    a client factory of their own.
    """
    if client._GLOBAL_CLIENT_FACTORY is client.default_client_factory:  # noqa: SLF001 - else: the user's
        set_client_factory(_client_with_limits)
    return HfApi(library_name="dataprune", library_version=__version__)


def _client_with_limits() -> httpx2.Client:
    made = client.default_client_factory()
    made.timeout = httpx2.Timeout(_READ_S, connect=_CONNECT_S)
    return made


def endpoint() -> str:
    """Address of the Hub in use, without a slash at its end."""
    return constants.ENDPOINT.rstrip("/")


def is_offline() -> bool:
    """Whether the user wants the Hub left alone (HF_HUB_OFFLINE)."""
    return bool(constants.is_offline_mode())


def patiently(ask: Callable[[], T], *, tries: int | None = None) -> T:
    """Ask again, with growing pauses, while it is not known what the Hub did.

    tries: how often at most; default: `TRIES`.
    """
    left, overtaken_left, wait = tries or TRIES, _TRIES_OVERTAKEN, wait_s
    while True:
        try:
            return ask()
        except HubUnsureError as exc:
            left, overtaken_left = left - (not exc.overtaken), overtaken_left - exc.overtaken
            if not left or not overtaken_left:
                raise
            jittered = min(wait, _MAX_WAIT_S) * (0.5 + random.random())  # noqa: S311 - a pause
            pause = min(max(jittered, exc.retry_after_s), _MAX_WAIT_S)
            log.info("%s; asking again in %.0f s", exc.message, max(pause, 1))
            time.sleep(pause)
            wait *= 1 if exc.overtaken else 2


def refs(repo: str) -> Refs:
    """Branches and tags of a repository.

    Raises:
        HubError: there is none, it may not be read, or the Hub does not answer.
    """
    with asking(f"reading {repo}"):
        found = api().list_repo_refs(repo, repo_type=REPO_TYPE)
    return Refs(
        {ref.name: ref.target_commit for ref in found.branches},
        {ref.name: ref.target_commit for ref in found.tags},
    )


@dataclass(frozen=True)
class Resolved:
    """Where a revision leads.

    card: the metadata of the dataset's card there.
    """

    commit: str
    card: dict[str, Any]
    private: bool

    @property
    def license(self) -> str | None:
        """As the card states it."""
        stated = self.card.get("license")
        if isinstance(stated, list):
            return ", ".join(map(str, stated)) or None
        return None if stated is None else str(stated)


def resolve(repo: str, revision: str | None) -> Resolved:
    """The commit that a branch, tag or commit leads to, and what its card says.

    Raises:
        HubError: as `refs`; or there is no such revision.
    """
    with asking(f"reading {repo}@{revision or 'main'}"):
        info = api().dataset_info(repo, revision=revision)
    card = info.card_data
    metadata = {} if card is None else dict(vars(card))
    return Resolved(str(info.sha), metadata, bool(info.private))


def tree(repo: str, commit: str) -> dict[str, RemoteFile]:
    """Every file of a commit, by path."""
    with asking(f"listing {repo}@{commit[:8]}"):
        entries = list(
            api().list_repo_tree(repo, recursive=True, revision=commit, repo_type=REPO_TYPE)
        )
    return _by_path(entries)


def some_files(repo: str, commit: str, paths: Sequence[str]) -> dict[str, RemoteFile]:
    """Of these paths, the files that a commit has: one request, however many files there are."""
    with asking(f"reading {repo}@{commit[:8]}"):
        entries = api().get_paths_info(repo, list(paths), revision=commit, repo_type=REPO_TYPE)
    return _by_path(entries)


def _by_path(entries: Iterable[RepoFile | RepoFolder]) -> dict[str, RemoteFile]:
    return {
        entry.path: RemoteFile(
            entry.path, entry.size, entry.blob_id, entry.lfs.sha256 if entry.lfs else None
        )
        for entry in entries
        if isinstance(entry, RepoFile)
    }


def is_private(repo: str) -> bool:
    """Whether a repository is shown to its members only."""
    with asking(f"reading {repo}"):
        return bool(api().dataset_info(repo).private)


def fetch(
    repo: str, commit: str, path: str, sha256: str | None = None, *, blob: str | None = None
) -> Path:
    """A file at a commit, on this machine: from the Hub's usual cache, else downloaded.

    sha256: what its bytes must have; a file in the cache that does not is fetched anew, once.
    blob: git's id of its bytes, for a file of which no SHA-256 is known.

    Raises:
        HubError: it is not there, may not be read, or has other content than it should.
    """
    local = _download(repo, commit, path)
    if _is_right(local, sha256, blob):
        return local
    local = fetch_anew(repo, commit, path)
    if not _is_right(local, sha256, blob):
        raise HubError(
            f"{path} of {repo}@{commit[:8]} arrives with other content than the Hub says it has",
            hint="something between here and the Hub changes it; try from another network",
        )
    return local


def _is_right(local: Path, sha256: str | None, blob: str | None) -> bool:
    if sha256 is not None:
        return sha256_file(local) == sha256
    if blob is None:
        return True
    return git_blob(local.read_bytes()) == blob  # git holds small files only


def git_blob(data: bytes) -> str:
    """Git's id of a file with these bytes (SHA-1 of a header and them)."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()  # noqa: S324 - git's choice


def fetch_anew(repo: str, commit: str, path: str) -> Path:
    """A file at a commit, downloaded even if the cache has it: what the cache has is wrong."""
    return _download(repo, commit, path, force=True)


def _download(repo: str, commit: str, path: str, *, force: bool = False) -> Path:
    if not COMMIT.fullmatch(commit):
        raise HubError(f"the Hub says that {repo} is at {commit!r}, which is no commit")
    with asking(f"fetching {path} of {repo}@{commit[:8]}"):
        return Path(
            api().hf_hub_download(
                repo, path, repo_type=REPO_TYPE, revision=commit, force_download=force,
                tqdm_class=_NoBar,
            )
        )  # fmt: skip


class _NoBar(tqdm):
    """Many files at once have one bar, of whoever wants them."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "disable": True})  # type: ignore[no-untyped-call]


def bar(total_bytes: int, what: str) -> tqdm:
    """A bar of bytes as the client shows them: on a terminal, unless the user turned them off."""
    options: dict[str, Any] = {"total": total_bytes, "unit": "B", "unit_scale": True, "desc": what}
    return tqdm(**options)  # type: ignore[no-untyped-call]


def cached(repo: str, commit: str, path: str) -> Path | None:
    """A file at a commit if it is in the cache already; the Hub is not asked."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(repo, path, revision=commit, repo_type=REPO_TYPE)
    return Path(found) if isinstance(found, str) else None


@contextlib.contextmanager
def asking(what: str) -> Iterator[None]:
    """Turn what the client raises into one sentence.

    what: what is being done, as in "reading ORG/REPO".

    Raises:
        HubUnsureError: the Hub failed, was busy or did not answer: asking again may help.
        HubError: it refused, or there is no such thing.
    """
    try:
        yield
    except DatapruneError:
        raise
    except _RAISED as exc:
        cause = _cause(exc)
        if isinstance(cause, ValueError) and not isinstance(cause, _OF_THE_ANSWER):
            raise  # of ours: what the client was asked was wrong
        if isinstance(cause, OSError) and cause.errno in _LOCAL_TROUBLE:
            raise cause from None
        raise _told(what, cause) from exc


# A failed upload is a RuntimeError, with its cause; hf_xet raises some without.
_RAISED = (HfHubHTTPError, httpx2.HTTPError, OSError, XetDownloadError, ValueError, RuntimeError)

_OF_THE_ANSWER = (HfHubHTTPError, json.JSONDecodeError)  # a proxy may answer with a page of its own


_AGAIN = "run the same command again: what was done is found and not done twice"


def _cause(exc: BaseException) -> BaseException:
    """What the client met, where it only says that the cache has no such file either."""
    has_own_answer = isinstance(exc, HfHubHTTPError | httpx2.HTTPError | OfflineModeIsEnabled)
    while not has_own_answer and exc.__cause__ is not None:
        exc = exc.__cause__
        has_own_answer = isinstance(exc, HfHubHTTPError | httpx2.HTTPError | OfflineModeIsEnabled)
    return exc


def _told(what: str, exc: BaseException) -> HubError:
    if isinstance(exc, OfflineModeIsEnabled) or constants.is_offline_mode():
        return HubError(
            f"{what} failed: offline mode is on (HF_HUB_OFFLINE), so the Hub was not asked",
            hint="unset HF_HUB_OFFLINE",
        )
    if isinstance(exc, HfHubHTTPError) and exc.response is not None:
        return _answered(what, exc)
    return HubUnsureError(f"{what} failed: no answer from {endpoint()}: {_clean(exc)}", hint=_AGAIN)


def _answered(what: str, exc: HfHubHTTPError) -> HubError:
    """What an answer with a status above 399 means."""
    status = exc.response.status_code
    said = f": {_clean(exc.server_message)}" if exc.server_message else ""
    log_in = "log in with `hf auth login` or set HF_TOKEN to a token that may do this"
    if isinstance(exc, GatedRepoError):
        return HubError(f"{what} failed: it is gated ({status})", hint="ask for access on its page")
    if isinstance(exc, RepositoryNotFoundError):
        return HubMissingError(
            f"{what} failed: the Hub has no such dataset, or this token may not see it ({status})",
            hint=f"check both parts of the name; if it is private, {log_in}",
        )
    if isinstance(exc, RevisionNotFoundError):
        return HubMissingError(f"{what} failed: it has no such tag, branch or commit ({status})")
    if isinstance(exc, EntryNotFoundError):
        return HubMissingError(f"{what} failed: there is no such file ({status})")
    if status in {401, 403}:
        reason = "the token was refused" if status == 401 else "this token may not do this"
        hint = f"check the name of the organisation, or {log_in}" if status == 403 else log_in
        return HubError(f"{what} failed: {reason} ({status}){said}", hint=hint)
    if status in {408, 409, 412, 429} or status >= 500 or _OBJECT_NOT_THERE_YET in said:
        unsure = HubUnsureError(f"{what} failed: the Hub answered {status}{said}", hint=_AGAIN)
        after = exc.response.headers.get("Retry-After", "")
        unsure.overtaken = status in {409, 412}
        unsure.retry_after_s = float(after) if after.isdigit() else 0.0
        return unsure
    return HubError(f"{what} failed: the Hub answered {status}{said}")


def _clean(message: object) -> str:
    """An error's text in one line, with nothing in it that looks like a token."""
    text = one_line(message) if isinstance(message, BaseException) else str(message)
    return _TOKEN.sub("hf_***", " ".join(text.split())[:300])
