"""Fashion-MNIST and the digits, published and read back in a fresh cache by three readers."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.hub.conftest import Served
from tests.publishing.conftest import act

FASHION = [
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag",
    "Ankle boot",
]  # fmt: skip


@pytest.mark.real_data
def test_fashion_mnist_is_the_same_for_every_reader(
    served: Served, real_data: Path, tmp_path: Path
) -> None:
    client, repo = served.client, "acme/fashion"
    act(client, "score_and_prune", uri=str(real_data / "fashion_mnist"), folder=str(tmp_path),
        keep=30_000, key="idx", view=False)  # fmt: skip
    args = {"store": str(tmp_path / "store"), "name": "base", "tag": "v1", "repo": repo}
    act(client, "publish", **args)
    ours = act(client, "load", repo=repo, tag="v1", fresh=True, timeout_s=300)
    theirs = act(client, "plain_datasets", repo=repo, tag="v1", timeout_s=300)
    assert ours["num_rows"] == 30_000
    assert ours["rows"] == theirs["rows"]
    assert ours["rows"] == act(client, "plain_polars", repo=repo, tag="v1")["rows"]
    assert theirs["features"]["image"] == "Image"
    assert theirs["class_names"]["label"] == FASHION
    served.hub.fsck(repo)


@pytest.mark.slow
def test_the_digits_are_the_same_for_every_reader(served: Served, tmp_path: Path) -> None:
    client, repo = served.client, "acme/digits"
    act(client, "score_and_prune", uri="digits", folder=str(tmp_path), keep=898, key=None)
    args = {"store": str(tmp_path / "store"), "name": "base", "repo": repo}
    for tag in ("v1", "v2"):
        act(client, "publish", tag=tag, **args)
    ours = act(client, "load", repo=repo, tag="v1", fresh=True)
    theirs = act(client, "plain_datasets", repo=repo, tag="v1")
    view = act(client, "load", repo=repo, tag="v2", fresh=True)
    assert ours["num_rows"] == 898
    assert ours["rows"] == theirs["rows"] == view["rows"]
    assert theirs["class_names"]["label"] == [str(digit) for digit in range(10)]
