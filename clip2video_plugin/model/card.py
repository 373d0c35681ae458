"""What a checkpoint says of itself: where its weights come from, and whether they have seen videos."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from clip2video_plugin.bounds import check_choice
from clip2video_plugin.errors import CheckpointError
from clip2video_plugin.paths import printable

ABOUT = "about"  # its place in config.json
LONG = 200  # characters of a text that are kept
Training = Literal["zero-shot", "trained", "untrained"]


@dataclass(frozen=True, kw_only=True)
class Card:
    """Kept in config.json. Texts, which may come from a stranger's file, become one line of at most LONG characters.

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
        if self.training is not None:
            check_choice("config: training", self.training, Training, CheckpointError)
        for name in ("trained_on", "source", "licence"):
            text = getattr(self, name)
            if not isinstance(text, str | None):
                raise CheckpointError(f"config: {name} is {_line(repr(text))}; it must be text")
            object.__setattr__(self, name, _line(text or "") or None)

    @property
    def sentence(self) -> str | None:
        """What its ranking is worth, in one line; None where nobody wrote it down."""
        if self.training == "zero-shot":
            return "zero-shot: an image model, frames averaged; not trained on videos"
        if self.training == "untrained":
            return "untrained: its temporal parts are only a start"
        return f"trained on {self.trained_on or 'captioned videos'}" if self.training else None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Any) -> Card:
        """Fields that a newer version wrote are passed over. Raises CheckpointError when a known one is wrong."""
        if not isinstance(values, dict):
            raise CheckpointError(f"config: {ABOUT} is {_line(repr(values))}; expected an object")
        return cls(**{f.name: values[f.name] for f in fields(cls) if f.name in values})


def _line(text: str) -> str:
    line = printable(" ".join(text.split()))
    return line if len(line) <= LONG else line[: LONG - 1] + "…"
