"""Versions of trajectories on the Hub: versions like any, with cards of their own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import dataprune
from tests.hub.server import LoopbackHub
from tests.hub.warm_client import WarmClient
from tests.publishing.conftest import act
from tests.trajectories.test_curate import ROWS, write

REPO = "acme/runs"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """runs@v1 and runs-rejected@v1, and runs@v2 that `prune` made of the ledger."""
    folder = tmp_path_factory.mktemp("runs")
    made = dataprune.curate(
        write(folder / "runs.jsonl", ROWS), name="runs", tag="v1", store=folder / "store",
        work=folder / "work", changes={"dialect": "mint"},
    )  # fmt: skip
    dataprune.prune(
        made.curation.ledger, name="runs", tag="v2", keep=1, by="n_tokens", control=True,
        store=folder / "store",
    )  # fmt: skip
    return folder / "store"


Run = Callable[..., dict[str, Any]]


@pytest.fixture
def run(client: WarmClient, hub: LoopbackHub, tmp_path: Path) -> Run:
    """Run `dataprune ARGS` in an empty folder."""

    def command(*args: object, code: int = 0) -> dict[str, Any]:
        done: dict[str, Any] = act(
            client, "command", line=[str(a) for a in args], folder=str(tmp_path)
        )
        assert done["code"] == code, done
        assert "defect of dataprune" not in done["err"]
        return done

    return command


def card(hub: LoopbackHub, tag: str, repo: str = REPO) -> str:
    return str(hub.repo(repo).git.git("show", f"{tag}:README.md"))


def test_a_curated_version_is_a_version_like_any(run: Run, store: Path, hub: LoopbackHub) -> None:
    for tag in ("v1", "v2", "v2-control"):
        run("publish", "runs", tag, "--store", store, "--to", REPO)
    assert "2 of 7" in run("load", REPO, "v1")["out"]
    assert "rejected, F_NO_ANSWER at stage format" in run("explain", REPO, "v1", 1)["out"]
    assert "1 in both, 0 added, 1 removed" in run("diff", REPO, "v1", "v2")["out"]
    run("rollback", REPO, "v1")
    run("retract", REPO, "v1", "--rows", 2, "--reason", "asked to")
    assert "1 of 7" in run("load", REPO, "v4")["out"]
    gone = run("explain", REPO, "v4", 2)["out"]
    assert "was taken out of this version afterwards" in gone
    assert "class" not in gone
    assert "trajectory runs:1 of query q0: kept" in run("explain", REPO, "v4", 0)["out"]
    ledger = dataprune.load("runs", "v1", store=store).scores.table.to_pylist()[2]
    sent = hub.repo(REPO).git.git("show", "v4:.dataprune/manifest.json")
    assert ledger["content_sha256"] not in sent


def test_the_card_tells_the_curation_and_how_to_make_it_again(
    run: Run, store: Path, hub: LoopbackHub, tmp_path: Path
) -> None:
    for tag in ("v1", "v2"):
        run("publish", "runs", tag, "--store", store, "--to", REPO)
    text = card(hub, "v1")
    assert "2 of 7 agent trajectories" in text
    assert "| <code>fabrication</code> | 5 | 4 |" in text
    assert "| <code>X_SECRET</code> | 1 | A key, a token or a password. |" in text
    assert "dataprune curate recipe.yaml --name runs --tag v1" in text
    assert "- agent-trajectories" in text
    assert "- random" not in text
    for nonsense in (
        "strategy",
        "dataprune score",
        "probe is",
        "the probe",
        "random sample of rows",
        "class",
    ):
        assert nonsense not in text.split("<summary>Recipe")[0].split("\n---\n")[1]
    part = card(hub, "v2")
    assert "--ledger ledger.parquet\ndataprune prune ledger.parquet --keep 1 --by n_tokens" in part
    assert "split-half" not in part
    recipe = text.split("<summary>Recipe</summary>\n\n```yaml\n")[1].split("```")[0]
    (tmp_path / "recipe.yaml").write_text(recipe)
    write(tmp_path / "runs.jsonl", ROWS)
    run("curate", "recipe.yaml", "--name", "runs", "--tag", "v1")
    again = dataprune.load("runs", "v1", store=tmp_path / ".dataprune/store").manifest
    assert again.fingerprint == dataprune.load("runs", "v1", store=store).manifest.fingerprint


def test_what_was_rejected_says_so(run: Run, store: Path, hub: LoopbackHub) -> None:
    run("publish", "runs-rejected", "v1", "--store", store, "--to", "acme/rejected")
    text = card(hub, "v1", "acme/rejected")
    assert "These were rejected" in text
    assert "| <code>curated</code> | 2 |" in text
    assert "# it makes runs-rejected, too" in text
    told = run("explain", "acme/rejected", "v1", 1)["out"]
    assert "it is in this version: it holds what was rejected" in told
    told = run("explain", "acme/rejected", "v1", 0)["out"]
    assert "it is not in this version: it holds what was rejected" in told


def test_evaluate_refuses_in_a_sentence(run: Run, store: Path) -> None:
    done = run("evaluate", "runs", "v1", "--store", store, code=2)
    assert "runs@v1 holds agent trajectories" in done["err"]
