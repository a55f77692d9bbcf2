"""Inverse participation ratio: how periodic a neuron's weights are.

Equations 3 and 4 of "To grok or not to grok": a neuron that generalizes modular addition has
weights that are one cosine, hence one line in the Fourier transform; one that memorizes has no such
structure. Legend of shapes: R rows or vectors, L their length, N neurons, P the modulus.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch


def ipr(vector_RL: torch.Tensor, *, r: int = 2) -> torch.Tensor:
    """sum_j (F_j / ||F||_2)^(2r) of each vector, float64 (R,), with F = |rfft(vector)|.

    The transform of real numbers, L // 2 + 1 bins: with the full one a cosine has two lines, and
    0.5 in place of 1. For L = 97 a cosine has 1, one lone number 1/49, Gaussian noise about 0.04.
    The constant part is a bin like the others, as in the authors' code, so a constant vector has 1
    without being periodic. A vector that is all zero has no spectrum and gets 0, below all others.
    """
    power_RF = torch.fft.rfft(vector_RL.double(), dim=1).abs().square()
    total_R1 = power_RF.sum(dim=1, keepdim=True)
    share_RF = torch.where(total_R1 > 0, power_RF / total_R1, 0.0)
    return share_RF.pow(r).sum(dim=1)


def neuron_ipr(
    U_PN: torch.Tensor, V_PN: torch.Tensor, W_NP: torch.Tensor, rows: Sequence[int]
) -> torch.Tensor:
    """Mean of the ratios of a neuron's two input vectors and its output vector, float64 (N,).

    rows: the numbers in the order in which the operation is addition (`grok_data.fourier_rows`).
    """
    index = torch.tensor(rows)
    parts_NL = (U_PN.detach().T, V_PN.detach().T, W_NP.detach())
    return torch.stack([ipr(part_NL[:, index]) for part_NL in parts_NL]).mean(dim=0)
