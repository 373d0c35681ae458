"""What a container says of its video, without decoding. As a program: a path per line in, an object per line out."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from clip2video_plugin.errors import VideoReadError
from clip2video_plugin.video.container import open_video


def video_facts(path: str | Path) -> dict[str, Any] | None:
    """Size in bytes, shape, frames a second, number of frames, seconds and codec; None if it cannot be opened."""
    try:
        with open_video(Path(path)) as (container, stream):
            rate = float(stream.average_rate or stream.guessed_rate or 0) or None
            duration: float | None = None
            if stream.duration is not None and stream.time_base is not None:
                duration = float(stream.duration * stream.time_base)
            elif container.duration:
                duration = container.duration / 1_000_000
            return {
                "size_bytes": os.path.getsize(path),
                "frame_width": stream.width,
                "frame_height": stream.height,
                "frame_rate": rate,
                "total_frame_count": stream.frames or (round(duration * rate) if duration and rate else None),
                "duration": duration,
                "encoding_str": stream.codec.canonical_name,
            }
    except VideoReadError:
        return None


def main() -> None:
    for line in sys.stdin:
        print(json.dumps(video_facts(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
