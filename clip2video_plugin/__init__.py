"""Text-to-video search with CLIP2Video: in the FiftyOne App, on the command line and from Python.

The names of ``__init__.pyi`` load what they need on first use; importing the package loads nothing heavy.
"""

import lazy_loader

from clip2video_plugin.version import __version__ as __version__

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
