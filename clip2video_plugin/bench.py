"""How fast this machine decodes, encodes, embeds and searches, in seconds rather than minutes."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from clip2video_plugin.embed import embed_videos
from clip2video_plugin.encode import usual_batch
from clip2video_plugin.errors import CheckpointError, Clip2VideoError, VideoReadError
from clip2video_plugin.model.checkpoint import PRECISIONS, Model, load_model
from clip2video_plugin.query import search
from clip2video_plugin.shapes import caption, scenes, write_videos
from clip2video_plugin.video import Frames
from clip2video_plugin.video.files import find_videos
from clip2video_plugin.video.frames import read_quietly

GENERATED, MOST, QUERIES, PRECISION_VIDEOS = 64, 200, 20, 16


@dataclass(frozen=True)
class Precision:
    """Videos a second that the network encodes in a precision, and the least cosine of their vectors to float32's."""

    encode: float
    cosine: float


@dataclass(frozen=True)
class Speed:
    """Rates in videos a second, the median of warm queries in milliseconds, and what they were measured with.

    ``allowed`` is what decoding and encoding in turn, measured alone, would allow ``embed``; ``precisions`` were
    measured on a few of the videos, where the model was named.
    """

    model: str
    device: str
    cores: int
    videos: int
    decode: float
    encode: float
    embed: float
    allowed: float
    query_ms: float
    precisions: dict[str, Precision]


def bench(
    videos: Iterable[str | Path] = (),
    *,
    model: str | Path | Model | None = None,
    device: str | None = None,
    most: int = MOST,
    progress: Callable[[str], None] | None = None,
) -> Speed:
    """Measures decoding, encoding, the whole of embedding, and searching what was embedded.

    Args:
        videos: files and folders; 64 generated ones by default.
        most: videos that are taken of them.
        progress: called with what is measured next.

    Raises:
        Clip2VideoError: none of the videos can be read.
    """
    say = progress or (lambda _: None)
    loaded = model if isinstance(model, Model) else load_model(model, device=device)
    with tempfile.TemporaryDirectory() as folder:
        named = list(videos)
        made = list(islice(scenes(0), GENERATED))
        if not named:
            say("writing videos")
            write_videos(Path(folder) / "videos", made, paraphrases=1)
            named = [Path(folder) / "videos"]
        paths = list(islice(find_videos(named), most))

        def read(path: Path) -> Frames | None:
            try:
                count, how = loaded.config.max_frames, loaded.config.preprocessing
                return read_quietly(path, policy="uniform", count=count, **how.options)
            except VideoReadError:
                return None

        say("decoding")
        began = time.perf_counter()
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            frames = [read_ for read_ in pool.map(read, paths) if read_]
        decoding = time.perf_counter() - began
        if not frames:
            raise Clip2VideoError(f"none of the {len(paths)} videos can be read; name others")
        say("encoding")
        encoding = _encode(frames, loaded)
        precisions = {} if isinstance(model, Model) else _precisions(frames[:PRECISION_VIDEOS], model, device, say)
        say("embedding")
        report = embed_videos(paths, index=Path(folder) / "index", model=loaded)
        say("searching")
        sentences = [caption(scene) for scene in made[:QUERIES]]
        return Speed(
            model=loaded.name,
            device=str(loaded.device),
            cores=os.cpu_count() or 1,
            videos=len(frames),
            decode=len(frames) / decoding,
            encode=len(frames) / encoding,
            embed=report.embedded / report.seconds,
            allowed=len(frames) / (decoding + encoding),
            query_ms=1000 * _query(sentences, Path(folder) / "index", loaded),
            precisions=precisions,
        )


def _encode(frames: Sequence[Frames], model: Model) -> float:
    """Seconds, after one batch that warms up."""
    size = usual_batch(model.device.type)
    model.encode_frames([f.pixels for f in frames[:size]])
    began = time.perf_counter()
    for start in range(0, len(frames), size):
        model.encode_frames([f.pixels for f in frames[start : start + size]])
    return time.perf_counter() - began


def _precisions(
    frames: Sequence[Frames], model: str | Path | None, device: str | None, say: Callable[[str], None]
) -> dict[str, Precision]:
    """Every precision that the device can do, float32 first."""
    out, whole = dict[str, Precision](), None
    for precision in PRECISIONS[1:]:
        say(f"encoding in {precision}")
        try:
            loaded = load_model(model, device=device, precision=precision)
        except CheckpointError:
            continue
        vectors = loaded.encode_frames([f.pixels for f in frames]).vector
        whole = vectors if whole is None else whole
        out[precision] = Precision(len(frames) / _encode(frames, loaded), float((vectors * whole).sum(dim=1).min()))
    return out


def _query(sentences: Sequence[str], index: Path, model: Model) -> float:
    seconds = []
    for sentence in sentences:
        began = time.perf_counter()
        search(sentence, index=index, model=model)
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds[1:])
