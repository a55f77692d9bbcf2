"""The image, without Docker: its file is read, and its build replayed in a clean environment."""

from __future__ import annotations

import filecmp
import json
import os
import platform
import re
import shlex
import shutil
import string
import subprocess
import sys
import tomllib
import venv
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path, PurePosixPath

import pytest

REPO = Path(__file__).resolve().parents[1]
# What a replay leaves out: these want root on a machine of their own.
SYSTEM_PROGRAMS = {"apt-get", "useradd"}


@dataclass(frozen=True)
class Step:
    """One instruction of the Dockerfile, its variables filled in (RUN's are its shell's to fill).

    args: what ARG and ENV have set so far; env: what ENV alone has, which is what stays.
    """

    kind: str
    text: str
    args: dict[str, str]
    env: dict[str, str]


def steps(**build_args: str) -> list[Step]:
    """The instructions after FROM, it included, for a build with these --build-arg."""
    text = re.sub(r"^#.*\n", "", (REPO / "Dockerfile").read_text(), flags=re.MULTILINE)
    before_from: dict[str, str] = {}
    args: dict[str, str] = {}
    env: dict[str, str] = {}
    found: list[Step] = []
    for line in text.replace("\\\n", " ").splitlines():
        kind, _, rest = line.partition(" ")
        if not kind:
            continue
        scope = args | env if found else before_from
        rest = rest.strip() if kind == "RUN" else string.Template(rest.strip()).substitute(scope)
        if kind == "ARG":
            name, _, default = rest.partition("=")
            default = default or before_from.get(name, "")
            (args if found else before_from)[name] = build_args.get(name, default)
            continue
        if kind == "ENV":
            env |= pairs(rest)
        found.append(Step(kind, rest, {k: v for k, v in (args | env).items() if v}, dict(env)))
    assert [step.kind for step in found].count("FROM") == 1 == (found[0].kind == "FROM")
    return found


def pairs(text: str) -> dict[str, str]:
    return dict(word.split("=", 1) for word in shlex.split(text))


def texts(kind: str) -> list[str]:
    return [step.text for step in steps() if step.kind == kind]


def labels() -> dict[str, str]:
    return {name: value for text in texts("LABEL") for name, value in pairs(text).items()}


def ignored(path: str) -> bool:
    """Whether .dockerignore keeps it out: the last line that names it or a parent decides."""
    parents = [path, *map(str, PurePosixPath(path).parents)][:-1]
    verdict = False
    for line in (REPO / ".dockerignore").read_text().splitlines():
        if line and not line.startswith("#"):
            pattern = re.escape(line.removeprefix("!")).replace(r"\*\*/", "(?:.*/)?")
            pattern = pattern.replace(r"\*", "[^/]*")
            if any(re.fullmatch(pattern, parent) for parent in parents):
                verdict = not line.startswith("!")
    return verdict


def context(folder: str = "") -> Iterator[str]:
    """Every file that the build is given, as a path below the checkout."""
    taken = re.findall(r"^!(.+)$", (REPO / ".dockerignore").read_text(), re.MULTILINE)
    for entry in os.scandir(REPO / folder):
        path = f"{folder}/{entry.name}".lstrip("/")
        if entry.is_dir():
            if not ignored(path) or any(each.startswith(f"{path}/") for each in taken):
                yield from context(path)
        elif not ignored(path):
            yield path


def copied(text: str) -> tuple[list[str], str]:
    """A COPY's sources and its destination."""
    *sources, destination = text.split()
    assert sources
    assert not any(source.startswith("--") for source in sources)
    return sources, destination


def test_the_labels_name_the_ray_and_the_python_of_the_constraints() -> None:
    constraints = (REPO / "constraints.txt").read_text()
    assert f"\nray=={labels()['org.dataprune.ray']}\n" in constraints
    minor = labels()["org.dataprune.python"].rpartition(".")[0]
    assert f"Python {minor}," in constraints.splitlines()[0]


