"""Small videos of every kind, generated, and what a plain sequential decode of a file gives."""

import shutil
import subprocess
from fractions import Fraction

import av
import numpy as np
import pytest

needs_ffmpeg = pytest.mark.skipif(
    shutil.which("ffmpeg") is None, reason="no ffmpeg to compare with: apt-get install ffmpeg"
)

KINDS = {
    "h264-b-frames.mp4": ("libx264", "yuv420p", {"g": "250", "bf": "3"}),
    "h264-short-gop.mp4": ("libx264", "yuv420p", {"g": "5", "bf": "2"}),
    "h264-open-gop.mkv": ("libx264", "yuv420p", {"x264-params": "open-gop=1:keyint=8:bframes=3"}),
    "h264-10-bit.mov": ("libx264", "yuv420p10le", {"g": "12"}),
    "h264.ts": ("libx264", "yuv420p", {"g": "10", "bf": "2"}),
    "mpeg4.avi": ("mpeg4", "yuv420p", {"g": "6"}),
    "mpeg2.mpg": ("mpeg2video", "yuv420p", {"g": "6", "bf": "2"}),
    "vp9.webm": ("libvpx-vp9", "yuv420p", {"deadline": "realtime", "cpu-used": "8"}),
    "flash.flv": ("flv", "yuv420p", {}),
    "wmv2.wmv": ("wmv2", "yuv420p", {}),
    "motion-jpeg.mkv": ("mjpeg", "yuvj420p", {}),
    "moving.gif": ("gif", "rgb8", {}),
}


def picture(number, width=64, height=48):
    """A picture that differs from frame to frame all over."""
    y, x = np.mgrid[0:height, 0:width]
    red, green = (x * 4 + number * 9) % 256, (y * 5 + number * 5) % 256
    return np.stack([red, green, np.full_like(red, (number * 23) % 256)], axis=-1).astype(np.uint8)


def write(
    path,
    count=40,
    rate=10,
    codec="libx264",
    pix_fmt="yuv420p",
    options=None,
    times=None,
    size=(64, 48),
    container_options=None,
):
    """A video of ``count`` pictures; ``times`` in 1/1000 s make the rate vary."""
    with av.open(str(path), "w", options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=Fraction(rate))
        stream.width, stream.height = size
        stream.pix_fmt = pix_fmt
        stream.options = options or {}
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for i in range(count):
            frame = av.VideoFrame.from_ndarray(picture(i, *size), format="rgb24").reformat(format=pix_fmt)
            if times is not None:
                frame.pts, frame.time_base = times[i], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def make(folder, name):
    """One of ``KINDS``; None where this build of FFmpeg cannot write it."""
    codec, pix_fmt, options = KINDS[name]
    try:
        return write(folder / name, codec=codec, pix_fmt=pix_fmt, options=options)
    except (av.error.FFmpegError, ValueError):
        return None


def sequential(path):
    """(seconds from the first, upright RGB picture) of every frame, as PyAV decodes them one after another."""
    frames = []
    with av.open(str(path)) as container:
        for packet in container.demux(container.streams.video[0]):
            try:
                decoded = packet.decode()
            except av.error.FFmpegError:
                continue
            for frame in decoded:
                turned = np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90) % 4)
                frames.append((frame.time, turned))
    first = min(time for time, _ in frames)
    return [(time - first, picture) for time, picture in frames]


def ffmpeg(*arguments):
    """Runs ffmpeg, which writes files."""
    subprocess.run(["ffmpeg", "-y", "-v", "error", *map(str, arguments)], check=True)


def by_ffmpeg(path, width, height, *options):
    """Every frame as ffmpeg shows it, RGB [n, height, width, 3]."""
    command = ["ffmpeg", "-v", "error", "-i", path, *options, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    raw = subprocess.run([*map(str, command)], capture_output=True, check=True).stdout
    return np.frombuffer(raw, np.uint8).reshape(-1, height, width, 3)
