"""An actor of a cluster: a process that holds the model, and decodes and encodes what the driver sends it."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clip2video_plugin.encode import Embedded, Item, Stamp, Unreadable
from clip2video_plugin.encode_windows import Underway, Windowed, Wish, encode_wishes
from clip2video_plugin.errors import CheckpointError, Clip2VideoError
from clip2video_plugin.model.checkpoint import Model, Precision, load_model
from clip2video_plugin.model.installed import CONFIG, TOKENIZER, WEIGHTS
from clip2video_plugin.model.reading import opened
from clip2video_plugin.places import Place
from clip2video_plugin.version import __version__
from clip2video_plugin.video.windows import WindowPlan


@dataclass(frozen=True)
class Work:
    """What all actors are told once. ``vectors`` is ``Model.makes_vectors`` of the driver's model."""

    folder: Path
    sha256: str
    vectors: dict[str, object]
    device: str
    precision: Precision
    plan: WindowPlan | None
    sampling: str
    batch_size: int
    workers: int
    version: str = __version__


Task = tuple[str, Place, Stamp, bool]  # a number, the video, and whether its own vector is wanted


class Encoder:
    """An actor: a process of the cluster that holds the model."""

    def load(self, work: Work, files: dict[str, NDArray[np.uint8]] | None) -> tuple[str, str] | None:
        """Loads the model from ``files``, else from the driver's folder.

        Returns: the id of the node and its address; None where that folder, with these weights, is not on this node.
        """
        import ray

        address: str = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
        if work.version != __version__:
            raise Clip2VideoError(
                f"node {address} has clip2video-plugin {__version__}, this process {work.version}; "
                "install the same everywhere"
            )
        model = _loaded(work, files)
        if model is None:
            return None
        if (model.sha256, model.makes_vectors()) != (work.sha256, work.vectors):
            raise CheckpointError(
                f"checkpoint {work.folder} is not what it was when this run began (weights {work.sha256[:12]}, "
                f"now {model.sha256[:12]}, or another configuration); run the same command again"
            )
        self._model, self._work = model, work
        return ray.get_runtime_context().get_node_id(), address

    def encode(self, tasks: Sequence[Task]) -> list[Embedded | Windowed | Unreadable]:
        """What ``encode_wishes`` gives of these videos, with their numbers for ids."""
        work = self._work
        wishes = (Wish(Item(place, number), stamp, whole) for number, place, stamp, whole in tasks)
        batches = encode_wishes(
            wishes, self._model, work.plan, sampling=work.sampling, batch_size=work.batch_size, workers=work.workers
        )
        return [done for batch in batches for done in batch if not isinstance(done, Underway)]


def _loaded(work: Work, files: dict[str, NDArray[np.uint8]] | None) -> Model | None:
    load = partial(load_model, device=work.device, precision=work.precision)
    if files is not None:
        with tempfile.TemporaryDirectory(prefix="c2v-model-") as folder:
            for name, content in files.items():
                Path(folder, name).write_bytes(content.data)
            return load(folder)
    try:
        model = load(work.folder)
    except CheckpointError:
        return None
    return model if model.sha256 == work.sha256 else None


def files_of(folder: Path) -> dict[str, NDArray[np.uint8]]:
    """What a checkpoint's folder holds."""
    with opened(folder) as files:
        return {name: np.fromfile(files[name], np.uint8) for name in (CONFIG, WEIGHTS, TOKENIZER)}
