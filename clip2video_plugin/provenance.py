"""What the rows that a model makes are marked with: its weights and network, and which frames it saw.

A search needs this and none of what reads videos.
"""

from __future__ import annotations

import json
from contextlib import suppress

from clip2video_plugin.bounds import check_choice
from clip2video_plugin.errors import CheckpointError, VideoIndexError
from clip2video_plugin.index import Provenance, VideoIndex
from clip2video_plugin.model.checkpoint import Model
from clip2video_plugin.model.installed import find_checkpoint, lasting_name
from clip2video_plugin.version import __version__
from clip2video_plugin.video.sampling import Sampling


def provenance(model: Model, sampling: str = "uniform") -> Provenance:
    """What rows that this model makes are marked with.

    Raises:
        Clip2VideoError: there is no such sampling, or the model was changed in memory after it was loaded.
    """
    check_choice("sampling", sampling, Sampling)
    network = json.dumps(model.makes_vectors(), sort_keys=True)
    folder = ""
    if model.folder is not None and model.folder.resolve().name == model.name:  # not one that was renamed in memory
        folder = lasting_name(model.name, model.folder)
        folder = "" if folder == model.name else folder
    return Provenance(model.name, model.sha256, sampling, model.config.max_frames, __version__, network, folder)


def checkpoint_of(index: VideoIndex) -> str:
    """Name or folder of the checkpoint that made an index. Whether its weights are still those, ``check`` says.

    Raises:
        VideoIndexError: it is not there.
    """
    made = index.provenance
    for model in filter(None, (made.folder, made.model)):
        with suppress(CheckpointError):
            find_checkpoint(model)
            return model
    gone = f"not in {made.folder} any more and not installed" if made.folder else "not installed"
    raise VideoIndexError(
        f"index {index.uri} was made with {made}, which is {gone}; name its checkpoint folder (--model)"
    )
