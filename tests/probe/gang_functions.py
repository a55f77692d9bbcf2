"""What single processes of a gang are asked to do in tests; imported there by name."""

from __future__ import annotations

import copy
import os
import signal
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dataprune.core.protocols import Attempt, Shared
from dataprune.probe.team import Team, joined

CPU = torch.device("cpu")
SHAPES: dict[str, tuple[type[nn.Module], tuple[int, ...], dict[str, Any]]] = {
    "1d": (nn.BatchNorm1d, (11, 3), {}),
    "1d, far from zero": (nn.BatchNorm1d, (11, 3), {}),
    "1d of sequences": (nn.BatchNorm1d, (7, 3, 5), {}),
    "2d": (nn.BatchNorm2d, (5, 3, 4, 2), {}),
    "2d without weights": (nn.BatchNorm2d, (5, 3, 4, 2), {"affine": False}),
    "2d, mean over all batches": (nn.BatchNorm2d, (5, 3, 4, 2), {"momentum": None}),
    "2d without statistics": (nn.BatchNorm2d, (5, 3, 4, 2), {"track_running_stats": False}),
    "3d": (nn.BatchNorm3d, (5, 3, 2, 2, 2), {}),
}


def batch_norms(spec: dict[str, Any], shared: Shared, attempt: Attempt) -> dict[str, Any]:
    """Largest differences, over two batches, from one process that has them whole."""
    with joined(attempt.gang, attempt.gang.size, CPU) as team:
        return {name: _differences(team, name) for name in SHAPES}


def _differences(team: Team, name: str) -> dict[str, float]:
    kind, shape, options = SHAPES[name]
    generator = torch.Generator().manual_seed(len(name))
    alone: Any = kind(shape[1], **options)
    if alone.affine:
        alone.weight.data.uniform_(0.5, 2, generator=generator)
        alone.bias.data.uniform_(-1, 1, generator=generator)
    together: Any = team.prepared(nn.Sequential(copy.deepcopy(alone)))
    assert list(together.state_dict()) == [f"0.{key}" for key in alone.state_dict()]
    found: dict[str, float] = {}

    def differ(what: str, ours: torch.Tensor | None, whole: torch.Tensor | None) -> None:
        if ours is not None and whole is not None:
            off = ((ours - whole).abs() / (1 + whole.abs())).max().item()
            found[what] = max(found.get(what, 0), off)

    for _ in range(2):
        x = torch.randn(shape, generator=generator) + (1000 if "far" in name else 0)
        weigh = torch.randn(shape, generator=generator)
        here = team.slice_of(shape[0])
        part = x[here].clone().requires_grad_()
        whole = x.clone().requires_grad_()
        ours, theirs = together(part), alone(whole)
        (ours * weigh[here]).sum().backward()
        (theirs * weigh).sum().backward()
        differ("outputs", ours, theirs[here])
        differ("by inputs", part.grad, whole.grad[here])  # type: ignore[index]
    team.stepped(together, torch.zeros(()))
    together.eval(), alone.eval()
    differ("in eval mode", together(x[here]), alone(x[here]))
    for key, value in alone.state_dict().items():
        differ("state", together.state_dict()[f"0.{key}"], value)
    for ours, theirs in zip(together.parameters(), alone.parameters(), strict=True):
        differ("by weights", ours.grad, theirs.grad)
    return found


def team_work(spec: dict[str, Any], shared: Shared, attempt: Attempt) -> dict[str, Any]:
    """What a team of several makes of numbers that every process knows."""
    rank = attempt.gang.rank
    with joined(attempt.gang, attempt.gang.size, CPU) as team:
        rows = torch.arange(10).view(5, 2).bfloat16()
        unused, used = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
        model = nn.ParameterList([unused, used])
        if rank == 1:
            (used * rank).sum().backward()
        loss = team.stepped(model, torch.tensor(1.0 + rank))
        return {
            "whole": torch.equal(team.whole(rows[team.slice_of(5)], 5), rows),
            "joined": team.joined([torch.tensor([rank])] if rank else []).tolist(),  # type: ignore[union-attr]
            "none joined": team.joined([]) is None,
            "mean": team.mean(torch.arange(3 * rank)).item(),
            "agrees": team.agrees(rank == 0),
            "everyones": team.everyones({"rank": rank}),
            "unused": unused.grad is None,
            "used": None if used.grad is None else used.grad.tolist(),
            "loss": loss.item(),
        }


def fail_in_one(spec: dict[str, Any], shared: Shared, attempt: Attempt) -> dict[str, Any]:
    """One process fails by itself while the others wait for it."""
    with joined(attempt.gang, attempt.gang.size, CPU) as team:
        if team.rank == 1:
            raise ValueError("the one that failed")
        team.agrees(ours=True)
    return {}


def lose_one(spec: dict[str, Any], shared: Shared, attempt: Attempt) -> dict[str, Any]:
    """One process is killed at the first attempt, while the others wait for it."""
    with joined(attempt.gang, attempt.gang.size, CPU) as team:
        if team.rank == 1 and not Path(spec["marker"]).exists():
            Path(spec["marker"]).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        ranks = team.everyones(team.rank)
    (attempt.folder / f"rank-{team.rank}.txt").write_text("done")
    return {"ranks": ranks}
