"""The vectors of a query, which videos are compared with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clip2video_plugin.model.checkpoint import Model
from clip2video_plugin.query.query import Query

BATCH = 64  # sentences encoded at once


@dataclass(frozen=True)
class Vectors:
    """Query vectors, float32.

    ``wanted`` [n, D]: a video scores the largest product with them, so there are several only of alternatives; none
    where nothing is looked for by its looks. ``without`` [m, D] and ``then`` [p, D] belong to the query's own.
    """

    wanted: NDArray[np.float32]
    without: NDArray[np.float32]
    then: NDArray[np.float32]


def vectors_of(query: Query, model: Model) -> Vectors:
    """Encodes the sentences of a query."""
    return vectors_of_all([query], model)[0]


def vectors_of_all(queries: Sequence[Query], model: Model) -> list[Vectors]:
    """Encodes the sentences of several queries together."""
    known = dict[tuple[float | None, str], NDArray[np.float32]]()
    for weight in dict.fromkeys(query.weight for query in queries):
        mine = [query for query in queries if query.weight == weight]
        texts = list(dict.fromkeys(text for q in mine for text in (*q.prompts, *q.without, *q.then)))
        for start in range(0, len(texts), BATCH):
            part = texts[start : start + BATCH]
            vectors = encoded(part, weight, model)
            known |= {(weight, text): vector for text, vector in zip(part, vectors, strict=True)}
    none = np.zeros((0, model.config.vector_dim), np.float32)

    def of(query: Query, texts: tuple[str, ...]) -> NDArray[np.float32]:
        return np.stack([known[query.weight, text] for text in texts]) if texts else none

    out = list[Vectors]()
    for query in queries:
        prompts = of(query, query.prompts)
        if query.how == "mean" and len(prompts):
            prompts = prompts.mean(axis=0, keepdims=True)
        out.append(Vectors(prompts, of(query, query.without), of(query, query.then)))
    return out


def encoded(texts: Sequence[str], weight: float | None, model: Model) -> NDArray[np.float32]:
    """Sentences to query vectors [n, D]; ``weight`` of the global vector, the model's own by default."""
    if not texts:
        return np.zeros((0, model.config.vector_dim), np.float32)
    made = model.encode_captions(texts)
    vectors: NDArray[np.float32] = (made.vector if weight is None else made.at_weight(weight)).numpy()
    return vectors
