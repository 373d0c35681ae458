"""VATEX from every circulated layout; a whole video is not the clip that is cut from it."""

import json

import pytest

from clip2video_plugin.datasets import VATEXDataset

from ..video import clips
from .layouts import VATEX, load, vatex_value, videos


@pytest.mark.parametrize("form", ["official", "enCap", "captions", "desc"])
def test_vatex_captions_come_from_every_form(tmp_path, form):
    (tmp_path / "data.json").write_text(json.dumps(vatex_value(form)), encoding="utf-16" if form == "enCap" else None)
    (tmp_path / "test_list.txt").write_text("\n".join(reversed(VATEX)))
    videos(tmp_path / "clips", [VATEX[0], VATEX[1][:11]])
    dataset = load(tmp_path, VATEXDataset, protocol="vatex-hgr")
    assert dataset.values("video_id") == [VATEX[1], VATEX[0]]  # in the list's order; one is an untrimmed video
    assert len(dataset.first().captions) == 3
    assert (dataset.first().start, dataset.first().end) == (6.0, 16.0)
    if form == "official":
        assert dataset.first().captions_zh == ["一", "二"]


def vatex_folder(folder, ids):
    (folder / "data.json").write_text(json.dumps({i: [f"of {i}"] for i in ids}))
    (folder / "test_list.txt").write_text("\n".join(ids))


def test_a_whole_video_is_reported_and_stands_for_none_of_its_clips(tmp_path):
    ids = ["G9zN5TTuGO4_000002_000004", "-Qzi_U7cVck_000006_000016", "-Qzi_U7cVck_000020_000030", VATEX[2]]
    vatex_folder(tmp_path, ids)
    clips.write(tmp_path / "G9zN5TTuGO4.mp4", count=50)  # 5 s, of which the clip is 2
    clips.write(tmp_path / "-Qzi_U7cVck.mp4", count=50)
    videos(tmp_path, ids[3:])
    dataset = load(tmp_path, VATEXDataset, protocol="vatex-hgr")
    assert dataset.values("video_id") == ids[3:]
    assert dataset.info["missing"] == ids[:3]
    assert dataset.info["ambiguous"] == [
        f"{ids[0]}: {tmp_path}/G9zN5TTuGO4.mp4 has 5 s, the clip is 2 to 4 s of it",
        f"{ids[1]}: {tmp_path}/-Qzi_U7cVck.mp4 would stand for 2 clips",
        f"{ids[2]}: {tmp_path}/-Qzi_U7cVck.mp4 would stand for 2 clips",
    ]


def test_a_video_that_was_cut_is_the_clip_under_either_name(tmp_path):
    vatex_folder(tmp_path, ["G9zN5TTuGO4_000002_000004"])
    clips.write(tmp_path / "G9zN5TTuGO4.mp4", count=20)  # 2 s, as the clip
    dataset = load(tmp_path, VATEXDataset, protocol="vatex-hgr")
    assert dataset.info["missing"] == []
    assert len(dataset.info["warnings"]) == 1  # which says so


def test_files_that_agree_are_one_and_those_that_are_no_annotations_passed_over(tmp_path):
    for form in ("official", "captions"):
        (tmp_path / f"{form}.json").write_text(json.dumps(vatex_value(form)))
    (tmp_path / "test_list.txt").write_text("\n".join(VATEX))
    (tmp_path / "config.json").write_text('{"fps": 25}')
    dataset = load(tmp_path, VATEXDataset, protocol="vatex-hgr", on_missing="keep")
    assert [len(c) for c in dataset.values("captions")] == [3, 3, 3]
    assert dataset.first().captions_zh == ["一", "二"]
    assert dataset.info["passed_over"] == [str(tmp_path / "config.json")]
