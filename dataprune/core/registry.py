"""Plug-ins by file name: a folder's modules are its names, and none is imported to list them.

Adding a score, strategy, source, signal, task or model is one new file in its folder. Modules
whose name starts with an underscore are machinery. Installed packages add names through entry
points of the group called like the folder's package (`dataprune.scores`, ...).
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import pkgutil
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from dataprune.core.errors import UsageError, nearest

T = TypeVar("T")


@dataclass(frozen=True)
class Registry(Generic[T]):
    """Names of one kind of plug-in.

    package: the folder's dotted name; also the entry-point group.
    attribute: what each module defines.
    kind: the word for error messages.
    """

    package: str
    attribute: str
    kind: str

    def names(self) -> list[str]:
        """Every known name, sorted; imports none of them."""
        return sorted({*self._files(), *self._entry_points()})

    def get(self, name: str) -> T:
        """Import one plug-in and return it.

        Raises:
            UsageError: there is no such name; the hint names the nearest.
        """
        if name in self._files():
            return self._checked(importlib.import_module(f"{self.package}.{name}"), name)
        if name in self._entry_points():
            plugin: T = self._entry_points()[name].load()
            return plugin
        raise UsageError(f"there is no {self.kind} named {name}", hint=nearest(name, self.names()))

    def _checked(self, module: Any, name: str) -> T:
        plugin: T = getattr(module, self.attribute)
        assert getattr(plugin, "name", name) == name, f"{module.__name__} names itself otherwise"
        return plugin

    def _files(self) -> frozenset[str]:
        return _module_names(self.package)

    def _entry_points(self) -> dict[str, importlib.metadata.EntryPoint]:
        return {e.name: e for e in importlib.metadata.entry_points(group=self.package)}


@functools.cache
def _module_names(package: str) -> frozenset[str]:
    paths = importlib.import_module(package).__path__
    return frozenset(m.name for m in pkgutil.iter_modules(paths) if not m.name.startswith("_"))
