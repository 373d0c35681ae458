"""Remembers the vectors of sentences, as the panel asks for those of all captions with every selected video."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from clip2video_plugin.model.checkpoint import Model

KEPT = 4096  # sentences; the ones that were longest not asked for are forgotten

_known: OrderedDict[tuple[str, str, str], NDArray[np.float32]] = OrderedDict()
_lock = threading.Lock()  # held while encoding, so that of users at once one encodes what all of them wait for


def vectors_of(sentences: Sequence[str], model: Model) -> NDArray[np.float32]:
    """Query vectors [n, D] of at most ``KEPT`` sentences, float32, at the model's own weight."""
    keys = [(model.sha256, model.vocabulary, text) for text in sentences]
    with _lock:
        if new := [key for key in dict.fromkeys(keys) if key not in _known]:
            encoded = model.encode_captions([text for _, _, text in new]).vector.numpy()
            _known.update((key, vector.copy()) for key, vector in zip(new, encoded, strict=True))
        for key in keys:
            _known.move_to_end(key)
        out = np.stack([_known[key] for key in keys])
        while len(_known) > KEPT:
            _known.popitem(last=False)
    return out
