"""From captioned videos to the batches of every step, the same for the same seed however often a run is resumed."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor

from clip2video_plugin.errors import TrainingError, VideoReadError
from clip2video_plugin.model.tokenizer import tokenize
from clip2video_plugin.pixels import Interpolation, Preprocessing, Resize
from clip2video_plugin.training.cache import FrameCache
from clip2video_plugin.training.videos import CaptionedVideo
from clip2video_plugin.version import __version__

Key = tuple[int, int]  # epoch, sample
AHEAD = 3  # batches read ahead


@dataclass
class Batch:
    """N videos, and T >= N captions: one of each video, then one of the reverse of each video in ``reversed_rows``.

    pixels uint8 [N, F, R, R, 3], frame_mask [N, F], ids and mask [T, L], meaning [T], names [N]; ``failures`` are
    videos that could not be read and were replaced by others, with the reason.
    """

    pixels: Tensor
    frame_mask: Tensor
    ids: Tensor
    mask: Tensor
    meaning: Tensor
    reversed_rows: Tensor
    names: list[str]
    failures: list[tuple[str, str]]

    def pin_memory(self) -> Batch:
        for name in ("pixels", "frame_mask", "ids", "mask", "meaning", "reversed_rows"):
            setattr(self, name, getattr(self, name).pin_memory())
        return self


class Samples:
    """A sample by (epoch, number): frames and caption depend on the seed and these two alone."""

    def __init__(
        self,
        videos: Sequence[CaptionedVideo],
        *,
        count: int,
        size: int,
        seed: int,
        jitter: bool,
        per_caption: bool,
        cache: FrameCache | None,
        resize: Resize = "crop",
        interpolation: Interpolation = "bicubic",
    ) -> None:
        self.videos, self.count, self.size = videos, count, size
        self.unusual = Preprocessing(size, resize=resize, interpolation=interpolation).unusual
        self.seed, self.jitter, self.cache = seed, jitter, cache
        counts = np.array([len(video.captions) if per_caption else 1 for video in videos])
        # Of each sample the video and, where every caption is a sample of its own, its number.
        self.video_of = np.repeat(np.arange(len(videos), dtype=np.int32), counts)
        firsts = np.repeat(np.cumsum(counts) - counts, counts)
        self.caption_of = np.arange(len(self.video_of)) - firsts if per_caption else None
        self._broken: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self.video_of)

    def close(self) -> None:
        """Nothing more goes to the cache."""
        if self.cache is not None:
            self.cache.close()

    def __getitem__(self, key: Key) -> dict[str, Any]:
        epoch, number = key
        failures = list[tuple[str, str]]()
        for attempt in range(len(self)):
            sample = (number + attempt) % len(self)
            at = int(self.video_of[sample])
            video = self.videos[at]
            try:
                frames = self.frames(at, epoch)
            except VideoReadError as error:
                failures.append((video.name, error.reason))
                continue
            random = np.random.RandomState([self.seed, epoch, number])
            captions, reverse = video.captions, video.reverse_captions
            chosen = random.randint(len(captions)) if self.caption_of is None else int(self.caption_of[sample])
            return {
                "frames": frames,
                "caption": captions[chosen],
                "meaning": video.meaning,
                "reverse": reverse[random.randint(len(reverse))] if reverse else None,
                "reverse_meaning": video.reverse_meaning,
                "name": video.name,
                "failures": failures,
            }
        raise TrainingError(f"none of {len(self.videos)} videos can be read; the first: {failures[0][1]}")

    def frames(self, at: int, epoch: int = 0) -> NDArray[np.uint8]:
        """Frames [n, R, R, 3] of a video, as sampled in an epoch; raises VideoReadError."""
        if at in self._broken:
            raise VideoReadError(self.videos[at].name, self._broken[at])
        draw = epoch % self.cache.draws if self.cache else epoch
        video, random = self.videos[at], None
        if self.jitter:
            random = np.random.RandomState([self.seed, 1 + draw, at])
        key = self._key(at, draw)
        if self.cache and (kept := self.cache.get(key)) is not None:
            return kept
        try:
            frames = video.frames(self.count, self.size, random, **self.unusual)
        except VideoReadError as error:
            self._broken[at] = error.reason
            raise
        if self.cache:
            self.cache.put(key, frames)
        return frames

    def uncached(self) -> int:
        """Bytes of the frames that the cache may be given and does not hold yet."""
        if self.cache is None:
            return 0
        draws = range(self.cache.draws if self.jitter else 1)
        missing = sum(not self.cache.has(self._key(at, draw)) for at in range(len(self.videos)) for draw in draws)
        return missing * self.count * self.size * self.size * 3

    def _key(self, at: int, draw: int) -> str:
        """All that determines the frames of a video in a draw."""
        jitter = (self.seed, draw, at) if self.jitter else None
        # The usual way of resizing is not named, as it was not before there was another.
        return repr((__version__, self.videos[at].stamp(), self.count, self.size, jitter, *self.unusual.items()))


class Order:
    """The keys of every batch from ``start`` to ``stop`` (counted in parts of a step), for one of ``world`` processes.

    Every epoch is a permutation of its own, without the incomplete last step. Companions, which follow each other
    in the list of samples, stay together.
    """

    def __init__(
        self,
        samples: int,
        companions: Sequence[Sequence[int]] | None,
        *,
        step_size: int,
        parts: int,
        start: int,
        stop: int,
        seed: int,
        rank: int,
        world: int,
    ) -> None:
        self.samples, self.companions = samples, companions
        self.per_epoch = samples // step_size
        self.step_size, self.parts, self.seed = step_size, parts, seed
        self.start, self.stop, self.rank, self.world = start, stop, rank, world

    def __iter__(self) -> Iterator[list[Key]]:
        order, known = np.empty(0, np.int64), -1
        size = self.step_size // self.parts
        for step in range(self.start, self.stop):
            epoch, place = divmod(step, self.per_epoch)
            if epoch != known:
                order, known = self._epoch(epoch), epoch
            for part in range(self.parts):
                first = place * self.step_size + part * size
                yield [(epoch, int(i)) for i in order[first : first + size][self.rank :: self.world]]

    def _epoch(self, epoch: int) -> NDArray[np.int64]:
        random = np.random.default_rng([self.seed, epoch])
        if self.companions is None:
            return random.permutation(self.samples)
        return np.array([i for unit in random.permutation(len(self.companions)) for i in self.companions[unit]])


def companions(samples: Samples) -> list[list[int]] | None:
    """Samples in groups that belong in one batch: their videos share a ``companions`` number. None without any."""
    marks = [video.companions for video in samples.videos]
    if all(mark is None for mark in marks):
        return None
    groups: dict[int, list[int]] = {}
    for number, at in enumerate(samples.video_of.tolist()):
        mark = marks[at]
        groups.setdefault(-1 - number if mark is None else mark, []).append(number)
    return list(groups.values())


class Collate:
    """Samples to a Batch."""

    def __init__(self, tokenizer: Tokenizer, count: int, max_words: int) -> None:
        self.tokenizer, self.count, self.max_words = tokenizer, count, max_words

    def __call__(self, samples: list[dict[str, Any]]) -> Batch:
        side = samples[0]["frames"].shape[1]
        pixels = torch.zeros(len(samples), self.count, side, side, 3, dtype=torch.uint8)
        frame_mask = torch.zeros(len(samples), self.count)
        for row, sample in enumerate(samples):
            n = len(sample["frames"])
            pixels[row, :n] = torch.from_numpy(sample["frames"])
            frame_mask[row, :n] = 1
        rows = [row for row, sample in enumerate(samples) if sample["reverse"] is not None]
        captions = [s["caption"] for s in samples] + [samples[row]["reverse"] for row in rows]
        ids, mask = tokenize(captions, self.tokenizer, self.max_words)
        meaning = [s["meaning"] for s in samples] + [samples[row]["reverse_meaning"] for row in rows]
        return Batch(
            pixels=pixels,
            frame_mask=frame_mask,
            ids=ids,
            mask=mask,
            meaning=torch.tensor(meaning),
            reversed_rows=torch.tensor(rows, dtype=torch.int64),
            names=[s["name"] for s in samples],
            failures=[failure for s in samples for failure in s["failures"]],
        )


def load_batches(samples: Samples, order: Order, collate: Collate, *, workers: int, pin: bool) -> Generator[Batch]:
    """The batches of ``order``, read ahead by threads: decoding and resizing leave the interpreter free.

    Threads rather than processes, since LanceDB and CUDA do not survive a fork.
    """

    def finish(waiting: list[Future[dict[str, Any]]]) -> Batch:
        batch = collate([future.result() for future in waiting])
        return batch.pin_memory() if pin else batch

    readers = ThreadPoolExecutor(max(workers, 1), thread_name_prefix="read")
    finisher = ThreadPoolExecutor(1, thread_name_prefix="collate")
    ahead: deque[Future[Batch]] = deque()
    try:
        for keys in order:
            ahead.append(finisher.submit(finish, [readers.submit(samples.__getitem__, key) for key in keys]))
            if len(ahead) > AHEAD:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        readers.shutdown(wait=False, cancel_futures=True)
        finisher.shutdown(wait=False, cancel_futures=True)
