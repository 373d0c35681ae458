"""Decoding in processes apart: the rows of a plain run, whatever a video does to its decoder."""

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path

import lancedb
import numpy as np
import psutil
import pytest
from PIL import Image

from clip2video_plugin import embed_videos, open_index
from clip2video_plugin.errors import Clip2VideoError, VideoReadError, WorkerError
from clip2video_plugin.isolated import Isolation, Workers, time_for
from clip2video_plugin.pixels import Preprocessing
from clip2video_plugin.places import place_of, video_id
from clip2video_plugin.video.grid import Grid, Untrue, Wanted

from .conftest import C2V
from .test_embed import rows
from .video import clips

# Runs in the processes that decode: files by whose names decoders crash, never end or take all memory, as no file does
# with every build of FFmpeg. A number before the name is how often it is opened before that.
TRICKS = """
import ctypes, os, pathlib, signal, time
import av

notes = pathlib.Path(os.environ["C2V_TEST_NOTES"])

def opening(source, *args, _open=av.open, **kwargs):
    name = os.path.basename(str(source))
    opened = len(list(notes.glob(f"{name}-*")))
    (notes / f"{name}-{opened}").write_text(" ".join(path.name for path in notes.glob("now-*")))
    first, _, trick = name.partition("-")
    trick, due = (trick, int(first)) if first.isdecimal() else (name, 0)
    if "once" in trick and opened != due or opened < due:
        pass
    elif trick.startswith("crashes"):
        ctypes.string_at(8)
    elif trick.startswith("aborts"):
        os.abort()
    elif trick.startswith("killed"):
        os.kill(os.getpid(), signal.SIGKILL)
    elif trick.startswith("exits"):
        os._exit(3)
    elif trick.startswith("hangs"):
        (notes / "hanging").touch()
        ctypes.PyDLL(None).sleep(1000)  # and holds the interpreter
    elif trick.startswith("swells"):
        grown = [bytearray(b"x") * 20_000_000 for _ in range(400)]
    elif trick.startswith("busy"):
        time.sleep(0.3)
    elif trick.startswith("beside"):
        (notes / f"now-{os.getpid()}").touch()
        first, again = notes / "killed-once.mp4-0", notes / "killed-once.mp4-1"
        for _ in range(600):
            first.exists() or time.sleep(0.1)
        for _ in range(20):
            again.exists() or time.sleep(0.1)
        (notes / f"now-{os.getpid()}").unlink()
    return _open(source, *args, **kwargs)

av.open = opening
"""
SIDE = 32
WANTED = Wanted(partial(max, 10.0), ("uniform", None), 12, Preprocessing(SIDE))


@pytest.fixture
def poison(tmp_path_factory, monkeypatch):
    """Files whose names say what they do to the process that decodes them, which is none of these tests."""
    tricks = tmp_path_factory.mktemp("tricks")
    (tricks / "sitecustomize.py").write_text(TRICKS)
    (tricks / "notes").mkdir()
    monkeypatch.setenv("PYTHONPATH", str(tricks), prepend=os.pathsep)
    monkeypatch.setenv("C2V_TEST_NOTES", str(tricks / "notes"))
    return tricks / "notes"


@pytest.fixture(scope="module")
def workers():
    with Workers(Isolation()) as started:
        yield started


def small_videos(folder, count, name="{:03d}.mp4", frames=3):
    folder.mkdir(exist_ok=True)
    return [clips.write(folder / name.format(n), frames + n % 5, size=(64 + n % 3 * 16, 48)) for n in range(count)]


def workers_of(process):
    """The processes of it that decode; those of a fixture of this file, too."""
    found = []
    for child in process.children(recursive=True):
        with suppress(psutil.Error):
            found += [child] * ("clip2video_plugin.video.worker" in " ".join(child.cmdline()))
    return found


def assert_same_rows(uri, plain):
    found, wanted = rows(uri), rows(plain)
    assert found.keys() == wanted.keys()
    for path, row in found.items():
        assert np.array_equal(row.pop("vector"), wanted[path].pop("vector"))
        assert {k: v for k, v in row.items() if k != "added"} == {k: v for k, v in wanted[path].items() if k != "added"}


def assert_same_windows(uri, plain):
    one, other = (
        lancedb.connect(name)
        .open_table("windows")
        .to_arrow()
        .sort_by([("path", "ascending"), ("start", "ascending"), ("end", "ascending")])
        for name in (uri, plain)
    )
    assert len(one) == len(other) > 20
    columns = [name for name in one.column_names if name != "added"]
    assert one.select(columns) == other.select(columns)


