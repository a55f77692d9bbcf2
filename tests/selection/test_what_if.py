"""What several budgets would keep, without building: the same as deciding at each."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from dataprune.core.errors import UsageError
from dataprune.core.recipe import parse_recipe
from dataprune.selection._choice import Choice, Step
from dataprune.selection._decided import decide_from_scores
from dataprune.selection._what_if import Outcome, outcomes_at
from dataprune.tables.examples import examples_table
from dataprune.tables.scores import ScoreTable

NAMES = ["a", "b"]
RECIPE = parse_recipe({"name": "r", "source": {"uri": "x"}}, where="here")
N = 200


@pytest.fixture
def table() -> ScoreTable:
    rng = np.random.default_rng(0)
    labels = (np.arange(N) % 4 == 0).astype(np.int64)
    made = examples_table(np.arange(N, dtype=np.uint64), labels)
    made = made.append_column("el2n", pa.array(rng.random(N).astype(np.float32)))
    made = made.append_column("memorized", pa.array(rng.random(N).astype(np.float32)))
    made = made.append_column("is_memorized", pa.array(np.arange(N) % 10 == 0))
    meta: dict[str, Any] = {
        "scores": {"el2n": {"higher_is": "harder"}},
        "source": {"class_names": NAMES},
        "status": "complete",
    }
    return ScoreTable(made, meta)


def test_each_budget_is_what_deciding_at_it_gives(table: ScoreTable) -> None:
    choice = Choice("hardest", 1, {})
    found = outcomes_at(table, RECIPE, choice, None, [0.5, 20, 0.3])
    assert [outcome.keep for outcome in found.outcomes] == [20, 0.3, 0.5]
    assert found.classes == {"a": 150, "b": 50}
    before = None
    for outcome in found.outcomes:
        decided = decide_from_scores(table, RECIPE, replace(choice, keep=outcome.keep), None)
        kept = decided.table.column("keep").to_numpy(zero_copy_only=False)
        values = table.values("el2n")[kept]
        assert outcome.rows_out == kept.sum()
        assert outcome.classes == {n: c["kept"] for n, c in decided.classes.items()}
        assert outcome.score_range == (values.min(), values.max())
        assert outcome.flagged == {
            "memorized": (kept & (np.arange(N) % 10 == 0)).sum() / kept.sum()
        }
        assert outcome.warnings == decided.warnings
        if before is not None:  # budgets of hardest are nested
            assert outcome.overlap == before.sum() / kept.sum()
        before = kept
    assert found.outcomes[0].overlap is None


def test_steps_hold_at_every_budget(table: ScoreTable) -> None:
    choice = Choice("random", 1, {}, before=(Step("flagged", {"flag": "memorized"}),))
    found = outcomes_at(table, RECIPE, choice, None, [0.2, 0.9])
    assert [outcome.flagged for outcome in found.outcomes] == [{"memorized": 0.0}] * 2
    assert found.by is None
    assert found.outcomes[0].score_range is None


def test_a_budget_that_cannot_be_is_told_and_the_others_hold(table: ScoreTable) -> None:
    choice = Choice("ccs", 1, {"beta": 0.2})
    found = outcomes_at(table, RECIPE, choice, None, [0.9, 0.5, 0.8])
    assert [outcome.rows_out for outcome in found.outcomes] == [100, 160, 0]
    assert isinstance(found.outcomes[2], Outcome)
    assert "ccs drops the hardest 40 of 200 rows" in (found.outcomes[2].problem or "")
    with pytest.raises(UsageError, match="ccs drops the hardest"):
        outcomes_at(table, RECIPE, choice, None, [0.9, 0.95])
