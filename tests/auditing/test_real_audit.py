"""An audit of real wrong labels, with the true ones as the judge: what it says holds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from dataprune.auditing.bounds import largest_within, prefixes
from dataprune.auditing.draw import make_draw, population
from dataprune.auditing.prepare import prepare_audit
from dataprune.flags.label_issue import flag_labels
from dataprune.tables.flags import read_flags

pytestmark = pytest.mark.real_data


def test_shares_of_wrong_flags_hold_on_hausa_headlines(real_data: Path, tmp_path: Path) -> None:
    """Half of these labels are wrong; votes are of words, cross-fitted."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_predict
    from sklearn.pipeline import make_pipeline

    source = real_data / "hausa_newsclass"
    table = pq.read_table(source / "train.parquet")
    labels = table.column("label").to_numpy()
    is_right = labels == table.column("clean_label").to_numpy()
    model = make_pipeline(TfidfVectorizer(), LogisticRegression(C=10, tol=1e-2))
    texts = table.column("text").to_pylist()
    probs = cross_val_predict(model, texts, labels, cv=5, method="predict_proba")
    path = flag_labels(probs, labels).write(tmp_path / "FLAGS.parquet")

    made = prepare_audit(
        path, tmp_path / "a", sample=120, tier="flagged", seed=0, source=str(source),
        input_column="text", label_column="label",
    )  # fmt: skip
    page = (made.folder / "audit.html").read_text()
    assert all(f'"row": {row},' in page for row in made.draw.rows)

    flags = read_flags(path)
    rows = population(flags, "flagged")
    ranked = flags.ranked(rows)
    broken = passed = 0
    for seed in range(100):
        drawn = np.asarray(make_draw(flags, "", tier="flagged", sample=120, seed=seed).rows)
        found = prefixes(ranked, drawn, drawn[is_right[drawn]], 0.1)
        chosen = largest_within(found, 0.5)
        if chosen is not None:
            passed += 1
            broken += is_right[ranked[: chosen.rows]].mean() > 0.5
        assert largest_within(found, 0.1) is None, "no part of these flags is that good"
    assert passed > 20
    assert broken <= 10
