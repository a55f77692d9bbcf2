"""The commands that reach the Hub, as a user types them: what they print, and how they end."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.hub.server import LoopbackHub
from tests.hub.warm_client import WarmClient, client_env
from tests.publishing.conftest import REPO, Built, act

Run = Callable[..., dict[str, Any]]
REPO_ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def run(client: WarmClient, tmp_path: Path) -> Run:
    """Run `dataprune ARGS` in an empty folder."""

    def command(*args: object, code: int = 0) -> dict[str, Any]:
        done: dict[str, Any] = act(
            client, "command", line=[str(a) for a in args], folder=str(tmp_path)
        )
        assert done["code"] == code, done
        assert "Traceback" not in done["err"]
        assert "defect of dataprune" not in done["err"]
        return done

    return command


@pytest.fixture
def published(run: Run, hub: LoopbackHub, built: Built) -> None:
    """v1 and v2 on the Hub."""
    for tag in ("v1", "v2"):
        run("publish", "animals", tag, "--store", built.store, "--to", REPO)


def test_publish_says_where_it_is_and_how_to_load_it(
    run: Run, hub: LoopbackHub, built: Built
) -> None:
    line = ("publish", "animals", "v1", "--store", built.store, "--to", REPO)
    done = run(*line)
    assert done["out"] == f"{hub.endpoint}/datasets/{REPO}/tree/v1\n"
    assert "acme/animals@v1 published" in done["err"]
    assert 'dataprune.load("acme/animals", "v1")' in done["err"]
    assert "names the source by its path on this machine" in done["err"]
    again = run(*line, "--json")
    assert json.loads(again["out"])["created"] is False


def test_publish_needs_a_place(run: Run, built: Built) -> None:
    done = run("publish", "animals", "v1", "--store", built.store, code=2)
    assert "--to ORG/REPO" in done["err"]


def test_a_licence_is_the_sources_or_the_one_given(
    run: Run, hub: LoopbackHub, built: Built
) -> None:
    line = ("publish", "animals", "v1", "--store", built.store, "--to", REPO)
    run(*line, "--license", "cc-by-4.0")
    assert "license: cc-by-4.0" in hub.repo(REPO).git.git("show", "v1:README.md")


@pytest.mark.usefixtures("published")
def test_load_writes_the_lock_file_and_holds_to_it(run: Run, tmp_path: Path) -> None:
    assert run("load", REPO, "v1", "--locked", code=2)["err"].startswith("Error: dataprune.lock")
    done = run("load", REPO, "v1")
    assert "every file is as the manifest says" in done["out"]
    assert [p["tag"] for p in json.loads((tmp_path / "dataprune.lock").read_text())["pins"]] == [
        "v1"
    ]
    told = json.loads(run("load", REPO, "v1", "--locked", "--json")["out"])
    assert (
        told["commit"] == json.loads((tmp_path / "dataprune.lock").read_text())["pins"][0]["commit"]
    )
    assert run("load", REPO, "v9", code=1)["err"].count("tags: v1, v2") == 1
    assert "no effect" in run("load", "animals", "v1", "--locked", code=2)["err"]


@pytest.mark.usefixtures("published")
def test_listing_diff_and_explain_of_a_repository(run: Run, built: Built) -> None:
    told = json.loads(run("versions", REPO, "--json")["out"])
    assert [v["tag"] for v in told["versions"]] == ["v1", "v2"]
    assert run("versions", REPO)["out"] == run("versions", "list", REPO)["out"]
    hub_diff = json.loads(run("diff", REPO, "v1", "v2", "--json")["out"])
    local = json.loads(run("diff", "animals", "v1", "v2", "--store", built.store, "--json")["out"])
    assert hub_diff == local
    row = str(built.version("v1").rows[0])
    explained = run("explain", REPO, "v1", row)["out"]
    assert explained == run("explain", "animals", "v1", row, "--store", built.store)["out"]
    assert "every file is as the manifest says" in run("versions", "verify", REPO, "v1")["out"]
    assert run("versions", "acme/none", code=1)["err"].startswith("Error: reading acme/none failed")


@pytest.mark.usefixtures("published")
def test_managing_by_command(run: Run, hub: LoopbackHub) -> None:
    assert "acme/animals@prod is v1 now" in run("promote", REPO, "v1", "--as", "prod")["err"]
    assert "needs a reason" in run("yank", REPO, "v2", code=2)["err"]
    run("yank", REPO, "v2", "--reason", "shifted labels", "--use", "v1")
    assert "shifted labels" in run("load", REPO, "v2")["err"]
    listed = run("versions", REPO)["out"]
    assert "shifted labels" in listed
    assert "prod" in listed
    run("yank", REPO, "v2", "--undo")
    assert "yanked" not in run("load", REPO, "v2")["err"]
    assert run("rollback", REPO, "v1")["out"].endswith("/tree/v3\n")
    done = run("retract", REPO, "v3", "--rows", "0,1 2", "--reason", "asked to")
    assert done["out"].endswith("/tree/v4\n")
    assert "git history still holds the rows" in done["err"]
    assert "delete this one" in done["err"]
    assert "is no row" in run("retract", REPO, "v4", "--rows", "x", "--reason", "r", code=2)["err"]
    hub.fsck(REPO)


def test_rows_to_retract_may_be_in_a_file(
    run: Run, published: None, tmp_path: Path, hub: LoopbackHub
) -> None:
    (tmp_path / "rows.txt").write_text("3\n4\n")
    run("retract", REPO, "v2", "--rows", "@rows.txt", "--reason", "asked to")
    manifest = json.loads(hub.repo(REPO).git.git("show", "v3:.dataprune/manifest.json"))
    assert manifest["reasons"]["retracted"] == 2
    assert (
        "cannot be read"
        in run("retract", REPO, "v2", "--rows", "@none.txt", "--reason", "r", code=2)["err"]
    )


@pytest.mark.parametrize("when", ["/commit/", pytest.param("/preupload/", marks=pytest.mark.slow)])
def test_an_interrupted_publish_says_so_and_the_next_one_ends_it(
    hub: LoopbackHub, built: Built, tmp_path: Path, when: str
) -> None:
    command = [
        sys.executable, "-m", "dataprune", "publish", "animals", "v1", "--store", str(built.store),
        "--to", REPO,
    ]  # fmt: skip
    env = client_env(hub, tmp_path / "home")
    fault = hub.fault("slow", path=when, delay_s=3)  # it is over when the client goes
    process = subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True)
    while not fault.fired:
        time.sleep(0.01)
    time.sleep(0.1)
    os.kill(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert "Interrupted." in err
    assert "Traceback" not in err
    subprocess.run(command, env=env, check=True, capture_output=True)
    assert list(hub.tags(REPO)) == ["v1"]
    assert len(hub.commits(REPO)) == 2
    hub.fsck(REPO)


def test_what_the_readme_says_of_the_hub_runs_as_it_stands(
    run: Run, hub: LoopbackHub, tiny_scores: Path, tmp_path: Path
) -> None:
    section = (REPO_ROOT / "README.md").read_text().split("## Publish and load from the Hub\n")[1]
    section = section.split("\n## ")[0].replace("ORG/REPO", "ORG/digits-pruned")
    shutil.copy(tiny_scores, tmp_path / "scores.parquet")
    run("prune", "scores.parquet", "--keep", "50%", "--by", "el2n", "--name", "digits",
        "--tag", "v1")  # fmt: skip
    block = re.findall(r"```\n(.*?)```", section, re.DOTALL)[0]
    table = re.findall(r"^\| `(dataprune .*?)` \|", section, re.MULTILINE)
    lines = [line for line in [*block.splitlines(), *table] if "materialize" not in line]
    assert len(lines) == 9
    for line in lines:
        line = line.replace("ORG/", "acme/").replace("NAME TAG", "digits v1")  # noqa: PLW2901
        done = run(*shlex.split(line.replace("--reason ...", "--reason 'asked to'"))[1:])
        assert "Error" not in done["err"], line
    assert sorted(hub.tags("acme/digits-pruned")) == ["v1", "v2", "v3", "v4"]
    hub.fsck("acme/digits-pruned")
