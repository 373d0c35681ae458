"""Twelve frames of a large video in a store: requests and bytes, beside the bytes that the picks need.

    python benchmarks/remote_video.py [--megabytes 100] [--keyint 250] [--kinds faststart tail ...] [--delay 0.0]
        [--policy uniform]

It makes a video with ffmpeg (640x360, B-frames, AAC sound) and the same packets in other containers: MP4 with its
tables at the head, at the tail, in fragments; Matroska and MPEG-TS for the record; H.264 with open groups; VP9 as WebM.
Each is read from an S3 (moto, on this machine) through a relay that counts what passes, and from a web server that
counts what it sends. "needed" is what ffprobe says: the box of the tables, and the packets from the key frame before
each pick to the pick. ``--delay`` is added to every answer, as of a store far away. Frames are compared with those of
the local file.
"""

from __future__ import annotations

import argparse
import http.server
import json
import os
import re
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))
from clip2video_plugin.video import read_frames
from tests.objectstore import Store, environment, serving

KINDS = ("faststart", "tail", "fragments", "open-gop", "matroska", "mpegts", "webm")
COUNT = 12


class Counts:
    requests = bytes = 0
    delay = 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=float, default=100)
    parser.add_argument("--keyint", type=int, default=250)
    parser.add_argument("--kinds", nargs="*", choices=KINDS, default=list(KINDS))
    parser.add_argument("--delay", type=float, default=0.0)
    parser.add_argument("--policy", default="uniform", help="of read_frames: which frames")
    args = parser.parse_args()
    Counts.delay = args.delay
    with tempfile.TemporaryDirectory() as folder, serving() as store:
        os.environ.update(environment(store))
        bucket = Store(store, "videos")
        relay = counting_relay(int(store.rpartition(":")[2]))
        os.environ.update(environment(f"http://127.0.0.1:{relay}"))
        files = FileServer(Path(folder))
        print(
            f"{'':26}{'MB':>7}{'needed':>8}{'read':>8}{'ratio':>7}{'requests':>9}{'s':>7}{'whole, s':>9}{'frames':>8}"
        )
        for kind in args.kinds:
            file = made(Path(folder), kind, args.megabytes, args.keyint)
            local = read_frames(file, policy=args.policy)
            need = needed(file, local.timestamps)
            bucket.put(file.name, file)
            for name, uri in (("s3", bucket.uri(file.name)), ("http", f"{files.url}/{file.name}")):
                Counts.requests = Counts.bytes = 0
                began = time.perf_counter()
                frames = read_frames(uri, policy=args.policy)
                seconds = time.perf_counter() - began
                read, asked = Counts.bytes, Counts.requests
                began = time.perf_counter()
                whole = download(bucket if name == "s3" else uri, file, Path(folder))
                read_frames(whole, policy=args.policy)
                by_download = time.perf_counter() - began
                whole.unlink()
                same = np.array_equal(frames.pixels, local.pixels) and np.array_equal(
                    frames.timestamps, local.timestamps
                )
                print(
                    f"{kind + ', ' + name:26}{file.stat().st_size / 1e6:7.1f}{need / 1e6:8.2f}{read / 1e6:8.2f}"
                    f"{read / need:7.2f}{asked:9}{seconds:7.2f}{by_download:9.2f}{'same' if same else 'OTHER':>8}",
                    flush=True,
                )


def made(folder: Path, kind: str, megabytes: float, keyint: int) -> Path:
    """A video of about this size."""
    suffix = {"matroska": ".mkv", "mpegts": ".ts", "webm": ".webm"}.get(kind, ".mp4")
    file, source = folder / (kind + suffix), folder / "source.mp4"
    seconds = megabytes * 8 / 3.2  # at about 3.2 Mbit/s
    picture = f"testsrc2=s=640x360:r=30:d={seconds},noise=alls=12:allf=t"
    sound = ["-f", "lavfi", "-i", f"sine=d={seconds}", "-c:a", "aac", "-b:a", "128k"]
    rate = ["-b:v", "3.07M", "-maxrate", "4M", "-bufsize", "8M", "-g", str(keyint)]
    x264 = [*rate, "-c:v", "libx264", "-preset", "ultrafast", "-bf", "3", "-pix_fmt", "yuv420p"]
    video = ["-f", "lavfi", "-i", picture]
    if kind == "webm":
        vp9 = ["-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", *rate]
        ffmpeg(*video, *vp9, file)
    elif kind == "open-gop":
        ffmpeg(*video, *sound, *x264, "-x264-params", f"open-gop=1:keyint={keyint}", file)
    else:
        if not source.exists():
            ffmpeg(*video, *sound, *x264, source)
        flags = {"faststart": "faststart", "fragments": "frag_keyframe+empty_moov+default_base_moof"}.get(kind)
        ffmpeg("-i", source, "-c", "copy", *(["-movflags", flags] if flags else []), file)
    return file