def failures(report):
    return {Path(failure.path).name: failure.reason for failure in report.failed}


def test_rows_are_those_of_a_plain_run(model, tmp_path):
    videos = small_videos(tmp_path / "videos", 12)
    videos[7].write_text("no video")
    videos[8].write_bytes(videos[8].read_bytes()[:-40])
    os.mkfifo(tmp_path / "videos" / "never-ends.mp4")
    before = workers_of(psutil.Process())
    plain = embed_videos([tmp_path / "videos"], index=tmp_path / "plain", model=model)
    report = embed_videos([tmp_path / "videos"], index=tmp_path / "index", model=model, isolate=True)
    assert (report.embedded, len(report.failed)) == (11, 2)
    assert (report.failed, report.damaged) == (plain.failed, plain.damaged)
    assert_same_rows(tmp_path / "index", tmp_path / "plain")
    assert workers_of(psutil.Process()) == before


def read(grid):
    """All its parts, by two threads."""
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(grid.read, grid.parts()))


def grids(workers, place, size=0):
    """That of this process and that of others."""
    return Grid.open(place, WANTED), workers.grid(place, size, WANTED)


def assert_same_grids(here, apart):
    try:
        for one, other in zip(read(here), read(apart), strict=True):
            np.testing.assert_array_equal(one, other)
        for name in ("picks", "on_grid", "due", "whole"):
            np.testing.assert_array_equal(getattr(here.layout, name), getattr(apart.layout, name))
        assert (here.duration, here.warning, here.apart) == (apart.duration, apart.warning, apart.apart)
    finally:
        here.close()
        apart.close()


@pytest.mark.parametrize("gop", ["20", "1000"])
def test_parts_of_a_long_video_are_those_of_one_process(gop, workers, tmp_path):
    options = {"g": gop, "x264-params": "scenecut=0"}
    here, apart = grids(workers, clips.write(tmp_path / "a.mp4", count=300, options=options))
    assert (here._cuts is None) == (gop == "1000")
    assert_same_grids(here, apart)


def test_images_are_those_of_one_process(workers, tmp_path):
    for i in range(120):
        Image.fromarray(clips.picture(i)).save(tmp_path / f"{i:04d}.png")
    assert_same_grids(*grids(workers, tmp_path))
    (tmp_path / "0075.png").write_bytes(b"no image")
    here, apart = grids(workers, tmp_path)
    for grid in (here, apart):
        with pytest.raises(Untrue):
            read(grid)
        grid.close()
    here, apart = Grid.anew(tmp_path, WANTED), workers.grid(tmp_path, 0, WANTED, anew=True)
    assert "0075.png" in apart.warning
    assert_same_grids(here, apart)


def test_a_video_whose_packets_lie_is_read_anew_apart(workers, tmp_path):
    codec, pix_fmt, options = clips.KINDS["vp9.webm"]
    path = clips.write(tmp_path / "torn.webm", count=200, codec=codec, pix_fmt=pix_fmt, options=options)
    content = bytearray(path.read_bytes())
    half = len(content) // 2
    content[half : half + 3000] = np.random.default_rng(0).bytes(3000)
    path.write_bytes(content)
    here, apart = grids(workers, path)
    for grid in (here, apart):
        with pytest.raises(Untrue):
            read(grid)
        grid.close()
    assert_same_grids(Grid.anew(path, WANTED), workers.grid(path, 0, WANTED, anew=True))


def test_a_video_of_a_store_is_read_by_one_worker(s3, tmp_path):
    path = clips.write(tmp_path / "a.mkv", count=300, options={"g": "20", "x264-params": "scenecut=0"})
    s3.put("a.mkv", path)
    place = place_of(s3.uri("a.mkv"))
    with Workers(Isolation()) as workers:
        here, apart = Grid.open(path, WANTED), workers.grid(place, path.stat().st_size, WANTED)
        assert len(here.parts()) > 2
        assert_same_grids(here, apart)
        assert len(workers._all) == len(workers._idle) == 1


