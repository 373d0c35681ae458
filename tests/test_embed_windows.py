"""Windows of videos: from one pass, complete or not there, resumed in the middle of a video."""

import itertools
import os
import re
import shutil
import signal
import subprocess
import time

import lancedb
import numpy as np
import pytest

from benchmarks.stories import Story, set_c
from clip2video_plugin import embed_videos, open_index, read_frames, search
from clip2video_plugin.errors import Clip2VideoError
from clip2video_plugin.index import VideoIndex
from clip2video_plugin.provenance import provenance
from clip2video_plugin.rows import video_id
from clip2video_plugin.video.windows import WindowPlan, parse_windows, window_spans

from .conftest import C2V

SIZES = "5/2.5,10/5"


def joined(stories):
    return Story(tuple(s for story in stories for s in story.scenes), tuple(s for t in stories for s in t.seconds))


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """Two videos of about 20 seconds, one of a minute and more, one of three seconds; and the story of the longest."""
    folder = tmp_path_factory.mktemp("films")
    for n, story in enumerate(set_c(2, seed=1)):
        story.write(folder / f"{n}.mp4", 64)
    long = joined(set_c(4, seed=2))
    long.write(folder / "long.mp4", 64)
    Story(long.scenes[:1], (3.0,)).write(folder / "short.mp4", 64)
    return folder, long


@pytest.fixture(scope="module")
def indexed(films, model, tmp_path_factory):
    uri = tmp_path_factory.mktemp("windows") / "index"
    report = embed_videos(films[0], index=uri, model=model, windows=SIZES)
    assert (report.embedded, report.windowed, report.failed, report.windows) == (4, 4, [], SIZES)
    return uri


@pytest.fixture
def index(indexed, tmp_path):
    shutil.copytree(indexed, tmp_path / "index")
    return tmp_path / "index"


def windows_of(uri, path):
    """Spans [n, 2] and vectors [n, D] of a file, straight from the table, no span twice."""
    table = lancedb.connect(uri).open_table("windows").search().where(f"video = '{video_id(path)}'")
    rows = sorted(table.limit(None).to_list(), key=lambda row: (row["start"], row["end"]))
    assert len({row["id"] for row in rows}) == len(rows)
    return [(row["start"], row["end"]) for row in rows], np.array([row["vector"] for row in rows])


def test_every_window_of_every_video_is_there(indexed, films):
    index = open_index(indexed)
    for path in films[0].glob("*.mp4"):
        row = index.rows([video_id(path)])[video_id(path)]
        spans, vectors = windows_of(indexed, path)
        assert spans == sorted(window_spans(row["duration"], parse_windows(SIZES)))
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert index.check() == []
    assert index.windows().check() == []


def test_the_whole_video_has_the_vector_it_has_without_windows(indexed, films, model, tmp_path):
    embed_videos(films[0], index=tmp_path / "plain", model=model)
    plain, index = open_index(tmp_path / "plain"), open_index(indexed)
    ids = list(plain.ids())
    for i, row in plain.rows(ids).items():
        other = index.rows([i])[i]
        np.testing.assert_allclose(other.pop("vector"), row.pop("vector"), atol=1e-5)
        assert {**other, "added": None} == {**row, "added": None}
    assert plain.windows() is None


