"""In-sample scores for another table: what the probes that trained on a row made of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy.typing as npt

from dataprune.core.recipe import Recipe
from dataprune.runs.ledger import Record
from dataprune.scores import SCORES, Values
from dataprune.scores._aggregate import in_sample_of, over_seeds, per_seed_values
from dataprune.tables.trace import read_unit_trace


def in_sample_scores(
    recipe: Recipe, records: Mapping[int, Record], labels: npt.NDArray[Any], names: Iterable[str]
) -> dict[str, Values]:
    """Scores at the last checkpoint, float64 (n,) each, as the score table of the run has them.

    records: finished units by seed. A score whose signals some unit did not record is left out.

    Raises:
        PartialError: a row that every finished unit held out.
    """
    found = {}
    last = recipe.checkpoints[-1]
    for name in names:
        score = SCORES.get(name)
        if all(set(score.signals) <= set(r.identity["signals"]) for r in records.values()):
            traces = {
                seed: read_unit_trace(record, score.signals, [last])
                for seed, record in records.items()
            }
            values = per_seed_values(score, traces, last, root_seed=recipe.seed, labels=labels)
            found[name] = over_seeds(score, values, in_sample_of(traces, last)).value
    return found
