"""QB-Norm: hits ranked by their scores against those of a bank of queries.

Some videos are near to every sentence (hubs). The inverted softmax sets what a video v scores with the query q against
what it scores with the queries p of a bank: exp(b s(q, v)) / sum over p of exp(b s(p, v)). The dynamic one does so only
where the best video of q is the best of some p as well (Bogolin et al., arXiv 2112.12777). A bank from another domain,
or a large b, makes rankings worse, so each is tried on held-out captions of the index, and does nothing without a gain.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clip2video_plugin.counted import counted
from clip2video_plugin.errors import QueryError
from clip2video_plugin.index import Hit, VideoIndex
from clip2video_plugin.index.calibration import read_bank, read_fit, write_bank, write_fit
from clip2video_plugin.model.checkpoint import Model
from clip2video_plugin.query.asking import ENOUGH, Asked, captions_of, encoded, everyday
from clip2video_plugin.query.confidence import GROWN
from clip2video_plugin.query.gallery import Gallery
from clip2video_plugin.query.query import Query

MOST = 5_000  # queries of a bank
BETAS = (2.0, 5.0, 10.0, 20.0)  # tried, for scores that are cosines
CANDIDATES = 50  # of a query, or ten times as many as are wanted, which may change places
GAIN = 0.5  # points of R@1, and two standard deviations, that a bank has to gain

Array = NDArray[np.float64]
Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class Bank:
    """What a bank of ``size`` queries does to an index: ``beta``, 0 where nothing, as it did not gain.

    ``before`` and ``after`` are R@1 in percent of ``queries`` held-out ones from ``source`` ("captions", or "videos" in
    place of sentences), after with the best beta; ``active`` are the ids of videos that are the best for one of it.
    """

    size: int
    beta: float
    before: float
    after: float
    queries: int
    source: str
    active: frozenset[str] = frozenset()

    @property
    def note(self) -> str:
        """What it did, in a line."""
        if not self.queries:
            return f"the bank of {counted(self.size, 'query')} is not used: there is too little to try it on"
        found = (
            f"R@1 of {self.queries} held-out {self.source} is {self.before:.1f} without and {self.after:.1f} with it"
        )
        if self.beta:
            return f"ranked by QB-Norm with a bank of {counted(self.size, 'query')} and beta {self.beta:g}: {found}"
        return f"the bank of {counted(self.size, 'query')} is not used: {found}"


def lines_of(bank: str | Path | Sequence[str]) -> list[str]:
    """The queries of a bank: a text file with a line each, or themselves. Blank lines and repetitions are passed over.

    Raises:
        QueryError: the file cannot be read or is no text in UTF-8, or there are none, or more than 5,000.
    """
    if isinstance(bank, str | Path):
        try:
            given: Sequence[str] = Path(bank).expanduser().read_text(encoding="utf-8-sig").splitlines()
        except UnicodeDecodeError:
            raise QueryError(f"bank {bank} is no text in UTF-8; give a text file with a query on each line") from None
        except (OSError, ValueError, RuntimeError) as error:
            reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
            raise QueryError(f"bank {bank}: {reason}; give a text file with a query on each line") from None
    else:
        given = bank
    lines = list(dict.fromkeys(line.strip() for line in given if line.strip()))
    if not 0 < len(lines) <= MOST:
        what = f"bank {bank}" if isinstance(bank, str | Path) else "the bank"
        raise QueryError(f"{what} has {counted(len(lines), 'query')}; it must have between 1 and {MOST}")
    return lines


def inverted_softmax(scores: Array, bank: Array, beta: float) -> Array:
    """log(exp(beta s(q, v)) / sum over p of exp(beta s(p, v))) [..., c], for scores [..., c] and the bank's [m, c]."""
    scaled = beta * bank
    top = scaled.max(axis=0)
    out: Array = beta * scores - top - np.log(np.exp(scaled - top).sum(axis=0))
    return out


def normalised(query: Query, gallery: Gallery, model: Model, wanted: Vectors, k: int) -> tuple[list[Hit], str]:
    """The k best hits for query vectors [n, D] by the dynamic inverted softmax, and what ``query.bank`` did, in words.

    Their scores are the plain ones. The first search with a bank encodes and tries it, which takes seconds to minutes;
    what comes of it is kept in the index, and found anew when that grew by half.

    Raises:
        QueryError: the bank cannot be read, or the query is not in sentences alone.
    """
    if query.like or query.then or not query.prompts:
        raise QueryError("a bank normalises sentences; leave out like, then and captions, or bank")
    lines = lines_of(query.bank or ())
    found = bank_of(gallery, lines, model, query.weight)
    hits = gallery.nearest(wanted, max(10 * k, CANDIDATES) if found.beta else k)
    if not found.beta or not hits or hits[0].id not in found.active:
        return hits[:k], found.note
    vectors = _vectors_of(hits, gallery)
    hits = [hit for hit in hits if hit.id in vectors]  # another process may have removed some
    against = _encoded(gallery.videos, lines, model, query.weight) @ np.stack([vectors[hit.id] for hit in hits]).T
    ratio = inverted_softmax(np.array([hit.score for hit in hits]), against.astype(np.float64), found.beta)
    order = np.argsort(-ratio, kind="stable")[:k].tolist()
    return [replace(hits[n], rank=rank) for rank, n in enumerate(order, start=1)], found.note


