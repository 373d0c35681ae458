"""The model as FiftyOne's own calls want it: ``compute_embeddings`` and prompts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import fiftyone.core.models as fom
import numpy as np
from numpy.typing import NDArray

from clip2video_plugin.model.checkpoint import Model, load_model
from clip2video_plugin.video.frames import read_quietly


class Clip2VideoModel(fom.Model, fom.EmbeddingsMixin, fom.PromptMixin):  # type: ignore[misc]
    """A checkpoint, or the default one, as a FiftyOne video model. To index a dataset ``compute_clip2video`` is many
    times faster.
    """

    def __init__(self, model: str | Path | Model | None = None) -> None:
        self.model = model if isinstance(model, Model) else load_model(model)

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
        config = self.model.config
        frames = read_quietly(path, policy="uniform", count=config.max_frames, **config.preprocessing.options)
        return self.model.encode_frames([frames.pixels]).vector[0].numpy()

    def embed_prompt(self, prompt: str) -> NDArray[np.float32]:
        """Query vector [D] of one sentence."""
        return self.embed_prompts([prompt])[0]  # type: ignore[no-any-return]

    def embed_prompts(self, prompts: Sequence[str]) -> NDArray[np.float32]:
        """Query vectors [n, D] of sentences."""
        return self.model.encode_captions(list(prompts)).vector.numpy()
