"""The pipeline from paths to rows: skip what is unchanged, decode and encode the rest, write in portions.

Used unchanged by the command line, from Python and by the FiftyOne brain method.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Sequence, Sized
from dataclasses import replace
from functools import partial
from itertools import chain, islice
from pathlib import Path

from clip2video_plugin.bounds import checked_count
from clip2video_plugin.captions import read_table
from clip2video_plugin.cluster import Cluster, Running
from clip2video_plugin.encode import Embedded, Item
from clip2video_plugin.encode_windows import Encoded, Underway, Windowed, encode_wishes
from clip2video_plugin.errors import CheckpointError, Clip2VideoError
from clip2video_plugin.index import VideoIndex
from clip2video_plugin.index.connection import local_folder
from clip2video_plugin.index.writer import Writer
from clip2video_plugin.inputs import Inputs, Listed, items_of
from clip2video_plugin.isolated import Isolation
from clip2video_plugin.model.checkpoint import Model, Precision, load_model
from clip2video_plugin.model.installed import chosen_default, find_checkpoint
from clip2video_plugin.paths import printable
from clip2video_plugin.pending import Pending
from clip2video_plugin.places import Place
from clip2video_plugin.provenance import checkpoint_of, provenance
from clip2video_plugin.query.asking import sentences
from clip2video_plugin.query.calibrate import recalibrate
from clip2video_plugin.report import Failure, Progress, Report
from clip2video_plugin.rows import row_of
from clip2video_plugin.subtitles import Sidecars
from clip2video_plugin.tasks import run_on
from clip2video_plugin.video.files import holds_videos
from clip2video_plugin.video.sampling import Sampling
from clip2video_plugin.video.windows import WindowPlan, WindowSize

Encode = Callable[..., Generator[Sequence[Encoded | Running], None, None]]  # as ``encode_wishes``


def embed_videos(
    paths: str | Place | Iterable[str | Place] = (),
    *,
    listed: Listed | None = None,
    index: str | Path | VideoIndex | None = None,
    model: str | Path | Model | None = None,
    sampling: Sampling = "uniform",
    device: str | None = None,
    precision: Precision = "auto",
    batch_size: int | None = None,
    workers: int | None = None,
    shard: str | None = None,
    captions: str | Path | None = None,
    windows: str | Sequence[WindowSize] | None = None,
    tags: str | Iterable[str] = (),
    engine: str | None = None,
    actors: int | None = None,
    gpus_per_actor: float | None = None,
    isolate: bool = False,
    video_seconds: float | None = None,
    video_memory: float | None = None,
    progress: Progress | None = None,
) -> Report:
    """Embeds the videos in files, folders and stores and writes them to an index.

    ``paths`` are files and folders of this machine, objects and prefixes of stores (``s3://bucket/videos``, gs, az) and
    addresses (http, https); an iterator of them is read as it is needed. ``listed`` is a list of videos (``Inputs``).
    Credentials in an address are used and written nowhere.

    Videos that the index holds unchanged (same size and time of change) are skipped, and the row of one that was moved
    or renamed (the same content besides, and its old path gone) is taken over, so a run that
    was stopped goes on where it was. A video that cannot be read is reported, not raised.

    Text files beside a video (``clip.srt``, ``.vtt``, ``.txt``, or ``clip.en.srt``) are its captions, subtitles with
    their times; when they change or go, so do those in the index, and nothing is embedded again for it.

    Args:
        listed: a text file with a path or URI a line, or Parquet with a column of them, "-" for standard input, or any
            iterable of names. What is not there is a failure in the report.
        index: URI of the index, made when absent, or an open one; $C2V_INDEX or ./c2v-index by default.
        model: name or folder of a checkpoint, or a loaded one; by default the one that made the index, for a new
            index the default one (``model.installed.default_model``).
        sampling: which frames a vector is made of: "uniform"; "keyframes", the key frames near those where there are
            many, which long videos are read faster by (docs/keyframes.md); or those of the paper's pipeline,
            "reference" (thinned to 2.5 a second, as for MSR-VTT) or "reference-5fps" (MSVD, VATEX). An index has one
            sampling.
        precision: of the image tower, see ``load_model``; a loaded model keeps its own.
        batch_size: videos encoded at once; by default 8 on a CPU and 64 elsewhere.
        workers: decoding threads; by default one per CPU core.
        shard: "2/4" embeds the second of four parts. Processes with a part each, one per GPU say, may write to the
            same index at once.
        captions: a table of captions (CSV, TSV, JSON; ``captions.read_table``), which take the place of those that
            the index has from such a table.
        windows: of each video beside the whole, as seconds/stride: "5/2.5,10/5,15/5"; "auto" for sizes by a video's
            length, "none" for none; by default those that the index has. A video that has others gets these instead.
        tags: to be found by (``--where tag:beach``), beside those that the videos have, unchanged ones as well.
        engine: "ray" decodes and encodes in processes of a Ray cluster (the extra ``ray``; docs/cluster.md): the one
            that $RAY_ADDRESS names or that runs on this machine, else one of its own; "ray://host:port" one elsewhere.
            ``device``, ``precision`` and ``batch_size`` are theirs, ``workers`` the cores of each, by default one.
        actors: processes of the engine; by default as many as there is room for.
        gpus_per_actor: of each, 1 say, or 0.5 where two are to share one; by default none.
        isolate: decodes in processes apart, so that a file that crashes its decoder, never ends or takes all memory is
            a failure in the report (docs/isolation.md).
        video_seconds: that a video may then take to decode, by default 300, and as many more for each 100 MB of its
            file; with windows each part of it.
        video_memory: gigabytes of each such process, by default 2.
        progress: called with the report so far after every batch.

    Raises:
        AnnotationError: ``captions`` is no such table.
        VideoReadError: a named path does not exist, or a store cannot be listed.
        VideoIndexError: the index was made with another model, or cannot be written.
        Clip2VideoError: a list cannot be read, or an option is not one of those allowed.
    """
    batch_size, workers = checked_count("batch_size", batch_size), checked_count("workers", workers)
    part = None if shard is None else _part(shard)
    plan, named = WindowPlan.of(windows), _tags(tags)
    precision = model.precision if isinstance(model, Model) else precision
    isolation = Isolation.of(isolate, video_seconds, video_memory)
    encode = _encoder(engine, actors, gpus_per_actor, device, precision, isolation)
    inputs, passed_over, sidecars = Inputs(paths, listed), Counter[str](), Sidecars()
    videos, total, said, caption_notes = inputs.videos(passed_over), None, None, list[str]()
    if captions is not None:  # which may speak of any of them
        kept = list(videos)
        said, caption_notes = read_table(captions, (found.place for found in kept))
        videos, total = iter(kept), len(kept) if part is None else None
    else:  # counted, not kept: memory must not grow with a library
        total = inputs.count() if part is None else inputs.count_items(part)
    first = list(islice(videos, 1))  # what cannot be listed is told before a model is loaded and an index made
    found, note = index if isinstance(index, VideoIndex) else VideoIndex.find(index), None
    if model is None and found is not None:
        model = checkpoint_of(found)
        note = _not_the_default(found, model)
    if isinstance(model, Model):
        loaded = model
    elif engine is None:
        loaded = load_model(model, device=device, precision=precision)
    else:
        loaded = load_model(model, device="cpu", text_only=True)  # what of it marks rows; videos are for the actors
    made = provenance(loaded, sampling)
    target = found or VideoIndex.create(index, loaded.config.vector_dim, made)
    target.provenance.check(made, f"index {target.uri}")
    report = embed_items(
        (
            replace(item, captions=(said or {}).get(str(item.path)), tags=named)
            for item in items_of(chain(first, videos), part, sidecars)
        ),
        loaded,
        target,
        total=total,
        note=note,
        batch_size=batch_size,
        workers=workers,
        windows=plan if windows is not None else windows_of(target),
        encode=encode,
        progress=progress,
    )
    # A folder that could not be listed failed as a video does; it is never embedded, which would clear its note.
    target.clear_failures([str(noted["id"]) for noted in target.failures() if holds_videos(noted["path"])])
    report.passed_over = dict(passed_over)
    report.total = report.done if report.total is None else report.total
    report.caption_notes = [*caption_notes, *dict.fromkeys(map(printable, sidecars.unread))]
    return report


def _encoder(
    engine: str | None,
    actors: int | None,
    gpus_per_actor: float | None,
    device: str | None,
    precision: Precision,
    isolation: Isolation | None,
) -> Encode:
    if engine is not None and isolation:
        raise Clip2VideoError(f"engine {engine} decodes in processes of its own already; leave out isolate (--isolate)")
    if engine is not None:
        return Cluster.of(engine, actors, gpus_per_actor, device, precision)
    for name, value in (("actors", actors), ("gpus_per_actor", gpus_per_actor)):
        if value is not None:
            raise Clip2VideoError(
                f"{name} is {value}, and there is no engine to run them; add engine ray (--engine ray)"
            )
    return partial(encode_wishes, isolation=isolation)


def windows_of(index: VideoIndex) -> WindowPlan | None:
    """Which windows the videos of an index got last."""
    table = index.windows()
    return WindowPlan.of(table.window_sizes()) if table is not None else None


def _not_the_default(index: VideoIndex, model: str) -> str | None:
    """Says that an index goes on with its model where somebody has set another default since."""
    try:
        chosen, (_, folder) = chosen_default(), find_checkpoint()
    except CheckpointError:  # which is told where the default is wanted
        return None
    if chosen is None or folder.absolute() == find_checkpoint(model)[1].absolute():
        return None
    return (
        f"index {index.uri} goes on with model {index.provenance.model}, which made it; the default model "
        f"{chosen[0]} is for new indexes: choose another place (--index), or delete this one"
    )


def _tags(tags: str | Iterable[str]) -> tuple[str, ...]:
    found = (tags,) if isinstance(tags, str) else tuple(tags)
    if wrong := [tag for tag in found if not isinstance(tag, str) or not tag.strip()]:
        raise Clip2VideoError(f"a tag is {wrong[0]!r}; write a word or words, as beach")
    return tuple(tag.encode(errors="replace").decode() for tag in found)


def _part(shard: str) -> tuple[int, int]:
    """(2, 4) of "2/4"."""
    number, _, count = shard.partition("/")
    if number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count):
        return int(number), int(count)
    raise Clip2VideoError(f"shard is {shard!r}; write it as 2/4, the second of four parts")


def embed_items(
    items: Iterable[Item],
    model: Model,
    index: VideoIndex,
    *,
    known: VideoIndex | None = None,
    total: int | None = None,
    note: str | None = None,
    batch_size: int | None = None,
    workers: int | None = None,
    windows: WindowPlan | None = None,
    encode: Encode = encode_wishes,
    progress: Progress | None = None,
) -> Report:
    """Embeds items and writes their rows; see ``embed_videos``.

    Args:
        windows: which every video gets; by default none.
        total: the number of items, where they have no length. note: of the report.
        known: an index of paths by the same model, whose unchanged rows are copied instead of embedded.
        encode: what decodes and encodes: ``encode_wishes``, or ``cluster.Cluster``.

    Raises:
        VideoIndexError: the index was made with another model, or cannot be written.
    """
    index.provenance.check(provenance(model, index.provenance.policy), f"index {index.uri}")
    began = time.monotonic()
    report = Report(
        total=len(items) if isinstance(items, Sized) else total,
        warning=model.warning,
        model=model.name,
        about=model.card.sentence,
        note=note,
        windows=windows.text if windows else None,
    )

    def tell(waiting: bool) -> None:
        report.waiting = waiting
        if progress:
            progress(report)

    ingest = index.for_writing()
    writer = Writer(ingest, tell)
    pending = Pending(ingest, known, windows, writer, report)
    todo, sampling = pending.wishes(items, partial(tell, False)), index.provenance.policy
    batches = encode(todo, model, windows, sampling=sampling, batch_size=batch_size, workers=workers)
    try:
        for batch in batches:
            told = (
                index.captions([one.item.id for one in batch if isinstance(one, Embedded)]) if index.text.there else {}
            )
            for done in batch:
                report.current, report.within = "", 0.0
                if isinstance(done, Embedded):
                    before, shown = told.get(done.item.id), done.thumbnails.tobytes()
                    writer.add(row_of(done.item, done.stamp, done.duration, done.vector, done.content, shown, before))
                    report.embedded += 1
                elif isinstance(done, Windowed):
                    pending.finish(done)
                elif isinstance(done, Running):
                    report.actors, report.note = done.actors, report.note or done.note
                elif isinstance(done, Underway):
                    report.current, report.within = printable(done.path.name), done.done
                else:
                    pending.failed(done)
                if isinstance(done, Embedded | Windowed) and done.warning:
                    report.damaged.append(Failure(str(done.item.path), printable(done.warning)))
            writer.flush_when_due()
            tell(False)
        writer.finish()
    except BaseException:
        writer.rescue()
        raise
    finally:
        batches.close()
    if index.needs_indexing():
        report.indexing = True
        if progress:
            progress(report)
        # A folder of this machine is not there on the others.
        elsewhere = local_folder(index.uri) is None
        each = run_on(encode.address) if isinstance(encode, Cluster) and elsewhere else None
        index.finish(partial(sentences, index, model), each=each)
    recalibrate(index, model)
    report.seconds = time.monotonic() - began
    return report