def _vectors_of(hits: list[Hit], gallery: Gallery) -> dict[str, Vectors]:
    """id -> the vector of a hit: of its best window where it has one, else of the whole video."""
    whole = gallery.videos.vectors([hit.id for hit in hits])
    if gallery.windows is None:
        return whole
    names = {f"{hit.id}/{hit.start:.3f}-{hit.end:.3f}": hit.id for hit in hits if None not in (hit.start, hit.end)}
    return whole | {names[name]: vector for name, vector in gallery.windows.vectors(list(names)).items()}


def bank_of(gallery: Gallery, lines: list[str], model: Model, weight: float | None = None) -> Bank:
    """What a bank does to an index: as it was found before, or tried now on held-out queries."""
    table, about = gallery.windows or gallery.videos, _digest(lines, model, weight)
    fit, rows = read_fit(table, about), table.count()
    known = _read(fit.values) if fit is not None and fit.fresh else None
    if known is None or fit is None or not fit.rows / GROWN < rows < fit.rows * GROWN:
        bank = _tried(Gallery(gallery.videos), table, lines, model, weight)
        write_fit(table, {**vars(bank), "active": sorted(bank.active)}, rows, about)
        return bank
    return known


def _read(values: dict[str, Any]) -> Bank | None:
    """What ``bank_of`` wrote; None for anything else."""
    try:
        bank = Bank(**{**values, "active": frozenset(values["active"])})
        numbers = (bank.size, bank.beta, bank.before, bank.after, bank.queries)
        return bank if all(isinstance(n, int | float) and abs(n) < 1e9 for n in numbers) else None
    except (KeyError, TypeError):
        return None


def _tried(gallery: Gallery, table: VideoIndex, lines: list[str], model: Model, weight: float | None) -> Bank:
    """With every beta on the captions of the index; where there are none, on its videos."""
    nothing = Bank(len(lines), 0.0, 0.0, 0.0, 0, "captions")
    if gallery.videos.count() < ENOUGH:
        return nothing
    vectors = _encoded(gallery.videos, lines, model, weight)
    captions = captions_of(gallery.videos, model, 0, weight)
    asked = Asked(gallery, table, captions and captions.apart(), encoded(everyday(), model, weight), 0)
    scores, places = asked.candidates(CANDIDATES)
    # What is asked may be in the bank, but a search asks for what is not
    others = vectors[(vectors @ asked.queries.T).max(axis=1) < 0.9999]
    if not len(others):
        return nothing
    best = asked.best(vectors)  # id of each query of the bank
    dynamic = np.isin(asked.owners(places[:, 0]), [asked.place[i] for i in set(best) & asked.place.keys()])
    right = asked.owners(places) == asked.target[:, None]
    known, where = np.unique(places, return_inverse=True)
    against = (others @ asked.vectors[known].T).astype(np.float64)
    before, tried = right[:, 0], list[tuple[int, int, float]]()
    for beta in BETAS:
        level = inverted_softmax(np.zeros(len(known)), against, beta)[where.reshape(places.shape)]
        first = np.where(dynamic, np.argmax(beta * scores + level, axis=1), 0)
        after = right[np.arange(len(right)), first]
        tried.append((int((after & ~before).sum()), int((before & ~after).sum()), beta))
    won, lost, beta = max(tried, key=lambda one: one[0] - one[1])
    gain, r1 = 100 * (won - lost) / len(right), 100 * float(before.mean())
    used = gain > GAIN and won - lost > 2 * (won + lost) ** 0.5
    found = replace(nothing, before=r1, after=r1 + gain, queries=len(right), source=asked.source)
    return replace(found, beta=beta, active=frozenset(best)) if used else found


def _digest(lines: list[str], model: Model, weight: float | None) -> str:
    text = "\n".join([*lines, model.sha256, model.vocabulary, repr(weight)])
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:32]


_vectors = dict[str, Vectors]()  # of the bank that was used last


def _encoded(videos: VideoIndex, lines: list[str], model: Model, weight: float | None) -> Vectors:
    """The vectors of a bank [m, D], kept in the index."""
    digest = _digest(lines, model, weight)
    if digest not in _vectors:
        vectors = read_bank(videos.uri, digest)
        if vectors is None:
            write_bank(videos.uri, digest, vectors := encoded(lines, model, weight))
        _vectors.clear()
        _vectors[digest] = vectors
    return _vectors[digest]
