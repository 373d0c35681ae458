"""Captions beside their videos: those whose own video ranks low, and those that fit a video best."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clip2video_plugin.bounds import checked_k
from clip2video_plugin.counted import counted
from clip2video_plugin.errors import QueryError
from clip2video_plugin.index import VideoIndex, open_index
from clip2video_plugin.index.schema import CAPTION_TIMES
from clip2video_plugin.model.checkpoint import Model
from clip2video_plugin.paths import as_path
from clip2video_plugin.places import absolute, place_of
from clip2video_plugin.progress import Tell
from clip2video_plugin.query.search import load_for

ENCODED = 256  # captions encoded at once
RANKED = 8192  # captions that are ranked in one reading of the table
CLOSE = 1e-6  # scores that are equal but for rounding


@dataclass(frozen=True)
class Suspect:
    """A caption that may be wrong.

    ``rank`` is that of its own video when all videos are ranked by it: 1 + better + tied / 2. ``rival`` is the best of
    the other videos.
    """

    caption: str
    rank: float
    score: float
    id: str
    path: str
    rival: str
    rival_score: float


@dataclass(frozen=True)
class Audit:
    """The captions whose own video ranks lowest, the worst first.

    ``captions`` counts all captions that were tried, ``first`` those that find their own video first among ``videos``.
    """

    index: str
    videos: int
    captions: int
    first: int
    suspects: tuple[Suspect, ...]

    def __repr__(self) -> str:
        return (
            f"Audit({self.first} of {counted(self.captions, 'caption')} find their own of "
            f"{counted(self.videos, 'video')} first)"
        )

    def to_dict(self) -> dict[str, Any]:
        """The whole result, for JSON."""
        return asdict(self)


def audit(
    index: str | Path | VideoIndex | None = None,
    *,
    k: int = 50,
    model: str | Path | Model | None = None,
    ids: Collection[str] | None = None,
    progress: Tell | None = None,
) -> Audit:
    """Finds the k captions of an index whose own video ranks lowest when all videos are ranked by the caption.

    Such a caption is wrong, of another video, too general, or about something that the model does not see. Subtitles
    are left out, as what is said need not be seen. It takes as long as encoding the captions.

    Args:
        index: URI of the index, or an open one; $C2V_INDEX or ./c2v-index by default.
        k: the most captions to give, 1 to 10,000.
        model: as for ``search``.
        ids: the rows whose captions are tried; all by default.
        progress: called with the number of captions done, and of all.

    Raises:
        QueryError: no row has a caption, or k is out of range.
        VideoIndexError: there is no index, or it was made with another model.
    """
    k, opened = checked_k(k), index if isinstance(index, VideoIndex) else open_index(index)
    texts = [(i, path, text) for i, path, own in _captioned(opened, ids) for text in own]
    if not texts:
        raise QueryError(f"no video of index {opened.uri} has captions; give them: c2v embed PATH --captions FILE")
    loaded, first, worst = load_for(opened, model), 0, list[Suspect]()
    for start in range(0, len(texts), RANKED):
        part = texts[start : start + RANKED]
        vectors = np.concatenate([v for _, v in _encoded([text for _, _, text in part], loaded)])
        ranked = list(_ranked(opened, part, vectors))
        first += sum(suspect.rank < 2 for suspect in ranked)
        worst = heapq.nlargest(k, [*worst, *(s for s in ranked if s.rank >= 2)], key=lambda s: (s.rank, -s.score))
        if progress:
            progress(start + len(part), total=len(texts))
    paths = {i: as_path(p) for i, p in _paths(opened, [suspect.rival for suspect in worst])}
    suspects = (Suspect(**{**asdict(s), "rival": paths.get(s.rival, s.rival)}) for s in worst)
    return Audit(opened.uri, opened.count(), len(texts), first, tuple(suspects))


def _ranked(index: VideoIndex, part: Sequence[tuple[str, str, str]], vectors: NDArray[np.float32]) -> Iterator[Suspect]:
    """The captions (id, path, text) of vectors [n, D], ranked; ``rival`` is the id of the best other video."""
    known = index.vectors(list(dict.fromkeys(i for i, _, _ in part)))
    own = np.array([vector @ known[i] for (i, _, _), vector in zip(part, vectors, strict=True)])
    better, tied = np.zeros(len(part), np.int64), np.zeros(len(part), np.int64)
    rival, rivals = np.full(len(part), -np.inf), np.full(len(part), "", object)
    mine = dict[str, list[int]]()
    for row, (i, _, _) in enumerate(part):
        mine.setdefault(i, []).append(row)
    for ids, others in index.vector_batches():
        scores = vectors @ others.T
        for column, i in enumerate(ids):
            if i in mine:
                scores[mine[i], column] = -np.inf
        better += (scores > own[:, None] + CLOSE).sum(axis=1)
        tied += (np.abs(scores - own[:, None]) <= CLOSE).sum(axis=1)
        best = scores.argmax(axis=1)
        ahead = scores[np.arange(len(part)), best] > rival
        rival[ahead] = scores[ahead, best[ahead]]
        rivals[ahead] = np.array(ids, object)[best[ahead]]
    for row, (i, path, text) in enumerate(part):
        rank = float(1 + better[row] + tied[row] / 2)
        yield Suspect(text, rank, float(own[row]), i, path, str(rivals[row]), float(rival[row]))


@dataclass(frozen=True)
class Fitting:
    """A caption and its score with a video. ``own``: it is one of the video's own captions."""

    caption: str
    score: float
    own: bool


