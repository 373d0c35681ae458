"""Which file is the clip of a benchmark's id. No file stands for two ids, and every choice is reported."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sized
from dataclasses import dataclass, field
from pathlib import Path

from clip2video_plugin.datasets.annotations import Annotation
from clip2video_plugin.datasets.benchmark import Benchmark
from clip2video_plugin.datasets.sources import Sources
from clip2video_plugin.errors import AnnotationError
from clip2video_plugin.paths import printable
from clip2video_plugin.video.facts import video_facts

SLACK = 1.0  # seconds by which a cut may be longer than its clip


@dataclass
class Chosen:
    """Id -> file, and the ambiguous cases in words."""

    files: dict[str, Path] = field(default_factory=dict)
    ambiguous: list[str] = field(default_factory=list)


def choose(benchmark: Benchmark, sources: Sources) -> Chosen:
    """The file of each id that has one. Ambiguous cases are counted in the benchmark's warnings as well."""
    out, warnings = Chosen(), benchmark.warnings
    whole: list[tuple[Annotation, Path]] = []
    for annotation in benchmark.annotations:
        names = [annotation.video_id, benchmark.aliases.get(annotation.video_id)]
        there = [path for name in names if name for path in sources.media.get(name, ())]
        # Frozen's layout gives links to the videos beside the videos
        files = list({os.path.realpath(path): path for path in reversed(there)}.values())[::-1] if there[1:] else there
        if files:
            out.files[annotation.video_id] = files[0]
        elif original := sources.media.get(benchmark.originals.get(annotation.video_id, "")):
            whole.append((annotation, original[0]))
        if len(files) > 1:
            warnings["videos with two files"] += 1
            others = ", ".join(str(path) for path in files[1:])
            out.ambiguous.append(printable(f"{annotation.video_id}: {files[0]} was taken, not {others}"))
    claims = Counter(path for _, path in whole)
    for annotation, path in whole:
        why = _not_the_clip(annotation, path, claims[path])
        if why is None:
            out.files[annotation.video_id] = path
            warnings["clips under the name of the video that they are of; they are as short as the clip"] += 1
        else:
            warnings["videos that are not the clips cut from them; cut each to its start and end, as <id>.mp4"] += 1
            out.ambiguous.append(printable(f"{annotation.video_id}: {path} {why}"))
    return out


def _not_the_clip(annotation: Annotation, path: Path, claims: int) -> str | None:
    """Why the file of a whole video's name is not the clip, or None where it was cut to it."""
    if claims > 1:
        return f"would stand for {claims} clips"
    seconds = (video_facts(path) or {}).get("duration")
    if seconds is None or annotation.start is None or annotation.end is None:
        return "has no length that shows whether it was cut"
    if seconds > annotation.end - annotation.start + SLACK:
        return f"has {seconds:.0f} s, the clip is {annotation.start:g} to {annotation.end:g} s of it"
    return None


def check_missing(
    missing: list[str], found: Sized, on_missing: str, folder: object, ambiguous: list[str], what: str = "videos"
) -> None:
    """Raises AnnotationError where videos are missing and must not be, or where none at all was found."""
    if missing and on_missing == "error":
        raise AnnotationError(f"{len(missing)} {what} are not there, the first is {missing[0]}")
    if missing and not len(found):
        more = f"; {ambiguous[0]}" if ambiguous else ""
        raise AnnotationError(
            f"none of {len(missing)} {what} is below {folder}, the first is {missing[0]}{more}; name the folder of "
            'the videos, or pass on_missing="keep" to import their captions alone'
        )
