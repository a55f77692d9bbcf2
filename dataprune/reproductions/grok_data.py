"""Modular arithmetic as a data set, with training labels corrupted.

Section 2 and appendix A of "To grok or not to grok" (arXiv 2310.13061). Legend of shapes: B
examples, T training examples; the first T of the B are trained on.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from dataprune.reproductions.grok_recipe import Operation


@dataclass(frozen=True)
class ModularData:
    """All p^2 pairs of numbers in random order.

    left_B, right_B, truth_B: int64; truth is left + right or left * right, mod p.
    label_T: what the training examples are said to be. xi of them were drawn from all p numbers,
        the right one included, so that 1 in p of those drawn is right after all.
    """

    p: int
    left_B: torch.Tensor
    right_B: torch.Tensor
    truth_B: torch.Tensor
    label_T: torch.Tensor
    num_drawn: int

    @property
    def num_train(self) -> int:
        """T."""
        return len(self.label_T)

    @property
    def is_wrong_T(self) -> torch.Tensor:  # noqa: N802 - a shape suffix
        """Bool: the training label is not the truth. These are the corrupted examples."""
        return self.label_T != self.truth_B[: self.num_train]

    @property
    def chance(self) -> float:
        """The share of the commonest answer: of zero, in multiplication, nearly 2 in p."""
        return int(self.truth_B.bincount().max()) / len(self.truth_B)


def make_data(
    p: int, operation: Operation, *, alpha: float, xi: float, generator: torch.Generator
) -> ModularData:
    """Draw the order of the pairs, then the labels of the first xi of the training examples.

    alpha: share of all pairs that is trained on. xi: share of the training labels that is drawn.
    Zero is a number like the others, in multiplication too.
    """
    order_B = torch.randperm(p * p, generator=generator)
    left_B, right_B = order_B // p, order_B % p
    truth_B = (left_B + right_B if operation == "addition" else left_B * right_B) % p
    num_train = int(alpha * p * p)
    num_drawn = int(xi * num_train)
    label_T = truth_B[:num_train].clone()
    label_T[:num_drawn] = torch.randint(0, p, (num_drawn,), generator=generator)
    return ModularData(p, left_B, right_B, truth_B, label_T, num_drawn)


def fourier_rows(p: int, operation: Operation) -> list[int]:
    """The order of the numbers in which the operation is addition of positions.

    Addition: 0, 1, ..., p - 1. Multiplication: 1, g, g^2, ..., for the smallest primitive root g,
    since the discrete logarithm turns a product into a sum; zero has none and is left out. Only in
    this order is the Fourier transform of a neuron's weights a sign of what it has learned. That of
    a neuron that knows products of zero is none: it looks like one that memorizes.
    """
    if operation == "addition":
        return list(range(p))
    for root in range(2, p):
        powers = [1]
        while (power := powers[-1] * root % p) != 1:
            powers.append(power)
        if len(powers) == p - 1:
            return powers
    raise AssertionError(f"{p} has no primitive root, so it is no odd prime")
