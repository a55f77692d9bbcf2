"""Modular arithmetic as data: every pair once, labels wrong where they should be."""

from __future__ import annotations

import pytest
import torch

from dataprune.reproductions.grok_data import ModularData, fourier_rows, make_data


def data(
    operation: str = "addition", *, seed: int = 0, xi: float = 0.35, p: int = 97
) -> ModularData:
    generator = torch.Generator().manual_seed(seed)
    return make_data(p, operation, alpha=0.5, xi=xi, generator=generator)  # type: ignore[arg-type]


@pytest.mark.parametrize("operation", ["addition", "multiplication"])
def test_every_pair_is_there_once_with_its_answer(operation: str) -> None:
    made = data(operation)
    pairs = list(zip(made.left_B.tolist(), made.right_B.tolist(), strict=True))
    assert sorted(pairs) == [(m, n) for m in range(97) for n in range(97)]
    answers = [(m + n if operation == "addition" else m * n) % 97 for m, n in pairs]
    assert made.truth_B.tolist() == answers


@pytest.mark.parametrize(("operation", "count"), [("addition", 97), ("multiplication", 193)])
def test_chance_is_the_share_of_the_commonest_answer(operation: str, count: int) -> None:
    assert data(operation).chance == count / 97**2


def test_counts_are_whole_parts_as_in_the_papers_code() -> None:
    made = data()
    assert (made.num_train, made.num_drawn) == (4704, 1646)


def test_drawn_labels_are_uniform_with_the_right_one_among_them() -> None:
    wrong = drawn = 0
    seen = torch.zeros(97, dtype=torch.int64)
    for seed in range(10):
        made = data(seed=seed)
        wrong, drawn = wrong + int(made.is_wrong_T.sum()), drawn + made.num_drawn
        assert not made.is_wrong_T[made.num_drawn :].any()
        seen += torch.bincount(made.label_T[: made.num_drawn], minlength=97)
    assert wrong / drawn == pytest.approx(1 - 1 / 97, abs=0.004)
    assert seen.min() > 0.6 * drawn / 97


def test_labels_do_not_change_the_truth() -> None:
    made = data(xi=1.0)
    assert torch.equal(made.truth_B, (made.left_B + made.right_B) % 97)


def test_the_generator_alone_decides() -> None:
    assert torch.equal(data(seed=1).label_T, data(seed=1).label_T)
    assert not torch.equal(data(seed=1).left_B, data(seed=2).left_B)


@pytest.mark.parametrize("p", [5, 23, 97])
def test_in_the_rows_order_multiplication_is_addition(p: int) -> None:
    rows = fourier_rows(p, "multiplication")
    assert sorted(rows) == list(range(1, p))
    for i in (0, 1, p // 2, p - 2):
        for j in (0, 1, p - 2):
            assert rows[i] * rows[j] % p == rows[(i + j) % (p - 1)]


def test_addition_keeps_its_order() -> None:
    assert fourier_rows(7, "addition") == list(range(7))