def test_a_build_fails_whose_labels_would_lie() -> None:
    (check,) = [text for text in texts("RUN") if text.startswith("test ")]
    ours = {"PYTHON_VERSION": platform.python_version(), "RAY_VERSION": metadata.version("ray")}
    shell = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}

    def code(**other: str) -> int:
        command = ["sh", "-c", check]
        return subprocess.run(command, env=shell | ours | other, check=False).returncode

    assert code() == 0
    assert code(PYTHON_VERSION="3.11.99") == 1
    assert code(RAY_VERSION="2.59.0") == 1


def test_the_base_is_pinned_to_the_python_of_the_label_and_can_be_another() -> None:
    python = labels()["org.dataprune.python"]
    assert texts("FROM") == [f"python:{python}-slim-bookworm"]
    assert labels()["org.opencontainers.image.base.name"] == texts("FROM")[0]
    assert steps(BASE="registry.example/python:1")[0].text == "registry.example/python:1"


def test_it_runs_as_a_user_who_is_not_root_and_has_a_home() -> None:
    (user,) = texts("USER")
    assert int(user) >= 1000
    (made,) = [text for text in texts("RUN") if text.startswith("useradd ")]
    assert f"--uid {user}" in made
    assert texts("WORKDIR")[-1] == f"/home/{made.split()[-1]}"
    kinds = [step.kind for step in steps()]
    assert kinds.index("USER") > max(i for i, kind in enumerate(kinds) if kind in {"RUN", "COPY"})


def test_it_runs_the_program_and_shows_its_help_by_default() -> None:
    project = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]
    (entry,), (command,) = texts("ENTRYPOINT"), texts("CMD")
    assert json.loads(entry) == list(project["scripts"])
    assert json.loads(command) == ["--help"]


def test_ray_neither_reports_nor_asks_for_a_token_and_no_secret_is_baked_in() -> None:
    env = steps()[-1].env
    assert env["RAY_USAGE_STATS_ENABLED"] == "0"
    assert env["RAY_AUTH_MODE"] == "disabled"
    assert not [name for name in env if re.search("TOKEN|SECRET|PASSWORD|KEY", name)]
    # Set in an image, it shows every GPU of a Kubernetes node to containers that asked for none.
    assert "NVIDIA_VISIBLE_DEVICES" not in env


def test_whatever_is_copied_exists_and_reaches_the_build() -> None:
    given = set(context())
    for text in texts("COPY"):
        for source in copied(text)[0]:
            below = {path for path in given if f"{path}/".startswith(f"{source}/")}
            assert below, f"COPY {source}"
            if (REPO / source).is_dir():
                there = {p for p in (REPO / source).rglob("*") if p.is_file()}
                kept = {str(p.relative_to(REPO)) for p in there if "__pycache__" not in p.parts}
                assert below == kept


@pytest.mark.parametrize(
    "path",
    [
        ".git/config",
        ".venv/bin/python",
        ".dataprune/runs/a/scores.parquet",
        ".env",
        "data/train.parquet",
        "dataprune/cli/__pycache__/main.cpython-311.pyc",
        "pipelines/demo.sh",
        "scores.parquet",
        "tests/conftest.py",
    ],
)
def test_what_the_image_has_no_use_for_never_reaches_the_build(path: str) -> None:
    assert ignored(path)


def test_all_that_reaches_the_build_is_copied_and_small() -> None:
    given = set(context())
    sources = [source for text in texts("COPY") for source in copied(text)[0]]
    assert not [p for p in given if not any(f"{p}/".startswith(f"{s}/") for s in sources)]
    assert sum((REPO / path).stat().st_size for path in given) < 5 << 20


def test_a_change_of_code_installs_nothing_again_but_the_code() -> None:
    found = steps()
    pips = [i for i, step in enumerate(found) if step.text.startswith("pip install ")]
    torch, others, code = (found[i].text for i in pips)
    assert torch.endswith(" --constraint constraints.txt torch")
    assert others.endswith(" --constraint constraints.txt '.[all]'")
    assert "--no-deps" in code

    def before(index: int) -> set[str]:
        return {s for step in found[:index] if step.kind == "COPY" for s in copied(step.text)[0]}

    assert before(pips[0]) == {"constraints.txt"}
    assert {s for s in before(pips[1]) if s.endswith(".py")} == {"dataprune/_version.py"}
    assert "dataprune" not in before(pips[1])
    assert "dataprune" in before(pips[2])