def nearest_captions(
    index: str | Path | VideoIndex | None,
    video: str | Path,
    k: int = 10,
    *,
    captions: str | Path | Iterable[str] | None = None,
    model: str | Path | Model | None = None,
    progress: Tell | None = None,
) -> list[Fitting]:
    """Finds the k captions that fit a video best, among all captions of the index or among those given.

    Args:
        index: as for ``search``.
        video: its path, or the id of its row.
        k: the most captions to give, 1 to 10,000.
        model: as for ``search``.
        captions: captions to choose among instead: a text file with one on each line, or a list.

    Raises:
        QueryError: the video is not indexed, there are no captions, or k is out of range.
        VideoIndexError: there is no index, or it was made with another model.
    """
    k, opened = checked_k(k), index if isinstance(index, VideoIndex) else open_index(index)
    path = str(absolute(video))
    rows = opened.rows([str(video)]) or opened.rows([e.id for e in opened.videos([video]) if e.path == path])
    if not rows:
        raise QueryError(f"{place_of(video)} is no video of index {opened.uri}; see: c2v index list")
    row = next(iter(rows.values()))
    if captions is None:
        texts = [text for _, _, some in _captioned(opened, None) for text in some]
    else:
        texts = read_captions(captions) if isinstance(captions, str | Path) else list(captions)
    if not texts:
        raise QueryError(f"there are no captions in {captions or f'index {opened.uri}'}; give some (--captions FILE)")
    return fitting(row["vector"], texts, row["captions"] or [], load_for(opened, model), k, progress)


def fitting(
    vector: NDArray[np.float32],
    texts: Iterable[str],
    own: Collection[str],
    model: Model,
    k: int,
    progress: Tell | None = None,
) -> list[Fitting]:
    """The k of these captions, each once, that score best with the vector [D] of a video, whose are ``own``."""
    different, best = list(dict.fromkeys(texts)), list[Fitting]()
    for done, vectors in _encoded(different, model):
        part = different[done - len(vectors) : done]
        scored = (Fitting(t, float(s), t in own) for t, s in zip(part, vectors @ vector, strict=True))
        best = heapq.nlargest(k, [*best, *scored], key=lambda fit: fit.score)
        if progress:
            progress(done, total=len(different))
    return best


def read_captions(path: str | Path) -> list[str]:
    """The lines of a text file that are not blank.

    Raises:
        QueryError: it cannot be read, or is no text in UTF-8.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise QueryError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise QueryError(f"{path} is no text in UTF-8; write one caption a line") from None
    return [line.strip() for line in lines if line.strip()]


def _encoded(texts: Sequence[str], model: Model) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """How many are done, and the vectors [n, D] of the last of them."""
    for start in range(0, len(texts), ENCODED):
        part = texts[start : start + ENCODED]
        yield start + len(part), model.encode_captions(part).vector.numpy()


def _captioned(index: VideoIndex, ids: Collection[str] | None) -> Iterator[tuple[str, str, list[str]]]:
    """Id, path and captions of the videos that have some which are no subtitles."""
    rows = index.columns(["id", "path", "captions", CAPTION_TIMES.name], ids)
    for batch in rows.to_batches():
        for row in batch.to_pylist():
            texts, times = row["captions"] or [], row[CAPTION_TIMES.name] or []
            spoken = [bool(time) for time in times] + [False] * (len(texts) - len(times))
            if kept := [t for t, said in zip(texts, spoken, strict=True) if t and t.strip() and not said]:
                yield row["id"], as_path(row["path"]), kept


def _paths(index: VideoIndex, ids: Sequence[str]) -> Iterator[tuple[str, str]]:
    rows = index.columns(["id", "path"], list(dict.fromkeys(ids)))
    yield from zip(rows["id"].to_pylist(), rows["path"].to_pylist(), strict=True)
