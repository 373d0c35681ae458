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
    prompts = encoded(query.prompts, query.weight, model)
    if query.how == "mean" and len(prompts):
        prompts = prompts.mean(axis=0, keepdims=True)
    return Vectors(prompts, encoded(query.without, query.weight, model), encoded(query.then, query.weight, model))


def encoded(texts: Sequence[str], weight: float | None, model: Model) -> NDArray[np.float32]:
    """Sentences to query vectors [n, D]; ``weight`` of the global vector, the model's own by default."""
    if not texts:
        return np.zeros((0, model.config.vector_dim), np.float32)
    made = model.encode_captions(texts)
    vectors: NDArray[np.float32] = (made.vector if weight is None else made.at_weight(weight)).numpy()
    return vectors
