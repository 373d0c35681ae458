"""What counts as a video below the paths that a user names."""

import json
import os
from collections import Counter

import pytest

from clip2video_plugin import read_frames
from clip2video_plugin.errors import VideoReadError
from clip2video_plugin.video.files import file_stamp, find_videos, passed_over_line

from . import clips


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")


def found(root, *paths):
    return [str(path.relative_to(root)) for path in find_videos(paths or [root])]


def test_videos_by_their_ending_in_any_case_at_any_depth(tmp_path):
    endings = ["mp4", "m4v", "mov", "mkv", "webm", "avi", "ts", "mpg", "mpeg", "wmv", "flv", "gif", "3gp"]
    touch(tmp_path, *(f"a/{e}.{e}" for e in endings), "b/UPPER.MP4", "b/notes.txt", "b/picture.jpg", "b/.hidden.mp4")
    assert sorted(found(tmp_path)) == sorted([*(f"a/{e}.{e}" for e in endings), "b/UPPER.MP4"])


def test_a_named_file_is_taken_whatever_its_ending(tmp_path):
    touch(tmp_path, "clip.bin")
    assert found(tmp_path, tmp_path / "clip.bin") == ["clip.bin"]
    assert found(tmp_path) == []


def test_each_video_is_given_once_as_an_absolute_path(tmp_path, monkeypatch):
    touch(tmp_path, "a.mp4", "b.mp4")
    monkeypatch.chdir(tmp_path)
    assert list(find_videos(["a.mp4", ".", tmp_path / "b.mp4"])) == [tmp_path / "a.mp4", tmp_path / "b.mp4"]
    assert list(find_videos("a.mp4")) == [tmp_path / "a.mp4"]


def test_folders_of_numbered_images_are_videos_and_photo_folders_are_not(tmp_path):
    touch(
        tmp_path, "frames/00000001.jpg", "frames/00000002.jpg", "photos/beach.jpg", "noted/x.png", "noted/frames.json"
    )
    touch(tmp_path, "mixed/1.jpg", "mixed/a.mp4")
    assert found(tmp_path) == ["frames", "mixed/a.mp4", "noted"]
    assert found(tmp_path, tmp_path / "photos") == ["photos"]


def test_links_to_folders_are_not_followed_and_broken_links_are_given(tmp_path):
    touch(tmp_path, "real/a.mp4")
    os.symlink(tmp_path, tmp_path / "real" / "loop")
    os.symlink(tmp_path / "gone.mp4", tmp_path / "real" / "link.mp4")
    assert found(tmp_path) == ["real/a.mp4", "real/link.mp4"]


def test_a_path_that_does_not_exist_is_an_error(tmp_path):
    with pytest.raises(VideoReadError, match="no such file or folder"):
        list(find_videos([tmp_path / "nowhere"]))


def test_the_stamp_changes_with_the_file(tmp_path):
    touch(tmp_path, "a.mp4", "f/1.jpg")
    before = file_stamp(tmp_path / "a.mp4"), file_stamp(tmp_path / "f")
    (tmp_path / "a.mp4").write_bytes(b"xy")
    touch(tmp_path, "f/2.jpg")
    assert file_stamp(tmp_path / "a.mp4") != before[0]
    assert file_stamp(tmp_path / "f") != before[1]
    assert file_stamp(tmp_path / "nowhere") == (0, 0.0)


ENDINGS = {  # of files that the reader accepts, and how ffmpeg writes one
    "MTS": ("mpegts", "libx264"), "m2ts": ("mpegts", "libx264"), "m2t": ("mpegts", "mpeg2video"),
    "vob": ("vob", "mpeg2video"), "mpe": ("mpeg", "mpeg1video"), "m2v": ("mpeg2video", "mpeg2video"),
    "m1v": ("mpeg1video", "mpeg1video"), "ogv": ("ogg", "libtheora"), "ogm": ("ogg", "libtheora"),
    "3g2": ("3g2", "mpeg4"), "f4v": ("f4v", "libx264"), "qt": ("mov", "libx264"), "Mj2": ("mov", "mjpeg"),
    "mxf": ("mxf", "mpeg2video"), "asf": ("asf", "wmv2"), "divx": ("avi", "mpeg4"), "amv": ("avi", "mjpeg"),
    "dv": ("dv", "dvvideo"), "H264": ("h264", "libx264"), "hevc": ("hevc", "libx265"), "ivf": ("ivf", "libvpx"),
    "nut": ("nut", "mpeg4"), "y4m": ("yuv4mpegpipe", "wrapped_avframe"), "rm": ("rm", "rv10"),
    "mk3d": ("matroska", "libx264"),
}  # fmt: skip


@clips.needs_ffmpeg
@pytest.mark.parametrize("ending", ENDINGS)
def test_a_folder_gives_every_kind_of_file_that_can_be_read(tmp_path, ending):
    container, codec = ENDINGS[ending]
    size = ("720x576", "-r", 25) if codec == "dvvideo" else ("176x144", "-r", 25)
    path = tmp_path / f"clip.{ending}"
    clips.ffmpeg("-f", "lavfi", "-i", "testsrc2=s=176x144:d=0.2", "-s", *size, "-pix_fmt",
                 "yuvj420p" if codec == "mjpeg" else "yuv420p", "-c:v", codec, "-f", container, path)  # fmt: skip
    assert list(find_videos(tmp_path)) == [path]
    assert len(read_frames(path, size=16)) > 1


def test_files_that_are_passed_over_are_counted_where_they_may_be_videos(tmp_path):
    touch(tmp_path, "a.mp4", "b.vid9", "c/d.VID9", "c/e", "c/film.rec", "notes.txt", "x.jpg", "s.wav", ".hidden.vid9")
    passed_over = Counter()
    assert [path.name for path in find_videos(tmp_path, passed_over)] == ["a.mp4"]
    assert passed_over == {".vid9": 2, "": 1, ".rec": 1}
    assert passed_over_line(passed_over).startswith(
        "passed over 4 that may be videos but have no known ending of one (2 .vid9, 1 without an ending, 1 .rec); "
    )
    named = Counter()
    assert len(list(find_videos(tmp_path / "b.vid9", named))) == 1
    assert passed_over_line(named) is None


def test_embed_and_frames_say_what_they_passed_over(c2v, tmp_path):
    folder = tmp_path / "videos"
    folder.mkdir()
    clips.write(folder / "a.mp4", count=5)
    touch(folder, "b.strange")
    done = c2v("embed", "videos", "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["embedded"] == 1
    assert "(1 .strange)" in done.stderr
    assert "(1 .strange)" in c2v("frames", "videos", "out").stderr
