"""What the rows that a model makes are marked with: its weights, and which frames it saw.

A search needs this and none of what reads videos.
"""

from __future__ import annotations

from clip2video_plugin import __version__
from clip2video_plugin.errors import Clip2VideoError
from clip2video_plugin.index import Provenance
from clip2video_plugin.model.checkpoint import Model

# name -> policy of ``read_frames``, frames a second
SAMPLINGS = {"uniform": ("uniform", None), "reference": ("reference", 2.5), "reference-5fps": ("reference", 5.0)}


def provenance(model: Model, sampling: str = "uniform") -> Provenance:
    """What rows that this model makes are marked with; raises Clip2VideoError for a sampling that there is not."""
    if sampling not in SAMPLINGS:
        raise Clip2VideoError(f"sampling is {sampling!r}; allowed are {', '.join(SAMPLINGS)}")
    return Provenance(model.name, model.sha256, sampling, model.config.max_frames, __version__)
