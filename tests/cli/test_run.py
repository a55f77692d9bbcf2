"""`dataprune run` on the command line: what it prints, its exit codes, a newcomer's mistakes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.cli.conftest import Cli
from tests.releasing.conftest import Release

Run = Callable[..., object]


@pytest.fixture
def release(tmp_path: Path, blobs_path: Path, monkeypatch: pytest.MonkeyPatch) -> Release:
    """A release of 300 rows, scored without probes, in the working folder."""
    monkeypatch.chdir(tmp_path)
    made = Release(tmp_path)
    made.without_probes()
    made.recipe["source"]["uri"] = str(blobs_path)
    return made


def save(release: Release) -> Path:
    path = release.source.with_name("recipe.yaml")
    path.write_text(yaml.safe_dump(release.recipe))
    return path


def test_a_version_is_tagged_and_then_stands(cli: Cli, release: Release) -> None:
    recipe = save(release)
    first = cli("run", recipe)
    assert first.code == 0
    assert first.out.splitlines()[-1] == ".dataprune/store/grows/v1-random-keep0.5"
    assert "Gates of grows@v1-random-keep0.5" in first.out
    assert "grows@v1-random-keep0.5 tagged: 150 of 300 rows" in first.err
    again = cli("run", recipe)
    assert (again.code, again.out) == (0, first.out)
    accepted = cli("run", recipe, "--accept")
    assert accepted.code == 2
    assert "to accept: grows@v1-random-keep0.5 is tagged already" in accepted.err
    assert "Hint" not in accepted.err
    assert "unchanged: source and recipe are as they were" in again.err
    assert "grows@v1-random-keep0.5 stands" in again.err


def test_a_candidate_says_which_gate_failed_and_how_to_accept(cli: Cli, release: Release) -> None:
    release.section["gates"]["class_floor"] = 0.6
    recipe = save(release)
    for _ in range(2):
        done = cli("run", recipe)
        assert done.code == 3
        assert "failed: class_floor (0.5000 is below 0.6)" in done.err
        assert f"dataprune run {recipe} --accept" in done.err
        assert done.out.splitlines()[-1] == ".dataprune/store/.candidates/grows/v1-random-keep0.5"
    listed = cli("versions")
    assert "holds no version" in listed.err
    accepted = cli("run", recipe, "--accept")
    assert accepted.code == 0
    assert "no, accepted" in accepted.out
    assert cli("run", recipe).code == 0
    assert "v1-random-keep0.5" in cli("versions").out


def test_json_tells_every_gate(cli: Cli, release: Release) -> None:
    told = cli("run", save(release), "--json").json
    assert [gate["name"] for gate in told["gates"]] == ["complete", "class_floor"]
    assert (told["status"], told["tag"], told["unchanged"]) == (
        "released", "v1-random-keep0.5", False,
    )  # fmt: skip
    assert (told["rows_in"], told["rows_out"], told["accepted"]) == (300, 150, [])


def test_mistakes_end_with_exit_code_2_and_a_hint(cli: Cli, release: Release) -> None:
    del release.recipe["release"]
    none = cli("run", save(release))
    assert none.code == 2
    assert none.err.splitlines()[0] == (
        "Error: recipe grows has no section release, so run may tag nothing of it"
    )
    assert none.err.splitlines()[-3:] == ["release:", "  tag: auto", "  gates: {reliability: 0.8}"]
    assert cli("run", "digts").code == 2
    assert "no release" not in cli("run", "--help").out
    accept = cli("run", save(Release(release.source.parent)), "--accept")
    assert accept.code == 2
