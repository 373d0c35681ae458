"""What a query is compared with: its vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clip2video_plugin.model.checkpoint import Model
from clip2video_plugin.query.query import Query


@dataclass(frozen=True)
class Vectors:
    """Query vectors, float32.

    ``wanted`` [n, D]: a video scores the largest product with them, so there are several only of alternatives.
    ``without`` [m, D] and ``then`` [p, D] belong to the query's own.
    """

    wanted: NDArray[np.float32]
    without: NDArray[np.float32]
    then: NDArray[np.float32]


def vectors_of(query: Query, model: Model) -> Vectors:
    """Encodes the sentences of a query."""
    prompts = _sentences(query.prompts, query.weight, model)
    if query.how == "mean":
        prompts = prompts.mean(axis=0, keepdims=True)
    return Vectors(prompts, _sentences(query.without, query.weight, model), _sentences(query.then, query.weight, model))


def _sentences(texts: Sequence[str], weight: float | None, model: Model) -> NDArray[np.float32]:
    if not texts:
        return np.zeros((0, model.config.vector_dim), np.float32)
    encoded = model.encode_captions(texts)
    vectors: NDArray[np.float32] = (encoded.vector if weight is None else encoded.at_weight(weight)).numpy()
    return vectors
