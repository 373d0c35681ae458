"""Credentials of an address open the video, and stand nowhere afterwards."""

import base64
import json
import threading
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import lancedb
import pytest

from clip2video_plugin.errors import QueryError, VideoIndexError
from clip2video_plugin.index import open_index
from clip2video_plugin.places import has_credentials
from clip2video_plugin.query import Query

USER, WORD, SIGNATURE, KEY = "agent7", "pa55wort-xyz", "51gnatur3-xyz", "k3y-of-s3-xyz"
SECRETS = [WORD, SIGNATURE, KEY, base64.b64encode(f"{USER}:{WORD}".encode()).decode().rstrip("=")]


@pytest.fixture
def server(world):
    """Gives a video to who has user, password and signature, and asks all others for them; host and what was asked."""
    video, asked = (world[0] / "00000.mp4").read_bytes(), []
    basic = "Basic " + base64.b64encode(f"{USER}:{WORD}".encode()).decode()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def do_GET(self):
            asked.append((self.command, self.path))
            parts = urlsplit(self.path)
            right = self.headers["Authorization"] == basic
            right = right and parse_qs(parts.query).get("X-Amz-Signature") == [SIGNATURE]
            body = video if right and parts.path.endswith("clip.mp4") else b"no video at all"
            self.send_response(200 if right and "none" not in parts.path else 404 if right else 401)
            if not parts.path.endswith("undated.mp4"):
                self.send_header("Last-Modified", formatdate(1_700_000_000, usegmt=True))
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.handle_error = lambda *_: None  # a reader that went away: printed, it would count as the command's own
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{running.server_port}", asked
        running.shutdown()


def everything_in(folder):
    return {path: path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


def test_an_address_with_credentials_is_embedded_and_they_are_written_nowhere(
    server, tmp_path, c2v, c2v_here, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    host, asked = server
    signed = f"X-Amz-Signature={SIGNATURE}&id=4"
    good, other = f"http://{USER}:{WORD}@{host}/clip.mp4?{signed}", f"http://{USER}:{WORD}@{host}/text.mp4?{signed}"
    lines = [other, f"http://{USER}:{WORD}@{host}/none.mp4?{signed}", f"ftp://{USER}:{WORD}@{host}/x.mp4"]
    lines += [f"s3://{USER}:{KEY}@127.0.0.1:9/x.mp4", f"az://box/x.mp4?sv=1&sig={SIGNATURE}"]
    (tmp_path / "list.txt").write_text("\n".join(lines))
    done = c2v("embed", good, "--list", "list.txt", "--json")
    report = json.loads(done.stdout)
    assert (report["embedded"], len(report["failed"]), done.returncode) == (1, 5, 0), done.stderr
    again = c2v_here("embed", good, "--list", "list.txt")
    assert b"0 embedded, 1 unchanged" in again[1], again
    others = [
        c2v_here("embed", f"http://{USER}:{WORD}@{host}/folder/?{signed}"),
        c2v_here("embed", "--list", f"http://{USER}:{WORD}@{host}/none.txt?{signed}"),
        c2v_here("search", "a thing"),
        c2v_here("search", "--like", good),
        c2v_here("index", "list", "--missing"),
        c2v_here("index", "failures", "--json"),
        c2v_here("index", "check"),
        c2v_here("index", "prune", "--dry-run"),
        c2v_here("index", "list", good),
        c2v_here("embed", good, "--index", f"s3://{USER}:{KEY}@bucket/index"),
        c2v_here("frames", good, "out"),
    ]
    assert [code for code, _, _ in others] == [1, 1, 0, 1, 0, 0, 1, 0, 0, 1, 1]
    assert any(SIGNATURE in path for _, path in asked)  # they were used
    texts = [done.stdout + done.stderr, *(out.decode() + err.decode() for _, out, err in [again, *others])]
    assert not [text for text in texts if "Traceback" in text]
    bytes_of = everything_in(tmp_path / "c2v-index")
    assert len(bytes_of) > 3
    for secret in SECRETS:
        assert [text for text in texts if secret in text] == []
        assert [path for path, content in bytes_of.items() if secret.encode() in content] == []
    rows = lancedb.connect(tmp_path / "c2v-index").open_table("videos").to_arrow().to_pylist()
    assert [row["path"] for row in rows] == [f"http://{host}/clip.mp4?id=4"]
    failed = [row["path"] for row in open_index(tmp_path / "c2v-index").failures()]
    assert {"s3://127.0.0.1:9/x.mp4", f"ftp://{host}/x.mp4"} < set(failed)


def test_indexes_and_queries_do_not_take_credentials():
    for index in (f"s3://{USER}:{KEY}@bucket/index", f"s3+ddb://{USER}:{KEY}@bucket/index?ddbTableName=t"):
        with pytest.raises(VideoIndexError, match="environment") as error:
            open_index(index)
        assert KEY not in str(error.value)
    with pytest.raises(QueryError, match="credentials") as error:
        Query(like=f"https://host/a.mp4?sig={SIGNATURE}")
    assert SIGNATURE not in str(error.value)


@pytest.mark.parametrize(
    ("address", "has"),
    [
        ("https://me:pw@host/a", True),
        ("https://token@host/a", True),
        ("https://host/a?x=1&token=abc", True),
        ("https://host/a@b?x=1", False),
        ("s3://bucket/me:pw@x", False),
        ("az://box@account.dfs.core.windows.net/x", False),
        ("s3://bucket/a?b=1", False),
        ("/folder/me:pw@x", False),
    ],
)
def test_what_credentials_are(address, has):
    assert has_credentials(address) == has
