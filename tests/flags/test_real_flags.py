"""Flags on real text with other models: ahead of every filter where errors are planted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import dataprune

pytestmark = pytest.mark.real_data
FILTERS = ("prune_by_noise_rate", "prune_by_class", "both", "confident_learning")


def held_out(texts: list[str], given: Any, **how: Any) -> list[Any]:
    """Five folds, two repeats of a logistic regression on TF-IDF."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline

    vectors = TfidfVectorizer(sublinear_tf=True, min_df=2, **how)
    model = make_pipeline(vectors, LogisticRegression(max_iter=300))
    return [
        cross_val_predict(
            model, texts, given, method="predict_proba",
            cv=StratifiedKFold(5, shuffle=True, random_state=repeat),
        )
        for repeat in range(2)
    ]  # fmt: skip


@pytest.mark.parametrize("pairwise", [False, True])
def test_planted_errors_among_questions(
    real_data: Path, f1: Callable[..., float], *, pairwise: bool
) -> None:
    from cleanlab.filter import find_label_issues

    rows = pq.read_table(real_data / "trec/train.parquet")
    truth = rows.column("label").to_numpy()
    rng = np.random.default_rng(0)
    wrong = rng.random(len(truth)) < 0.2
    shift = 1 if pairwise else rng.integers(1, 6, len(truth))
    given = np.where(wrong, (truth + shift) % 6, truth)
    votes = held_out(rows.column("text").to_pylist(), given, ngram_range=(1, 2))
    mean = np.mean(votes, axis=0)
    found = dataprune.flag_labels(votes, given).columns["is_label_issue"]
    others = [find_label_issues(given, mean, filter_by=name, n_jobs=1) for name in FILTERS]
    others.append(mean.argmax(axis=1) != given)
    assert f1(found, wrong) > max(f1(other, wrong) for other in others) + 0.02
    clean = held_out(rows.column("text").to_pylist(), truth, ngram_range=(1, 2))
    assert dataprune.flag_labels(clean, truth).columns["is_label_issue"].mean() < 0.02


def test_errors_of_a_labelling_rule_are_warned_of(real_data: Path) -> None:
    rows = pq.read_table(real_data / "hausa_newsclass/train.parquet")
    given, truth = (rows.column(name).to_numpy() for name in ("label", "clean_label"))
    texts = rows.column("text").to_pylist()
    votes = held_out(texts, given, analyzer="char_wb", ngram_range=(2, 4))
    found = dataprune.flag_labels(votes, given)
    assert (given != truth).mean() > 0.5
    assert found.columns["is_label_issue"].mean() < 0.02  # half of the labels are wrong
    assert any("estimates of the noise rate are far apart" in w for w in found.warnings)
