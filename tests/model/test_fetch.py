"""A published name becomes a model that embeds and searches; what is not the published file does not. Local server."""

import hashlib
import json
import signal
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest

from clip2video_plugin import embed_videos, load_model, search
from clip2video_plugin.errors import CheckpointError
from clip2video_plugin.model import replacing
from clip2video_plugin.model.fetch import DOWNLOADS, fetch, fetch_model
from clip2video_plugin.model.installed import default_model, installed_checkpoints
from clip2video_plugin.model.published import PUBLISHED

from ..conftest import C2V
from ..standin import StandIn
from .miniatures import files

BODY = bytes(range(256)) * 20_000
SHA = hashlib.sha256(BODY).hexdigest()


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setenv("C2V_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("C2V_MODEL", raising=False)
    monkeypatch.delenv("C2V_MIRROR", raising=False)
    server = StandIn()
    yield server
    server.close()


@pytest.fixture
def url(server):
    return server.put("/ViT-B-32.pt", BODY)


@pytest.fixture
def mirror(server, monkeypatch):
    """Stands in for all hosts, with every published model in miniature; gives the SHA-256 to be asked for."""
    monkeypatch.setenv("C2V_MIRROR", server.url)

    def put(name, **changed):
        made = files(name) | changed
        for file in PUBLISHED[name].files:
            parts = urlsplit(file.url)
            server.put(f"/{parts.netloc}{parts.path}", made[file.name])
        weights = PUBLISHED[name].weights
        return hashlib.sha256(made[weights.name]).hexdigest() if weights.sha256 else None

    return put


def downloads(tmp_path):
    found = sorted((tmp_path / "models" / "downloads").rglob("*"))
    return [path.name for path in found if path.is_file()]


# Every published name


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_published_name_becomes_a_model_that_embeds_and_searches(mirror, world, tmp_path, name):
    folder = fetch_model(name, sha256=mirror(name))
    assert installed_checkpoints()[name] == folder
    model = load_model(name, device="cpu")
    assert (model.card.training, model.card.trained_on) == (
        PUBLISHED[name].card.training,
        PUBLISHED[name].card.trained_on,
    )
    assert model.card.licence == PUBLISHED[name].card.licence
    clips = sorted(world[0].glob("*.mp4"))[:3]
    assert embed_videos(clips, index=tmp_path / "index", model=model).embedded == 3
    hits = search("a red square", index=tmp_path / "index", model=model).hits
    assert sorted(hit.path for hit in hits) == sorted(map(str, clips))
    assert len({hit.score for hit in hits}) == 3
    assert downloads(tmp_path) == ["sha256.json"]


def test_the_commands_go_from_nothing_to_hits(mirror, world, tmp_path, c2v):
    mirror("clip4clip-didemo")
    done = c2v("models", "fetch", "clip4clip-didemo", "--default")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        f"clip4clip-didemo: {tmp_path}/models/clip4clip-didemo",
        "trained on DiDeMo; licence: not stated",
        "use it: c2v embed FOLDER, then c2v search 'a dog runs on the beach'",
    ]
    assert "pytorch_model.bin.3 has SHA-256" in done.stderr
    clip = min(world[0].glob("*.mp4"))
    assert c2v("embed", clip).returncode == 0
    found = c2v("search", "a red square", "--json")
    assert [hit["path"] for hit in json.loads(found.stdout)["hits"]] == [str(clip)]


def test_a_name_becomes_the_default_where_that_is_asked_for(mirror):
    mirror("clip4clip-lsmdc")
    fetch_model("clip4clip-lsmdc")
    assert default_model() == "shapes"
    fetch_model("clip4clip-lsmdc", default=True)
    assert default_model() == "clip4clip-lsmdc"


# The second time


def test_what_is_installed_is_not_fetched_again(mirror, server):
    said = []
    mirror("clip4clip-didemo")
    folder = fetch_model("clip4clip-didemo")
    asked = len(server.asked)
    assert fetch_model("clip4clip-didemo", tell=said.append) == folder
    assert said == [f"clip4clip-didemo is installed already, in {folder}; to fetch it anew, delete that first"]
    with pytest.raises(CheckpointError, match=r"is installed in .*; for other weights, delete that first"):
        fetch_model("clip4clip-didemo", sha256="0" * 64)
    assert len(server.asked) == asked


