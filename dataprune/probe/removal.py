"""What a probe knows by heart, at a checkpoint: its last layer gathered, a part removed.

The rows a seed holds out say what generalizes (`memorization.py`). Every row then gets what the
rest says of it, held-out rows too; a row that was not trained on never counts as memorized.

Shape suffixes: N rows, B batch, C outputs, K hidden units.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from dataprune.probe.data import Batches
from dataprune.probe.last_layer import LastLayer
from dataprune.probe.memorization import Basis, Layer, cross_entropy, margins, remove_memorized
from dataprune.probe.train import SCORE_BATCH

OF_REMOVAL = frozenset({"mem_margin_pruned", "mem_drop", "mem_flip", "mem_relabel"})


@dataclass(frozen=True)
class Removal:
    """Values of every row, {quantity: float32 (N,)}, and what was removed, for the unit's record.

    told: basis, removed of units, held-out accuracy and fit before and after, the localizability
    index with its standard error, and the control's: the same by magnitude alone.
    """

    values: dict[str, torch.Tensor]
    told: dict[str, Any]


@torch.no_grad()
def remove_from_last_layer(
    model: nn.Module, batches: Batches, in_sample: torch.Tensor, basis: Basis
) -> Removal:
    """One forward pass in eval mode, then linear algebra on its activations (N, K), held in memory.

    in_sample: bool (N,), the rows trained on; the others choose what is removed.

    Raises:
        UsageError: the model does not end in a linear layer.
    """
    model.eval()
    hidden, targets = [], []
    with LastLayer(model) as last:
        for batch in batches.in_order(SCORE_BATCH[batches.device.type]):
            linear, features_BK = last.layer_of(model(batch.inputs))
            hidden.append(features_BK)
            targets.append(batch.targets)
    hidden_NK, label_N = torch.cat(hidden).double(), torch.cat(targets)
    read_out_KC = linear.weight.T.double()
    bias: torch.Tensor | None = linear.bias
    bias_C = torch.zeros_like(read_out_KC[0]) if bias is None else bias.double()
    held_out = ~in_sample
    layer = Layer(
        hidden_NK[in_sample], label_N[in_sample], hidden_NK[held_out], label_N[held_out],
        read_out_KC, bias_C,
    )  # fmt: skip
    found = remove_memorized(layer, basis, cross_entropy)
    control = remove_memorized(layer, "magnitude", cross_entropy)
    before_NC = hidden_NK @ read_out_KC + bias_C
    after_NC = hidden_NK @ found.read_out_KC + found.bias_C
    full_N, pruned_N = margins(before_NC, label_N), margins(after_NC, label_N)
    relabel_N = after_NC.argmax(dim=1)
    fitted_N = in_sample & (before_NC.argmax(dim=1) == label_N)
    return Removal(
        {
            "mem_margin_pruned": pruned_N.float(),
            "mem_drop": (full_N - pruned_N).float(),
            "mem_flip": (fitted_N & (relabel_N != label_N)).float(),
            "mem_relabel": relabel_N.float(),
        },
        {
            "basis": basis,
            "removed": found.removed,
            "units": len(read_out_KC),
            "held_out": found.held_out,
            "fit": found.fit,
            "index": found.index,
            "index_se": found.index_se,
            "is_localizable": found.is_localizable,
            "control_index": control.index,
            "control_index_se": control.index_se,
        },
    )


def told_of_removals(records: list[dict[str, Any]]) -> dict[str, Any]:
    """What was removed, a mean over seeds, with a warning if most seeds show nothing local.

    records: `Removal.told` of each seed at one checkpoint.
    """
    local = sum(told["is_localizable"] for told in records)
    mean = {
        key: sum(told[key] for told in records) / len(records)
        for key in ("index", "index_se", "control_index", "removed", "units")
    }
    about = {**mean, "basis": records[0]["basis"], "localizable_seeds": local}
    about |= {"seeds": len(records), "is_localizable": 2 * local > len(records)}
    if about["is_localizable"]:
        return {**about, "warning": None}
    warning = (
        f"not_localizable: in {len(records) - local} of {len(records)} seeds, what the "
        "last layer memorized is no part of it that held-out answers do not miss (index "
        f"{mean['index']:.3f}, standard error {mean['index_se']:.3f}), or nothing was memorized: "
        "mem_flip and mem_drop say nothing"
    )
    return {**about, "warning": warning}
