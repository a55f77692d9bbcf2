"""What we publish, read by another client: the npm package @huggingface/hub."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.hub.server import LoopbackHub
from tests.publishing.conftest import REPO, Built, Publish

SCRIPT = Path(__file__).with_name("second_client.mjs")
PACKAGE = "@huggingface/hub@2.17.5"


@pytest.fixture(scope="session")
def node_modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package; where there is no npm or no registry the test is skipped."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("no npm on this machine")
    folder = tmp_path_factory.mktemp("node")
    command = [npm, "install", "--silent", "--no-audit", "--no-fund", PACKAGE]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, timeout=120
    )
    if done.returncode:
        pytest.skip(f"npm cannot install {PACKAGE}: {done.stderr[-200:]}")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("tag", ["v1", "v4"])
def test_another_client_reads_every_file_at_the_tag(
    hub: LoopbackHub, publish: Publish, built: Built, node_modules: Path, tag: str
) -> None:
    commit = publish(tag)["commit"]
    publish("v2")  # main has moved on
    command = ["node", str(SCRIPT), str(node_modules), hub.endpoint, hub.token, REPO, tag]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["sha"] == commit
    assert set(told["files"]) == set(hub.tree(REPO, tag))
    for path, file in built.files(tag).items():
        read = told["files"][path]
        assert read["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest(), path
        assert read["stated"] in {None, read["sha256"]}
        assert read["size"] == file.stat().st_size