def test_the_same_command_with_a_hash_finds_the_model_installed(mirror, server):
    sha256, said = mirror("clip-vit-b32"), []
    fetch_model("clip-vit-b32", sha256=sha256)
    fetch_model("clip-vit-b32", sha256=sha256, tell=said.append)
    assert said[0].startswith("clip-vit-b32 is installed already")
    with pytest.raises(CheckpointError, match="for other weights, delete that first"):
        fetch_model("clip-vit-b32", sha256=PUBLISHED["clip-vit-b32"].weights.sha256)
    assert len(server.asked) == 1


def test_a_hash_that_nobody_published_is_that_of_the_first_fetch(mirror, tmp_path):
    said = []
    mirror("clip4clip-didemo")
    first = hashlib.sha256(files("clip4clip-didemo")["pytorch_model.bin.3"]).hexdigest()
    folder = fetch_model("clip4clip-didemo", tell=said.append)
    assert said[-1].startswith(f"pytorch_model.bin.3 has SHA-256 {first}; none is published")
    seen = tmp_path / "models" / "downloads" / "sha256.json"
    assert json.loads(seen.read_text()) == {PUBLISHED["clip4clip-didemo"].weights.url: first}
    folder.rename(tmp_path / "away")
    other = files("clip2video-msvd")["pytorch_model.bin.2"]
    mirror("clip4clip-didemo", **{"pytorch_model.bin.3": other})
    found = hashlib.sha256(other).hexdigest()
    with pytest.raises(CheckpointError, match=f"SHA-256 {found}, expected {first}; it was deleted.*--sha256 {found}"):
        fetch_model("clip4clip-didemo")
    assert downloads(tmp_path) == ["sha256.json"]
    assert fetch_model("clip4clip-didemo", sha256=found) == folder
    assert json.loads(seen.read_text()) == {PUBLISHED["clip4clip-didemo"].weights.url: found}


def test_small_files_are_remembered_too_and_taken_anew_with_other_weights(mirror, tmp_path):
    mirror("clip4clip-webvid")
    folder = fetch_model("clip4clip-webvid")
    folder.rename(tmp_path / "away")
    config = files("clip4clip-webvid")["config.json"].replace(b"quick_gelu", b"gelu")
    mirror("clip4clip-webvid", **{"config.json": config})
    with pytest.raises(CheckpointError, match=r"config.json gave a file .*--sha256 HASH, of the weights, takes this"):
        fetch_model("clip4clip-webvid")
    weights = hashlib.sha256(files("clip4clip-webvid")["model.safetensors"]).hexdigest()
    fetch_model("clip4clip-webvid", sha256=weights)
    assert load_model("clip4clip-webvid", device="cpu").config.activation == "gelu"


def test_a_hash_is_noted_by_the_next_run_where_the_last_sync_of_the_import_failed(mirror, tmp_path, monkeypatch):
    def fails_for_the_models(path):
        if path.name == "models":
            raise OSError(5, "Input/output error", str(path))
        flush(path)

    flush = replacing._flush
    mirror("clip4clip-didemo")
    with monkeypatch.context() as broken:
        broken.setattr(replacing, "_flush", fails_for_the_models)
        with pytest.raises(CheckpointError, match=r"cannot be written: .*Input/output error"):
            fetch_model("clip4clip-didemo")
    fetch_model("clip4clip-didemo")
    first = hashlib.sha256(files("clip4clip-didemo")["pytorch_model.bin.3"]).hexdigest()
    seen = tmp_path / "models" / "downloads" / "sha256.json"
    assert json.loads(seen.read_text()) == {PUBLISHED["clip4clip-didemo"].weights.url: first}
    assert downloads(tmp_path) == ["sha256.json"]


def test_a_wrong_file_is_not_remembered_and_not_kept(mirror, tmp_path):
    mirror("clip4clip-didemo", **{"pytorch_model.bin.3": b"no weights at all"})
    with pytest.raises(CheckpointError, match=r"pytorch_model.bin.3"):
        fetch_model("clip4clip-didemo")
    assert downloads(tmp_path) == []
    mirror("clip4clip-didemo")
    fetch_model("clip4clip-didemo")


