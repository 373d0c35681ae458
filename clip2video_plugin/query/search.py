"""``search``: from a query to the videos that fit it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack, overload

from clip2video_plugin.counted import counted
from clip2video_plugin.index import Hit, VideoIndex, open_index
from clip2video_plugin.index import existing as files_there
from clip2video_plugin.model.card import Training
from clip2video_plugin.model.checkpoint import Model, load_model
from clip2video_plugin.provenance import checkpoint_of, provenance
from clip2video_plugin.query.confidence import judged
from clip2video_plugin.query.diverse import diverse, wider
from clip2video_plugin.query.fusion import with_captions
from clip2video_plugin.query.gallery import Gallery
from clip2video_plugin.query.moments import with_moments
from clip2video_plugin.query.order import ordered, parts_of
from clip2video_plugin.query.query import Query
from clip2video_plugin.query.vectors import Vectors, vectors_of_all
from clip2video_plugin.query.without import Negative, without

if TYPE_CHECKING:
    import pandas as pd

SHOWN = ("rank", "id", "path", "score", "confidence", "start", "end", "duration", "matched", "missing_file", "missing")


@dataclass(frozen=True)
class SearchResult(Sequence[Hit]):
    """The hits of one query, best first. It is a sequence: ``result[0]``, ``len(result)``, ``for hit in result``.

    Attributes:
        query: the query as one line.
        model: the model's name.
        searched: the number of videos in the index.
        hits: the hits, best first.
        warning: the model's warning (``Model.warning``), if any.
        training: "zero-shot", "trained" or "untrained", as the model says of itself; None if it does not.
        about: a sentence about the model, if it has one.
        captions: the sentences whose words were looked for in captions; empty if the index has none.
        refused: the confidence of the best hit that ``min_confidence`` left out, if it left out any.
        dropped: for each sentence of ``without``, the threshold and how many videos were left out.
        comparable: a sentence that says what the scores are and what they may be compared with.
        notes: sentences that say what else was done to the ranking.
    """

    query: str
    model: str
    searched: int
    hits: list[Hit]
    warning: str | None = None
    training: Training | None = None
    about: str | None = None
    captions: tuple[str, ...] = ()
    refused: float | None = None
    dropped: tuple[Negative, ...] = ()
    comparable: str = ""
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        best = f", the best {self.hits[0].score:.3f} {self.hits[0].path}" if self.hits else ""
        return f"SearchResult({self.query!r}: {len(self)} of {counted(self.searched, 'video')}{best})"

    @overload
    def __getitem__(self, place: int) -> Hit: ...
    @overload
    def __getitem__(self, place: slice) -> list[Hit]: ...
    def __getitem__(self, place: int | slice) -> Hit | list[Hit]:
        return self.hits[place]

    def __len__(self) -> int:
        return len(self.hits)

    def to_dicts(self) -> list[dict[str, Any]]:
        """One dictionary for each hit, for JSON, with its moments if the query asked for them."""
        rows = list[dict[str, Any]]()
        for hit in self.hits:
            row = {name: getattr(hit, name) for name in SHOWN}
            rows.append(row | ({"moments": [asdict(span) for span in hit.moments]} if hit.moments else {}))
        return rows

    def to_dict(self) -> dict[str, Any]:
        """The whole result, for JSON."""
        known = ("query", "model", "training", "about", "searched", "warning", "comparable", "captions", "refused")
        values = {name: getattr(self, name) for name in known} | {"notes": list(self.notes)}
        return {**values, "dropped": [asdict(one) for one in self.dropped], "hits": self.to_dicts()}

    def to_pandas(self) -> pd.DataFrame:
        """One row for each hit."""
        import pandas as pd

        moments = ["moments"] if any(hit.moments for hit in self.hits) else []
        return pd.DataFrame(self.to_dicts(), columns=[*SHOWN, *moments])

    def to_view(self, dataset: Any) -> Any:
        """The hits as a view of a FiftyOne dataset, in order, with their scores in the field that the App uses.

        Samples are found by their ids, else by their files.
        """
        from clip2video_plugin.app.search import view_of

        return view_of(self, dataset)


Several = list[str | Query] | list[str] | list[Query] | tuple[str | Query, ...]


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
def search(query: Several, **options: Unpack[Options]) -> list[SearchResult]: ...
def search(
    query: str | Query | Several,
    *,
    index: str | Path | VideoIndex | None = None,
    model: str | Path | Model | None = None,
    k: int | None = None,
    weight: float | None = None,
    device: str | None = None,
    existing: bool = False,
) -> SearchResult | list[SearchResult]:
    """Finds the k videos that fit a query best. A list of queries gives a list of results, in order.

    Args:
        query: what happens in the video, in words, as ``Query.parse`` reads them; or a ``Query``; or a list of these.
            Queries of a list are looked up in one pass where that is possible.
        index: URI of an index or an open one; $C2V_INDEX or ./c2v-index by default.
        model: name or folder of the checkpoint that made the index, or a loaded one; by default the one that
            the index names.
        k: the most hits of each query; replaces the query's own (10).
        weight: share of the global vector, 0 to 1; replaces the query's own (the model's).
        device: where the sentence is encoded, if the model is loaded here; by default the CPU, which is done before a
            GPU is ready.
        existing: leave out videos whose files are gone (``Hit.missing``), and give k others.

    Raises:
        QueryError: the query is empty, or a value of it is out of range.
        VideoIndexError: there is no index, or it was made with another model.
    """
    options: dict[str, Any] = {name: value for name, value in (("k", k), ("weight", weight)) if value is not None}
    several = isinstance(query, list | tuple)
    given = list(query) if isinstance(query, list | tuple) else [query]
    queries = [replace(one, **options) if isinstance(one, Query) else Query.parse(one, **options) for one in given]
    gallery = Gallery(open_index(index), keep=files_there() if existing else None)
    loaded = load_for(gallery.videos, model, device)
    results = [
        replace(result, query=one if isinstance(one, str) else one.line())
        for one, result in zip(given, answers(queries, gallery, loaded), strict=True)
    ]
    return results if several else results[0]


def answer(query: Query, gallery: Gallery, model: Model) -> SearchResult:
    """Searches a gallery for one query. Command line, Python, operators and panel all use this search."""
    return answers([query], gallery, model)[0]


def answers(queries: Sequence[Query], gallery: Gallery, model: Model) -> list[SearchResult]:
    """Searches a gallery for several queries, in one pass where that is possible."""
    vectors = vectors_of_all(queries, model)
    filtered = {where: gallery.filtered(where) for where in dict.fromkeys(query.where for query in queries)}
    found = dict[int, list[Hit]]()
    alike = dict[tuple[str | None, int], list[int]]()
    for n, query in enumerate(queries):
        if _is_by_looks_alone(query):
            alike.setdefault((query.where, wider(query).k), []).append(n)
    for (where, k), together in alike.items():
        if len(together) > 1:
            found |= zip(together, filtered[where].nearest_all([vectors[n].wanted for n in together], k), strict=True)
    searched = gallery.videos.count() if queries else 0
    return [
        _answer(query, vectors[n], filtered[query.where], model, searched, found.get(n))
        for n, query in enumerate(queries)
    ]


def _is_by_looks_alone(query: Query) -> bool:
    """Whether the search begins with the videos nearest to the prompts, so that it can share a pass with others."""
    return bool(query.prompts) and not (query.like or query.without or query.then or query.bank)


def _answer(
    query: Query, vectors: Vectors, gallery: Gallery, model: Model, searched: int, found: list[Hit] | None
) -> SearchResult:
    """The steps of a search, one after another; ``found`` are the nearest where they were looked up before."""
    if query.like:
        from clip2video_plugin.query.like import examples_of

        gallery, vectors = examples_of(query, gallery, model).beside(gallery, vectors)
    if query.without:
        negatives = without(query, vectors, gallery)
        gallery = negatives.gallery
    wide = wider(query)
    notes = tuple[str, ...]()
    if query.bank is not None:
        from clip2video_plugin.query.bank import normalised

        hits, note = normalised(query, gallery, model, vectors.wanted, wide.k)
        notes = (note,)
    elif query.then:
        hits = ordered(parts_of(query, vectors, model), gallery, wide.k)
    else:
        hits = gallery.nearest(vectors.wanted, wide.k) if found is None else found
    hits, sentences = with_captions(hits, wide, gallery, model, vectors.wanted)
    hits = diverse(hits, gallery, query)
    hits, refused, known = judged(hits, query, gallery, vectors.wanted)
    if query.moments and not query.then:
        hits = with_moments(hits, gallery, vectors.wanted)
    card = model.card
    return SearchResult(
        query.line(),
        model.name,
        searched,
        hits,
        model.warning,
        card.training,
        card.sentence,
        sentences,
        refused,
        negatives.dropped if query.without else (),
        _comparable(query, model, captions=bool(sentences)),
        (*notes, *known),
    )


def _comparable(query: Query, model: Model, *, captions: bool) -> str:
    """A sentence: what the scores of a query are, and what they may be compared with."""
    what = "cosines with videos" if query.like and not query.prompts else "cosines of a sentence and a video"
    if query.like and query.prompts:
        what = "means of the cosines with the sentence and with the videos that the query is like"
    elif query.how == "max" and len(query.prompts) > 1:
        what = f"the largest of {len(query.prompts)} {what}"
    if query.then:
        what = f"means over the parts, in windows of their own, of {what}; of the sentence in videos of one window"
    weight = "" if query.weight is None else f" at weight {query.weight:g}"
    order = " and the bank" * (query.bank is not None) + " and the captions" * captions
    return (
        f"scores are {what} by model {model.name}{weight}: comparable with those of the same kind of query by the same "
        "model, in any index of it, and not with another model's"
        + (f"; the order is that of scores{order}" if order else "")
    )


def load_for(index: VideoIndex, model: str | Path | Model | None = None, device: str | None = None) -> Model:
    """Loads the model that made an index, for sentences only. A loaded model is returned if it is that one.

    Raises:
        VideoIndexError: the model is not installed, or the model given or installed under its name is another.
    """
    made = index.provenance
    model = checkpoint_of(index) if model is None else model
    loaded = model if isinstance(model, Model) else load_model(model, device=device or "cpu", text_only=True)
    made.check(provenance(loaded, made.policy), f"index {index.uri}")
    return loaded
