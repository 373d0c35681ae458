"""The forms in which weights are published: a recogniser and a key map each, in a file of its own."""

from __future__ import annotations

from clip2video_plugin.errors import CheckpointError
from clip2video_plugin.model.formats.clip2video import CLIP2VIDEO
from clip2video_plugin.model.formats.clip4clip import CLIP4CLIP
from clip2video_plugin.model.formats.form import Format
from clip2video_plugin.model.formats.huggingface import HUGGINGFACE
from clip2video_plugin.model.formats.open_clip import OPEN_CLIP
from clip2video_plugin.model.formats.openai import OPENAI
from clip2video_plugin.model.formats.own import OWN
from clip2video_plugin.model.formats.refused import why_not
from clip2video_plugin.model.formats.siglip import SIGLIP
from clip2video_plugin.model.weights import Weights

# The first that recognises a file reads it: what has marks of its own comes before what has fewer.
FORMATS: tuple[Format, ...] = (
    OWN,
    CLIP2VIDEO,
    CLIP4CLIP,
    OPENAI,
    OPEN_CLIP,
    SIGLIP,
    HUGGINGFACE,
)


def recognise(weights: Weights) -> Format:
    """The format of weights.

    Raises:
        CheckpointError: they are of none; the message says why, or names the formats and what is in the file.
    """
    refused = why_not(weights)
    for form in FORMATS:
        if form.recognises(weights) and (form is OWN or not refused):
            return form
    if refused:
        raise CheckpointError(f"{weights.path} {refused}")
    first = ", ".join(name[:60] for name in list(weights.tensors)[:4])
    raise CheckpointError(
        f"{weights.path} is of no form that is read ({', '.join(form.name for form in FORMATS)}); its keys begin with "
        f"{first or 'nothing'}"
    )
