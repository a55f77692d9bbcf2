"""Snapshots of a training run under way, so that a lost worker costs minutes and changes no result.

`fit` offers one after each step and each epoch; what is kept is all that what follows depends on:
weights and buffers, the optimiser, the random generators, the place in the epoch, and what the
unit has taken down so far. The epoch under way is drawn anew from the generator's state at its
start, so that no order or augmentation is stored.

    fit -> Keeper.offer -> Snapshots.save      a later attempt: Snapshots.latest -> Keeper.restore
"""

from __future__ import annotations

import logging
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from dataprune._version import __version__
from dataprune.core.fingerprint import fingerprint
from dataprune.core.protocols import NoSnapshots, Snapshots
from dataprune.probe.team import Team

log = logging.getLogger("dataprune")

# Raise it with any change to what a snapshot holds.
FORMAT_VERSION = 1
# Steps between two times that a team agrees whether one is due, which is a message to all.
_ASKED_EVERY = 10


class Stateful(Protocol):
    """What is saved along with a model: tensors, numbers and text in dicts, lists and tuples."""

    def state(self) -> dict[str, Any]:
        """All that what follows depends on."""

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave; its tensors are on the CPU."""


@dataclass
class Reached:
    """How far training has come.

    step, epoch: done. losses: of the steps of the epoch under way.
    """

    step: int = 0
    epoch: int = 0
    losses: list[torch.Tensor] = field(default_factory=list)


class Keeper:
    """Keeps snapshots of one training run, and goes on from the last one.

    made_for: what must be the same for a snapshot to serve, JSON. beside: what else is saved.
    team: whose processes keep a snapshot each, of the same step.
    """

    def __init__(
        self,
        snapshots: Snapshots | None = None,
        made_for: dict[str, Any] | None = None,
        beside: Stateful | None = None,
        team: Team | None = None,
    ) -> None:
        self._snapshots, self._team = snapshots or NoSnapshots(), team or Team()
        about = {"format": FORMAT_VERSION, "code": __version__, "for": made_for}
        about |= {"rank": self._team.rank, "size": self._team.size}
        self._fingerprint = fingerprint(about)
        self._beside = beside
        self._found = self._read()
        self._drop_unless_all_have_it()

    @property
    def resumes(self) -> bool:
        """Whether there is a snapshot to go on from."""
        return self._found is not None

    def restore(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, order: torch.Generator
    ) -> Reached:
        """Put everything as it was at the last snapshot; without one, nothing is touched.

        order: the generator that epochs are drawn from; the next draw is of the epoch under way.
        """
        if self._found is None:
            return Reached()
        found, self._found = self._found, None  # frees it
        device = next(model.parameters()).device
        model.load_state_dict(found["model"])
        with torch.no_grad():  # those that are not persistent, too
            for name, buffer in model.named_buffers():
                buffer.copy_(found["buffers"][name])
        optimizer.load_state_dict(found["optimizer"])
        order.set_state(found["order"])
        torch.set_rng_state(found["random"])
        if device.type == "cuda":
            torch.cuda.set_rng_state(found["random_cuda"], device)
        if self._beside is not None:
            self._beside.restore(found["beside"])
        losses = list(found["losses"].to(device).unbind())
        log.info("training goes on from step %d, in epoch %d", found["step"], found["epoch"] + 1)
        return Reached(found["step"], found["epoch"], losses)

    def offer(
        self,
        place: Reached,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        order: torch.Tensor,
    ) -> None:
        """Save a snapshot if one is due.

        order: state of the generator before the epoch under way was drawn.
        """
        if self._team.size > 1 and len(place.losses) % _ASKED_EVERY:
            return
        if self._team.agrees(self._snapshots.due()):
            whole = self._state(place, model, optimizer, order)
            self._snapshots.save(lambda path: torch.save(whole, path))

    def _state(
        self,
        place: Reached,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        order: torch.Tensor,
    ) -> dict[str, Any]:
        device = next(model.parameters()).device
        return {
            "fingerprint": self._fingerprint,
            "step": place.step,
            "epoch": place.epoch,
            "losses": torch.stack(place.losses) if place.losses else torch.zeros(0),
            "model": model.state_dict(),
            "buffers": dict(model.named_buffers()),
            "optimizer": optimizer.state_dict(),
            "order": order,
            "random": torch.get_rng_state(),
            "random_cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
            "beside": None if self._beside is None else self._beside.state(),
        }

    def _read(self) -> dict[str, Any] | None:
        """The last snapshot, if it is whole and of this very training."""
        path = self._snapshots.latest()
        if path is None:
            return None
        try:
            found = _load(path)
        except Exception as exc:  # noqa: BLE001 - whatever a damaged file makes the reader raise
            problem = " ".join(f"{type(exc).__name__}: {exc}".split())
            log.warning("training begins anew: snapshot %s is damaged (%s)", path, problem)
            return None
        if found.get("fingerprint") != self._fingerprint:
            log.warning("training begins anew: snapshot %s is of another training", path)
            return None
        return found

    def _drop_unless_all_have_it(self) -> None:
        """A team goes on from one step: a process may have been lost before it kept that too."""
        steps = self._team.everyones(None if self._found is None else self._found["step"])
        if len(set(steps)) > 1:
            told = ", ".join("none" if step is None else str(step) for step in steps)
            log.warning("training begins anew: snapshots of the workers are of steps %s", told)
            self._found = None


def _load(path: Path) -> dict[str, Any]:
    """What a snapshot holds, on the CPU. torch itself checks no sums: a flipped bit would pass."""
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise zipfile.BadZipFile(f"checksum of {damaged}")
    found: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(found, dict):
        raise TypeError(f"it holds a {type(found).__name__}")
    return found