def ffmpeg(*arguments: object) -> None:
    subprocess.run(["ffmpeg", "-y", "-v", "error", *map(str, arguments)], check=True)


def needed(file: Path, timestamps: np.ndarray) -> int:
    """Bytes of the tables of an MP4, and of the packets from key frame to pick of every pick, as ffprobe has them."""
    show = "packet=pts_time,size,flags"
    command = [
        "ffprobe",
        "-v",
        "error",
        "-select_streams",
        "v:0",
        "-show_packets",
        "-show_entries",
        show,
        "-of",
        "json",
    ]
    packets = json.loads(subprocess.run([*command, file], capture_output=True, check=True).stdout)["packets"]
    times = np.array([float(packet["pts_time"]) for packet in packets])
    keys = [i for i, packet in enumerate(packets) if "K" in packet["flags"]]
    wanted = set[int]()
    for time_of in timestamps + times.min():
        pick = int(np.abs(times - time_of).argmin())
        key = max((k for k in keys if k <= pick and times[k] <= times[pick] + 1e-6), default=0)
        wanted.update(range(key, pick + 1))
    return sum(int(packets[i]["size"]) for i in wanted) + tables(file)


def tables(file: Path) -> int:
    """Bytes of the boxes moov and moof of an MP4."""
    if file.suffix != ".mp4":
        return 0
    total, at = 0, 0
    with file.open("rb") as data:
        while len(head := data.read(8)) == 8:
            length = int.from_bytes(head[:4])
            total += length if head[4:] in (b"moov", b"moof") else 0
            at += length
            data.seek(at)
    return total


def download(source: Store | str, file: Path, folder: Path) -> Path:
    """The whole object, as a file of another name."""
    to = folder / ("whole" + file.suffix)
    if isinstance(source, Store):
        import boto3

        keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
        client = boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"], region_name="us-east-1", **keys)
        client.download_file(source.bucket, file.name, str(to))
    else:
        subprocess.run(["curl", "-sfo", to, source], check=True)
    return to


class FileServer:
    """A web server of a folder that gives ranges, and counts."""

    def __init__(self, folder: Path) -> None:
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                file = folder / self.path.lstrip("/")
                size, code = file.stat().st_size, 200
                start, end = 0, size - 1
                if asked := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
                    start, end, code = int(asked[1]), min(int(asked[2] or end), end), 206
                time.sleep(Counts.delay)
                Counts.requests += 1
                self.send_response(code)
                self.send_header("Content-Length", str(end - start + 1))
                self.send_header("ETag", f'"{size}-{file.stat().st_mtime_ns}"')
                if code == 206:
                    self.send_header("Content-Range", f"bytes {start}-{end}/{size}")
                self.end_headers()
                with file.open("rb") as data:
                    data.seek(start)
                    left = end - start + 1
                    while left and (some := data.read(min(left, 1 << 18))):
                        self.wfile.write(some)
                        Counts.bytes += len(some)
                        left -= len(some)

            def log_message(self, *arguments: object) -> None:
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{server.server_port}"


def counting_relay(port: int) -> int:
    """A relay to a port of this machine that counts requests, and bytes of answers with their headers."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with socket.create_connection(("127.0.0.1", port)) as far:
                back = threading.Thread(target=passing, args=(far, self.request, answered), daemon=True)
                back.start()
                passing(self.request, far, asked)
                back.join()

    def asked(some: bytes) -> None:
        requests = some.count(b" HTTP/1.1\r\n")
        Counts.requests += requests
        time.sleep(Counts.delay * requests)

    def answered(some: bytes) -> None:
        Counts.bytes += len(some)

    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return int(server.server_address[1])


def passing(source: socket.socket, target: socket.socket, count: object) -> None:
    try:
        while some := source.recv(1 << 18):
            count(some)  # type: ignore[operator]
            target.sendall(some)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass


if __name__ == "__main__":
    main()
