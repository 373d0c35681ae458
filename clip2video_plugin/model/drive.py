"""Files in folders of Google Drive, through gdown (extra ``[drive]``): Drive has no addresses that lead to bytes."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from clip2video_plugin.download import TIMEOUT, Progress
from clip2video_plugin.errors import CheckpointError
from clip2video_plugin.web import Refused

GDOWN = (6, 5)  # the first version that reports progress and never joins parts of two versions of a file


def need_gdown(name: str, url: str) -> None:
    """Raises CheckpointError, with what to do, where gdown is missing or too old."""
    try:
        there = tuple(int(number) for number in version("gdown").split(".")[:2])
    except (PackageNotFoundError, ValueError):
        there = ()
    if there < GDOWN:
        raise CheckpointError(
            f'{name} lies on Google Drive, which takes gdown: pip install "gdown>={GDOWN[0]}.{GDOWN[1]}" '
            f"(extra [drive]). Or {by_hand(url)} --name {name}"
        )


def by_hand(url: str) -> str:
    folder, _, file = url.rpartition("/")
    return f"download {file} by hand from {folder} and: c2v models import {file}"


def from_drive(url: str, progress: Progress | None) -> Callable[[Path], None]:
    """How a part is filled with FOLDER/FILE of Drive; resumes. The cookies that gdown keeps are neither read nor sent.

    Raises:
        Refused: Drive does not give the file; often too many people have asked for it lately.
    """

    def fill(part: Path) -> None:
        import gdown
        import requests

        folder, _, file = url.rpartition("/")
        try:
            listed: Any = gdown.download_folder(
                url=folder, quiet=True, use_cookies=False, skip_download=True, timeout=TIMEOUT
            )
            gdown.download(
                id=_pick(file, {item.path: item.id for item in listed}, folder),
                output=str(part),
                quiet=True,
                use_cookies=False,
                resume=True,
                timeout=TIMEOUT,
                retries=3,
                progress=progress,
            )
        except Refused:
            raise
        except Exception as failure:  # of gdown, and of answers that it did not expect
            if isinstance(failure, OSError) and not isinstance(failure, requests.RequestException):
                raise
            said = " ".join(str(failure).split())[:300] or type(failure).__name__
            raise Refused(f"{url} cannot be downloaded: {said}; try again later, or {by_hand(url)}") from None

    return fill


def _pick(file: str, there: dict[str, str], folder: str) -> str:
    """Drive's id of the file of that name, else of the only checkpoint."""
    checkpoints = [path for path in there if re.search(r"pytorch_model\.bin\.\d+$", path)]
    if file not in there and len(checkpoints) == 1:
        (file,) = checkpoints
    if file not in there:
        raise Refused(f"{folder} has no {file}; it holds {', '.join(there) or 'nothing'}")
    return there[file]
