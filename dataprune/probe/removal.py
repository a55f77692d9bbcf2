"""What a probe knows by heart, at a checkpoint: a part of its last layer removed.

The rows a seed holds out say what generalizes (`memorization.py`). Every row then gets what the
rest says of it, held-out rows too; a row that was not trained on never counts as memorized.
`removal_inside.py` does the same to a layer inside.

Shape suffixes: N rows, H held-out rows that choose, B batch, C outputs, K hidden units.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from dataprune.core.fingerprint import derive_seed
from dataprune.probe.data import Batches
from dataprune.probe.last_layer import LastLayer
from dataprune.probe.memorization import (
    Answers,
    Basis,
    Choice,
    ReadOut,
    answers_of,
    choose_in_read_out,
    cross_entropy,
    localizability,
)
from dataprune.probe.moments import Moments
from dataprune.probe.train import SCORE_BATCH

OF_REMOVAL = frozenset({"mem_margin_pruned", "mem_drop", "mem_flip", "mem_relabel"})
# Their activations are held: 10,000 tell an accuracy to half a percent.
MOST_HELD_OUT = 10_000


@dataclass(frozen=True)
class Removal:
    """Values of every row, {quantity: float32 (N,)}, and what was removed, for the unit's record.

    told: layer (None: the input of the last linear one), basis, removed of units, held-out accuracy
    and fit before and after, the localizability index with its standard error, and the control's:
    the same by magnitude alone.
    """

    values: dict[str, torch.Tensor]
    told: dict[str, Any]


@dataclass(frozen=True)
class _Seen:
    """What the first pass keeps: moments of training rows, activations of held-out rows."""

    trained: Moments
    hidden_HK: torch.Tensor
    label_H: torch.Tensor
    read_out: ReadOut
    before: Answers


@torch.no_grad()
def remove_from_last_layer(
    model: nn.Module, batches: Batches, in_sample: torch.Tensor, basis: Basis, *salt: int | str
) -> Removal:
    """Two forward passes in eval mode: one to choose what is removed, one to see what is left.

    in_sample: bool (N,), the rows trained on; of the others up to 10,000, drawn by the salt, choose
    what is removed.

    Raises:
        UsageError: the model does not end in a linear layer.
    """
    model.eval()
    chosen = drawn_held_out(in_sample, MOST_HELD_OUT, *salt)
    with LastLayer(model) as last:
        seen = _look(model, last, batches, in_sample, chosen)
        held_out = seen.hidden_HK, seen.label_H
        choices = {
            each: choose_in_read_out(seen.trained, *held_out, seen.read_out, each, cross_entropy)
            for each in with_control(basis)
        }
        parts: dict[Basis, list[Answers]] = {each: [] for each in choices}
        for batch in batches.in_order(SCORE_BATCH[batches.device.type]):
            _, hidden_BK = last.layer_of(model(batch.inputs))
            for each, (_, left) in choices.items():
                parts[each].append(answers_of(left(hidden_BK.double()), batch.targets))
    found = {each: (choice, joined(parts[each])) for each, (choice, _) in choices.items()}
    return removal_of(None, basis, seen.hidden_HK.shape[1], in_sample, seen.before, found)


def _look(
    model: nn.Module,
    last: LastLayer,
    batches: Batches,
    in_sample: torch.Tensor,
    chosen: torch.Tensor,
) -> _Seen:
    trained = Moments()
    hidden, labels, before = [], [], []
    for batch in batches.in_order(SCORE_BATCH[batches.device.type]):
        linear, hidden_BK = last.layer_of(model(batch.inputs))
        read_out, hidden_BK = _read_out_of(linear), hidden_BK.double()
        trained.add(hidden_BK[in_sample[batch.rows]])
        here = chosen[batch.rows]
        hidden.append(hidden_BK[here])
        labels.append(batch.targets[here])
        before.append(answers_of(read_out(hidden_BK), batch.targets))
    return _Seen(trained, torch.cat(hidden), torch.cat(labels), read_out, joined(before))


def _read_out_of(linear: nn.Linear) -> ReadOut:
    weight_KC = linear.weight.T.double()
    bias: torch.Tensor | None = linear.bias
    return ReadOut(weight_KC, torch.zeros_like(weight_KC[0]) if bias is None else bias.double())


def drawn_held_out(in_sample: torch.Tensor, most: int, *salt: int | str) -> torch.Tensor:
    """Mask (N,) of the rows that choose: those held out, or `most` of them, drawn by the salt."""
    rows = torch.nonzero(~in_sample).flatten()
    if len(rows) > most:
        generator = torch.Generator().manual_seed(derive_seed(*salt, "removal"))
        drawn = torch.randperm(len(rows), generator=generator)[:most]
        rows = rows[drawn.to(rows.device)]
    chosen = torch.zeros_like(in_sample)
    chosen[rows] = True
    return chosen


def with_control(basis: Basis) -> tuple[Basis, ...]:
    """The basis, and the control beside it."""
    return (basis,) if basis == "magnitude" else (basis, "magnitude")


def joined(parts: Sequence[Answers]) -> Answers:
    """Answers of all batches, in order."""
    return Answers(
        torch.cat([part.margin_B for part in parts]),
        torch.cat([part.answer_B for part in parts]),
        torch.cat([part.right_B for part in parts]),
    )


def removal_of(
    layer: str | None,
    basis: Basis,
    num_units: int,
    in_sample: torch.Tensor,
    before: Answers,
    found: Mapping[Basis, tuple[Choice, Answers]],
) -> Removal:
    """Values of every row, and the record.

    before: answers to all rows. found: in the basis and the control, what was chosen, and the
    answers after.
    """
    about = {
        each: localizability(choice, before.right_B[in_sample], after.right_B[in_sample])
        for each, (choice, after) in found.items()
    }
    choice, after = found[basis]
    return Removal(
        {
            "mem_margin_pruned": after.margin_B.float(),
            "mem_drop": (before.margin_B - after.margin_B).float(),
            "mem_flip": (in_sample & before.right_B & ~after.right_B).float(),
            "mem_relabel": after.answer_B.float(),
        },
        {
            "layer": layer,
            "basis": basis,
            "removed": choice.removed,
            "units": num_units,
            "held_out": about[basis].held_out,
            "fit": about[basis].fit,
            "index": about[basis].index,
            "index_se": about[basis].index_se,
            "is_localizable": about[basis].is_localizable,
            "control_index": about["magnitude"].index,
            "control_index_se": about["magnitude"].index_se,
        },
    )


def told_of_removals(records: list[dict[str, Any]]) -> dict[str, Any]:
    """What was removed, a mean over seeds, with a warning if most seeds show nothing local.

    records: `Removal.told` of each seed at one checkpoint.
    """
    local = sum(told["is_localizable"] for told in records)
    count = len(records)
    mean = {
        key: sum(told[key] for told in records) / count
        for key in ("index", "control_index", "removed", "units")
    }
    for key in ("index_se", "control_index_se"):  # of the mean, as if seeds shared no rows
        mean[key] = sum(told[key] ** 2 for told in records) ** 0.5 / count
    layer = records[0].get("layer")  # units of before it could be chosen do not say
    about = {**mean, "layer": layer, "basis": records[0]["basis"], "localizable_seeds": local}
    about |= {"seeds": len(records), "is_localizable": 2 * local > len(records)}
    if about["is_localizable"]:
        return {**about, "warning": None}
    where = "the last layer" if layer is None else f"layer {layer}"
    warning = (
        f"not_localizable: in {len(records) - local} of {len(records)} seeds, what {where} "
        "memorized is no part of it that held-out answers do not miss (index "
        f"{mean['index']:.3f}, standard error {mean['index_se']:.3f}), or nothing was memorized: "
        "mem_flip and mem_drop say nothing"
    )
    return {**about, "warning": warning}
