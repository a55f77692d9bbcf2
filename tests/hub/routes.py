"""Which request goes where; accounts, repositories and refs are answered here."""

from __future__ import annotations

from typing import Any

from tests.hub import contents, uploads
from tests.hub.exchange import HubError, Reply, Request, as_json, revision_not_found
from tests.hub.git_repos import ZERO, GitError
from tests.hub.state import KINDS, HostedRepo, HubState


def answer(state: HubState, request: Request) -> Reply:
    """Do what a request asks; an error the Hub would give is a reply too."""
    try:
        return _answer(state, request)
    except HubError as error:
        return error.reply()


def _answer(state: HubState, request: Request) -> Reply:
    method = "GET" if request.method == "HEAD" else request.method
    match method, *request.segments:
        case "GET", "api", "whoami-v2":
            return _whoami(state, request)
        case "GET", "api", "agent-harnesses":
            return as_json({"standardEnvVars": [], "harnesses": {}})
        case "POST", "api", "validate-yaml":
            return _validate_yaml(request.json())
        case "POST", "api", "repos", "create":
            return _create_repo(state, request)
        case "DELETE", "api", "repos", "delete":
            return _delete_repo(state, request)
        case _, "api", ("datasets" | "models" | "spaces") as kind, owner, name, *rest:
            repo_id = f"{owner}/{name}"
            if method == "GET" or rest[:1] == ["paths-info"] or rest == ["lfs-files", "duplicate"]:
                write = rest[:1] == ["xet-write-token"]
                repo = state.open(request, kind, repo_id, write=write)
                return _read(state, request, repo, rest)
            return _change(state, request, state.open(request, kind, repo_id, write=True), rest)
        case _, "store", key, *rest:
            return _store(state, request, method, key, rest)
        case "POST", *place, "info", "lfs", "objects", "batch":
            return uploads.lfs_batch(state, request, _git_repo(state, request, place))
        case "POST", *place, "info", "lfs", "verify":
            return uploads.lfs_verify(state, request, _git_repo(state, request, place))
        case "GET", ("datasets" | "spaces") as kind, owner, name, "resolve", rev, *path:
            repo = state.open(request, kind, f"{owner}/{name}")
            return contents.resolve(state, request, repo, rev, "/".join(path))
        case "GET", owner, name, "resolve", rev, *path:
            repo = state.open(request, "models", f"{owner}/{name}")
            return contents.resolve(state, request, repo, rev, "/".join(path))
    raise _not_served(request)


def _read(state: HubState, request: Request, repo: HostedRepo, rest: list[str]) -> Reply:
    match request.method, *rest:
        case (_,):
            return contents.info(state, request, repo, "main")
        case _, "revision", rev:
            return contents.info(state, request, repo, rev)
        case _, "refs":
            return contents.refs(request, repo)
        case _, "tree", rev, *path:
            return contents.tree(state, request, repo, rev, "/".join(path))
        case _, "commits", rev:
            return contents.commits(state, request, repo, rev)
        case "POST", "paths-info", rev:
            return contents.paths_info(state, request, repo, rev)
        case "POST", "lfs-files", "duplicate":
            return uploads.duplicate(state, request, repo)
        case _, ("xet-read-token" | "xet-write-token") as name, _:
            return uploads.xet_token(state, write=name == "xet-write-token")
    raise _not_served(request)


def _change(state: HubState, request: Request, repo: HostedRepo, rest: list[str]) -> Reply:
    match request.method, *rest:
        case "POST", "preupload", rev:
            return uploads.preupload(request, repo, rev)
        case "POST", "commit", rev:
            return uploads.commit(state, request, repo, rev)
        case "POST", "tag", rev:
            return _create_tag(state, request, repo, rev)
        case "DELETE", "tag", name:
            return _delete_ref(repo, f"refs/tags/{name}", repo.git.refs().tags.get(name))
        case "POST", "branch", name:
            return _create_branch(request, repo, name)
        case "DELETE", "branch", name:
            if name == "main":
                raise HubError(403, "Cannot delete refs/heads/main")
            return _delete_ref(repo, f"refs/heads/{name}", repo.git.refs().branches.get(name))
    raise _not_served(request)


def _store(state: HubState, request: Request, method: str, key: str, rest: list[str]) -> Reply:
    match method, *rest:
        case ("GET",):
            return contents.store_get(state, request, key)
        case ("PUT",):
            return uploads.store_put(state, request, key)
        case "POST", "complete":
            return uploads.store_complete(state, request, key)
        case "PUT", number:
            return uploads.store_part(state, request, key, number)
    raise _not_served(request)


