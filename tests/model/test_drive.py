"""Checkpoints in folders of Google Drive, by gdown itself, from a stand-in for Google's hosts behind a proxy."""

import sys
from urllib.parse import quote

import pytest

from clip2video_plugin.errors import CheckpointError
from clip2video_plugin.model.fetch import fetch
from clip2video_plugin.model.published import PUBLISHED

from ..standin import Detour, StandIn, certificate

pytest.importorskip("gdown")
BODY = bytes(range(256)) * 12_000
HOSTS = ("drive.google.com", "drive.usercontent.google.com")
FOLDER = PUBLISHED["clip2video-msvd"].weights.url.split("/")[-2]
FILE = "1a2b3c4d5e6f7g8h9i0j1k2l3m4n5o6p7"
QUOTA = """<!DOCTYPE html><html><head><title>Google Drive - Quota exceeded</title></head><body>
<p class="uc-error-caption">Sorry, you can&#39;t view or download this file at this time.</p>
<p class="uc-error-subcaption">Too many users have viewed or downloaded this file recently.</p></body></html>"""
HTML = {"Content-Type": "text/html; charset=utf-8"}


@pytest.fixture
def drive(tmp_path, monkeypatch):
    """Drive with one shared folder: its listing, the page that warns of large files, and the file behind that."""
    files = certificate(tmp_path, *HOSTS)
    server = StandIn(files)
    detour = Detour(server)
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, detour.url)
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(files[0]))
    monkeypatch.setenv("C2V_MODELS", str(tmp_path / "models"))
    server.detour = detour
    put_folder(server, "pytorch_model.bin.2", "log.txt")
    form = f"""<html><head><title>Google Drive - Virus scan warning</title></head><body>
        <form id="download-form" action="https://{HOSTS[1]}/download" method="get"><input type="hidden" name="id"
        value="{FILE}"><input type="hidden" name="confirm" value="t"></form></body></html>"""
    server.put(f"/uc?id={FILE}", form.replace("\n", " ").encode(), says=HTML)
    attached = {"Content-Disposition": 'attachment; filename="pytorch_model.bin.2"'}
    server.put("/download", BODY, says=attached)
    yield server
    detour.close()
    server.close()


def put_folder(server, *names):
    links = ""
    for number, name in enumerate(names):
        links += f'<a href="https://drive.google.com/file/d/{FILE[:-1]}{number or FILE[-1]}/view">{name}</a>'
    page = f"<html><head><title>CLIP2Video_MSVD</title></head><body>{links}</body></html>"
    server.put(f"/embeddedfolderview?id={quote(FOLDER)}", page.encode(), says=HTML)


def test_the_file_of_the_folder_is_downloaded(drive):
    seen = []
    path = fetch("clip2video-msvd", progress=lambda done, total: seen.append((done, total)))
    assert path.read_bytes() == BODY
    assert path.name == "pytorch_model.bin.2"
    assert seen[-1] == (len(BODY), len(BODY))
    assert set(drive.detour.asked) == {f"{host}:443" for host in HOSTS}
    assert all("Authorization" not in headers for _, headers in drive.asked)
    asked = len(drive.asked)
    assert fetch("clip2video-msvd") == path
    assert len(drive.asked) == asked


def test_an_interrupted_download_goes_on(drive):
    def interrupt(done, total):
        if done > 1_000_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch("clip2video-msvd", progress=interrupt)
    assert fetch("clip2video-msvd").read_bytes() == BODY
    assert int(drive.ranges()[-1].removeprefix("bytes=").rstrip("-")) >= 1_000_000


def test_a_connection_that_breaks_is_made_again(drive):
    drive.pages["/download"].cuts = [700_000]
    assert fetch("clip2video-msvd").read_bytes() == BODY
    assert 0 < int(drive.ranges()[-1].removeprefix("bytes=").rstrip("-")) <= 700_000


def test_the_page_of_too_many_visitors_is_one_line_that_says_what_to_do(drive, tmp_path):
    drive.put(f"/uc?id={FILE}", QUOTA.encode(), says=HTML)
    with pytest.raises(CheckpointError, match="Too many users have viewed or downloaded this file recently") as error:
        fetch("clip2video-msvd")
    assert "\n" not in str(error.value)
    by_hand = f"download pytorch_model.bin.2 by hand from https://drive.google.com/drive/folders/{FOLDER}"
    assert str(error.value).endswith(f"or {by_hand} and: c2v models import pytorch_model.bin.2")
    assert [path for path in (tmp_path / "models").rglob("*") if path.is_file()] == []


def test_a_page_in_place_of_the_bytes_is_not_kept(drive, tmp_path):
    drive.put("/download", QUOTA.encode(), says=drive.pages["/download"].says | HTML)
    with pytest.raises(CheckpointError, match='web page "Google Drive - Quota exceeded" instead of the file'):
        fetch("clip2video-msvd")
    assert [path for path in (tmp_path / "models").rglob("*") if path.is_file()] == []


def test_the_only_checkpoint_of_a_folder_is_the_one_meant(drive):
    put_folder(drive, "pytorch_model.bin.7", "log.txt")
    assert fetch("clip2video-msvd").read_bytes() == BODY
    put_folder(drive, "other.pt", "log.txt")
    with pytest.raises(CheckpointError, match=r"has no pytorch_model.bin.2; it holds other.pt, log.txt"):
        fetch("clip2video-msvd", sha256="0" * 64)


@pytest.mark.parametrize("code", [403, 404, 500])
def test_a_folder_that_is_closed_is_one_line(drive, code):
    drive.put(f"/embeddedfolderview?id={FOLDER}", codes=[code])
    with pytest.raises(CheckpointError, match=f"status code {code}") as error:
        fetch("clip2video-msvd")
    assert "\n" not in str(error.value)


def test_an_answer_that_gdown_does_not_know_is_one_line(drive):
    drive.put(f"/uc?id={FILE}", b"?", says={"Content-Type": None})
    with pytest.raises(CheckpointError, match=r"cannot be downloaded: .*content-type.*; try again later, or download"):
        fetch("clip2video-msvd")


def test_without_gdown_a_line_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setenv("C2V_MODELS", str(tmp_path))
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if "site-packages" not in entry])
    with pytest.raises(CheckpointError, match="takes gdown") as error:
        fetch("clip2video-vatex")
    assert 'pip install "gdown>=6.5"' in str(error.value)
    folder, _, file = PUBLISHED["clip2video-vatex"].weights.url.rpartition("/")
    by_hand = f"download {file} by hand from {folder} and: c2v models import {file} --name clip2video-vatex"
    assert str(error.value).endswith(f"Or {by_hand}")
    assert list(tmp_path.iterdir()) == []
