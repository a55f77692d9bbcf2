"""One batch as somebody's training loop hands it over: checked, and in the types we compute with.

torch is imported when a batch comes: `label_codes` serves the scoring of traces, which needs none.

Shape suffixes: B batch, C classes or outputs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from dataprune.core.errors import ProbeError, UsageError
from dataprune.core.fingerprint import mix64

if TYPE_CHECKING:
    import torch

Ints = npt.NDArray[np.int64]
_CODE_BITS = 24  # what float32, the type of a trace's columns, holds exactly
_ROW_HINT = "a row is the example's position in the dataset"


def label_codes(targets: npt.NDArray[Any]) -> Ints:
    """A whole number below 2**24 per row by which targets are compared, int64 (n,).

    Class indices (n,) stand for themselves; rows of numbers (n, C), multi-hot too, are hashed.
    """
    if targets.ndim == 1:
        return targets.astype(np.int64)
    numbers_BC = np.ascontiguousarray(targets, dtype=np.float32) + np.float32(0)  # -0.0 is 0.0
    places_C = np.arange(targets.shape[1], dtype=np.uint64) << np.uint64(32)
    bits_BC = numbers_BC.view(np.uint32).astype(np.uint64) + places_C
    sums_B: npt.NDArray[np.uint64] = mix64(bits_BC, "label").sum(axis=1, dtype=np.uint64)
    return (sums_B >> np.uint64(64 - _CODE_BITS)).astype(np.int64)


def rows_of(rows: Any, num_rows: int) -> Ints:
    """Row ids, int64 (B,).

    Raises:
        UsageError: not integers, none, or out of range.
    """
    rows_B = _array(rows, "rows")
    if rows_B.ndim != 1 or rows_B.dtype.kind not in "iu" or not len(rows_B):
        raise UsageError(
            f"rows are {_told(rows_B)}, and should be integers (B,), one at least", hint=_ROW_HINT
        )
    bad = np.flatnonzero((rows_B < 0) | (rows_B >= num_rows))
    if len(bad):
        raise UsageError(
            f"row {rows_B[bad[0]]} is out of range: the trace has rows 0 to {num_rows - 1}",
            hint=_ROW_HINT,
        )
    return rows_B.astype(np.int64)


def outputs_of(task: str, outputs: Any, rows_B: Ints) -> torch.Tensor:
    """Outputs as float32 (B, C), detached, on the device where they are.

    Raises:
        UsageError: not floats of a shape that the task can have.
        ProbeError: an output is NaN or infinite; the row is named.
    """
    import torch

    if isinstance(outputs, torch.Tensor):
        outputs_BC = outputs.detach()
    else:
        given = _array(outputs, "outputs")
        outputs_BC = torch.from_numpy(
            given.astype(np.float32) if given.dtype.kind == "f" else given.copy()
        )
    told = f"{outputs_BC.dtype} {tuple(outputs_BC.shape)}"
    if task == "regression" and outputs_BC.dim() == 1:
        outputs_BC = outputs_BC[:, None]
    least = 2 if task == "classification" else 1
    fits = outputs_BC.dim() == 2 and outputs_BC.shape[1] >= least
    if not fits or not outputs_BC.is_floating_point():
        raise UsageError(
            f"outputs are {told}, and {task} wants floats (B, C)",
            hint="give the model's logits, a row per example",
        )
    if len(outputs_BC) != len(rows_B):
        raise UsageError(f"{len(rows_B)} rows came with {len(outputs_BC)} outputs")
    outputs_BC = outputs_BC.float()
    bad = (~outputs_BC.isfinite().all(dim=1)).nonzero()
    if len(bad):
        raise ProbeError(
            f"an output is NaN or infinite for row {rows_B[int(bad[0])]}",
            hint="training diverged, or float16 overflowed",
        )
    return outputs_BC


def targets_of(task: str, targets: Any, rows_B: Ints, num_outputs: int) -> npt.NDArray[Any]:
    """Targets as the task's losses take them: int64 (B,) or float32 (B, C).

    Raises:
        UsageError: another shape or type, a class that is none, a number that is not finite.
    """
    given = _array(targets, "targets")
    if given.ndim == 0 or len(given) != len(rows_B):
        count = len(given) if given.ndim else "one number for"
        raise UsageError(f"{len(rows_B)} rows came with {count} targets")
    if task == "classification":
        return _class_indices(given, rows_B, num_outputs)
    if task == "regression" and given.ndim == 1:
        given = given[:, None]
    if given.shape != (len(rows_B), num_outputs):
        raise UsageError(
            f"targets are {_told(given)}, and {task} with {num_outputs} outputs wants "
            f"({len(rows_B)}, {num_outputs})"
        )
    if task == "multilabel":
        bad, what = ~np.isin(given, (0, 1)).all(axis=1), "other than 0 and 1"
    else:
        bad, what = ~np.isfinite(given).all(axis=1), "that is NaN or infinite"
    if bad.any():
        raise UsageError(f"row {rows_B[bad][0]} has a target {what}")
    return given.astype(np.float32)


def _class_indices(given: npt.NDArray[Any], rows_B: Ints, num_classes: int) -> Ints:
    if given.ndim != 1 or given.dtype.kind not in "iub":
        raise UsageError(
            f"targets are {_told(given)}, and classification wants integers (B,)",
            hint="give class indices; mixed or smoothed labels have none",
        )
    bad = np.flatnonzero((given < 0) | (given >= num_classes))
    if len(bad):
        raise UsageError(
            f"row {rows_B[bad[0]]} has the target {given[bad[0]]}, and there are {num_classes} "
            "classes"
        )
    return given.astype(np.int64)


def mask_of(in_sample: npt.ArrayLike, num_rows: int) -> npt.NDArray[np.bool_]:
    """The rows trained on, bool (num_rows,).

    Raises:
        UsageError: another type or shape, or no row.
    """
    mask = _array(in_sample, "in_sample")
    if mask.dtype != np.bool_ or mask.shape != (num_rows,) or not mask.any():
        raise UsageError(
            f"in_sample is {_told(mask)}, and should be bool ({num_rows},) with a row trained on"
        )
    return mask.copy()


def whole(value: Any, what: str, *, least: int) -> int:
    """A whole number.

    Raises:
        UsageError: it is none, or less than `least`.
    """
    is_whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not is_whole or value < least:
        raise UsageError(f"{what} is {value!r}, and should be a whole number from {least} on")
    return int(value)


def _array(value: Any, what: str) -> npt.NDArray[Any]:
    """A tensor, array or list of numbers as an array on the CPU.

    Raises:
        UsageError: it holds something else.
    """
    import torch

    if isinstance(value, torch.Tensor):
        value = value.detach().cpu()
        value = (value.float() if value.dtype == torch.bfloat16 else value).numpy()
    try:
        array = np.asarray(value)
    except ValueError:  # a ragged list
        array = np.asarray(None)
    if array.dtype.kind not in "iubf":
        raise UsageError(
            f"{what} are of type {type(value).__name__}, and should be a tensor or array of numbers"
        )
    return array


def _told(array: npt.NDArray[Any]) -> str:
    return f"{array.dtype} {array.shape}"
