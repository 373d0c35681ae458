"""Every kind of input, in the order in which they are read."""

from . import annotations, arrays, indexes, texts, training, videos, weights

TARGETS = (
    *(*texts.TARGETS, *annotations.TARGETS, *arrays.TARGETS, *training.TARGETS, *weights.TARGETS),
    *(*indexes.TARGETS, *videos.TARGETS),
)
