"""What FiftyOne's plugin loader reads (``py_entry`` of fiftyone.yml).

A checkout in the plugins folder works without being installed: its own package is then made importable.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any


def make_importable(root: Path) -> None:
    """Lets ``import clip2video_plugin`` find the package of a checkout at ``root``, unless one is installed.

    The root itself never goes onto the path, since its folder ``datasets`` would hide another package.
    """
    if "clip2video_plugin" in sys.modules or importlib.util.find_spec("clip2video_plugin") is not None:
        return
    folder = root / "clip2video_plugin"
    spec = importlib.util.spec_from_file_location(
        "clip2video_plugin", folder / "__init__.py", submodule_search_locations=[str(folder), str(root)]
    )
    if spec is None or spec.loader is None:
        raise ImportError(f"no package clip2video_plugin in {root}")
    module = importlib.util.module_from_spec(spec)
    sys.modules["clip2video_plugin"] = module
    spec.loader.exec_module(module)


def register(plugin: Any) -> None:
    """Called by FiftyOne with the context to register operators and panels on."""
    make_importable(Path(__file__).resolve().parents[2])
    from clip2video_plugin.app.operators import OPERATORS
    from clip2video_plugin.app.panel import PANELS

    for one in (*OPERATORS, *PANELS):
        plugin.register(one)
