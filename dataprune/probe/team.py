"""The processes that train one unit together: what they share out, and what they put together.

Data-parallel: every process draws the same batches, trains on its own slice of each, and takes the
step that all slices give together; scoring passes are shared out by ranges of rows. So a unit of
several workers differs from one of a single worker by float32 rounding alone (models that draw at
random while they train excepted: each process draws for its own rows).

One process alone is a team of one, for which everything here is the identity.

Shape suffixes: B batch.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import distributed, nn

from dataprune.core.errors import PeerLostError, ProbeError
from dataprune.core.protocols import Gang
from dataprune.probe.signals import mean_of_all
from dataprune.probe.team_norm import with_whole_batch_norms

# The others wait this long for one that works or starts: the longest pass that is not shared out.
_PATIENCE = dt.timedelta(minutes=30)


@contextlib.contextmanager
def joined(gang: Gang, workers: int, device: torch.device) -> Iterator[Team]:
    """Meet the other processes of a unit; what was opened is closed on the way out.

    workers: how many the unit was planned with.

    Raises:
        ProbeError: the gang is of another size.
        PeerLostError: another process is gone, or failed.
    """
    if gang.size != workers:
        raise ProbeError(
            f"this unit was planned for {workers} workers and runs in {gang.size}",
            hint="start it with the runner that it was planned for",
        )
    if gang.size == 1:
        yield Team()
        return
    try:
        distributed.init_process_group(
            "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo",
            init_method=f"tcp://{gang.address}",
            rank=gang.rank,
            world_size=gang.size,
            timeout=_PATIENCE,
        )
        yield Team(gang.rank, gang.size)
    except RuntimeError as exc:
        if not isinstance(exc, distributed.DistError) and "gloo" not in str(exc):
            raise
        raise PeerLostError(
            f"worker {gang.rank} of {gang.size} lost another one of its unit",
            hint="that one tells why, if it can",
        ) from exc
    finally:
        if distributed.is_initialized():
            distributed.destroy_process_group()


@dataclass(frozen=True)
class Team:
    """This process among those that do a unit together.

    rank: which it is, of `size`; what one process does for all, rank 0 does.
    """

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process writes and tells what is one for all."""
        return self.rank == 0

    def prepared(self, model: nn.Module) -> nn.Module:
        """The model for training together: the same weights, batch norm over whole batches.

        Raises:
            UsageError: a batch norm that cannot be had over whole batches.
        """
        if self.size == 1:
            return model
        model = with_whole_batch_norms(model)
        with torch.no_grad():  # the same already, unless a model draws otherwise than by torch
            for tensor in (*model.parameters(), *model.buffers()):
                sent = tensor.contiguous()
                distributed.broadcast(sent, 0)
                tensor.copy_(sent)
        return model

    def slice_of(self, num_rows: int) -> slice:
        """This process's rows of a batch; slices differ by one row at most."""
        return self._slice(num_rows, self.rank)

    def range_of(self, num_rows: int, block: int) -> range:
        """This process's rows of a pass, in whole blocks, so that batches are those of one worker.

        It may be empty: there may be fewer blocks than processes.
        """
        blocks = self.slice_of(-(-num_rows // block))
        return range(min(blocks.start * block, num_rows), min(blocks.stop * block, num_rows))

    def stepped(self, model: nn.Module, loss: torch.Tensor) -> torch.Tensor:
        """After each backward pass: give every process the sum of gradients, and of losses.

        One message for all. A parameter that no slice reached stays without a gradient, as with
        one worker.
        """
        if self.size == 1:
            return loss.detach()
        parameters = [p for p in model.parameters() if p.requires_grad]
        grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        reached = torch.tensor([float(p.grad is not None) for p in parameters], device=loss.device)
        parts = [*grads, reached, loss.detach()]
        bucket = torch.cat([part.reshape(-1) for part in parts])
        distributed.all_reduce(bucket)
        *summed, reached, whole_loss = torch.split(bucket, [part.numel() for part in parts])
        for parameter, gradient, by in zip(parameters, summed, reached.tolist(), strict=True):
            if by:
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
                parameter.grad.copy_(gradient.view_as(parameter))
        return whole_loss.squeeze()

    def whole(self, part: torch.Tensor, num_rows: int) -> torch.Tensor:
        """Rows of a whole batch, of which each process holds its slice, in order."""
        if self.size == 1:
            return part
        sent = part.new_zeros(-(-num_rows // self.size), *part.shape[1:])
        sent[: len(part)] = part
        as_bytes = sent.view(-1).view(torch.uint8)  # whatever the type: not all can be sent
        received = [torch.empty_like(as_bytes) for _ in range(self.size)]
        distributed.all_gather(received, as_bytes)
        slices = [self._slice(num_rows, rank) for rank in range(self.size)]
        parts = [each.view(part.dtype).view_as(sent) for each in received]
        return torch.cat(
            [each[: here.stop - here.start] for each, here in zip(parts, slices, strict=True)]
        )

    def joined(self, parts: list[torch.Tensor]) -> torch.Tensor | None:
        """Rows that each process holds some of, in the order of ranks; None for none at all."""
        if self.size > 1:
            ours = torch.cat(parts).cpu() if parts else None
            parts = [part for part in self.everyones(ours) if part is not None]
        return torch.cat(parts) if parts else None

    def mean(self, values: torch.Tensor) -> torch.Tensor:
        """The mean over the values of all processes, float64."""
        if self.size == 1:
            return mean_of_all(values)
        total = values.double().sum()
        sums = torch.stack([total, torch.full_like(total, len(values))])
        distributed.all_reduce(sums)
        return sums[0] / sums[1]

    def everyones(self, value: Any) -> list[Any]:
        """The value that each process has, by rank."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        distributed.all_gather_object(values, value)
        return values

    def agrees(self, ours: bool) -> bool:  # noqa: FBT001 - the one thing it is about
        """What rank 0 says, for all."""
        if self.size == 1:
            return ours
        said = torch.tensor([ours], dtype=torch.uint8)
        distributed.broadcast(said, 0)
        return bool(said)

    def _slice(self, num_rows: int, rank: int) -> slice:
        return slice(num_rows * rank // self.size, num_rows * (rank + 1) // self.size)
