"""Has the reference show as a class's methods what it has from another module, as ``name = module.function``."""

from __future__ import annotations

from typing import Any

import griffe


class Methods(griffe.Extension):
    """Puts the function in the place of the attribute."""

    def on_class_members(self, *, cls: griffe.Class, **_: Any) -> None:
        for name, one in list(cls.attributes.items()):
            if isinstance(one.value, griffe.ExprAttribute):
                cls[name] = griffe.Alias(name, one.value.canonical_path, lineno=one.lineno, parent=cls)
