"""``compute_clip2video``: the FiftyOne brain method."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import fiftyone.core.collections as foc
import fiftyone.core.media as fom

from clip2video_plugin.app.metadata import compute_video_metadata
from clip2video_plugin.app.model import Clip2VideoModel
from clip2video_plugin.app.runs import database_identity, refresh
from clip2video_plugin.app.similarity import Clip2VideoSimilarityConfig, Clip2VideoSimilarityIndex
from clip2video_plugin.app.tables import new_table
from clip2video_plugin.app.videos import field_of_captions, holds_videos, items_of, videos_of
from clip2video_plugin.bounds import checked_count
from clip2video_plugin.embed import embed_items, windows_of
from clip2video_plugin.encode_windows import encode_wishes
from clip2video_plugin.errors import CheckpointError, Clip2VideoError, VideoIndexError
from clip2video_plugin.index import Provenance, VideoIndex, uri_of
from clip2video_plugin.isolated import Isolation
from clip2video_plugin.model.checkpoint import Model, load_model
from clip2video_plugin.model.installed import find_checkpoint, lasting_name
from clip2video_plugin.paths import printable
from clip2video_plugin.progress import bar
from clip2video_plugin.provenance import provenance
from clip2video_plugin.report import Progress
from clip2video_plugin.video.sampling import Sampling
from clip2video_plugin.video.windows import WindowPlan, WindowSize

logger = logging.getLogger(__name__)


def compute_clip2video(
    samples: foc.SampleCollection,
    *,
    model: str | Path | Model | None = None,
    brain_key: str,
    sampling: Sampling | None = None,
    batch_size: int | None = None,
    index: str | Path | VideoIndex | None = None,
    workers: int | None = None,
    device: str | None = None,
    captions_field: str | None = None,
    windows: str | Sequence[WindowSize] | None = None,
    isolate: bool = False,
    video_seconds: float | None = None,
    video_memory: float | None = None,
    progress: bool | Progress = True,
) -> Clip2VideoSimilarityIndex:
    """Embeds the videos of a dataset or view and registers a similarity run that sentences can search.

    Afterwards ``dataset.sort_by_similarity("a sentence", k=25, brain_key=brain_key)`` and the App's
    magnifier rank videos by a sentence or by an example. Called again under the same key, it embeds only
    what is new or has changed. Videos that ``c2v embed`` put in the same index are not embedded again.
    Videos that cannot be read are left out and listed in a warning.

    Args:
        samples: videos, or frame folders that were imported as such. Of a clips view, the videos of its clips are
            taken; of a dataset of groups, the video slices.
        model: name or folder of a checkpoint, or a loaded one. By default the model of the key's run; for a new run
            the default model (``model.installed.default_model``).
        brain_key: name of the run, an identifier.
        sampling: "uniform" frames, the "keyframes" near them, which long videos are read faster by, or those of the
            paper's pipeline, "reference" (MSR-VTT) or "reference-5fps" (MSVD, VATEX), which published numbers need;
            "uniform" by default, for an existing run its own.
        batch_size: videos encoded at once; by default 8 on a CPU and 64 elsewhere.
        index: LanceDB URI to keep the vectors in, or an open index for its URI; $C2V_INDEX or ./c2v-index by default.
        workers: decoding threads; by default one per CPU core.
        device: "cpu", "cuda", "mps" ...; by default the best there is.
        captions_field: a field with a string or a list of strings, which searches look through as well. By default
            ``query`` or ``captions`` where the dataset has such a field; "" for none. Called again, changed captions
            are taken over without embedding.
        windows: parts of each video that get vectors of their own, as for ``embed_videos``: "5/2.5,10/5,15/5", "auto"
            or "none"; by default those that the run has. Hits then say from when to when.
        isolate: decodes in separate processes, as for ``embed_videos``.
        video_seconds: as for ``embed_videos``.
        video_memory: as for ``embed_videos``.
        progress: whether to show a progress bar; or a function that is called with the report so far.

    Raises:
        Clip2VideoError: the samples are no videos, or the key is taken by a run of another kind.
        VideoIndexError: the key's run was made with another model, or with one that is not there.
    """
    dataset = samples._root_dataset
    samples = videos_of(samples)
    if not holds_videos(samples):
        raise Clip2VideoError(f"samples are of media type {samples.media_type!r}; CLIP2Video embeds videos")
    if not isinstance(brain_key, str) or not brain_key.isidentifier():
        raise Clip2VideoError(f"brain_key is {brain_key!r}; it must be an identifier such as 'clip2video'")
    batch_size, workers = checked_count("batch_size", batch_size), checked_count("workers", workers)
    field = _captions_of(samples, captions_field)
    plan, isolation = WindowPlan.of(windows), Isolation.of(isolate, video_seconds, video_memory)
    if model is None:
        model = _made_with(dataset, brain_key)
    refresh(dataset, brain_key)
    loaded = model if isinstance(model, Model) else _loaded(dataset, brain_key, model, device)
    new = not dataset.has_brain_run(brain_key)
    results = _results(dataset, brain_key, loaded, index, sampling)
    try:
        table = results.rows.own_table()
        if samples.media_type == fom.VIDEO:
            compute_video_metadata(samples, isolation)
        items = items_of(samples, field)
        with bar("Embedding", quiet=progress is not True) as shown:
            report = embed_items(
                items,
                loaded,
                table,
                known=_known(results.config.uri, table.provenance),
                batch_size=batch_size,
                workers=workers,
                windows=plan if windows is not None else windows_of(table),
                encode=partial(encode_wishes, isolation=isolation),
                progress=progress if callable(progress) else shown.report,
            )
    except BaseException:
        # Nothing to resume: the key is free for another model or index
        if new and not results.table.count():
            dataset.delete_brain_run(brain_key)
        raise
    for failure in report.failed:
        logger.warning("cannot read %s: %s", printable(failure.path), failure.reason)
    results.prune()
    results.reload()
    results._model = Clip2VideoModel(loaded)
    return results


def _captions_of(samples: foc.SampleCollection, field: str | None) -> str | None:
    """The field to take captions from; None for none."""
    if field is None:
        usual = field_of_captions(samples)
        return usual if samples.has_field(usual) else None
    if field and not samples.has_field(field):
        raise Clip2VideoError(f"{samples._root_dataset.name} has no field {field!r}; name the one that holds captions")
    return field or None


def _made_with(dataset: foc.SampleCollection, brain_key: str) -> str | None:
    """The checkpoint of a key's run; None where there is no run yet."""
    refresh(dataset, brain_key)
    run = dataset.load_brain_results(brain_key) if dataset.has_brain_run(brain_key) else None
    if not isinstance(run, Clip2VideoSimilarityIndex):
        return None
    made = run.table.provenance  # takes up the run as it is stored now
    checkpoint: str = run.config.checkpoint
    try:
        find_checkpoint(checkpoint)
    except CheckpointError as error:
        raise VideoIndexError(f"brain key {brain_key!r} was made with {made}: {error}") from None
    return checkpoint


