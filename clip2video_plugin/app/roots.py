"""The folders of the server that operators may read and write, so that a user of the App reaches no others."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import fiftyone as fo
import fiftyone.core.collections as foc

from clip2video_plugin.app.videos import videos_of
from clip2video_plugin.errors import Clip2VideoError
from clip2video_plugin.paths import expanded, printable
from clip2video_plugin.places import Uri, place_of
from clip2video_plugin.query import Query

VARIABLE = "C2V_ROOTS"
SHOWN = 5  # roots that a refusal names


def confined(path: object, dataset: foc.SampleCollection | None, *, depth: int = 0) -> Path:
    """A path of the server that an operator may use, with its links resolved.

    It must lie below one of the folders in $C2V_ROOTS, by default those that hold the dataset's media, and the
    working directory.

    Args:
        depth: levels of folders in it whose links must not lead out either.

    Raises:
        Clip2VideoError: it leads elsewhere; the message names it and the folders that are allowed.
    """
    if not isinstance(path, str | Path) or not str(path).strip():
        raise Clip2VideoError("name a folder of the machine that the App runs on")
    real = _resolved(path)
    if real is None or not _allowed(real, dataset):
        raise Clip2VideoError(_refusal(f"folder {path}", dataset))
    for link in _links(real, depth):
        target = _resolved(link)
        if target is None or not _allowed(target, dataset):
            raise Clip2VideoError(_refusal(f"{link}, a link in folder {path},", dataset))
    return real


def confined_query(query: Query, dataset: foc.SampleCollection | None) -> Query:
    """A query whose files, those it is like and its bank, an operator may read.

    Raises:
        Clip2VideoError: one lies elsewhere.
    """
    files = list[str]()
    for text in map(str, query.like):
        written = [one for one in (text, text.rpartition("@")[0]) if one]
        if isinstance(place := place_of(text), Uri):
            _check_in(dataset, place, written)
        else:
            files += written
    if isinstance(query.bank, str):
        if isinstance(bank := place_of(query.bank), Uri):
            _check_in(None, bank, [])
        files.append(query.bank)
    for file in files:
        real = _resolved(file)
        if (real is None or os.path.lexists(real)) and not (real and _allowed(real, dataset)):
            raise Clip2VideoError(_refusal(f"file {file}", dataset))
    return query


def _check_in(dataset: foc.SampleCollection | None, place: Uri, written: list[str]) -> None:
    """Raises Clip2VideoError unless a URI, written in one of these ways, is of a video of the dataset."""
    places = [str(place_of(one)) for one in written]
    if dataset is None or not len(videos_of(dataset).match(fo.ViewField("filepath").is_in(places))):
        raise Clip2VideoError(f"{place} is no video of this dataset, and the server reads no other")


def _refusal(what: str, dataset: foc.SampleCollection | None) -> str:
    roots = [str(root) for root in _roots(dataset)]
    more = f" and {len(roots) - SHOWN} more" if len(roots) > SHOWN else ""
    return printable(f"{what} is outside of what the App may use: {', '.join(roots[:SHOWN])}{more} (see {VARIABLE})")


def _allowed(real: Path, dataset: foc.SampleCollection | None) -> bool:
    return any(real.is_relative_to(root) for root in _roots(dataset))


def _roots(dataset: foc.SampleCollection | None) -> Iterator[Path]:
    """The allowed folders, links resolved; those of the media last, since they take a look at every sample."""
    named = [entry for entry in os.environ.get(VARIABLE, "").split(os.pathsep) if entry.strip()]
    found = map(_resolved, named or [os.getcwd()])
    yield from dict.fromkeys(root for root in found if root is not None)
    if not named and dataset is not None:
        paths = (path for path in videos_of(dataset).values("filepath") if isinstance(place_of(path), Path))
        folders = dict.fromkeys(map(os.path.dirname, paths))
        yield from dict.fromkeys(root for root in map(_resolved, folders) if root is not None)


def _resolved(path: str | Path) -> Path | None:
    """Absolute, without links and ``..``; None for what is no path."""
    try:
        return Path(os.path.realpath(expanded(path)))
    except (OSError, ValueError):
        return None


def _links(folder: Path, depth: int) -> Iterator[Path]:
    """Links in a folder, down to a number of levels."""
    for here, folders, files in os.walk(folder):
        yield from (path for name in (*folders, *files) if (path := Path(here, name)).is_symlink())
        if len(Path(here).relative_to(folder).parts) + 1 >= depth:
            folders.clear()
