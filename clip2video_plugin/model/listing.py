"""The models there are: those installed here, and those that can be fetched."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from clip2video_plugin.model.card import Card
from clip2video_plugin.model.installed import EMBEDDED, WEIGHTS, installed_checkpoints, is_default, read_card
from clip2video_plugin.model.published import PUBLISHED, Published, Recall

OF_THE_DEMO = "the demo's model"


@dataclass(frozen=True, kw_only=True)
class Listed:
    """A line of ``c2v models list``.

    Attributes:
        what: it is; None where nobody wrote it down.
        card: what it says of itself, or will.
        size: bytes of the weights, here or to download.
        recall: as published, of the published weights alone.
        folder: where it is installed.
        default: whether it is used where no model is named.
    """

    name: str
    what: str | None
    card: Card
    size: int | None
    recall: tuple[Recall, ...]
    folder: Path | None
    default: bool = False

    @property
    def words(self) -> str:
        """What it is, and of which videos."""
        trained = f"trained on {self.card.trained_on or 'captioned videos'}"
        training = trained if self.card.training == "trained" else self.card.training
        return ", ".join(filter(None, (self.what, training)))

    @property
    def size_in_words(self) -> str:
        if self.size is None:
            return "?"
        return f"{self.size / 1e6:.0f} MB" if self.size < 1e9 else f"{self.size / 1e9:.1f} GB"

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        published = PUBLISHED.get(self.name)
        return {
            "name": self.name,
            "what": self.what,
            **self.card.to_dict(),
            "size": self.size,
            "recall": [asdict(recall) for recall in self.recall],
            "installed": self.folder is not None,
            "folder": None if self.folder is None else str(self.folder),
            "default": self.default,
            "page": published and published.page,
            "files": [asdict(file) for file in published.files] if published else [],
        }


def list_models() -> list[Listed]:
    """Installed models, the embedded one first; then those that can be fetched."""
    here = installed_checkpoints()
    rest = [_to_fetch(name, known) for name, known in PUBLISHED.items() if name not in here]
    return [_installed(name, folder) for name, folder in here.items()] + rest


def _installed(name: str, folder: Path) -> Listed:
    card, known = read_card(folder), PUBLISHED.get(name)
    weights = folder / WEIGHTS
    return Listed(
        name=name,
        what=known.what if known else OF_THE_DEMO if name == EMBEDDED else None,
        card=card,
        size=weights.stat().st_size if weights.is_file() else None,
        recall=known.recall if known and card.source == known.card.source else (),
        folder=folder,
        default=is_default(folder),
    )


def _to_fetch(name: str, known: Published) -> Listed:
    return Listed(name=name, what=known.what, card=known.card, size=known.size, recall=known.recall, folder=None)
