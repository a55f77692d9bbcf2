"""The network of "To grok or not to grok": two layers, quadratic activation, no biases.

f(m, n) = W phi(U e_m + V e_n) with phi(x) = x^2 (equation 1). U e_m is column m of U, so it is
looked up instead of multiplied. Legend of shapes: B examples, N neurons, P the modulus.
"""

from __future__ import annotations

import torch
from torch import nn

from dataprune.reproductions.grok_recipe import GrokRun


class QuadraticMlp(nn.Module):
    """Logits of m + n or m * n mod P.

    U_PN, V_PN: a row per number, stored transposed for the look-up. W_NP: read-out, transposed.
    Dropout is of pre-activations, BatchNorm of activations (appendix A).
    """

    def __init__(self, p: int, num_neurons: int, run: GrokRun, generator: torch.Generator) -> None:
        super().__init__()
        std = (16 * num_neurons) ** (-1 / 3)  # N(0, (16 N)^(-2/3)), appendix A
        self.U_PN = nn.Parameter(std * torch.randn(p, num_neurons, generator=generator))
        self.V_PN = nn.Parameter(std * torch.randn(p, num_neurons, generator=generator))
        self.W_NP = nn.Parameter(std * torch.randn(num_neurons, p, generator=generator))
        self.norm = nn.BatchNorm1d(num_neurons) if run.batch_norm else None
        self.dropout = run.dropout

    def hidden(
        self, left_B: torch.Tensor, right_B: torch.Tensor, generator: torch.Generator | None = None
    ) -> torch.Tensor:
        """What the read-out reads: hidden_BN.

        generator: draws what is dropped; wanted while training with dropout.
        """
        pre_BN = nn.functional.embedding(left_B, self.U_PN)
        pre_BN = pre_BN + nn.functional.embedding(right_B, self.V_PN)
        if self.training and self.dropout:
            assert generator is not None, "dropout draws from an explicit generator"
            kept_BN = torch.rand(pre_BN.shape, generator=generator) >= self.dropout
            pre_BN = pre_BN * kept_BN / (1 - self.dropout)
        hidden_BN = pre_BN.square()
        if self.norm is not None:
            hidden_BN = self.norm(hidden_BN)
        return hidden_BN

    def forward(
        self, left_B: torch.Tensor, right_B: torch.Tensor, generator: torch.Generator | None = None
    ) -> torch.Tensor:
        """logits_BP."""
        logits_BP: torch.Tensor = self.hidden(left_B, right_B, generator) @ self.W_NP
        return logits_BP
