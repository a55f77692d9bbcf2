"""What is tried follows from the fraction, the noise and the columns that are there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from dataprune.evaluation.priors import MOST, Noise, candidates, noise_of, untried
from dataprune.tables.scores import ScoreTable

CLEAN, NOISY, UNKNOWN = Noise(0.01, ""), Noise(0.2, ""), Noise(None, "")
PLAIN = {"el2n": "harder"}
ALL = PLAIN | {"aum": "noisier", "dual": "more uncertain", "confidence": "harder"}


def table_of(columns: dict[str, str], likely: float | None = None, **values: Any) -> ScoreTable:
    """A table of ten rows with such scores; likely: the share that is flagged."""
    made = {name: np.linspace(-1, 1, 10, dtype=np.float32) for name in columns} | values
    meta: dict[str, Any] = {"scores": {n: {"higher_is": word} for n, word in columns.items()}}
    if likely is not None:
        flagged = np.arange(10) < 10 * likely
        made |= {"label_issue": flagged.astype(np.float32), "is_label_issue": flagged}
        made["tier"] = np.where(flagged, "likely", "ok")
        meta["flags"], meta["scores"]["label_issue"] = {"label_issue": {}}, {"higher_is": "noisier"}
    return ScoreTable(pa.table({name: pa.array(v) for name, v in made.items()}), meta)


def tried(columns: dict[str, str], keep: float, noise: Noise, **more: Any) -> list[str]:
    found = candidates(table_of(columns, **more), keep, "el2n", noise)
    return [each.asked.label for each in found]


@pytest.mark.parametrize("columns", [PLAIN, ALL])
@pytest.mark.parametrize("keep", [0.95, 0.7, 0.5, 0.4, 0.3, 0.1, 0.01])
@pytest.mark.parametrize("noise", [CLEAN, NOISY, UNKNOWN])
@pytest.mark.parametrize("likely", [None, 0.0, 0.2])
def test_candidates_are_few_distinct_and_end_with_random(
    columns: dict[str, str], keep: float, noise: Noise, likely: float | None
) -> None:
    names = tried(columns, keep, noise, likely=likely)
    assert 3 <= len(names) == len(set(names)) <= MOST
    assert names[-1] == "random"
    assert ("beta" in names) == ("dual" in columns)
    assert any(name.startswith("flagged->") for name in names) == (likely == 0.2)


def test_the_hardest_rows_lead_where_much_is_kept_of_clean_data() -> None:
    assert tried(PLAIN, 0.7, CLEAN)[0] == tried(PLAIN, 0.7, UNKNOWN)[0] == "hardest"
    assert tried(PLAIN, 0.4, CLEAN)[0] == "ccs:beta=0.1"
    assert "hardest" not in tried(PLAIN, 0.1, CLEAN)
    assert "easiest" in tried(PLAIN, 0.1, CLEAN)


def test_ccs_drops_as_much_as_the_noise_and_leaves_room_for_a_choice() -> None:
    assert tried(PLAIN, 0.5, NOISY)[0] == "ccs:beta=0.2"
    assert tried(ALL, 0.5, NOISY)[0] == "ccs:beta=0.2,hard_by=aum"
    assert tried(PLAIN, 0.1, NOISY)[0] == "ccs:beta=0.3"
    assert tried(PLAIN, 0.9, NOISY)[0] == "ccs:beta=0.09"
    assert tried(PLAIN, 0.5, NOISY, likely=0.2)[:3] == [
        "flagged->hardest", "flagged->random", "ccs:beta=0.2",
    ]  # fmt: skip


def test_a_score_that_is_higher_for_easier_rows_is_turned_round() -> None:
    names = tried({"el2n": "easier"}, 0.7, NOISY)
    assert {"easiest", "window:skip_hardest=0.2"} <= set(names)
    assert {"hardest", "window:skip_hardest=0.2"} <= set(tried(PLAIN, 0.7, NOISY))


def test_beta_sampling_is_by_dual_and_all_others_by_the_score_asked_for() -> None:
    found = candidates(table_of(ALL), 0.5, "el2n", CLEAN)
    by = {each.asked.label: each.asked.by for each in found}
    assert by.pop("beta") == "dual"
    assert by.pop("random") is None
    assert set(by.values()) == {"el2n"}


@pytest.mark.parametrize("keep", [0.7, 0.4, 0.1])
@pytest.mark.parametrize("noise", [CLEAN, NOISY])
def test_d2_is_tried_where_features_are_there(keep: float, noise: Noise) -> None:
    table = table_of(ALL, likely=0.2)
    table.meta["features"] = {"file": "features.parquet"}
    names = [each.asked.label for each in candidates(table, keep, "el2n", noise)]
    assert any(name.startswith("d2:hard_cutoff=") for name in names)
    assert len(names) <= MOST
    assert names[-1] == "random"


def test_noise_is_what_flags_say_else_a_bound_else_unknown() -> None:
    assert noise_of(table_of(ALL, likely=0.3)).rate == pytest.approx(0.3)
    bound = noise_of(table_of(ALL))
    assert bound.rate == 0.5
    assert bound.told_by.startswith("at most")
    both = noise_of(table_of(ALL | {"heldout_margin": "harder"}, heldout_margin=-np.ones(10)))
    assert both.rate == 0
    nothing = noise_of(table_of(PLAIN))
    assert nothing.rate is None
    assert not nothing.matters


def test_what_columns_would_let_it_try_is_told() -> None:
    assert [told.split(":")[0] for told in untried(table_of(PLAIN))] == [
        "auto did not try beta", "auto did not try d2",
    ]  # fmt: skip
    table = table_of(ALL)
    table.meta["features"] = {"file": "features.parquet"}
    assert untried(table) == []
