"""`label_issue`: properties, and bands on data whose truth is known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import dataprune
from dataprune.core.errors import DatapruneError
from dataprune.flags import FLAGS
from dataprune.flags.label_issue import flag_units


def same(a: Any, b: Any, *columns: str) -> None:
    for name in columns or ("given", "label_q", "oof_margin", "oof_vote_frac", "tier"):
        assert np.array_equal(a[name], b[name]), name


# --- what it is


def test_every_flag_says_its_rule_source_and_pitfalls() -> None:
    assert FLAGS.names() == ["label_issue", "memorized"]
    assert FLAGS.get("label_issue").compute is flag_units
    for name in FLAGS.names():
        flag = FLAGS.get(name)
        assert all([flag.rule, flag.source, flag.pitfalls, flag.status])


def test_columns_have_the_types_and_relations_of_the_contract(noisy: Callable[..., Any]) -> None:
    data = noisy(votes=3)
    found = dataprune.flag_labels(data.votes, data.given).columns
    q, frac = found["label_q"], found["oof_vote_frac"]
    assert found["label_score"] == pytest.approx(1 - q, abs=1e-7)
    assert found["is_label_issue"].tolist() == ((q > 0.5) & (frac >= 0.8)).tolist()
    assert (found["tier"] == "likely").tolist() == found["is_label_issue"].tolist()
    one = ((q > 0.5) ^ (frac >= 0.8)).tolist()
    assert (found["tier"] == "suspect").tolist() == one
    assert found["n_votes"].tolist() == [3] * len(q)
    assert (found["suggested"] == data.truth).mean() > 0.9


# --- properties


def test_the_same_input_gives_the_same_bits(noisy: Callable[..., Any]) -> None:
    data = noisy(votes=2)
    first, second = (dataprune.flag_labels(data.votes, data.given, seed=3) for _ in range(2))
    same(first.columns, second.columns)
    assert first.totals == second.totals


def test_rows_may_stand_in_any_order(noisy: Callable[..., Any]) -> None:
    data = noisy(votes=2)
    order = np.random.default_rng(1).permutation(len(data.given))
    found = dataprune.flag_labels(data.votes, data.given).columns
    moved = dataprune.flag_labels([v[order] for v in data.votes], data.given[order]).columns
    for name in ("label_q", "oof_margin", "oof_vote_frac"):
        assert moved[name] == pytest.approx(found[name][order], abs=1e-5)
    assert (moved["tier"] == found["tier"][order]).mean() > 0.999


@pytest.mark.parametrize("num_classes", [10, 40])
def test_classes_may_stand_in_any_order(noisy: Callable[..., Any], num_classes: int) -> None:
    data = noisy(votes=2, num_classes=num_classes)
    order = np.random.default_rng(1).permutation(num_classes)
    place = np.argsort(order)
    found = dataprune.flag_labels(data.votes, data.given).columns
    moved = dataprune.flag_labels([v[:, order] for v in data.votes], place[data.given]).columns
    for name in ("label_q", "oof_margin", "oof_vote_frac"):
        assert moved[name] == pytest.approx(found[name], abs=1e-4)
    assert (order[moved["suggested"]] == found["suggested"]).mean() > 0.999


def test_a_vote_given_twice_changes_nothing_but_the_warning(noisy: Callable[..., Any]) -> None:
    data = noisy()
    once = dataprune.flag_labels(data.votes, data.given)
    twice = dataprune.flag_labels(data.votes * 2, data.given)
    assert twice.columns["label_q"] == pytest.approx(once.columns["label_q"], abs=1e-4)
    assert (twice.columns["tier"] == once.columns["tier"]).mean() > 0.999
    assert twice.totals["agreement"] == 1
    assert any("one model's?" in text for text in twice.warnings)


def test_lists_stacks_and_text_objects_are_taken_as_they_come(noisy: Callable[..., Any]) -> None:
    data = noisy(n=300, num_classes=3, votes=2)
    names = ["a", "b", "c"]
    text = np.array([names[k] for k in data.given], dtype=object)
    expected = dataprune.flag_labels(data.votes, data.given)
    stacked = dataprune.flag_labels(np.stack(data.votes), text, class_names=names)
    same(stacked.columns, expected.columns)
    nested = dataprune.flag_labels(data.votes[0].astype(np.float64).tolist(), data.given.tolist())
    same(nested.columns, dataprune.flag_labels(data.votes[0], data.given).columns, "tier")


def test_logits_are_the_same_evidence_as_their_softmax(noisy: Callable[..., Any]) -> None:
    data = noisy()
    logits = np.log(data.votes[0].astype(np.float64)) + 7
    found = dataprune.flag_labels(logits, data.given, logits=True).columns
    expected = dataprune.flag_labels(data.votes, data.given).columns
    assert found["label_q"] == pytest.approx(expected["label_q"], abs=1e-5)


def test_perfect_probabilities_flag_nothing() -> None:
    labels = np.arange(300) % 3
    found = dataprune.flag_labels(np.eye(3)[labels], labels)
    assert found.totals["tiers"] == {"likely": 0, "suspect": 0, "ok": 300}
    assert found.columns["suggested"].tolist() == labels.tolist()
    assert found.totals["noise_rate"]["high"] == 0


def test_labels_that_no_vote_ever_gives_are_all_likely_wrong() -> None:
    labels = np.arange(300) % 3
    found = dataprune.flag_labels(np.eye(3)[(labels + 1) % 3], labels)
    assert found.totals["tiers"]["likely"] == 300
    assert found.columns["suggested"].tolist() == ((labels + 1) % 3).tolist()


def test_a_class_that_no_row_is_given_is_no_matter(noisy: Callable[..., Any]) -> None:
    data = noisy(num_classes=4)
    wider = np.concatenate([data.votes[0], np.zeros((len(data.given), 1), np.float32)], axis=1)
    found = dataprune.flag_labels(wider, data.given).columns
    expected = dataprune.flag_labels(data.votes[0], data.given).columns
    assert (found["tier"] == expected["tier"]).mean() > 0.99
    assert found["suggested"].max() == 3


def test_two_classes(noisy: Callable[..., Any], f1: Callable[..., float]) -> None:
    data = noisy(num_classes=2)
    found = dataprune.flag_labels(data.votes, data.given)
    assert f1(found.columns["is_label_issue"], data.wrong) > 0.9


def test_a_thousand_classes(noisy: Callable[..., Any], f1: Callable[..., float]) -> None:
    data = noisy(n=2000, num_classes=1000, sharpness=5.0)
    found = dataprune.flag_labels(data.votes, data.given)
    assert f1(found.columns["is_label_issue"], data.wrong) > 0.85
    assert found.columns["label_q"][found.order()[0]] == found.columns["label_q"].max()
    assert found.totals["transition"] is None


def test_rows_need_not_be_held_out_by_every_vote(noisy: Callable[..., Any]) -> None:
    data = noisy(votes=3)
    votes = [vote.copy() for vote in data.votes]
    fold = np.arange(len(data.given)) % 3
    for s in (0, 1):
        votes[s][fold == s] = np.nan
    found = dataprune.flag_labels(votes, data.given)
    assert np.bincount(found.columns["n_votes"]).tolist() == [0, 0, 2667, 1333]
    assert np.isfinite(found.columns["oof_margin"]).all()


# --- bands: the truth is known

FILTERS = (
    "prune_by_noise_rate", "prune_by_class", "both", "confident_learning", "predicted_neq_given",
)  # fmt: skip


@pytest.mark.parametrize("pairwise", [False, True])
@pytest.mark.parametrize("noise", [0.1, 0.2, 0.4])
@pytest.mark.parametrize("votes", [1, 3])
def test_likely_beats_plain_disagreement_and_finds_most_errors(
    noisy: Callable[..., Any],
    f1: Callable[..., float],
    auroc: Callable[..., float],
    votes: int,
    noise: float,
    *,
    pairwise: bool,
) -> None:
    data = noisy(n=10_000, noise=noise, votes=votes, pairwise=pairwise, overconfident=1.5)
    found = dataprune.flag_labels(data.votes, data.given)
    q, flagged = found.columns["label_q"], found.columns["is_label_issue"]
    disagree = np.mean(data.votes, axis=0).argmax(axis=1) != data.given
    assert f1(flagged, data.wrong) > f1(disagree, data.wrong)
    assert f1(flagged, data.wrong) >= {0.1: 0.80, 0.2: 0.83, 0.4: 0.89}[noise]
    assert auroc(q, data.wrong) >= 0.96
    assert auroc(q, data.wrong) > auroc(disagree.astype(float), data.wrong)
    rate = found.totals["noise_rate"]
    assert rate["low"] <= noise + 0.03
    assert rate["high"] >= noise - 0.02
    assert rate["high"] - rate["low"] < 0.12


@pytest.mark.parametrize("overconfident", [1.0, 2.0])
def test_without_noise_under_two_percent_are_likely(
    noisy: Callable[..., Any], overconfident: float
) -> None:
    data = noisy(n=10_000, noise=0.0, sharpness=3.0, overconfident=overconfident)
    disagree = (data.votes[0].argmax(axis=1) != data.given).mean()
    found = dataprune.flag_labels(data.votes, data.given)
    assert disagree > 0.08  # the probe is no oracle
    assert found.columns["is_label_issue"].mean() < 0.02


@pytest.mark.slow
@pytest.mark.parametrize(
    ("noise", "pairwise"), [(0.1, False), (0.2, False), (0.4, False), (0.2, True)]
)
def test_on_real_held_out_probabilities_likely_beats_every_filter_of_cleanlab(
    f1: Callable[..., float], auroc: Callable[..., float], noise: float, *, pairwise: bool
) -> None:
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    votes, given, wrong = digits_with_noise(noise, pairwise=pairwise)
    found, mean = dataprune.flag_labels(votes, given), np.mean(votes, axis=0)
    flagged, q = found.columns["is_label_issue"], found.columns["label_q"]
    theirs = {name: find_label_issues(given, mean, filter_by=name, n_jobs=1) for name in FILTERS}
    assert f1(flagged, wrong) > max(f1(verdict, wrong) for verdict in theirs.values())
    assert auroc(q, wrong) > 0.99
    assert auroc(q, wrong) > auroc(-get_label_quality_scores(given, mean), wrong) - 0.002
    assert found.totals["noise_rate"]["mean_q"] == pytest.approx(wrong.mean(), abs=0.02)


def digits_with_noise(noise: float, *, pairwise: bool = False) -> tuple[list[Any], Any, Any]:
    """Five folds, two repeats of a logistic regression on 1,797 digits."""
    from sklearn.datasets import load_digits
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    images, truth = load_digits(return_X_y=True)
    rng = np.random.default_rng(0)
    wrong = rng.random(len(truth)) < noise
    shift = 1 if pairwise else rng.integers(1, 10, len(truth))
    given = np.where(wrong, (truth + shift) % 10, truth)
    model = LogisticRegression(C=0.1, max_iter=300)
    votes = []
    for repeat in range(2):
        folds = StratifiedKFold(5, shuffle=True, random_state=repeat)
        votes.append(cross_val_predict(model, images / 16, given, cv=folds, method="predict_proba"))
    return votes, given, wrong


# --- totals


def test_planted_errors_bound_what_is_found(noisy: Callable[..., Any]) -> None:
    data = noisy(n=10_000, votes=2)
    found = dataprune.flag_labels(data.votes, data.given)
    planted = found.totals["planted_recall"]
    recall = found.columns["is_label_issue"][data.wrong].mean()
    assert recall - 0.02 <= planted["random"] <= 1
    assert planted["rows"] == 2000
    assert "upper bound" in planted["meaning"]
    other = dataprune.flag_labels(data.votes, data.given, seed=1).totals["planted_recall"]
    assert other["random"] != planted["random"]
    assert other["random"] == pytest.approx(planted["random"], abs=0.05)


def test_the_transition_matrix_and_confusions_show_who_is_called_what(
    noisy: Callable[..., Any],
) -> None:
    data = noisy(n=20_000, num_classes=4, noise=0.2, pairwise=True)
    found = dataprune.flag_labels(data.votes, data.given, class_names=["a", "b", "c", "d"])
    expected = 0.8 * np.eye(4) + 0.2 * np.roll(np.eye(4), 1, axis=0)
    assert found.transition == pytest.approx(expected, abs=0.05)
    assert found.totals["transition"] == found.transition.tolist()
    pairs = {(c["given"], c["true"]) for c in found.totals["confusions"][:4]}
    assert pairs == {("b", "a"), ("c", "b"), ("d", "c"), ("a", "d")}


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ({"votes": 1}, "4000 of 4000 rows have one held-out vote"),
        ({"votes": 2, "sharpness": 1.5}, "too weak for their consensus"),
        ({"noise": 0.0, "sharpness": 2.5}, "estimates of the noise rate are far apart, "),
    ],
)
def test_what_makes_flags_weak_is_said(
    noisy: Callable[..., Any], kind: dict[str, Any], text: str
) -> None:
    data = noisy(**kind)
    assert any(text in w for w in dataprune.flag_labels(data.votes, data.given).warnings)


def test_classes_that_no_vote_names_are_warned_of(noisy: Callable[..., Any]) -> None:
    data = noisy(num_classes=4)
    same = np.full_like(data.votes[0], [[0.4, 0.2, 0.2, 0.2]])
    found = dataprune.flag_labels(same, data.given)
    assert any("3 of 4 classes with 10 rows and more" in w for w in found.warnings)
    names = ["ape", "bee", "cat", "dog"]
    named = dataprune.flag_labels(same, data.given, class_names=names)
    assert any("right or wrong (bee, cat, dog)" in w for w in named.warnings)
    good = dataprune.flag_labels(data.votes, data.given)
    assert not any("no vote's best" in w for w in good.warnings)
    few = np.where(data.given == 3, 0, data.given)
    few[:4] = 3
    rare = dataprune.flag_labels(data.votes, few, class_names=names)
    assert any("1 classes have fewer than 10 rows" in w and "(dog)" in w for w in rare.warnings)


def test_votes_that_know_little_are_warned_of(noisy: Callable[..., Any]) -> None:
    data = noisy(n=2000, noise=0.0, sharpness=0.8, votes=2)
    found = dataprune.flag_labels(data.votes, data.given)
    assert any("name the given label of" in w for w in found.warnings)
    blind = np.random.default_rng(0).dirichlet(np.full(10, 5.0), 2000).astype(np.float32)
    found = dataprune.flag_labels(blind, data.given)
    assert any("name the given label of" in w for w in found.warnings)
    assert any("sharpness is at its bound" in w for w in found.warnings)
    assert found.totals["planted_recall"]["random"] is None


def test_a_suggestion_for_a_flagged_row_is_another_class(noisy: Callable[..., Any]) -> None:
    data = noisy(num_classes=5, noise=0.4, sharpness=2.0)
    found = dataprune.flag_labels(data.votes, data.given).columns
    flagged = found["tier"] != "ok"
    assert (found["suggested"] != found["given"])[flagged].all()
    many = noisy(num_classes=60, noise=0.4, sharpness=2.5)
    found = dataprune.flag_labels(many.votes, many.given).columns
    assert (found["suggested"] != found["given"])[found["tier"] != "ok"].all()


def test_strong_votes_are_not_warned_of(noisy: Callable[..., Any]) -> None:
    data = noisy(votes=2, num_classes=4, sharpness=3.5)
    assert dataprune.flag_labels(data.votes, data.given).warnings == []


def test_float16_is_warned_of(noisy: Callable[..., Any]) -> None:
    data = noisy()
    found = dataprune.flag_labels(data.votes[0].astype(np.float16), data.given)
    assert any("float16" in w for w in found.warnings)


# --- bad input

P = np.array([[0.9, 0.1], [0.2, 0.8], [0.5, 0.5]])
Y = np.array([0, 1, 0])


def changed(row: int, values: list[float]) -> Any:
    p = P.copy()
    p[row] = values
    return p


@pytest.mark.parametrize(
    ("probs", "labels", "message"),
    [
        (P[0][:, None], Y, r"probs has 2 rows and 1 classes"),
        (P.astype(int), Y, r"shape \(3, 2\) of int64, not rows x classes of floats"),
        (P[:0], Y, r"0 rows and 2 classes"),
        ([], Y, r"there are no probabilities"),
        ([P, P[:2]], Y, r"probs\[1\] is 2 rows x 2 classes, and probs\[0\] is 3 rows"),
        ([[0.5, 0.5], [1.0]], Y, r"rows of probs have different lengths"),
        (P, np.array([0, None, 1]), r"labels has shape \(3,\) of object"),
        (P, Y[:2], r"labels has 2 labels, and probs 3 rows"),
        (changed(1, [0.2, 0.7]), Y, r"row 1 of probs sums to 0.9, not to 1"),
        (changed(2, [1.5, -0.5]), Y, r"probs has -0.5 in row 2, column 1"),
        (changed(2, [np.nan, 1]), Y, r"probs has nan in row 2, column 0"),
        (changed(2, [np.inf, 1]), Y, r"probs has inf in row 2, column 0"),
        ([changed(2, [np.nan] * 2)] * 2, Y, r"row 2 is NaN in every vote \(1 such rows\)"),
        ([P, P * np.nan], Y, r"probs\[1\] is NaN in every row"),
        (P, Y + 1, r"row 1 of labels is 2, and classes are 0 to 1"),
        (P, Y - 1, r"row 0 of labels is -1, and classes are 0 to 1"),
        (P, Y / 2, r"labels has shape \(3,\) of float64"),
        (P, ["a", "b", "a"], r"nothing says which column is which class"),
    ],
)
def test_bad_input_is_one_sentence_with_the_row(probs: Any, labels: Any, message: str) -> None:
    with pytest.raises(DatapruneError, match=message) as caught:
        dataprune.flag_labels(probs, labels)
    assert caught.value.hint


def test_text_labels_are_matched_by_name_and_integers_too_where_names_are_integers() -> None:
    by_text = dataprune.flag_labels(P, ["no", "yes", "no"], class_names=["no", "yes"])
    assert by_text.columns["given"].tolist() == [0, 1, 0]
    by_number = dataprune.flag_labels(P, np.array([10, 2, 10]), class_names=["10", "2"])
    assert by_number.columns["given"].tolist() == [0, 1, 0]
    with pytest.raises(DatapruneError, match="row 1 of labels is 'maybe', which no class"):
        dataprune.flag_labels(P, ["no", "maybe", "no"], class_names=["no", "yes"])
    with pytest.raises(DatapruneError, match="3 class names for 2 columns"):
        dataprune.flag_labels(P, Y, class_names=["a", "b", "c"])
    with pytest.raises(DatapruneError, match="two classes are called a"):
        dataprune.flag_labels(P, Y, class_names=["a", "a"])