def test_what_a_video_does_to_its_decoder_is_its_own_failure(poison, model, tmp_path):
    videos, before = small_videos(tmp_path / "videos", 12), workers_of(psutil.Process())
    bad = ("crashes", "aborts", "exits", "killed", "hangs", "swells", "crashes-once", "killed-once")
    for name in bad:
        clips.write(tmp_path / "videos" / f"{name}.mp4", 4)
    how = {"index": tmp_path / "index", "model": model, "isolate": True, "video_seconds": 8, "video_memory": 0.5}
    report = embed_videos([tmp_path / "videos"], **how)
    wanted = {
        "crashes.mp4": "its decoder crashed (SIGSEGV)",
        "aborts.mp4": "its decoder crashed (SIGABRT)",
        "exits.mp4": "its decoder crashed (it ended with 3)",
        "killed.mp4": "its decoder was killed, as the system does where memory runs out",
        "hangs.mp4": "it took more than 8 s to decode",
        "swells.mp4": "it took more than 0.5 GB of memory to decode",
    }
    assert failures(report) == wanted
    assert report.embedded == 14
    noted = open_index(tmp_path / "index").failures()
    assert {Path(row["path"]).name: row["reason"] for row in noted} == wanted
    names = {Path(path).name for path in rows(tmp_path / "index")}
    assert names == {video.name for video in videos} | {"crashes-once.mp4", "killed-once.mp4"}
    assert workers_of(psutil.Process()) == before
    for name in ("hangs", "swells", "killed", "exits", "aborts"):
        (tmp_path / "videos" / f"{name}.mp4").unlink()
    report = embed_videos([tmp_path / "videos"], **how)
    assert (report.embedded, report.skipped, failures(report)) == (0, 14, {"crashes.mp4": wanted["crashes.mp4"]})
    (tmp_path / "videos" / "crashes.mp4").rename(tmp_path / "videos" / "mended.mp4")
    report = embed_videos([tmp_path / "videos"], **how)
    assert (report.embedded, report.skipped, report.failed) == (1, 14, [])


def test_windows_survive_what_happens_between_the_parts_of_a_video(poison, model, tmp_path):
    options = {"g": "20", "x264-params": "scenecut=0"}
    for name in ("1-crashes", "2-crashes-once", "2-killed-once"):
        clips.write(tmp_path / f"{name}.mp4", 200, options=options)
    clips.write(tmp_path / "1-killed-once-in-turn.mp4", 200, options=options | {"g": "1000"})
    how = {"model": model, "windows": "4/2"}
    embed_videos([tmp_path], index=tmp_path / "plain", **how)
    report = embed_videos([tmp_path], index=tmp_path / "index", isolate=True, **how)
    assert failures(report) == {"1-crashes.mp4": "its decoder crashed (SIGSEGV)"}
    assert (report.embedded, report.windowed) == (3, 3)
    for name in ("2-crashes-once", "2-killed-once", "1-killed-once-in-turn"):
        assert (poison / f"{name}.mp4-{int(name[0]) + 1}").exists()  # it happened, and it was opened again
    open_index(tmp_path / "plain").delete([video_id(tmp_path / "1-crashes.mp4")])
    assert_same_rows(tmp_path / "index", tmp_path / "plain")
    assert_same_windows(tmp_path / "index", tmp_path / "plain")


def test_workers_that_are_killed_are_no_videos_fault(poison, model, tmp_path):
    for n in range(8):
        clips.write(tmp_path / f"busy-{n}.mp4", 4)
    killed = set()

    def kill(_):
        for worker in set(workers_of(psutil.Process())) - before:
            if not killed:
                worker.kill()
                killed.add(worker)

    before = set(workers_of(psutil.Process()))
    report = embed_videos(
        [tmp_path], index=tmp_path / "index", model=model, isolate=True, batch_size=1, workers=1, progress=kill
    )
    assert killed
    assert (report.embedded, report.failed) == (8, [])


def test_who_was_killed_is_tried_again_while_nobody_else_decodes(poison, tmp_path):
    videos = [clips.write(tmp_path / f"beside-{n}.mp4", 4) for n in range(5)]
    videos.insert(2, clips.write(tmp_path / "killed-once.mp4", 4))
    how = {"policy": "uniform", "count": 4, "size": SIDE}
    with Workers(Isolation()) as workers, ThreadPoolExecutor(3) as pool:
        done = list(pool.map(lambda video: workers.frames(video, 0, **how), videos))
    assert [len(frames) for frames, _ in done] == [4] * 6
    assert (poison / "killed-once.mp4-1").read_text() == ""  # of those who decoded then


