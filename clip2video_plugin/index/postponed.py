"""Packages whose ``__init__`` runs when something of them is asked for, not when their submodules are imported."""

from __future__ import annotations

import sys
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import Any


def postpone(name: str) -> None:
    """Leaves out the ``__init__`` of a package while its submodules are imported, until something of it is needed.

    Does nothing where the package was imported before, or is not installed.
    """
    if name in sys.modules or (spec := find_spec(name)) is None:
        return
    package = module_from_spec(spec)
    package.__class__ = _Postponed
    sys.modules[name] = package


class _Postponed(ModuleType):
    def __getattr__(self, name: str) -> Any:
        self.__class__ = ModuleType  # type: ignore[assignment]  # from here on a module like any other
        assert self.__spec__
        assert self.__spec__.loader
        self.__spec__.loader.exec_module(self)
        return getattr(self, name)