@dataclass(frozen=True)
class Image:
    """A folder that stands for the image's root, and a virtual environment for its Python."""

    root: Path
    env: dict[str, str]

    @property
    def python_folder(self) -> Path:
        """Where the image's packages lie."""
        return self.root / "python"

    def run(self, *arguments: str) -> str:
        """Run the entry point as a container would; returns what it prints to stdout."""
        (entry,), (default,) = texts("ENTRYPOINT"), texts("CMD")
        program, *rest = [*json.loads(entry), *(arguments or json.loads(default))]
        done = subprocess.run(
            [self.python_folder / "bin" / program, *rest],
            cwd=self.home, env=self.env, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    @property
    def home(self) -> Path:
        """The working folder of a container."""
        return self.inside(texts("WORKDIR")[-1])

    def inside(self, path: str) -> Path:
        """Where an absolute path of the image lies."""
        return self.root / path.lstrip("/")

    def files(self) -> dict[Path, int]:
        """{file of the installation: time of its last change, in ns}."""
        folders = (self.python_folder, self.root / "opt")
        paths = (path for folder in folders for path in folder.rglob("*"))
        return {p: p.lstat().st_mtime_ns for p in paths if not p.is_dir()}


def copy(step: Step, given: Path, folder: Path) -> None:
    """Do what COPY does: a folder's contents, or files into a folder."""
    sources, destination = copied(step.text)
    for source in sources:
        if (given / source).is_dir():
            assert len(sources) == 1
            shutil.copytree(given / source, folder / destination, dirs_exist_ok=True)
        else:
            assert destination.endswith("/")
            (folder / destination).mkdir(parents=True, exist_ok=True)
            shutil.copy(given / source, folder / destination)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    """Replay the build: its copies and its Python installs, into an empty environment."""
    given, root = tmp_path_factory.mktemp("context"), tmp_path_factory.mktemp("root")
    for path in context():
        (given / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPO / path, given / path)
    venv.create(root / "python", with_pip=True)
    path = f"{root / 'python' / 'bin'}:{os.environ['PATH']}"
    outer = {k: v for k, v in os.environ.items() if k not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    outer["PATH"] = path
    folder, left_out = root, set()
    for step in (done := steps(PYTHON_VERSION=platform.python_version())):
        match step.kind:
            case "WORKDIR":
                folder = root / step.text.lstrip("/")
                folder.mkdir(parents=True, exist_ok=True)
            case "COPY":
                copy(step, given, folder)
            case "RUN" if step.text.split()[0] in SYSTEM_PROGRAMS:
                left_out.add(step.text.split()[0])
            case "RUN":
                ran = subprocess.run(
                    ["sh", "-c", step.text], cwd=folder, env=outer | step.args,
                    stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
                )  # fmt: skip
                assert ran.returncode == 0, f"RUN {step.text}\n{ran.stdout}"
    assert left_out == SYSTEM_PROGRAMS
    runtime = {"PATH": path, "HOME": str(folder), **done[-1].env}
    return Image(root, runtime)


@pytest.mark.slow
def test_a_container_shows_help_scores_and_runs_ray_from_packages_it_cannot_change(
    image: Image,
) -> None:
    before = image.files()
    assert image.run().startswith("Usage: dataprune ")
    for runner in ("local", "ray"):
        command = ("score", "digits", "--seeds", "2", "--runner", runner, "--json")
        told = json.loads(image.run(*command, "--work", runner, "--out", f"{runner}.parquet"))
        assert (told["status"], told["failed"]) == ("complete", [])
    tables = [image.home / f"{runner}.parquet" for runner in ("local", "ray")]
    assert filecmp.cmp(*tables, shallow=False)
    assert image.files() == before, "a user who is not root could not have written there"
