"""The command line, run in this process through its own entry point."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataprune.cli import main


@dataclass(frozen=True)
class Done:
    """How a command ended and what it printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What was printed to stdout, strictly JSON: no NaN, nothing before or after."""

        def refuse(constant: str) -> NoReturn:
            raise ValueError(f"{constant} is not JSON")

        return json.loads(self.out, parse_constant=refuse)


Cli = Callable[..., Done]


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Run `dataprune ARGS`."""

    def run(*args: object) -> Done:
        monkeypatch.setattr(sys, "argv", ["dataprune", *map(str, args)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            main()
        out, err = capsys.readouterr()
        assert isinstance(caught.value.code, int)
        return Done(caught.value.code, out, err)

    return run


def features_table(num_rows: int = 60) -> pa.Table:
    """Separable rows of two features in three classes, with ids."""
    labels = [i % 3 for i in range(num_rows)]
    noise = np.random.default_rng(0).normal(size=(num_rows, 2)) / 10
    values = (np.eye(3)[labels][:, :2] + noise).astype(np.float32)
    return pa.table(
        {
            "features": pa.array(values.tolist(), pa.list_(pa.float32())),
            "label": [f"class-{label}" for label in labels],
            "id": [f"id-{i}" for i in range(num_rows)],
        }
    )


RECIPE = """\
name: cli
source: {{uri: {uri}}}
probe:
  model: {{name: mlp, params: {{widths: [8]}}}}
  batch_size: 16
  schedule_epochs: 6
scores: {{names: [el2n, margin], at: [3, 6]}}
seeds: 2
"""


@pytest.fixture(scope="session")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data, a recipe, a scored run and a store of two versions; read-only."""
    from dataprune import flow

    folder = tmp_path_factory.mktemp("ground")
    pq.write_table(features_table(), folder / "data.parquet")
    (folder / "recipe.yaml").write_text(RECIPE.format(uri=folder / "data.parquet"))
    scores = flow.score(folder / "recipe.yaml", work=folder / "work").path
    for tag, keep in (("v1", 0.5), ("v2", 0.7)):
        flow.prune(
            scores, name="d", tag=tag, keep=keep, store=folder / "store", control=tag == "v1"
        )
    return folder
