"""Probe models, small enough to train many times. One model a file, each defines `MODEL`.

A model is `build(shape, num_outputs, *, parameters...)`; shape is (channels, height, width) for
images, (features,) for feature vectors and (length,) for text. A model that reads text also has
`encode`, which turns texts into the rows of ids that its network takes.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import nn

from dataprune.core.errors import DatapruneError, UsageError, nearest
from dataprune.core.registry import Registry


@dataclass(frozen=True)
class Model:
    """A probe model: its keyword-only parameters are the recipe's `probe.model.params`.

    build: (shape, num_outputs, *, parameters...) -> the network.
    encode: (texts, *, parameters...) -> int32 (n, L), 0 pads; None where the input is no text. The
        network takes int32 or int64 (B, L). A parameter that both name is one parameter of the
        recipe, given to both.
    """

    name: str
    build: Callable[..., nn.Module]
    encode: Callable[..., npt.NDArray[np.int32]] | None = None


MODELS: Registry[Model] = Registry("dataprune.probe.models", "MODEL", "model")


def find_model(name: str) -> Model:
    """A registered model, or the user's own network by `package.module:function`.

    The function is `build(shape, num_outputs, ...)`; the parameters that it names beyond these two
    are given by keyword.

    Raises:
        UsageError: no such model, module or function; a module that fails when imported; a
            function that cannot be called so. From the built model: it failed, or gave no network.
    """
    if ":" not in name:
        return MODELS.get(name)
    module_name, _, function_name = name.partition(":")
    if not all(part.isidentifier() for part in [*module_name.split("."), function_name]):
        raise UsageError(
            f"model {name} is not of the form package.module:function",
            hint="write it like my_package.networks:build",
        )
    module = _imported(module_name)
    if not hasattr(module, function_name):
        own = _functions(module)
        raise UsageError(
            f"module {module_name} has no function {function_name}",
            hint=nearest(function_name, own) if own else "it defines no functions",
        )
    function = getattr(module, function_name)
    if not callable(function):
        raise UsageError(
            f"model {name} is of type {type(function).__name__}, which cannot be called",
            hint="name a function build(shape, num_outputs, ...) that returns a torch.nn.Module",
        )
    return Model(name, _as_build(name, function))


def _imported(module_name: str) -> Any:
    if str(Path.cwd()) not in sys.path:  # as `python -m` has it: a console script does not
        sys.path.append(str(Path.cwd()))
    try:
        return importlib.import_module(module_name)
    except (Exception, SystemExit) as exc:
        missing = exc.name if isinstance(exc, ModuleNotFoundError) else None
        if missing and f"{module_name}.".startswith(f"{missing}."):
            raise UsageError(
                f"there is no module {missing}",
                hint="install its package, or put its folder on PYTHONPATH",
            ) from exc
        raise UsageError(
            f"module {module_name} cannot be imported: {_one_line(exc)}",
            hint=f"python -c 'import {module_name}' shows where it fails",
        ) from exc


def _functions(module: Any) -> list[str]:
    """What the module itself defines, for the hint."""
    public = {n: v for n, v in vars(module).items() if not n.startswith("_")}
    return [n for n, v in public.items() if getattr(v, "__module__", None) == module.__name__]


def _as_build(name: str, function: Callable[..., Any]) -> Callable[..., nn.Module]:
    """The user's function as a model's `build`: parameters by keyword, errors in one sentence."""
    try:
        signature = inspect.signature(function)
    except ValueError:  # some functions written in C have none
        signature = inspect.Signature()
    first, rest = _split(list(signature.parameters.values()))
    if len(first) < 2:
        raise UsageError(
            f"model {name} does not take a shape and a number of outputs",
            hint="write it as build(shape, num_outputs, *, parameters...)",
        )

    @functools.wraps(function)
    def build(shape: tuple[int, ...], num_outputs: int, **params: Any) -> nn.Module:
        try:
            network = function(shape, num_outputs, **params)
        except DatapruneError:
            raise
        except Exception as exc:
            raise UsageError(
                f"model {name} failed for inputs of shape {shape}, {num_outputs} outputs and "
                f"parameters {params}: {_one_line(exc)}",
                hint="correct the function or probe.model.params",
            ) from exc
        if not isinstance(network, nn.Module):
            raise UsageError(
                f"model {name} returned {type(network).__name__}, not a network",
                hint="return a torch.nn.Module",
            )
        return network

    build.__signature__ = signature.replace(parameters=[*first, *rest])  # type: ignore[attr-defined]
    return build


def _split(
    parameters: list[inspect.Parameter],
) -> tuple[list[inspect.Parameter], list[inspect.Parameter]]:
    """The two positional parameters, and the others as keyword-only ones."""
    ordinary = inspect.Parameter.POSITIONAL_OR_KEYWORD
    first = [p for p in parameters if p.kind in {inspect.Parameter.POSITIONAL_ONLY, ordinary}][:2]
    rest = [
        p.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for p in parameters
        if p not in first and p.kind in {ordinary, inspect.Parameter.KEYWORD_ONLY}
    ]
    return first, rest


def _one_line(exc: BaseException) -> str:
    return f"{type(exc).__name__}: {' '.join(str(exc).split())}"
