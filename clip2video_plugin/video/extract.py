"""Frames of videos as JPEG files: the job of the paper's sample_frame.py.

docs/explanation/network.md#frame-extraction
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from PIL import Image

from clip2video_plugin.bounds import check_choice
from clip2video_plugin.errors import Clip2VideoError, VideoReadError
from clip2video_plugin.video.files import file_stamp
from clip2video_plugin.video.frames import decode, picker
from clip2video_plugin.video.image_folder import NOTE
from clip2video_plugin.video.sampling import EXTRACTION_RATE, Policy

QUALITY = 95
Extracted = Literal["extract", Policy]
"""Which frames become files: ``extract`` are those that ``ffmpeg -r FPS`` writes."""


@dataclass
class Extraction:
    """How many videos were written or done before; path and reason of those that failed."""

    written: int = 0
    skipped: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)


def extract_frames(
    videos: Sequence[Path],
    output: Path,
    *,
    root: Path | None = None,
    fps: float | None = None,
    policy: Extracted = "extract",
    count: int = 12,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Extraction:
    """Writes ``OUTPUT/NAME/00000001.jpg ...`` for every video, NAME being its file name without the last ending.

    Each folder appears as a whole, with a note of what was done, and is not made again while video and
    options stay the same. Two videos of one name (``a.mp4``, ``a.avi``) keep their endings.

    Args:
        root: folder whose structure is kept below ``output``; one flat level by default.
        fps: 5 by default, except for the policy ``reference`` (see ``read_frames``).
        policy: ``extract`` writes what ``ffmpeg -r FPS`` writes; else a policy of ``read_frames``.
        progress: called with the number of videos done and of those that failed.

    Raises:
        Clip2VideoError: an option is out of range, or the output cannot be written.
    """
    check_choice("policy", policy, Extracted)
    if policy in ("extract", "fps"):
        fps = fps or EXTRACTION_RATE
    picker(output, policy, count=count, fps=fps, start=None, end=None)  # refuses what is out of range
    options = {
        "policy": policy,
        "fps": fps,
        "count": count if policy in ("uniform", "reference", "keyframes") else None,
    }
    report = Extraction()
    try:
        output.mkdir(parents=True, exist_ok=True)
        with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
            jobs = {
                pool.submit(_extract, video, folder, options): video
                for video, folder in _folders(videos, output, root).items()
            }
            try:
                for done, job in enumerate(as_completed(jobs), start=1):
                    try:
                        written = job.result()
                        report.written += written
                        report.skipped += not written
                    except VideoReadError as error:
                        report.failed.append((error.path, error.reason))
                    if progress:
                        progress(done, len(report.failed))
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    except OSError as error:
        raise Clip2VideoError(f"cannot write to {output}: {error.strerror or error}") from None
    report.failed.sort()
    return report


def _folders(videos: Sequence[Path], output: Path, root: Path | None) -> dict[Path, Path]:
    base = Path(os.path.abspath(root)) if root is not None and root.is_dir() else None
    names = dict[Path, Path]()
    for video in videos:
        inside = video.parent.relative_to(base) if base and video != base and video.is_relative_to(base) else Path()
        names[video] = output / inside / (video.stem if video.stem.strip(".") else video.name)
    taken = dict[Path, int]()
    for folder in names.values():
        taken[folder] = taken.get(folder, 0) + 1
    return {v: f if taken[f] == 1 else f.with_name(v.name) for v, f in names.items()}


def _extract(video: Path, folder: Path, options: dict[str, Any]) -> bool:
    """Writes one folder; False when it is there already."""
    size, mtime = file_stamp(video)
    wanted = {"source": str(video), "size": size, "mtime": mtime, **options}
    note = _read_note(folder)
    if all(note.get(key) == value for key, value in wanted.items()):
        return False
    if folder.exists() and not note:
        raise VideoReadError(
            video, f"{folder} exists and was not written by c2v frames; remove it or choose another output"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=".c2v-", dir=folder.parent))
    try:
        partial.chmod(0o755)
        (partial / NOTE).write_text(json.dumps({**wanted, **_write(video, partial, options)}), encoding="utf-8")
        if folder.exists():
            shutil.rmtree(folder)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return True


def _write(video: Path, folder: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Decodes to JPEG files; returns what the note says of them: seconds of each, and of the whole video."""
    policy, fps = options["policy"], options["fps"]
    pick = picker(video, policy, count=options["count"] or 1, fps=fps, start=None, end=None)
    stored = dict[int, Path]()

    def store(image: Image.Image) -> Path:
        path = folder / f".{len(stored):08d}"
        image.save(path, "JPEG", quality=QUALITY, subsampling=0)
        stored[len(stored)] = path
        return path

    decoded, _ = decode(video, pick, store, by_keys=policy == "keyframes")
    order = [i for i in decoded.picks if i in decoded.pictures]
    if not order:
        raise VideoReadError(video, "none of its frames can be decoded")
    seen = set[int]()
    for number, i in enumerate(order, start=1):
        target = folder / f"{number:08d}.jpg"
        if i in seen:  # a repeated frame of a slow source
            shutil.copyfile(decoded.pictures[i], target)
        else:
            decoded.pictures[i].rename(target)
            decoded.pictures[i] = target
            seen.add(i)
    for leftover in folder.glob(".[0-9]*"):  # of a first attempt at a damaged video
        leftover.unlink()
    shown = decoded.presentation
    return {"timestamps": [shown.times[i] for i in order], "duration": shown.duration}


def _read_note(folder: Path) -> dict[str, Any]:
    try:
        note = json.loads((folder / NOTE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return note if isinstance(note, dict) else {}
