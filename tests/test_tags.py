"""Tags are given at embedding, stay with a video, and are searched by."""

import pytest

from clip2video_plugin import embed_videos, open_index, search
from clip2video_plugin.errors import Clip2VideoError


@pytest.fixture
def videos(world, tmp_path):
    folder = tmp_path / "videos"
    folder.mkdir()
    for i in range(3):
        (folder / f"{i}.mp4").write_bytes((world[0] / f"{i:05d}.mp4").read_bytes())
    return folder


def tagged(index, where):
    result = search("a red square", index=open_index(index), k=9)
    found = search(f"a red square --where {where} -k 9", index=open_index(index))
    assert {hit.id for hit in found} <= {hit.id for hit in result}
    return sorted(hit.path.rsplit("/", 1)[1] for hit in found)


def test_tags_stay_with_a_video(c2v_here, videos, world, model, tmp_path):
    index = tmp_path / "index"
    assert c2v_here("embed", videos / "0.mp4", "--index", index, "--tag", "beach", "--tag", "it's so")[0] == 0
    embed_videos(videos, index=index, model=model, windows="2/1")
    assert tagged(index, "tag:beach") == ["0.mp4"]
    assert tagged(index, "\"tag:'it''s so'\"") == ["0.mp4"]
    assert tagged(index, '"not tag:beach"') == ["1.mp4", "2.mp4"]

    # unchanged ones get them too, beside what they have
    report = embed_videos([videos / "0.mp4", videos / "1.mp4"], index=index, model=model, tags=["beach", "sea"])
    assert (report.embedded, report.skipped) == (0, 2)
    assert tagged(index, "tag:sea") == tagged(index, "tag:beach") == ["0.mp4", "1.mp4"]
    assert tagged(index, "\"tag:'it''s so'\"") == ["0.mp4"]
    version = open_index(index).state
    embed_videos(videos / "1.mp4", index=index, model=model, tags="sea")
    assert open_index(index).state == version

    # renamed, and another file of the same name
    (videos / "0.mp4").rename(videos / "moved.mp4")
    (videos / "1.mp4").write_bytes((world[0] / "00005.mp4").read_bytes())
    report = embed_videos(videos, index=index, model=model, tags="late")
    assert (report.embedded, report.moved, report.skipped) == (1, 1, 1)
    assert tagged(index, "tag:beach") == ["1.mp4", "moved.mp4"]
    assert tagged(index, '"tag:late and not tag:beach"') == ["2.mp4"]


def test_an_empty_tag_is_refused(videos, model, tmp_path):
    with pytest.raises(Clip2VideoError, match="a tag is ' '; write a word"):
        embed_videos(videos, index=tmp_path / "index", model=model, tags=["a", " "])
