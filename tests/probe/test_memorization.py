"""Memorized parts of a layer: against loops, and where the truth is built in."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from dataprune.probe.memorization import (
    BASES,
    Layer,
    cross_entropy,
    margins,
    remove_memorized,
    squared_error,
)

C, SHARED, OWN = 4, 8, 30


def built(*, memorizing: bool, seed: int = 0) -> tuple[Layer, torch.Tensor]:
    """A layer of general units, and one unit for each of 30 wrong labels that it fits.

    Returns which training rows have a wrong label, too.
    """
    g = torch.Generator().manual_seed(seed)
    centres = 6 * torch.eye(C, SHARED)

    def rows(n: int) -> tuple[torch.Tensor, torch.Tensor]:
        truth = torch.randint(0, C, (n,), generator=g)
        general = centres[truth] + 0.3 * torch.randn(n, SHARED, generator=g)
        own = 0.01 * torch.randn(n, OWN, generator=g)
        return torch.cat([general, own], dim=1), truth

    (train, truth), (held_out, held_label) = rows(300), rows(200)
    wrong = torch.arange(300) < OWN
    label = torch.where(wrong, (truth + 1) % C, truth)
    read_out = torch.zeros(SHARED + OWN, C)
    read_out[:SHARED] = centres.T / 10
    bias = -centres.square().sum(dim=1) / 20
    if memorizing:
        for i in range(OWN):
            train[i, SHARED + i] = 1.0
            read_out[SHARED + i, label[i]] = 6.0
    return Layer(train, label, held_out, held_label, read_out, bias), wrong


@pytest.mark.parametrize("basis", BASES)
def test_what_each_row_has_of_its_own_is_found_and_removed(basis: Any) -> None:
    layer, wrong = built(memorizing=True)
    found = remove_memorized(layer, basis, cross_entropy)
    assert found.about.fit[0] == 1.0
    assert found.about.held_out[0] > 0.99
    assert found.flip_T[wrong].double().mean() > 0.95
    assert not found.flip_T[~wrong].any()
    truth = (layer.label_T - wrong.long()) % C
    assert (found.after.answer_B == truth).double().mean() > 0.95
    assert (found.after.margin_B[wrong] < 0).double().mean() > 0.95
    assert found.about.is_localizable
    assert found.about.index == pytest.approx(0.1, abs=0.02)
    assert (found.drop_T[wrong] > found.drop_T[~wrong].median()).all()


@pytest.mark.parametrize("basis", BASES)
def test_where_nothing_is_memorized_nothing_flips_and_labels_are_still_contradicted(
    basis: Any,
) -> None:
    layer, wrong = built(memorizing=False)
    found = remove_memorized(layer, basis, cross_entropy)
    assert not found.flip_T[wrong].any()
    assert not found.about.is_localizable
    assert (found.after.margin_B[wrong] < 0).all()


def test_units_are_ranked_and_removed_as_a_loop_does_it() -> None:
    g = torch.Generator().manual_seed(1)
    layer = Layer(
        torch.randn(40, 6, generator=g), torch.randint(0, 3, (40,), generator=g),
        torch.randn(30, 6, generator=g), torch.randint(0, 3, (30,), generator=g),
        torch.randn(6, 3, generator=g), torch.randn(3, generator=g),
    )  # fmt: skip
    found = remove_memorized(layer, "units", squared_error)

    def answers(hidden: torch.Tensor, gone: list[int]) -> list[list[float]]:
        return [
            [
                float(layer.bias_C[c])
                + sum(float(row[k] * layer.read_out_KC[k, c]) for k in range(6) if k not in gone)
                for c in range(3)
            ]
            for row in hidden
        ]

    def loss(gone: list[int]) -> float:
        total = 0.0
        for row, label in zip(answers(layer.hidden_HK, gone), layer.label_H.tolist(), strict=True):
            total += sum((z - (c == label)) ** 2 for c, z in enumerate(row))
        return total

    order = sorted(range(6), key=lambda k: loss([k]))
    labels = layer.label_H.tolist()
    best_of = [
        [max(range(3), key=row.__getitem__) for row in answers(layer.hidden_HK, order[:n])]
        for n in range(6)
    ]
    right = [[a == b for a, b in zip(best, labels, strict=True)] for best in best_of]
    best = max(range(6), key=lambda n: (sum(right[n]), -n))

    def within(n: int) -> bool:
        behind = [int(a) - int(b) for a, b in zip(right[best], right[n], strict=True)]
        mean = sum(behind) / 30
        spread = (sum((x - mean) ** 2 for x in behind) / 29) ** 0.5
        return mean <= spread / 30**0.5

    removed = max(n for n in range(6) if within(n))
    assert found.removed == removed
    pruned = answers(layer.hidden_TK, order[:removed])
    expected = [
        row[label] - max(z for c, z in enumerate(row) if c != label)
        for row, label in zip(pruned, layer.label_T.tolist(), strict=True)
    ]
    assert found.after.margin_B.tolist() == pytest.approx(expected, rel=1e-5)


def test_all_directions_together_are_the_layer() -> None:
    layer, _ = built(memorizing=True)
    found = remove_memorized(layer, "directions", cross_entropy)
    whole = layer.hidden_TK.double() @ layer.read_out_KC.double() + layer.bias_C.double()
    expected = margins(whole, layer.label_T)
    assert found.before.margin_B.tolist() == pytest.approx(expected.tolist(), rel=1e-9)


def test_directions_do_not_depend_on_which_units_carry_them() -> None:
    layer, _ = built(memorizing=True)
    size = SHARED + OWN
    generator = torch.Generator().manual_seed(2)
    turn, _ = torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64))
    turned = replace(
        layer,
        hidden_TK=layer.hidden_TK.double() @ turn,
        hidden_HK=layer.hidden_HK.double() @ turn,
        read_out_KC=turn.T @ layer.read_out_KC.double(),
    )
    plain, other = (remove_memorized(each, "directions", cross_entropy) for each in (layer, turned))
    assert plain.removed == other.removed
    assert other.after.margin_B.tolist() == pytest.approx(plain.after.margin_B.tolist(), abs=1e-6)
    mixed = remove_memorized(turned, "units", cross_entropy)
    assert (
        mixed.about.index < 0.75 * plain.about.index
    )  # every unit carries a bit of everything now


def test_losses_are_their_definitions() -> None:
    logits = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    label = torch.tensor([0, 1])
    assert squared_error(logits, label).tolist() == [0, 1]
    assert cross_entropy(logits, label).tolist() == pytest.approx([0.31326, 0.693147], rel=1e-4)
    assert margins(logits, label).tolist() == [1, 0]
