"""What finding the videos costs before any is embedded, by number, in a folder, a store and lists: CPU and memory.

    python benchmarks/listing.py [--videos 100000 1000000]

The store is a server in a process of its own that answers S3's ListObjectsV2 with made-up names, 1,000 a page, as no
local S3 holds a million objects in reasonable time. Each count is a process of its own; lists name objects.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from clip2video_plugin.inputs import Inputs

KINDS = ("folder", "store", "text", "parquet")


def serve(count: int) -> None:
    """Lists ``count`` objects of any bucket, until it is killed; prints its port."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def answer(self, status: int, body: str) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body.encode())

        def do_HEAD(self) -> None:
            self.answer(404, "")

        def do_GET(self) -> None:
            asked = parse_qs(urlsplit(self.path).query)
            if "list-type" not in asked:
                self.answer(404, "<Error><Code>NoSuchKey</Code></Error>")
                return
            start = int(asked.get("continuation-token", ["0"])[0])
            end = min(count, start + 1_000)
            objects = "".join(
                f"<Contents><Key>videos/{i:08d}.mp4</Key><LastModified>2026-11-28T17:29:09.000Z</LastModified>"
                f"<ETag>&quot;{i:032x}&quot;</ETag><Size>{1_000 + i}</Size></Contents>"
                for i in range(start, end)
            )
            more = f"<NextContinuationToken>{end}</NextContinuationToken>" if end < count else ""
            truncated = "true" if more else "false"
            self.answer(
                200, f"<ListBucketResult><IsTruncated>{truncated}</IsTruncated>{more}{objects}</ListBucketResult>"
            )

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        print(server.server_port, flush=True)
        server.serve_forever()


def counted(paths: str | tuple[()], listed: str | None) -> None:
    """Goes through the videos, in this process."""
    begin = resource.getrusage(resource.RUSAGE_SELF)
    found = sum(1 for _ in Inputs(paths, listed).videos())
    end = resource.getrusage(resource.RUSAGE_SELF)
    cpu = end.ru_utime + end.ru_stime - begin.ru_utime - begin.ru_stime
    print(json.dumps({"found": found, "cpu": cpu, "mb": (end.ru_maxrss - begin.ru_maxrss) / 1024}))


def measured(kind: str, count: int, folder: Path) -> None:
    """One kind of ``count`` videos, and what it cost."""
    import pyarrow as pa
    from pyarrow.parquet import write_table

    environment, server = dict(os.environ), None
    asked = ["--paths", str(folder / "videos")]
    if kind == "folder":
        (folder / "videos").mkdir()
        for i in range(count):
            (folder / "videos" / f"{i:08d}.mp4").touch()
    elif kind == "store":
        server = subprocess.Popen([sys.executable, __file__, "--serve", str(count)], stdout=subprocess.PIPE, text=True)
        assert server.stdout
        environment |= {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.stdout.readline().strip()}"}
        environment |= {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_REGION": "us-east-1"}
        asked = ["--paths", "s3://bucket/videos"]
    else:
        names = (f"s3://bucket/videos/{i:08d}.mp4" for i in range(count))
        if kind == "text":
            (folder / "list").write_text("\n".join(names))
        else:
            stamps = {"size": range(count), "mtime": [1.7e9] * count}
            write_table(pa.table({"uri": list(names), **stamps}), folder / "list")
        asked = ["--listed", str(folder / "list")]
    try:
        began = time.monotonic()
        done = subprocess.run(
            [sys.executable, __file__, *asked], check=True, stdout=subprocess.PIPE, text=True, env=environment
        )
        said = json.loads(done.stdout)
        assert said["found"] == count, said
        print(
            f"{kind:>8} {count:>9,}: {said['cpu']:.1f} s of CPU, {time.monotonic() - began:.1f} s, "
            f"{said['mb']:,.0f} MB beside the program",
            flush=True,
        )
    finally:
        if server:
            server.kill()
            server.wait()


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--videos", type=int, nargs="+", default=[100_000, 1_000_000])
    options.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    options.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    options.add_argument("--paths", help=argparse.SUPPRESS)
    options.add_argument("--listed", help=argparse.SUPPRESS)
    asked = options.parse_args()
    if asked.serve is not None:
        serve(asked.serve)
    elif asked.paths or asked.listed:
        counted(asked.paths or (), asked.listed)
    else:
        for count in asked.videos:
            for kind in asked.kinds:
                with tempfile.TemporaryDirectory() as name:
                    measured(kind, count, Path(name))


if __name__ == "__main__":
    main()
