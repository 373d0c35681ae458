"""A sentence to the videos it describes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack, overload

from clip2video_plugin.errors import QueryError
from clip2video_plugin.index import Hit, VideoIndex, open_index
from clip2video_plugin.index import existing as files_there
from clip2video_plugin.model.checkpoint import Model, load_model
from clip2video_plugin.provenance import checkpoint_of, provenance
from clip2video_plugin.query.confidence import judged
from clip2video_plugin.query.diverse import diverse, wider
from clip2video_plugin.query.fusion import with_captions
from clip2video_plugin.query.gallery import Gallery
from clip2video_plugin.query.moments import with_moments
from clip2video_plugin.query.order import ordered, parts_of
from clip2video_plugin.query.query import Query
from clip2video_plugin.query.vectors import vectors_of
from clip2video_plugin.query.without import Negative, without

if TYPE_CHECKING:
    import pandas as pd

SHOWN = ("rank", "id", "path", "score", "confidence", "start", "end", "duration", "matched", "missing_file", "missing")


@dataclass(frozen=True)
class SearchResult(Sequence[Hit]):
    """The hits of one query, best first: a sequence of them. ``searched`` is the number of videos in the index.

    ``warning`` is the model's (``Model.warning``); ``training`` and ``about`` are what it says of itself: "zero-shot",
    "trained" or "untrained", and a sentence; None where it says nothing. ``captions`` are the sentences whose words
    were looked for in captions as well; none where the index has no captions. ``refused`` is the confidence of the best
    hit that ``min_confidence`` left out. ``dropped`` says of each thing that videos were not to show from which score
    on they were dropped, and how many.
    """

    query: str
    model: str
    searched: int
    hits: list[Hit]
    warning: str | None = None
    training: str | None = None
    about: str | None = None
    captions: tuple[str, ...] = ()
    refused: float | None = None
    dropped: tuple[Negative, ...] = ()

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
        known = ("query", "model", "training", "about", "searched", "warning", "captions", "refused")
        values = {name: getattr(self, name) for name in known}
        dropped = {"dropped": [asdict(one) for one in self.dropped]} if self.dropped else {}
        return {**values, **dropped, "hits": self.to_dicts()}

    def to_pandas(self) -> pd.DataFrame:
        """A row for each hit."""
        import pandas as pd

        return pd.DataFrame(self.to_dicts(), columns=list(SHOWN))


class Options(TypedDict, total=False):
    """What ``search`` takes beside the query."""

    index: str | Path | VideoIndex | None
    model: str | Path | Model | None
    k: int | None
    weight: float | None
    device: str | None
    existing: bool


@overload
def search(query: str | Query, **options: Unpack[Options]) -> SearchResult: ...
@overload
def search(
    query: list[str | Query] | list[str] | tuple[str | Query, ...], **options: Unpack[Options]
) -> list[SearchResult]: ...
def search(
    query: str | Query | list[str | Query] | list[str] | tuple[str | Query, ...],
    *,
    index: str | Path | VideoIndex | None = None,
    model: str | Path | Model | None = None,
    k: int | None = None,
    weight: float | None = None,
    device: str | None = None,
    existing: bool = False,
) -> SearchResult | list[SearchResult]:
    """Finds the k videos that fit a query best; of several queries, those of each in turn.

    Args:
        query: what happens in the video, in words, or a ``Query``; or a list of these.
        index: URI of an index or an open one; $C2V_INDEX or ./c2v-index by default.
        model: name or folder of the checkpoint that made the index, or a loaded one; by default the one that
            the index names.
        k, weight: of queries that are strings (10 by default), and instead of those of others where given.
        device: where a model that is loaded here encodes the sentence; by default the CPU, which has done so before
            a GPU is ready.
        existing: pass over videos whose files are gone (``Hit.missing``), and give k of the others.

    Raises:
        QueryError: the query is empty, or a value of it is out of range.
        VideoIndexError: there is no index, or it was made with another model.
    """
    options = {name: value for name, value in (("k", k), ("weight", weight)) if value is not None}
    several = isinstance(query, list | tuple)
    queries = [_query(one, options) for one in (query if isinstance(query, list | tuple) else [query])]
    gallery = Gallery(open_index(index), keep=files_there() if existing else None)
    loaded = load_for(gallery.videos, model, device)
    results = [answer(one, gallery, loaded) for one in queries]
    return results if several else results[0]


def _query(query: object, options: dict[str, Any]) -> Query:
    """A query of a string, which is plain text and no line of operators."""
    if isinstance(query, Query):
        return replace(query, **options) if options else query
    if not isinstance(query, str) or not query.strip():
        raise QueryError(f"the query {query!r} is empty; describe what happens in the video")
    return Query((query,), **options)


def answer(query: Query, gallery: Gallery, model: Model) -> SearchResult:
    """What a gallery has for a query; the one search behind command line, Python, operators and panel."""
    vectors = vectors_of(query, model)
    if query.without:
        negatives = without(query, vectors, gallery)
        gallery = negatives.gallery
    wide = wider(query)
    if query.then:
        hits = ordered(parts_of(query, vectors, model), gallery, wide.k)
    else:
        hits = gallery.nearest(vectors.wanted, wide.k)
    hits, sentences = with_captions(hits, wide, gallery, model, vectors.wanted)
    hits = diverse(hits, gallery, query)
    hits, refused = judged(hits, query, gallery, vectors.wanted)
    if query.moments and not query.then:
        hits = with_moments(hits, gallery, vectors.wanted)
    text = query.prompts[0] if query.prompts else ""
    card = model.card
    shown = text, model.name, gallery.videos.count(), hits, model.warning, card.training, card.sentence, sentences
    return SearchResult(*shown, refused, negatives.dropped if query.without else ())


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
