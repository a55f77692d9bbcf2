"""What the model makes of each row before its last layer: recorded only when it is asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from dataprune.core.errors import UsageError
from dataprune.probe.data import Batches
from dataprune.probe.last_layer import LastLayer
from dataprune.probe.team import Team
from dataprune.probe.train import SCORE_BATCH, scored_by
from dataprune.tables.features import write_features


def write_features_of(
    path: Path, model: nn.Module, batches: Batches, team: Team, epoch: int
) -> None:
    """Write the features of every row, in one pass that a team shares out; its leader writes."""
    ours = _features_of(model, batches, scored_by(team, batches))
    features = team.joined(ours)
    assert features is not None
    if team.leads:
        write_features(path, features.numpy(), {"epoch": epoch})


@torch.inference_mode()
def _features_of(model: nn.Module, batches: Batches, within: range) -> list[torch.Tensor]:
    """What the last linear layer reads of the rows in a range, in eval mode, float32 (k, D)."""
    model.eval()
    parts = []
    with LastLayer(model) as last:
        for batch in batches.in_order(SCORE_BATCH[batches.device.type], within):
            _, features_BD = last.layer_of(model(batch.inputs))
            parts.append(features_BD.float().cpu())
    return parts


def check_features(name: str, model: nn.Module, inputs: torch.Tensor) -> None:
    """Refuse a model that has no features, shown by a forward pass.

    Raises:
        UsageError: it does not end in one linear layer.
    """
    with torch.inference_mode(), LastLayer(model) as last:
        outputs = model(inputs)
        try:
            _, features_BD = last.layer_of(outputs)
        except UsageError as exc:
            raise UsageError(
                f"model {name} does not end in a linear layer of its own, so it has no features",
                hint="leave features out, or end the model in torch.nn.Linear",
            ) from exc
    assert np.prod(features_BD.shape[1:]) > 0
