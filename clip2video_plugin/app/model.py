"""The model as FiftyOne's own calls want it: ``compute_embeddings`` and prompts."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import fiftyone.core.models as fom
import numpy as np
from numpy.typing import NDArray

from clip2video_plugin.errors import CheckpointError
from clip2video_plugin.model.checkpoint import Model, load_model
from clip2video_plugin.video.frames import read_quietly

_loading = threading.Lock()  # of users at once one loads what all of them need


class Clip2VideoModel(fom.Model, fom.EmbeddingsMixin, fom.PromptMixin):  # type: ignore[misc]
    """A checkpoint, or the default one, as a FiftyOne video model. To index a dataset ``compute_clip2video`` is many
    times faster.

    ``model`` may be one for sentences alone (``load_model(text_only=True)``); the rest is loaded when a video comes.
    """

    def __init__(self, model: str | Path | Model | None = None) -> None:
        self.model = model if isinstance(model, Model) else load_model(model)

    def __repr__(self) -> str:
        return f"Clip2VideoModel({self.model!r})"

    def whole(self) -> Model:
        """The model with the towers for videos.

        Raises:
            CheckpointError: it has been replaced since its text tower was loaded, or cannot be loaded.
        """
        with _loading:
            return self._whole()

    def _whole(self) -> Model:
        known = self.model
        if known.network.image is None:
            loaded = load_model(known.folder, device=known.device)
            if (loaded.sha256, loaded.vocabulary) != (known.sha256, known.vocabulary):
                raise CheckpointError(f"model {known.name!r} was replaced after it was loaded; load it again")
            self.model = replace(loaded, name=known.name)
        return self.model

    @property
    def media_type(self) -> str:
        return "video"

    @property
    def has_embeddings(self) -> bool:
        return True

    @property
    def can_embed_prompts(self) -> bool:
        return True

    def predict(self, arg: Any) -> Any:
        """The embedding, as ``embed`` gives it: this model has no other prediction."""
        return self.embed(arg)

    def embed(self, arg: Any) -> NDArray[np.float32]:
        """Vector [D] of one video, given by its path or by FiftyOne's video reader."""
        path = getattr(arg, "inpath", arg)
        model, config = self.whole(), self.model.config
        frames = read_quietly(path, policy="uniform", count=config.max_frames, **config.preprocessing.options)
        return model.encode_frames([frames.pixels]).vector[0].numpy()

    def embed_prompt(self, prompt: str) -> NDArray[np.float32]:
        """Query vector [D] of one sentence."""
        return self.embed_prompts([prompt])[0]  # type: ignore[no-any-return]

    def embed_prompts(self, prompts: Sequence[str]) -> NDArray[np.float32]:
        """Query vectors [n, D] of sentences."""
        return self.model.encode_captions(list(prompts)).vector.numpy()
