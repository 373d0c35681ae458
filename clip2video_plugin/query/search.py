"""A sentence to the videos it describes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack, overload

from clip2video_plugin.bounds import checked_k, checked_weight
from clip2video_plugin.errors import QueryError
from clip2video_plugin.index import Hit, VideoIndex, open_index
from clip2video_plugin.model.checkpoint import Model, load_model
from clip2video_plugin.provenance import checkpoint_of, provenance

if TYPE_CHECKING:
    import pandas as pd

SHOWN = ("rank", "id", "path", "score", "start", "end", "duration", "missing")  # of a hit, in JSON and tables


@dataclass(frozen=True)
class SearchResult(Sequence[Hit]):
    """The hits of one query, best first: a sequence of them. ``searched`` is the number of videos in the index.

    ``warning`` is the model's (``Model.warning``); ``training`` and ``about`` are what it says of itself: "zero-shot",
    "trained" or "untrained", and a sentence; None where it says nothing.
    """

    query: str
    model: str
    searched: int
    hits: list[Hit]
    warning: str | None = None
    training: str | None = None
    about: str | None = None

    @overload
    def __getitem__(self, place: int) -> Hit: ...
    @overload
    def __getitem__(self, place: slice) -> list[Hit]: ...
    def __getitem__(self, place: int | slice) -> Hit | list[Hit]:
        return self.hits[place]

    def __len__(self) -> int:
        return len(self.hits)

    def to_dicts(self) -> list[dict[str, Any]]:
        """A dictionary for each hit, for JSON."""
        return [{name: getattr(hit, name) for name in SHOWN} for hit in self.hits]

    def to_dict(self) -> dict[str, Any]:
        """All of it, for JSON."""
        known = ("query", "model", "training", "about", "searched", "warning")
        return {**{name: getattr(self, name) for name in known}, "hits": self.to_dicts()}

    def to_pandas(self) -> pd.DataFrame:
        """A row for each hit."""
        import pandas as pd

        return pd.DataFrame(self.to_dicts(), columns=list(SHOWN))


class Options(TypedDict, total=False):
    """What ``search`` takes beside the query."""

    index: str | Path | VideoIndex | None
    model: str | Path | Model | None
    k: int
    weight: float | None
    device: str | None
    existing: bool


@overload
def search(query: str, **options: Unpack[Options]) -> SearchResult: ...
@overload
def search(query: list[str] | tuple[str, ...], **options: Unpack[Options]) -> list[SearchResult]: ...
def search(
    query: str | list[str] | tuple[str, ...],
    *,
    index: str | Path | VideoIndex | None = None,
    model: str | Path | Model | None = None,
    k: int = 10,
    weight: float | None = None,
    device: str | None = None,
    existing: bool = False,
) -> SearchResult | list[SearchResult]:
    """Finds the k videos that fit a sentence best; of several sentences, those of each in turn.

    Args:
        query: what happens in the video, in words; or a list of such queries.
        index: URI of an index or an open one; $C2V_INDEX or ./c2v-index by default.
        model: name or folder of the checkpoint that made the index, or a loaded one; by default the one that
            the index names.
        k: most hits to give, up to 10,000.
        weight: share in [0, 1] of the global vector against the aligned one; the model's own by default.
        device: where a model that is loaded here encodes the sentence; by default the CPU, which has done so before
            a GPU is ready.
        existing: pass over videos whose files are gone (``Hit.missing``), and give k of the others.

    Raises:
        QueryError: the query is empty, or k or weight is out of range.
        VideoIndexError: there is no index, or it was made with another model.
    """
    if isinstance(query, list | tuple):
        opened = index if isinstance(index, VideoIndex) else open_index(index)
        shared = load_for(opened, model, device)
        return [search(one, index=opened, model=shared, k=k, weight=weight, existing=existing) for one in query]
    if not isinstance(query, str) or not query.strip():
        raise QueryError(f"the query {query!r} is empty; describe what happens in the video")
    k, weight = checked_k(k), checked_weight(weight)
    opened = index if isinstance(index, VideoIndex) else open_index(index)
    loaded = load_for(opened, model, device)
    text = loaded.encode_captions([query])
    vector = (text.vector if weight is None else text.at_weight(weight))[0].numpy()
    name, warning, card = loaded.name, loaded.warning, loaded.card
    del loaded  # what was loaded here goes before LanceDB needs memory
    hits = opened.search(vector, k, existing=existing)
    return SearchResult(query, name, opened.count(), hits, warning, card.training, card.sentence)


def load_for(index: VideoIndex, model: str | Path | Model | None = None, device: str | None = None) -> Model:
    """The model that made an index, for sentences alone; one that is loaded is given back when it is that.

    Raises:
        VideoIndexError: it is not installed, or the one of its name, or the one given, is another.
    """
    made = index.provenance
    model = checkpoint_of(index) if model is None else model
    loaded = model if isinstance(model, Model) else load_model(model, device=device or "cpu", text_only=True)
    made.check(provenance(loaded, made.policy), f"index {index.uri}")
    return loaded
