"""Retrieval on the validation videos, between epochs."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer

from clip2video_plugin.errors import VideoReadError
from clip2video_plugin.evaluation.retrieval import BLOCK, rank_blocks
from clip2video_plugin.model import Clip2Video, Model
from clip2video_plugin.training.batches import Samples

VIDEOS, CAPTIONS, HARDEST = 32, 256, 20


@dataclass(frozen=True)
class Validation:
    """Text-to-video metrics, the queries that found their video last, and the videos that could not be read."""

    metrics: dict[str, float]
    hardest: list[dict[str, Any]]
    failures: list[tuple[str, str]]


def validate(network: Clip2Video, tokenizer: Tokenizer, samples: Samples, device: torch.device) -> Validation:
    """Ranks the validation videos for every caption of them; captions that mean the same are no rivals."""
    was_training = network.training
    model = Model("in training", "", network.eval(), tokenizer, device)
    try:
        return _validate(model, samples)
    finally:
        network.train(was_training)


def _validate(model: Model, samples: Samples) -> Validation:
    vectors, kept, failures = list[Any](), list[int](), list[tuple[str, str]]()
    # Threads of this process, not workers: decoding and resizing leave the interpreter free.
    with ThreadPoolExecutor(max(torch.get_num_threads(), 1)) as pool:
        for first in range(0, len(samples.videos), VIDEOS):
            numbers = range(first, min(first + VIDEOS, len(samples.videos)))
            frames = list(pool.map(lambda at: _read(samples, at), numbers))
            for at, one in zip(numbers, frames, strict=True):
                if isinstance(one, VideoReadError):
                    failures.append((samples.videos[at].name, one.reason))
                else:
                    kept.append(at)
            readable = [one for one in frames if not isinstance(one, VideoReadError)]
            if readable:
                vectors.append(model.encode_frames(readable).vector.numpy())
    if not kept:
        return Validation({}, [], failures)
    gallery = np.concatenate(vectors)  # [V, D]
    meaning = np.array([samples.videos[at].meaning for at in kept])
    captions = [(column, text) for column, at in enumerate(kept) for text in samples.videos[at].captions]
    column = np.array([c for c, _ in captions])
    rivals, blocks = np.empty(len(captions), np.int64), []
    for first in range(0, len(captions), BLOCK):
        texts = [text for _, text in captions[first : first + BLOCK]]
        queries = [
            model.encode_captions(texts[i : i + CAPTIONS]).vector.numpy() for i in range(0, len(texts), CAPTIONS)
        ]
        scores = np.concatenate(queries) @ gallery.T  # [block, V]
        own = column[first : first + len(texts)]
        mine = scores[np.arange(len(texts)), own].copy()
        scores[meaning[None, :] == meaning[own][:, None]] = -2.0  # below every cosine
        scores[np.arange(len(texts)), own] = mine
        others = scores.copy()
        others[np.arange(len(texts)), own] = -3.0
        rivals[first : first + len(texts)] = others.argmax(axis=1)
        blocks.append(scores)
    ranking = rank_blocks(blocks, column, len(kept))
    worst = np.argsort(-ranking.t2v, kind="stable")[:HARDEST]
    hardest = [
        {
            "caption": captions[i][1],
            "video": samples.videos[kept[column[i]]].name,
            "rank": float(ranking.t2v[i]),
            "rival": samples.videos[kept[rivals[i]]].name,
        }
        for i in worst
    ]
    return Validation(ranking.metrics()["t2v"], hardest, failures)


def _read(samples: Samples, at: int) -> Any:
    try:
        return samples.frames(at)
    except VideoReadError as error:
        return error