def test_a_damaged_note_of_hashes_is_named(mirror, tmp_path):
    mirror("clip4clip-didemo")
    seen = tmp_path / "models" / "downloads" / "sha256.json"
    seen.parent.mkdir(parents=True)
    seen.write_text("{]")
    with pytest.raises(CheckpointError, match=r"sha256.json is damaged; delete it"):
        fetch_model("clip4clip-didemo")


def test_what_is_in_the_way_is_not_touched(mirror, server, tmp_path):
    mirror("clip4clip-didemo")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "clip4clip-didemo").write_text("mine")
    with pytest.raises(CheckpointError, match="clip4clip-didemo is in the way, and no checkpoint"):
        fetch_model("clip4clip-didemo")
    assert (tmp_path / "models" / "clip4clip-didemo").read_text() == "mine"
    assert server.asked == []


def test_two_processes_at_once_download_once(mirror, server, tmp_path):
    mirror("clip4clip-didemo")
    command = [*C2V, "models", "fetch", "clip4clip-didemo"]
    both = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=tmp_path) for _ in range(2)]
    said = [process.communicate(timeout=200)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert len(server.asked) == 1
    assert sum("is installed already" in text for text in said) == 1


def test_ctrl_c_leaves_what_the_same_command_goes_on_with(mirror, server, tmp_path):
    mirror("clip4clip-didemo")
    (page,) = server.pages.values()
    page.pause = 60
    command = [*C2V, "models", "fetch", "clip4clip-didemo"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    part = tmp_path / "models" / "downloads" / "clip4clip-didemo" / "pytorch_model.bin.3.part"
    for _ in range(600):
        if part.is_file() and part.stat().st_size > 1_000_000:
            break
        threading.Event().wait(0.1)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60)[1].endswith(
        "c2v: interrupted; what was done is kept, run the same command again to go on\n"
    )
    assert process.returncode == 130
    page.pause = 0
    fetch_model("clip4clip-didemo")
    assert server.ranges()[0] is None
    assert int(server.ranges()[1].removeprefix("bytes=").rstrip("-")) > 1_000_000


# Other addresses, other names


def test_a_url_is_that_of_the_file_or_of_the_folder_of_the_files(server):
    server.put("/x", files("clip4clip-didemo")["pytorch_model.bin.3"])
    fetch_model("clip4clip-didemo", url=f"{server.url}/x")
    for file, content in files("clip4clip-webvid").items():
        server.put(f"/folder/{file}", content)
    fetch_model("clip4clip-webvid", url=f"{server.url}/folder/")
    card = load_model("clip4clip-webvid", device="cpu").card
    assert card.source == f"{server.url}/folder/model.safetensors"
    assert card.trained_on == "WebVid-150k"


def test_a_model_for_paragraphs_takes_as_many_frames_and_words_as_it_was_trained_with(server):
    server.put("/x", files("clip4clip-didemo")["pytorch_model.bin.3"])
    fetch_model("clip4clip-didemo", url=f"{server.url}/x")
    config = load_model("clip4clip-didemo", device="cpu").config
    assert (config.max_frames, config.max_words) == (64, 64)


def test_a_url_of_the_weights_themselves_is_that_of_their_folder(server):
    for file, content in files("clip4clip-webvid").items():
        server.put(f"/folder/{file}", content)
    fetch_model("clip4clip-webvid", url=f"{server.url}/folder/model.safetensors")
    assert load_model("clip4clip-webvid", device="cpu").card.source == f"{server.url}/folder/model.safetensors"


def test_at_another_address_the_published_hash_counts_still(server):
    server.put("/x", files("clip-vit-b32")["ViT-B-32.pt"])
    with pytest.raises(CheckpointError, match=r"/x offers \d+ bytes, expected 353976522; nothing was kept"):
        fetch_model("clip-vit-b32", url=f"{server.url}/x")


def test_a_mirror_that_is_no_address_is_named(monkeypatch, server):
    monkeypatch.setenv("C2V_MIRROR", "mirror.example")
    with pytest.raises(CheckpointError, match=r"'mirror.example/www.robots.ox.ac.uk/.* is no address"):
        fetch_model("clip4clip-didemo")


def test_an_unknown_name_lists_those_there_are_and_the_near_ones_first(server):
    with pytest.raises(CheckpointError, match=r"no download 'clip-vit-b-16'; there is clip-vit-b16, .*siglip2-b16-256"):
        fetch_model("clip-vit-b-16")
    with pytest.raises(CheckpointError, match="there is clip-vit-b32, clip-vit-b16"):
        fetch("?")


def test_a_hash_has_64_digits(server, c2v_here):
    code, _, said = c2v_here("models", "fetch", "clip-vit-b32", "--sha256", "abc")
    assert (code, said) == (1, b"c2v: sha256 is 'abc'; it has 64 hexadecimal digits\n")


# The download alone


def test_the_published_address_and_hash_are_openais():
    known = DOWNLOADS["clip-vit-b32"]
    assert known.sha256 == "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af"
    assert known.url.startswith("https://openaipublic.azureedge.net/clip/models/")
    assert known.sha256 in known.url


def test_a_file_is_downloaded_once(url, server, tmp_path):
    seen = []
    path = fetch("clip-vit-b32", url=url, sha256=SHA, progress=lambda done, total: seen.append((done, total)))
    assert path == tmp_path / "models" / "downloads" / "ViT-B-32.pt"
    assert path.read_bytes() == BODY
    assert seen[-1] == (len(BODY), len(BODY))
    assert fetch("clip-vit-b32", url=url, sha256=SHA.upper()) == path
    assert len(server.asked) == 1


def test_several_files_are_downloaded_to_a_folder(mirror, tmp_path):
    seen = []
    mirror("clip4clip-webvid")
    path = fetch("clip4clip-webvid", progress=lambda done, total: seen.append((done, total)))
    assert path == tmp_path / "models" / "downloads" / "clip4clip-webvid"
    assert {name: (path / name).read_bytes() for name in files("clip4clip-webvid")} == files("clip4clip-webvid")
    whole = sum(map(len, files("clip4clip-webvid").values()))
    assert seen[-1] == (whole, whole)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_two_at_once_download_one_file(url, server):
    server.pages["/ViT-B-32.pt"].pause = 0.5
    with ThreadPoolExecutor(2) as pool:
        paths = list(pool.map(lambda _: fetch("clip-vit-b32", url=url, sha256=SHA), range(2)))
    assert paths[0] == paths[1]
    assert paths[0].read_bytes() == BODY
    assert server.ranges() == [None]


def test_an_interrupted_download_goes_on(url, server):
    server.pages["/ViT-B-32.pt"].cuts = [1_500_000]
    with pytest.raises(CheckpointError, match="again to resume"):
        fetch("clip-vit-b32", url=url, sha256=SHA)
    assert fetch("clip-vit-b32", url=url, sha256=SHA).read_bytes() == BODY
    assert server.ranges() == [None, "bytes=1500000-"]


def test_a_server_without_ranges_starts_over(url, server):
    server.pages["/ViT-B-32.pt"].cuts = [1_500_000]
    with pytest.raises(CheckpointError):
        fetch("clip-vit-b32", url=url, sha256=SHA)
    server.pages["/ViT-B-32.pt"].ranges = False
    assert fetch("clip-vit-b32", url=url, sha256=SHA).read_bytes() == BODY


def test_another_file_is_refused_and_deleted(url, tmp_path):
    with pytest.raises(CheckpointError, match=f"SHA-256 {SHA}, expected {'0' * 64}; it was deleted"):
        fetch("clip-vit-b32", url=url, sha256="0" * 64)
    assert downloads(tmp_path) == []


def test_a_whole_part_is_only_checked(url, tmp_path):
    part = tmp_path / "models" / "downloads" / "ViT-B-32.pt.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(BODY)
    assert fetch("clip-vit-b32", url=url, sha256=SHA).read_bytes() == BODY
    assert downloads(tmp_path) == ["ViT-B-32.pt", "sha256.json"]


def test_no_server_is_one_line(server):
    with pytest.raises(CheckpointError, match="cannot be downloaded"):
        fetch("clip-vit-b32", url="http://127.0.0.1:9/x", sha256=SHA)


def test_a_folder_that_cannot_be_made_is_one_line(server, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("C2V_MODELS", str(tmp_path / "file" / "models"))
    with pytest.raises(CheckpointError, match=r"file/models/downloads.* cannot be written: .*Not a directory"):
        fetch_model("clip4clip-didemo")