def _loaded(dataset: foc.SampleCollection, brain_key: str, model: str | Path | None, device: str | None) -> Model:
    """Loads a checkpoint, or takes it from the run if it is in memory already."""
    run = dataset.load_brain_results(brain_key) if dataset.has_brain_run(brain_key) else None
    if device is None and isinstance(run, Clip2VideoSimilarityIndex) and run.rows.run().config["checkpoint"] == model:
        return run.get_model().whole()
    return load_model(model, device=device)


def _results(
    dataset: foc.SampleCollection,
    brain_key: str,
    model: Model,
    index: str | Path | VideoIndex | None,
    sampling: Sampling | None,
) -> Clip2VideoSimilarityIndex:
    """The run of a key, registered when it is new."""
    if dataset.has_brain_run(brain_key):
        existing = dataset.load_brain_results(brain_key)
        if not isinstance(existing, Clip2VideoSimilarityIndex):
            raise Clip2VideoError(f"brain key {brain_key!r} is taken by another kind of run; choose another key")
        uri = existing.config.uri
        if index is not None and uri_of(index) != uri:
            raise VideoIndexError(
                f"brain key {brain_key!r} keeps its vectors in {uri}; delete_brain_run() it to move them"
            )
        made = existing.table.provenance
        made.check(provenance(model, sampling or made.policy), f"brain key {brain_key!r}")
        return existing
    uri, table, made = uri_of(index), new_table(), provenance(model, sampling or "uniform")
    config = Clip2VideoSimilarityConfig(
        uri=uri, table_name=table, checkpoint=_checkpoint(model), owner=str(dataset._doc.id)
    )
    method = config.build()
    rows = VideoIndex.create(uri, model.config.vector_dim, made, table=table, database=database_identity())
    try:
        method.register_run(dataset, brain_key, overwrite=False)
        results: Clip2VideoSimilarityIndex = method.initialize(dataset, brain_key)
        method.save_run_results(dataset, brain_key, results)
    except BaseException:
        if dataset.has_brain_run(brain_key):
            dataset.delete_brain_run(brain_key)  # and its table
        else:
            rows.drop()
        raise
    return results


def _checkpoint(model: Model) -> str:
    """How other processes find the checkpoint: its name where it is installed, else its folder."""
    if model.folder is None:
        raise Clip2VideoError(
            f"model {model.name!r} is in memory alone, where searches of other processes cannot load it; "
            "save it (save_checkpoint), and pass its folder"
        )
    return lasting_name(model.name, model.folder)


def _known(uri: str, made: Provenance) -> VideoIndex | None:
    """The table of ``c2v embed`` in the same index, if the same model made it of the same frames."""
    try:
        known = VideoIndex.open(uri)
        known.provenance.check(made, uri)
    except VideoIndexError:
        return None
    return known