def test_a_window_is_embedded_of_the_frames_in_it(indexed, films, model):
    path = films[0] / "long.mp4"
    spans, vectors = windows_of(indexed, path)
    every = read_frames(path, policy="fps", fps=model.config.max_frames / 5, size=model.config.image_size)
    for (start, end), vector in itertools.islice(zip(spans, vectors, strict=True), 0, None, 7):
        inside = (every.timestamps >= start - 0.2) & (every.timestamps < end - 0.05)  # on show at a time of the grid
        frames = every.pixels[inside]
        picked = frames[(2 * np.arange(12) + 1) * len(frames) // 24] if len(frames) > 12 else frames
        assert model.encode_frames([picked]).vector[0].numpy() @ vector > 0.99


def test_a_short_video_is_its_window(indexed, films):
    path = films[0] / "short.mp4"
    spans, vectors = windows_of(indexed, path)
    np.testing.assert_allclose(spans, [(0, 3)])
    np.testing.assert_allclose(vectors[0], open_index(indexed).vectors([video_id(path)])[video_id(path)], atol=1e-6)


def test_a_hit_says_from_when_to_when(indexed, films, model):
    long = films[1]
    right = 0
    for span, caption in zip(long.spans, long.captions, strict=True):
        hit = search(caption, index=indexed, model=model, k=4)[0]
        right += hit.path.endswith("long.mp4") and hit.start < span[1] and span[0] < hit.end
    assert right >= 0.5 * len(long.spans)  # of windows twice as long as many events


def test_progress_goes_on_within_a_video(films, model, tmp_path):
    seen = []
    embed_videos(
        films[0] / "long.mp4",
        index=tmp_path,
        model=model,
        windows=SIZES,
        progress=lambda report: seen.append((report.done, report.within, report.current)),
    )
    parts = [within for done, within, name in seen if name == "long.mp4" and not done]
    assert parts == sorted(parts)
    assert len({part for part in parts if 0 < part < 1}) >= 2
    assert seen[-1] == (1, 0.0, "")


def test_embedding_again_skips_what_is_there(index, films, model):
    before = lancedb.connect(index).open_table("windows").version
    for windows in (SIZES, None, "none", " 5/2.5 , 10/5"):
        report = embed_videos(films[0], index=index, model=model, windows=windows)
        assert (report.embedded, report.skipped, report.windowed) == (0, 4, 0)
    assert lancedb.connect(index).open_table("windows").version == before


def test_other_windows_replace_those_that_a_video_has(index, films, model):
    path = films[0] / "0.mp4"
    report = embed_videos(path, index=index, model=model, windows="4/2")
    assert (report.embedded, report.skipped, report.windowed, report.others) == (1, 0, 1, 1)
    assert {round(end - start, 6) for start, end in windows_of(index, path)[0]} == {4.0}
    assert len(windows_of(index, films[0] / "1.mp4")[0]) > 4
    assert embed_videos(path, index=index, model=model).skipped == 1  # the last ones asked for


def test_a_video_that_was_indexed_without_windows_gets_them(films, model, tmp_path):
    uri, path = tmp_path / "index", films[0] / "0.mp4"
    embed_videos(path, index=uri, model=model)
    row = open_index(uri).rows([video_id(path)])
    report = embed_videos(path, index=uri, model=model, windows=SIZES)
    assert (report.embedded, report.skipped, report.windowed, report.others) == (1, 0, 1, 0)
    np.testing.assert_array_equal(
        open_index(uri).rows([video_id(path)])[video_id(path)]["vector"], row[video_id(path)]["vector"]
    )
    assert windows_of(uri, path)[0]


def test_a_changed_video_has_the_windows_of_what_it_is_now(index, films, model, tmp_path):
    path = tmp_path / "a.mp4"
    shutil.copy(films[0] / "long.mp4", path)
    embed_videos(path, index=index, model=model, windows=SIZES)
    assert len(windows_of(index, path)[0]) > 20
    shutil.copy(films[0] / "short.mp4", path)
    embed_videos(path, index=index, model=model, windows="none")  # those of a file that is gone go
    assert windows_of(index, path)[0] == []
    shutil.copy(films[0] / "0.mp4", path)
    embed_videos(path, index=index, model=model, windows=SIZES)
    assert windows_of(index, path)[0] == windows_of(index, films[0] / "0.mp4")[0]


def test_windows_go_along_with_a_moved_video(index, films, model, tmp_path):
    first, then = tmp_path / "first.mp4", tmp_path / "then.mp4"
    shutil.copy(films[0] / "0.mp4", first)
    embed_videos(first, index=index, model=model)
    spans, vectors = windows_of(index, first)
    first.rename(then)
    report = embed_videos(then, index=index, model=model, windows=SIZES)
    assert (report.embedded, report.moved, report.windowed) == (0, 1, 0)
    assert windows_of(index, first)[0] == []
    assert windows_of(index, then)[0] == spans
    np.testing.assert_array_equal(windows_of(index, then)[1], vectors)
    assert {hit.path for hit in search("a circle", index=index, model=model, k=50)} >= {str(then)}


def test_windows_go_when_their_video_goes(index, films):
    found = open_index(index)
    found.remove(films[0] / "0.mp4")
    assert windows_of(index, films[0] / "0.mp4")[0] == []
    assert windows_of(index, films[0] / "long.mp4")[0]
    found.drop()
    assert lancedb.connect(index).list_tables().tables == []


def killed(folder, uri, enough, how=signal.SIGKILL):
    """Starts ``c2v embed --windows`` and ends it when a file of unfinished windows is so large; what it wrote."""
    process = subprocess.Popen(
        [*C2V, "embed", str(folder), "--index", str(uri), "--device", "cpu", "--windows", SIZES],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        kept = [file for file in uri.glob(".c2v.unfinished/windows/*") if file.suffix != ".lock"]
        if kept and kept[0].stat().st_size > enough:
            break
        time.sleep(0.005)
    os.kill(process.pid, how)
    return kept[0], process.communicate(timeout=60)[1]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_ends_in_the_middle_of_a_video_goes_on_there(how, indexed, films, model, tmp_path):
    folder, uri = tmp_path / "films", tmp_path / "index"
    folder.mkdir()
    path = folder / "long.mp4"
    shutil.copy(films[0] / "long.mp4", path)
    kept, err = killed(folder, uri, 8_000, how)
    assert "Traceback" not in err
    assert how == signal.SIGKILL or "interrupted" in err
    assert lancedb.connect(uri).open_table("windows").count_rows() == 0  # no half video
    mark = np.eye(model.config.vector_dim, dtype=np.float32)[0]  # in place of the first window that is kept
    content = bytearray(kept.read_bytes())
    at = content.index(b"\n") + 1
    content[at : at + mark.nbytes] = mark.tobytes()
    kept.write_bytes(content + b"torn")
    report = embed_videos(folder, index=uri, model=model, windows=SIZES)
    assert (report.embedded, report.windowed) == (1, 1)
    spans, vectors = windows_of(uri, path)
    same, against = windows_of(indexed, films[0] / "long.mp4")
    assert spans == same
    np.testing.assert_array_equal(vectors[0], mark)  # was not embedded again
    np.testing.assert_allclose(vectors[1:], against[1:], atol=1e-4)
    row = open_index(uri).vectors([video_id(path)])[video_id(path)]
    whole = open_index(indexed).vectors([video_id(films[0] / "long.mp4")])[video_id(films[0] / "long.mp4")]
    np.testing.assert_allclose(row, whole, atol=1e-5)
    assert not kept.exists()


def test_what_is_kept_of_a_file_that_changed_is_not_used(model, tmp_path):
    index = VideoIndex.create(tmp_path / "index", model.config.vector_dim, provenance(model))
    vectors = np.eye(model.config.vector_dim, dtype=np.float32)[:3]
    kept = index.create_windows().unfinished("v", {"mtime": 1.0})
    assert len(kept.begin()) == 0
    kept.add(vectors)
    assert len(index.create_windows().unfinished("v", {"mtime": 1.0}).begin()) == 0  # another process has it
    kept.close()
    again = index.create_windows().unfinished("v", {"mtime": 1.0})
    np.testing.assert_array_equal(again.begin(), vectors)
    again.close()
    assert len(index.create_windows().unfinished("v", {"mtime": 2.0}).begin()) == 0


@pytest.mark.parametrize("windows", ["5", "5/6", "0.2/0.1", "5/0.01", "5/2.5,", "nan/1", "-5/1", "five"])
def test_what_are_no_windows_is_refused_before_anything_is_made(windows, films, model, tmp_path):
    with pytest.raises(Clip2VideoError, match=re.escape(repr(windows))):
        embed_videos(films[0], index=tmp_path / "index", model=model, windows=windows)
    assert not (tmp_path / "index").exists()


def test_auto_takes_fewer_windows_a_minute_of_longer_videos():
    plan = WindowPlan.of("auto")
    per_minute = [60 * len(plan.spans(seconds)) / seconds for seconds in (30, 300, 7200)]
    assert per_minute == sorted(per_minute, reverse=True)
    assert plan.sizes(7200) == parse_windows("5/2.5,10/2.5,15/5")
    assert WindowPlan.of("None") is WindowPlan.of(None) is None
    assert WindowPlan.of(parse_windows("10/5")).text == "10/5"


def test_a_disk_that_is_full_is_told_in_a_line(films, model, tmp_path, c2v):
    """As far as files may grow, so do those that keep unfinished windows: the limit of a process stands for a disk."""
    result = subprocess.run(
        ["bash", "-c", 'ulimit -f 40; trap "" XFSZ; exec "$@"', "-", *C2V, "embed", str(films[0] / "long.mp4"),
         "--index", str(tmp_path / "index"), "--device", "cpu", "--windows", SIZES],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert re.search(r"File too large|os error 27", result.stderr)


def test_windows_of_what_is_not_in_the_index_are_told(index, films):
    assert open_index(index).info().windows == open_index(index).windows().count() > 40
    lancedb.connect(index).open_table("videos").delete(f"id = '{video_id(films[0] / '0.mp4')}'")
    (problem,) = open_index(index).check()
    assert "1 videos have windows of a file that is not in the index" in problem
    assert str(films[0] / "0.mp4") in problem
