"""Training on FiftyOne datasets: the videos a configuration names, and from a tagged view to a new brain key."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from clip2video_plugin.errors import TrainingError
from clip2video_plugin.index import VideoIndex
from clip2video_plugin.model.installed import find_checkpoint, installed_checkpoints, lasting_name, models_folder
from clip2video_plugin.progress import Tell
from clip2video_plugin.report import Progress, Report
from clip2video_plugin.training import TrainConfig, TrainResult, train
from clip2video_plugin.training.config import with_changes
from clip2video_plugin.training.videos import CaptionedVideo, VideoFile, split
from clip2video_plugin.training.world import scene_videos
from clip2video_plugin.video.sampling import REFERENCE_FPS, SAMPLINGS, Sampling

TABLE_KEYS = ("dataset", "view", "tags", "captions", "scenes", "seed")


def train_by_config(
    config: TrainConfig, *, out: str | Path, resume: bool = False, progress: bool | Tell = True
) -> TrainResult:
    """Trains on the videos that ``config.train`` and ``config.val`` name (``find_captioned_videos``)."""
    if not config.train:
        raise TrainingError("the configuration names no training videos; set train.dataset (and train.tags)")
    return train(
        config,
        find_captioned_videos(config.train, config.seed),
        find_captioned_videos(config.val, config.seed) if config.val else None,
        out=out,
        captions_field=config.train.get("captions", "captions"),
        trained_on="generated videos of moving shapes" if "scenes" in config.train else None,
        resume=resume,
        progress=progress,
    )


def find_captioned_videos(table: dict[str, Any], seed: int) -> Any:
    """The view or the scenes that a ``[train]`` or ``[val]`` table names.

    ``dataset`` is a FiftyOne dataset, of which ``view`` names a saved view and ``tags`` keep samples that have one of
    them; ``captions`` is its field of captions. ``scenes`` are that many of the shapes world instead.

    Raises:
        TrainingError: there is no such dataset or view, or a key is unknown.
    """
    if unknown := sorted(set(table) - set(TABLE_KEYS)):
        raise TrainingError(f"unknown keys {', '.join(unknown)}; there are {', '.join(TABLE_KEYS)}")
    if "scenes" in table:
        return scene_videos(int(table["scenes"]), int(table.get("seed", seed)))
    import fiftyone as fo

    name = table.get("dataset")
    if not name or not fo.dataset_exists(name):
        there = ", ".join(fo.list_datasets()) or "none"
        raise TrainingError(f"no dataset {name!r}; there are: {there}")
    view: Any = fo.load_dataset(name)
    if "view" in table:
        if not view.has_saved_view(table["view"]):
            raise TrainingError(f"dataset {name} has no saved view {table['view']!r}")
        view = view.load_saved_view(table["view"])
    tags = table.get("tags") or []
    view = view.match_tags(tags) if tags else view
    if not len(view):
        raise TrainingError(f"dataset {name} has no samples tagged {', '.join(tags)}" if tags else f"{name} is empty")
    return view


@dataclass(frozen=True)
class Finetuned:
    """A finished fine-tuning: the run, the name of the installed checkpoint, and the dataset's run under its key.

    Samples with one of ``val_tags`` were not trained on.
    """

    result: TrainResult
    checkpoint: str
    brain_key: str
    val_tags: tuple[str, ...]


def finetune(
    dataset: str,
    *,
    brain_key: str,
    tags: Sequence[str] = (),
    val_tags: Sequence[str] = (),
    captions_field: str = "captions",
    model: str | None = None,
    name: str | None = None,
    config: TrainConfig | None = None,
    out: str | Path | None = None,
    index: str | Path | VideoIndex | None = None,
    resume: bool = False,
    progress: bool | Tell = True,
) -> Finetuned:
    """Fine-tunes on the tagged samples of a dataset, installs the best weights, and embeds the dataset with them.

    Frames are sampled for the new embeddings as they were for training.

    Args:
        dataset: its name.
        brain_key: of the new embeddings; compare it with the old one by ``c2v eval --compare``.
        tags: of the samples to train on.
        val_tags: of those to validate on; without them a share is held out, and gets the tag ``<brain_key>-val``.
        captions_field: a string or a list of strings per sample.
        model: checkpoint to start from; by default that of ``config``, else the default one
            (``model.installed.default_model``).
        name: that the new checkpoint gets; by default dataset and brain key.
        config: settings, by default the recipe ``finetune``.
        out: folder of the run; by default ``runs/<name>``.
        index: of the new embeddings, as for ``compute_clip2video``.
        resume: go on with an interrupted fine-tuning.
        progress: whether to show progress bars; or a function that is called with the number of steps done and
            ``total=``, and then with the number of videos embedded and ``total=``.

    Raises:
        TrainingError: the dataset, tags or settings cannot be used, or the name, key or tag is taken.
    """
    import fiftyone as fo

    from clip2video_plugin.app.brain import compute_clip2video
    from clip2video_plugin.training.config import load_config

    name = name or f"{dataset}-{brain_key}"
    if not brain_key.isidentifier():
        raise TrainingError(f"brain_key is {brain_key!r}; it must be an identifier such as 'tuned'")
    view = find_captioned_videos({"dataset": dataset, "tags": list(tags)}, 0)
    val_view = find_captioned_videos({"dataset": dataset, "tags": list(val_tags)}, 0) if val_tags else None
    if fo.load_dataset(dataset).has_brain_run(brain_key) and not resume:
        raise TrainingError(f"dataset {dataset} has a brain key {brain_key!r} already; choose another")
    if name in installed_checkpoints() and not resume:
        raise TrainingError(f"there is a checkpoint {name!r} already; choose another --name")
    config = config or load_config("finetune")
    model = model or config.model or lasting_name(*find_checkpoint())
    find_checkpoint(model)
    settings = with_changes(config, model=model)
    sampling = _sampling(settings)
    videos, held = split(settings, view, val_view, captions_field)
    tag = f"{brain_key}-val"
    held_out = None if val_tags else _samples_to_tag(view, held, tag)
    result = train(
        settings,
        videos,
        held,
        out=out or Path("runs") / name,
        captions_field=captions_field,
        trained_on=dataset,
        resume=resume,
        progress=progress,
    )
    if held_out is not None:
        held_out.tag_samples(tag)
    _install(result.checkpoint, name)
    compute_clip2video(
        fo.load_dataset(dataset),
        model=name,
        brain_key=brain_key,
        sampling=sampling,
        index=index,
        progress=_of_report(progress) if callable(progress) else progress,
    )
    return Finetuned(result, name, brain_key, tuple(val_tags) or (tag,))


def _of_report(tell: Tell) -> Progress:
    def told(report: Report) -> None:
        tell(report.done, total=report.total)

    return told


def _sampling(config: TrainConfig) -> Sampling:
    """The name that embeddings have for the frames of a training; raises TrainingError when they have none."""
    fps = config.fps or REFERENCE_FPS
    names: tuple[Sampling, ...] = get_args(Sampling)
    for name in names:
        policy, rate = SAMPLINGS[name]
        if policy == config.sampling and rate in (None, fps):
            return name
    raise TrainingError(
        f"sampling is {config.sampling!r} at fps {config.fps:g}, of which there are no embeddings; set fps to 2.5 or 5"
    )


def _samples_to_tag(view: Any, held: Sequence[CaptionedVideo], tag: str) -> Any:
    """The samples of the held-out videos; raises TrainingError when others have the tag that they are to get."""
    ids = [video.sample_id for video in held if isinstance(video, VideoFile)]
    dataset = view._root_dataset
    if others := len(set(dataset.match_tags(tag).values("id")).difference(ids)):
        raise TrainingError(
            f"{others} samples of {dataset.name} that are not held out have the tag {tag!r} of those that are; "
            "untag them, or choose another brain key"
        )
    return dataset.select(ids)


def _install(checkpoint: Path, name: str) -> None:
    """Copies a checkpoint to the models folder, whole or not at all."""
    target = models_folder() / name
    partial = target.with_name(f".{name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(checkpoint, partial)
    shutil.rmtree(target, ignore_errors=True)
    partial.rename(target)
