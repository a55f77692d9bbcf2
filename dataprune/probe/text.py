"""Texts -> token ids, once per run, by the model's own encoding; and which parameter goes where."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dataprune.core.errors import UsageError
from dataprune.core.params import check_params
from dataprune.probe.models import Model

Ids = npt.NDArray[np.int32]


def encode(
    model: Model, params: Mapping[str, Any], texts: pa.ChunkedArray, width: int | None
) -> Ids:
    """Token ids int32 (n, L); 0 pads.

    width: L of the training split, to which a test split is cut or padded; None for its own.
    """
    assert model.encode is not None
    ids: Ids = model.encode(texts.to_pylist(), **_taken(model.encode, params))
    if width is None or ids.shape[1] == width:
        return ids
    fitted = np.zeros((len(ids), width), dtype=np.int32)
    kept = min(width, ids.shape[1])
    fitted[:, :kept] = ids[:, :kept]
    return fitted


def build_params(model: Model, params: Mapping[str, Any]) -> dict[str, Any]:
    """The recipe's parameters that building the network takes."""
    return dict(params) if model.encode is None else _taken(model.build, params)


def check_model_params(model: Model, params: Mapping[str, Any]) -> None:
    """Refuse parameters that a model takes neither for its network nor for its encoding.

    Raises:
        UsageError: an unknown parameter, or a required one that is missing.
    """
    if model.encode is None:
        check_params(model.build, params, what=f"model {model.name}")
        return
    known = {**_keywords(model.encode), **_keywords(model.build)}
    unknown = sorted(params.keys() - known.keys())
    if unknown:
        raise UsageError(
            f"model {model.name} has no parameter {unknown[0]}",
            hint=f"it takes {', '.join(sorted(known))}",
        )


def _taken(function: Callable[..., Any], params: Mapping[str, Any]) -> dict[str, Any]:
    known = _keywords(function)
    return {name: value for name, value in params.items() if name in known}


def _keywords(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    parameters = inspect.signature(function).parameters
    return {n: p for n, p in parameters.items() if p.kind is inspect.Parameter.KEYWORD_ONLY}
