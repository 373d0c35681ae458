"""What the rows that a model makes are marked with: its weights and network, and which frames it saw.

A search needs this and none of what reads videos.
"""

from __future__ import annotations

import json

from clip2video_plugin import __version__
from clip2video_plugin.errors import Clip2VideoError
from clip2video_plugin.index import Provenance
from clip2video_plugin.model.checkpoint import Model

# name -> policy of ``read_frames``, frames a second
SAMPLINGS = {"uniform": ("uniform", None), "reference": ("reference", 2.5), "reference-5fps": ("reference", 5.0)}


def provenance(model: Model, sampling: str = "uniform") -> Provenance:
    """What rows that this model makes are marked with.

    Raises:
        Clip2VideoError: there is no such sampling, or the model was changed in memory after it was loaded.
    """
    if sampling not in SAMPLINGS:
        raise Clip2VideoError(f"sampling is {sampling!r}; allowed are {', '.join(SAMPLINGS)}")
    network = json.dumps(model.makes_vectors(), sort_keys=True)
    return Provenance(model.name, model.sha256, sampling, model.config.max_frames, __version__, network)
