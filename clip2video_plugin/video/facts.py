"""What a container says of its video, without decoding. As a program: a path per line in, an object per line out."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from clip2video_plugin import stores
from clip2video_plugin.errors import Clip2VideoError
from clip2video_plugin.places import Uri, place_of
from clip2video_plugin.video.container import open_video
from clip2video_plugin.video.files import file_stamp


def video_facts(path: str | Path | Uri) -> dict[str, Any] | None:
    """Size in bytes, shape, frames a second, number of frames, seconds and codec; None if it cannot be opened."""
    try:
        place = place_of(path)
        with stores.held(place), open_video(place) as (container, stream):
            rate = float(stream.average_rate or stream.guessed_rate or 0) or None
            duration: float | None = None
            if stream.duration is not None and stream.time_base is not None:
                duration = float(stream.duration * stream.time_base)
            elif container.duration:
                duration = container.duration / 1_000_000
            return {
                "size_bytes": file_stamp(place)[0],
                "frame_width": stream.width,
                "frame_height": stream.height,
                "frame_rate": rate,
                "total_frame_count": stream.frames or (round(duration * rate) if duration and rate else None),
                "duration": duration,
                "encoding_str": stream.codec.canonical_name,
            }
    except Clip2VideoError:
        return None


def main() -> None:
    for line in sys.stdin:
        print(json.dumps(video_facts(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
