"""Videos in every container of the tests, images, and folders of images."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from ..target import Files, Room, Target, Wrong

SOURCE = ("-f", "lavfi", "-i", "testsrc=size=48x32:rate=10:duration=1.2")
SOUND = ("-f", "lavfi", "-i", "sine=duration=1.2", "-c:a", "aac", "-b:a", "8k", "-shortest")
H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-bf", "2", "-g", "6", "-threads", "1")
VIDEOS = {  # name of a file -> how ffmpeg makes it
    "h264.mp4": H264,
    "fragments.mp4": (*H264, "-movflags", "frag_keyframe+empty_moov"),
    "fast.mp4": (*H264, "-movflags", "+faststart"),
    "turned.mov": (*H264,),
    "prores.mov": ("-c:v", "prores_ks", "-pix_fmt", "yuv422p10le"),
    "h264.mkv": (*H264,),
    "vp9.webm": ("-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-b:v", "50k"),
    "vp8.webm": ("-c:v", "libvpx", "-deadline", "realtime", "-b:v", "50k"),
    "mpeg4.avi": ("-c:v", "mpeg4", "-g", "6"),
    "motion-jpeg.avi": ("-c:v", "mjpeg", "-pix_fmt", "yuvj420p"),
    "h264.ts": (*H264,),
    "mpeg2.mpg": ("-c:v", "mpeg2video", "-r", "25", "-g", "6"),
    "flash.flv": ("-c:v", "flv"),
    "wmv2.wmv": ("-c:v", "wmv2"),
    "theora.ogv": ("-c:v", "libtheora",),
    "hevc.mp4": ("-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none:pools=1"),
    "moving.gif": ("-pix_fmt", "rgb8", "-loglevel", "quiet"),
    "raw.h264": (*H264, "-f", "h264"),
    "raw.y4m": ("-frames:v", "3"),
    "dv.dv": (),
}  # fmt: skip
IMAGES = ("jpg", "png", "webp", "bmp", "tif", "jp2", "ppm")


def _ffmpeg(*arguments: object) -> bool:
    command = ["ffmpeg", "-y", "-v", "error", "-nostdin", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, timeout=60).returncode == 0


def make_videos(place: Path) -> Iterator[tuple[str, Files]]:
    """Those that this ffmpeg can write; at least the common ones."""
    for name, how in VIDEOS.items():
        sound = SOUND if name in ("h264.mp4", "h264.ts") else ()
        source = SOURCE if name != "dv.dv" else ("-f", "lavfi", "-i", "testsrc=size=720x576:rate=25:duration=0.04")
        end = ("-target", "pal-dv") if name == "dv.dv" else ("-pix_fmt", "yuv420p", *how)
        if _ffmpeg(*source, *sound, *end, place / name):
            yield name, {name: (place / name).read_bytes()}
    _ffmpeg("-i", place / "h264.mp4", "-c", "copy", "-metadata:s:v", "rotate=90", place / "rotated.mp4")
    _ffmpeg("-display_rotation", "90", "-i", place / "h264.mp4", "-c", "copy", place / "upright.mp4")
    joined = (place / "h264.ts").read_bytes()
    yield "joined.ts", {"joined.ts": joined + joined}
    if (place / "upright.mp4").exists():
        yield "upright.mp4", {"upright.mp4": (place / "upright.mp4").read_bytes()}


def check(frames, size: int = 32) -> None:
    """What every answer about a video must be, whatever the video is."""
    import numpy as np

    if frames.pixels.shape != (len(frames), size, size, 3) or not len(frames):
        raise Wrong(f"pixels of shape {frames.pixels.shape}")
    times = frames.timestamps
    if not np.isfinite(times).all() or (np.diff(times) < 0).any() or times[0] < 0:
        raise Wrong(f"times that are none: {times}")
    if not (np.isfinite(frames.duration) and frames.width > 0 and frames.height > 0):
        raise Wrong(f"{frames.width} x {frames.height}, {frames.duration} s")
    if frames.warning is not None and "\n" in frames.warning:
        raise Wrong(f"a warning of several lines: {frames.warning!r}")


def read_video(files: Files, room: Room, policy: str = "uniform", reader: str = "auto") -> None:
    from clip2video_plugin.video.facts import video_facts
    from clip2video_plugin.video.frames import read_quietly

    path = room.one(files)
    facts = video_facts(path)
    json.dumps(facts)
    check(read_quietly(path, policy=policy, count=4, fps=2.0 if policy == "fps" else None, size=32, reader=reader))


def read_windows(files: Files, room: Room) -> None:
    """The pass that makes the windows of a long video."""
    from clip2video_plugin.pixels import Preprocessing
    from clip2video_plugin.video.grid import Grid, Untrue, Wanted
    from clip2video_plugin.video.windows import WindowPlan, window_picks

    plan = WindowPlan("0.5/0.25")
    wanted = Wanted(partial(plan.rate, count=4), ("uniform", None), 4, Preprocessing(32))
    path = room.one(files)
    grid = Grid.open(path, wanted)
    for _ in range(3):
        try:
            shapes = [grid.read(part).shape[1:] for part in grid.parts()]
            break
        except Untrue:
            grid.close()
            grid = Grid.anew(path, wanted)
    else:
        raise Wrong("its frames are not there, again and again")
    if set(shapes) != {(32, 32, 3)}:
        raise Wrong(f"parts of shapes {shapes}")
    window_picks(grid.layout.due, plan.spans(grid.duration), 4)
    grid.close()


def make_images(place: Path) -> Iterator[tuple[str, Files]]:
    still = ("-f", "lavfi", "-i", "testsrc=size=24x16:rate=1:duration=1", "-frames:v", "1")
    for kind in IMAGES:
        if _ffmpeg(*still, place / f"1.{kind}"):
            content = (place / f"1.{kind}").read_bytes()
            note = {"policy": "extract", "fps": 5.0, "timestamps": [0.0, 0.2, 0.4], "duration": 0.6}
            yield kind, {f"{n}.{kind}": content for n in (1, 2, 10)} | {"frames.json": json.dumps(note).encode()}
    for name, kind in {
        "deep.png": "gray16be",
        "alpha.png": "rgba",
        "deep.tif": "gray16le",
        "black.bmp": "monow",
    }.items():
        how = ("-pix_fmt", kind)
        if _ffmpeg(*still, *how, place / name):
            yield name, {f"1.{name.split('.')[1]}": (place / name).read_bytes()}


def read_images(files: Files, room: Room) -> None:
    from clip2video_plugin.video.frames import read_quietly

    place = room.put(files)
    check(read_quietly(place, policy="uniform", count=4, size=32))
    check(read_quietly(place, policy="reference", count=4, size=32))


def has_ffmpeg() -> bool:
    return shutil.which("ffmpeg") is not None


TARGETS = (
    Target("video", "videos in 20 containers and codecs, frames evenly taken", make_videos, read_video, 130),
    Target(
        "reference",
        "the same, frames as the paper takes them",
        make_videos,
        partial(read_video, policy="reference"),
        20,
    ),
    Target("rate", "the same, frames at a rate", make_videos, partial(read_video, policy="fps"), 15),
    Target("grid", "the same, in windows", make_videos, read_windows, 17),
    Target("images", "folders of images", make_images, read_images, 30),
)
