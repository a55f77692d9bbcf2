"""Per-example gradients of matrix products: sums over places of outer products.

An example whose inputs are rows a_t and whose output gradients are rows g_t has the weight gradient
sum_t g_t a_t^T. Its squared norm is that of the (P, D) matrix ("product"), or
sum_ts (a_t . a_s)(g_t . g_s) without it (the ghost norm of Li et al. 2021, arXiv 2110.05679,
"gram"). For a single place it is |a|^2 |g|^2 (Goodfellow 2015, arXiv 1510.01799).

Which form is taken follows from shapes alone, so that a run can be repeated bit for bit.

Shape suffixes: B batch, T places, D inputs, P outputs.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from dataprune.probe.gradients.graph import widen

_CHUNK_BYTES = 4 << 20  # what is made and read again at once stays in cache

# Cost of writing and reading again one number that stays in cache, in floating-point operations of
# a matrix product: 0.6 ns against 70 GFLOP/s on one core of an AMD EPYC (Zen 4).
TOUCH = 40


def by_chunks(
    num_examples: int, example_bytes: int, compute: Callable[[slice], torch.Tensor]
) -> torch.Tensor:
    """Compute (B, ...) in slices of the batch whose intermediates stay in cache."""
    step = max(1, _CHUNK_BYTES // max(example_bytes, 1))
    if step >= num_examples:
        return compute(slice(0, num_examples))
    return torch.cat([compute(slice(i, i + step)) for i in range(0, num_examples, step)])


def inner(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Inner product of each example's values: (B, ...) twice -> (B,)."""
    size = len(first)  # (B,) too: the gradients of a parameter without dimensions
    product: torch.Tensor = torch.linalg.vecdot(first.reshape(size, -1), second.reshape(size, -1))
    return product


def squared_rows(values: torch.Tensor) -> torch.Tensor:
    """Squared norm of each example's values: (B, ...) -> (B,)."""
    return inner(values, values)


def outer_sum(a_BTD: torch.Tensor, g_BTP: torch.Tensor) -> torch.Tensor:
    """sum_t g_t a_t^T of each example, (B, P, D)."""
    return torch.bmm(widen(g_BTP).mT, widen(a_BTD))


def outer_squared(a_BTD: torch.Tensor, g_BTP: torch.Tensor) -> torch.Tensor:
    """Squared norm of each example's sum of outer products, (B,)."""
    num_examples, places, d = a_BTD.shape
    p = g_BTP.shape[2]
    if places == 1:
        return squared_rows(widen(a_BTD)) * squared_rows(widen(g_BTP))
    if gram_cost(places, p, d) < product_cost(places, p, d):
        return by_chunks(
            num_examples,
            8 * places * places,
            lambda here: inner(gram(a_BTD[here]), gram(g_BTP[here])),
        )
    # With fewer rows than columns: the same product the other way round took up to 3 times as long.
    first, second = (g_BTP, a_BTD) if p <= d else (a_BTD, g_BTP)
    return by_chunks(
        num_examples, 4 * p * d, lambda here: squared_rows(outer_sum(second[here], first[here]))
    )


def gram(rows_BTD: torch.Tensor) -> torch.Tensor:
    """Inner products of an example's rows, (B, T, T)."""
    rows = widen(rows_BTD)
    return torch.bmm(rows, rows.mT)


def product_cost(places: int, p: int, d: int) -> int:
    """Operations per example to make (P, D) and read it."""
    return 2 * places * p * d + TOUCH * p * d


def gram_cost(places: int, p: int, d: int) -> int:
    """Operations per example to make two (T, T) matrices and read them."""
    return 2 * places * places * (p + d) + TOUCH * 2 * places * places
