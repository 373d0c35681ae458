"""What splits share is found, in the real files with the published counts."""

import hashlib
import http.server
import json
import threading

import pytest

from clip2video_plugin.datasets import splits
from clip2video_plugin.datasets.splits import fetch_splits
from clip2video_plugin.errors import AnnotationError

from .layouts import MSRVTT, msrvtt, record
from .test_counts import ANNOTATIONS


def test_shared_sources_overlaps_and_captions_are_counted(tmp_path, c2v):
    # train and test clips of one source: 1-11.5 s overlaps 10-20 s by 1.5 s; the third is elsewhere
    records = [
        record(MSRVTT[0], split="train"),
        record(MSRVTT[1], split="validate", **{"start time": 30.0, "end time": 40.0}),
        record(MSRVTT[2], **{"start time": 10.0, "end time": 20.0}),
    ]
    long = {"caption": "word " * 40, "video_id": MSRVTT[2], "sen_id": 9}
    msrvtt(tmp_path, videos=records, extra=[long, {**long, "video_id": MSRVTT[0]}, {**long, "video_id": MSRVTT[0]}])
    (tmp_path / "MSRVTT_test.full.csv").unlink()
    done = c2v("datasets", "audit", "msrvtt", tmp_path, "--protocol", "full", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    leaks = {(leak["first"], leak["second"]): (leak["clips"], leak["overlaps"]) for leak in found["leaks"]}
    assert leaks == {("train", "val"): (1, 0), ("train", "test"): (1, 1), ("val", "test"): (1, 0)}
    assert found["leaks"][1]["examples"] == [[MSRVTT[0], MSRVTT[2], 1.5]]
    assert found["long"] == {"train": 1, "val": 0, "test": 1}
    assert found["repeated_within"] == {"train": 1, "val": 0, "test": 0}
    table = c2v("datasets", "audit", "msrvtt", tmp_path, "--protocol", "full").stdout
    assert "train video7010 and test video7012 share 1.5 s" in table


@pytest.mark.skipif(not ANNOTATIONS.is_dir(), reason="no ../shared/annotations beside this checkout")
@pytest.mark.parametrize(("protocol", "expected"), [("1k-a", (372, 55)), ("7k", (0, 0))])
def test_msr_vtts_known_leak(tmp_path, c2v, protocol, expected):
    folder = ANNOTATIONS / "msrvtt"
    for name in ("train_val_videodatainfo.json", "test_videodatainfo.json", "category.txt"):
        (tmp_path / name).symlink_to(folder / name)
    done = c2v("datasets", "audit", "msrvtt", tmp_path, "--splits", folder / "splits", "--protocol", protocol, "--json")
    assert done.returncode == 0, done.stderr
    (leak,) = json.loads(done.stdout)["leaks"]
    assert (leak["clips"], leak["overlaps"]) == expected


def test_split_lists_are_fetched_and_checked(tmp_path, monkeypatch, c2v):
    content = b"video_id\nvideo1\n"

    class Server(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/lists/"
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with pytest.raises(AnnotationError, match="SHA-256"):
        fetch_splits("msvd", tmp_path, url=url)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setitem(splits.LISTS, "msvd", {"test_list.txt": hashlib.sha256(content).hexdigest()})
    assert fetch_splits("msvd", tmp_path, url=url) == [tmp_path / "test_list.txt"]
    server.shutdown()
    assert fetch_splits("msvd", tmp_path, url=url) == [tmp_path / "test_list.txt"]  # it is there
    with pytest.raises(AnnotationError, match="kind is 'kinetics'"):
        fetch_splits("kinetics", tmp_path)


@pytest.mark.skipif(not ANNOTATIONS.is_dir(), reason="no ../shared/annotations beside this checkout")
def test_the_pinned_hashes_are_those_of_the_circulated_lists():
    for kind, files in splits.LISTS.items():
        for name, sha256 in files.items():
            assert hashlib.sha256((ANNOTATIONS / kind / "splits" / name).read_bytes()).hexdigest() == sha256
