"""Signals: one scalar per (checkpoint, example). One signal a file, each defines `SIGNAL`.

A signal is observed at checkpoints, after every epoch, or once before training. One that remembers
(forgetting events, a mean over epochs) keeps a few floats per example between epochs: what is
recorded is always a scalar, never an output per class.

Shape suffixes: N rows, B batch, S state, J window, C outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import torch

from dataprune.core.registry import Registry
from dataprune.probe.tasks import Observation, Task
from dataprune.tables.trace import NO_WINDOW

Mean = Callable[[torch.Tensor], torch.Tensor]
Finish = Callable[
    [torch.Tensor, torch.Tensor, torch.Tensor, Mean], tuple[torch.Tensor, torch.Tensor]
]


@dataclass(frozen=True)
class Sizes:
    """What the size of a state may depend on.

    outputs: of the model. window: epochs. pixels: of an image, or features of a vector.
    """

    outputs: int
    window: int
    pixels: int = 0


@dataclass(frozen=True)
class State:
    """Floats remembered per example: some, and some per output, epoch of a window and pixel."""

    fixed: int = 0
    per_output: int = 0
    per_window: int = 0
    per_pixel: int = 0

    def width(self, sizes: Sizes) -> int:
        """Floats per example."""
        return (
            self.fixed
            + self.per_output * sizes.outputs
            + self.per_window * sizes.window
            + self.per_pixel * sizes.pixels
        )


@dataclass(frozen=True)
class Signal:
    """One recorded scalar.

    observe: (observation, state_BS) -> (values (B,), new state_BS); state starts at zero.
    reads: the quantities of the observation that it reads; a probe without one of them cannot have
        the signal.
    when: after scored epochs only, after every epoch, or once before training.
    finish: for what depends on the whole epoch: (state_NS, shown (N,), in_sample (N,), mean) ->
        (values (N,), new state_NS), after all rows of the epoch were observed. Where a team shares
        the rows out, N are this process's, and `mean` is over the values of all processes.
    """

    name: str
    observe: Callable[[Observation, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
    reads: tuple[str, ...]
    when: Literal["checkpoint", "epoch", "init"] = "checkpoint"
    state: State = State()
    finish: Finish | None = None


def mean_of_all(values: torch.Tensor) -> torch.Tensor:
    """The mean in float64, where one process holds all rows."""
    return values.double().mean()


def stateless(
    name: str,
    reads: str,
    compute: Callable[[torch.Tensor], torch.Tensor] = lambda values: values,
    *,
    when: Literal["checkpoint", "init"] = "checkpoint",
) -> Signal:
    """A signal that is computed from one observed quantity and remembers nothing."""
    return Signal(name, lambda seen, state_BS: (compute(seen.get(reads)), state_BS), (reads,), when)


def mean_over_epochs(
    name: str, reads: str, compute: Callable[[torch.Tensor], torch.Tensor] = lambda values: values
) -> Signal:
    """The mean, over all epochs in which a row was observed, of something read off each."""

    def observe(seen: Observation, state_BS: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        count, mean = state_BS.unbind(dim=1)
        mean = mean + (compute(seen.get(reads)) - mean) / (count + 1)
        return mean, torch.stack([count + 1, mean], dim=1)

    return Signal(name, observe, (reads,), "epoch", State(fixed=2))


def mean_over_windows(
    name: str, reads: str, compute: Callable[[torch.Tensor], torch.Tensor]
) -> Signal:
    """The mean over all runs of J consecutive epochs of `compute`: values (B, J) -> (B,).

    `compute` must not depend on the order of the J values: they are kept in a ring. The signal is
    NO_WINDOW until J epochs were observed.
    """

    def observe(seen: Observation, state_BS: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        count, mean = state_BS[:, 0], state_BS[:, 1]
        ring_BJ = push(state_BS[:, 2:], count, seen.get(reads))
        windows = count + 2 - ring_BJ.shape[1]  # complete ones, with this epoch
        new = mean + (compute(ring_BJ) - mean) / windows.clamp(min=1)
        mean = torch.where(windows > 0, new, mean)
        value = torch.where(windows > 0, mean, NO_WINDOW)
        return value, torch.cat([torch.stack([count + 1, mean], dim=1), ring_BJ], dim=1)

    return Signal(name, observe, (reads,), "epoch", State(fixed=2, per_window=1))


def row_norms(values_BC: torch.Tensor) -> torch.Tensor:
    """L2 norm of each row, (B,); scaled first, since squares of small errors vanish in float32."""
    scale_B1 = values_BC.abs().amax(dim=1, keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)
    norms: torch.Tensor = (values_BC / scale_B1).norm(dim=1) * scale_B1[:, 0]
    return norms


def push(ring_BJ: torch.Tensor, count: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """The ring with its oldest value replaced; `count` values (B,) were pushed before."""
    slots_B1 = (count % ring_BJ.shape[1]).long()[:, None]
    return ring_BJ.scatter(1, slots_B1, values[:, None])


SIGNALS: Registry[Signal] = Registry("dataprune.probe.signals", "SIGNAL", "signal")

# Read off the outputs that any scoring pass computes anyway, so every unit records them: asking
# for one of their scores later trains nothing again.
AT_CHECKPOINTS = (
    "correct", "el2n", "entropy", "least_confidence", "logit_margin", "loss", "margin", "p_label",
)  # fmt: skip
# The same, once some score wants a pass over the rows after every epoch.
AT_EPOCHS = (
    "best_epochs_el2n", "correct_epochs", "first_learned", "forget_events", "learned",
    "mean_logit_margin", "mean_loss", "mean_p_label", "mean_p_variance", "observed_epochs",
    "std_p_label", "window_dual", "window_std",
)  # fmt: skip

AFTER_REMOVAL = ("mem_drop", "mem_flip", "mem_margin_pruned", "mem_relabel")  # one removal


def recorded_anyway(task: Task, mode: str, wanted: Iterable[str]) -> list[str]:
    """What every unit of a task records besides the wanted signals: it costs next to nothing.

    mode: "eval", where an epoch is observed only if some wanted signal is due then, or "train".
    """
    every_epoch = mode == "train" or any(SIGNALS.get(name).when == "epoch" for name in wanted)
    names = AT_CHECKPOINTS + AT_EPOCHS if every_epoch else AT_CHECKPOINTS
    found = [name for name in names if task.has.issuperset(SIGNALS.get(name).reads)]
    return [*found, *AFTER_REMOVAL] if set(wanted) & set(AFTER_REMOVAL) else found