def test_a_worker_that_took_too_much_does_not_take_much_more(poison, tmp_path):
    video, most, over = clips.write(tmp_path / "swells.mp4", 4), [], threading.Event()

    def look(worker):
        with suppress(psutil.Error):
            while not over.wait(0.01):
                most.append(worker.memory_info().rss)

    with Workers(Isolation(memory=0.5)) as workers, ThreadPoolExecutor(1) as pool:
        workers.frames(clips.write(tmp_path / "good.mp4", 4), 0, policy="uniform", count=4, size=SIDE)
        (used,) = workers._all
        pool.submit(look, psutil.Process(used.process.pid))
        with pytest.raises(VideoReadError, match=r"it took more than 0.5 GB of memory to decode"):
            workers.frames(video, 0, policy="uniform", count=4, size=SIDE)
        over.set()
    assert len(list(poison.glob("swells*"))) == 2  # what one had that decoded others is not counted against it
    assert 0.4e9 < max(most) < 2e9


def test_a_picture_that_fills_the_memory_is_a_failure(workers, tmp_path):
    Image.new("1", (13_000, 13_000)).save(tmp_path / "0001.png")  # kilobytes, which no library refuses
    how = {"policy": "uniform", "count": 4, "size": SIDE}
    too_much = pytest.raises(VideoReadError, match=r"it took more than 0.5 GB of memory to decode")
    with Workers(Isolation(memory=0.5)) as few, too_much:
        few.frames(tmp_path, 0, **how)
    assert len(workers.frames(tmp_path, 0, **how)[0]) == 1


READS = """
import sys
from pathlib import Path
from clip2video_plugin.isolated import Isolation, Workers
with Workers(Isolation()) as workers:
    workers.frames(Path(sys.argv[1]), 0, policy="uniform", count=4, size=32)
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_however_a_run_ends_no_process_stays(how, poison, tmp_path):
    video = clips.write(tmp_path / "hangs.mp4", 4)
    embed = [*C2V, "embed", str(tmp_path), "-i", str(tmp_path / "index"), "--isolate"]
    run = subprocess.Popen(
        embed if how == signal.SIGINT else [sys.executable, "-c", READS, str(video)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline and run.poll() is None and not (poison / "hanging").exists():
        time.sleep(0.1)
    started = workers_of(psutil.Process(run.pid))
    assert started
    os.killpg(run.pid, how)  # as a terminal does
    out, err = run.communicate(timeout=100)
    assert run.returncode == (130 if how == signal.SIGINT else -how), (out, err)
    assert not psutil.wait_procs(started, timeout=20)[1]


IMPORTED = """
import sys
import clip2video_plugin.video.worker
print([name for name in ("torch", "lancedb", "pyarrow", "fiftyone", "decord", "boto3") if name in sys.modules])
"""


def test_a_worker_loads_what_decodes_and_nothing_else():
    done = subprocess.run([sys.executable, "-c", IMPORTED], capture_output=True, text=True, timeout=200)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


def test_where_no_worker_starts_the_run_ends_and_blames_no_video(model, tmp_path, monkeypatch):
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['av'] = None\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    videos = small_videos(tmp_path / "videos", 2)
    with pytest.raises(
        WorkerError, match=r"^processes that decode cannot start: ModuleNotFoundError: No module named .av"
    ):
        embed_videos(videos, index=tmp_path / "index", model=model, isolate=True)
    assert open_index(tmp_path / "index").failures() == []


def test_what_cannot_be_is_said_in_one_line(model, tmp_path):
    videos, how = small_videos(tmp_path / "videos", 1), {"index": tmp_path / "index", "model": model}

    def said(**more):
        with pytest.raises(Clip2VideoError) as error:
            embed_videos(videos, **{**how, "isolate": True, **more})
        return str(error.value)

    assert said(isolate=False, video_seconds=5) == (
        "video_seconds is 5, and videos are not isolated; add isolate (--isolate)"
    )
    assert said(isolate=False, video_memory=1.5) == (
        "video_memory is 1.5, and videos are not isolated; add isolate (--isolate)"
    )
    assert said(video_seconds=0) == "video_seconds is 0; it must be at least 0.1, in seconds"
    assert said(video_seconds=float("nan")) == "video_seconds is nan; it must be at least 0.1, in seconds"
    assert said(video_memory=True) == "video_memory is True; it must be at least 0.25, in gigabytes"
    assert said(engine="ray") == ("engine ray decodes in processes of its own already; leave out isolate (--isolate)")
    assert not (tmp_path / "index").exists()


def test_a_large_file_has_more_time():
    assert [time_for(60, size) for size in (0, 100_000_000, 1_000_000_000)] == [60, 120, 660]
