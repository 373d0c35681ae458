"""What a checkpoint says of itself: where its weights come from, and whether they have seen videos."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

from clip2video_plugin.errors import CheckpointError

ABOUT = "about"  # its place in config.json
Training = Literal["zero-shot", "trained", "untrained"]


@dataclass(frozen=True, kw_only=True)
class Card:
    """Kept in config.json.

    Attributes:
        training: ``zero-shot`` (an image model whose frames are averaged), ``trained`` on captioned videos, or
            ``untrained`` (its temporal parts are only a start); None where nobody wrote it down.
        trained_on: the videos, in words.
        source: where the weights come from: a published name, an address or a file's name.
        licence: of the weights; None where it is not stated.
    """

    training: Training | None = None
    trained_on: str | None = None
    source: str | None = None
    licence: str | None = None

    def __post_init__(self) -> None:
        if self.training is not None and self.training not in get_args(Training):
            raise CheckpointError(f"config: training is {self.training!r}; allowed are {', '.join(get_args(Training))}")
        for name in ("trained_on", "source", "licence"):
            if not isinstance(getattr(self, name), str | None):
                raise CheckpointError(f"config: {name} is {getattr(self, name)!r}; it must be text")

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Any) -> Card:
        """Fields that a newer version wrote are passed over. Raises CheckpointError when a known one is wrong."""
        if not isinstance(values, dict):
            raise CheckpointError(f"config: {ABOUT} is {values!r}; expected an object")
        return cls(**{f.name: values[f.name] for f in fields(cls) if f.name in values})