def _git_repo(state: HubState, request: Request, place: list[str]) -> HostedRepo:
    kind = place[0] if place[0] in KINDS.values() else "models"
    repo_id = "/".join(place[-2:]).removesuffix(".git")
    return state.open(request, kind, repo_id, write=True)


def _not_served(request: Request) -> HubError:
    return HubError(404, f"This loopback Hub does not serve {request.method} {request.target}")


# Accounts and repositories


def _whoami(state: HubState, request: Request) -> Reply:
    account = state.account(request)
    if account is None:
        raise HubError(401, "Invalid username or password.")
    role = "write" if account.can_write else "read"
    orgs = [name for name, members in state.orgs.items() if account.user in members]
    return as_json(
        {
            "type": "user",
            "id": account.user,
            "name": account.user,
            "fullname": account.user.title(),
            "email": f"{account.user}@users.example",
            "orgs": [{"type": "org", "name": name, "roleInOrg": "write"} for name in orgs],
            "auth": {
                "type": "access_token",
                "accessToken": {"displayName": "tests", "role": role},
            },
        }
    )


def _validate_yaml(asked: dict[str, Any]) -> Reply:
    """Only what can be told without a YAML parser: is there a header, and does it end."""
    lines = asked["content"].splitlines()
    if not lines or lines[0].rstrip() != "---":
        warning = {"message": "empty or missing yaml metadata in repo card"}
        return as_json({"errors": [], "warnings": [warning]})
    if "---" not in [line.rstrip() for line in lines[1:]]:
        errors = [{"message": "the yaml metadata does not end"}]
        return as_json({"errors": errors, "warnings": []}, status=400)
    return as_json({"errors": [], "warnings": []})


def _named_in(state: HubState, asked: dict[str, Any], request: Request) -> tuple[str, str, str]:
    kind = KINDS[asked.get("type") or "model"]
    account = state.account(request)
    owner = asked.get("organization") or (account.user if account else "")
    author = state.writer(request, owner).user
    return kind, f"{owner}/{asked['name']}", author


def _create_repo(state: HubState, request: Request) -> Reply:
    asked = request.json()
    kind, repo_id, author = _named_in(state, asked, request)
    private = asked.get("visibility") == "private" or bool(asked.get("private"))
    created = state.create(kind, repo_id, private=private, author=author)
    repo = created or state.find(kind, repo_id)
    assert repo is not None
    url = f"{state.endpoint}/{repo.web_path}"
    if created is None:
        message = f"You already created this {kind.removesuffix('s')} repo: {repo.id}"
        raise HubError(409, message, url=url)
    return as_json({"url": url, "name": repo.id, "id": repo.id})


def _delete_repo(state: HubState, request: Request) -> Reply:
    kind, repo_id, _ = _named_in(state, request.json(), request)
    state.delete(state.open(request, kind, repo_id, write=True))
    return as_json({"success": True})


# Refs


def _create_tag(state: HubState, request: Request, repo: HostedRepo, rev: str) -> Reply:
    asked = request.json()
    target = contents.commit_of(repo, rev)
    name = asked["tag"]
    _check_ref(repo, f"refs/tags/{name}")
    if asked.get("message"):
        author = state.writer(request, repo.owner).user
        message = asked["message"]
        target = repo.git.write_tag(name, target, message=message, author=author)
    return _create_ref(repo, f"refs/tags/{name}", target)


def _create_branch(request: Request, repo: HostedRepo, name: str) -> Reply:
    start = contents.commit_of(repo, request.json().get("startingPoint", "main"))
    _check_ref(repo, f"refs/heads/{name}")
    return _create_ref(repo, f"refs/heads/{name}", start)


def _create_ref(repo: HostedRepo, ref: str, target: str) -> Reply:
    if not repo.git.move_ref(ref, new=target, old=ZERO):
        raise HubError(409, f"Reference {ref} already exists")
    return as_json({"success": True})


def _delete_ref(repo: HostedRepo, ref: str, target: str | None) -> Reply:
    if target is None:
        raise revision_not_found(ref.split("/", 2)[2])
    now = repo.git.git("rev-parse", "--verify", ref).strip()  # an annotated tag is no commit
    repo.git.move_ref(ref, new=None, old=now)
    return as_json({"success": True})


def _check_ref(repo: HostedRepo, ref: str) -> None:
    try:
        repo.git.git("check-ref-format", ref)
    except GitError as error:
        raise HubError(400, f"Invalid reference name: {ref}") from error
