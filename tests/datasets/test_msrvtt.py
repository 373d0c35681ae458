"""MSR-VTT from every circulated layout, whole or incomplete, honest or hostile."""

import json

import pytest

from clip2video_plugin.errors import AnnotationError

from ..video import clips
from .layouts import MSRVTT, URL, load, msrvtt, record, sentences, videos


@pytest.mark.parametrize("place", ["", "all", "videos/all", "TestVideo", "MSRVTT_Videos"])
def test_msrvtt_videos_are_found_wherever_they_lie(tmp_path, place):
    msrvtt(tmp_path)
    videos(tmp_path / place, MSRVTT)
    dataset = load(tmp_path, protocol="full", split="test")
    assert dataset.values("video_id") == MSRVTT
    assert dataset.info["found"] == {"videos": 3, "captions": 6}
    assert dataset.info["complete"] is False


def test_fields_of_a_sample(tmp_path):
    msrvtt(tmp_path)
    videos(tmp_path, MSRVTT)
    sample = load(tmp_path, protocol="1k-a").match({"video_id": "video7011"}).first()
    assert sample.tags == ["test"]
    assert sample.captions == ["sentence 0 of video7011", "sentence 1 of video7011"]
    assert sample.caption_ids == [0, 1]
    assert sample.query == "the sentence of video7011"
    assert (sample["dataset"], sample.protocol, sample.gallery_index) == ("msrvtt", "1k-a", 1)
    assert (sample.start, sample.end, sample.duration) == (1.0, 11.5, 10.5)
    assert sample.source_url == URL
    assert sample.category.label == "people"
    assert sample.metadata.total_frame_count == 2


def test_two_official_files_frozens_file_and_descriptions(tmp_path):
    for folder in ("two", "frozen", "list"):
        (tmp_path / folder).mkdir()
        msrvtt(tmp_path / folder)
        (tmp_path / folder / "MSRVTT_data.json").unlink()
    half = {"info": {}, "videos": [record(MSRVTT[0])], "sentences": sentences(MSRVTT[0])}
    rest = {
        "info": {},
        "videos": [record(i) for i in MSRVTT[1:]],
        "sentences": [s for i in MSRVTT[1:] for s in sentences(i)],
    }
    (tmp_path / "two" / "train_val_videodatainfo.json").write_text(json.dumps(half))
    (tmp_path / "two" / "test_videodatainfo.json").write_text(json.dumps(rest))
    frozen = {
        "annotations": [{"image_id": s["video_id"], "caption": s["caption"]} for i in MSRVTT for s in sentences(i)]
    }
    (tmp_path / "frozen" / "MSR_VTT.json").write_text(json.dumps(frozen))
    listed = [{"video_id": i, "desc": [s["caption"] for s in sentences(i)]} for i in MSRVTT]
    (tmp_path / "list" / "data.json").write_text(json.dumps(listed))
    for folder in ("two", "frozen", "list"):
        dataset = load(tmp_path / folder, protocol="full", on_missing="keep")
        assert dataset.values("captions") == [[s["caption"] for s in sentences(i)] for i in MSRVTT], folder


def test_missing_videos_are_skipped_kept_or_an_error(tmp_path):
    msrvtt(tmp_path)
    videos(tmp_path, MSRVTT[:2])
    dataset = load(tmp_path, protocol="full")
    assert len(dataset) == 2
    assert dataset.info["missing"] == [MSRVTT[2]]
    assert dataset.values("gallery_index") == [0, 1]
    assert len(load(tmp_path, protocol="full", on_missing="keep")) == 3
    with pytest.raises(AnnotationError, match="1 videos are not there, the first is video7012"):
        load(tmp_path, protocol="full", on_missing="error")
    with pytest.raises(AnnotationError, match="on_missing is 'ignore'"):
        load(tmp_path, on_missing="ignore")


def test_of_two_files_for_one_video_mp4_is_taken(tmp_path):
    msrvtt(tmp_path)
    videos(tmp_path / "b", MSRVTT)
    videos(tmp_path / "a", MSRVTT[:1], "avi")
    dataset = load(tmp_path, protocol="full")
    assert dataset.first().filepath.endswith("b/video7010.mp4")
    assert dataset.info["warnings"]["videos with two files"] == 1
    assert dataset.info["ambiguous"] == [
        f"video7010: {tmp_path}/b/video7010.mp4 was taken, not {tmp_path}/a/video7010.avi"
    ]


def test_odd_records_are_counted(tmp_path):
    odd = [
        {"caption": "orphan", "video_id": "video9", "sen_id": 1},
        {"caption": None, "video_id": MSRVTT[0]},
        {"caption": "  ", "video_id": MSRVTT[0]},
        {"caption": " edge\x00 ", "video_id": MSRVTT[0]},
        "no object",
    ]
    records = [record(MSRVTT[0], url="javascript:alert(1)"), record(MSRVTT[1], **{"end time": 0.5}), record(MSRVTT[2])]
    msrvtt(tmp_path, videos=[*records, records[0]], extra=odd)
    dataset = load(tmp_path, protocol="full", on_missing="keep")
    assert dataset.first().captions[-1] == "edge"
    assert dataset.first().captions_raw[-1] == " edge\x00 "
    assert dataset.first().source_url is None
    assert dataset.skip(1).first().start is None
    warnings = dataset.info["warnings"]
    assert warnings["sentences of unknown videos"] == 1
    assert warnings["captions that are no text"] == 1
    assert warnings["empty captions"] == 1
    assert warnings["captions with control characters"] == 1
    assert warnings["records that are no object"] == 1
    assert warnings["repeated records"] == 1
    assert warnings["times that make no sense"] == 1
    assert warnings["addresses that are not YouTube's"] == 2


def test_a_video_that_loses_its_captions_is_kept_without_the_tag(tmp_path):
    msrvtt(tmp_path)
    value = json.loads((tmp_path / "MSRVTT_data.json").read_text())
    value["sentences"] = [{"caption": None, "video_id": MSRVTT[0]}, *sentences(MSRVTT[1])]
    (tmp_path / "MSRVTT_data.json").write_text(json.dumps(value))
    dataset = load(tmp_path, protocol="full", on_missing="keep")
    assert dataset.values("tags") == [[], ["test"], []]
    assert dataset.info["warnings"]["videos without a caption"] == 2


def test_folders_of_frames_are_imported_as_such(tmp_path):
    from PIL import Image

    msrvtt(tmp_path)
    for video_id in MSRVTT[:2]:
        (tmp_path / "frames" / video_id).mkdir(parents=True)
        for i in range(3):
            Image.fromarray(clips.picture(i)).save(tmp_path / "frames" / video_id / f"{i + 1:08d}.jpg")
    dataset = load(tmp_path, protocol="full", media="frames")
    assert dataset.values("frames_dir") == [str(tmp_path / "frames" / i) for i in MSRVTT[:2]]
    assert dataset.first().filepath.endswith("video7010/00000001.jpg")


def test_writing_that_is_real_is_kept_as_it_is(tmp_path):
    """Bidirectional marks, zero-width joiners, smart quotes and decomposed letters belong to languages."""
    real = [
        "\u202bרכב אדום\u202c moves",
        "نمی\u200cخواهم",
        "👩\u200d👩\u200d👧 at home",
        "\u201ccafe\u0301\u201d",
        "狗在跑",
    ]
    msrvtt(tmp_path, extra=[{"caption": text, "video_id": MSRVTT[0]} for text in real])
    dataset = load(tmp_path, protocol="full", on_missing="keep")
    assert dataset.first().captions[-len(real) :] == real
    assert not dataset.has_field("captions_raw")
    assert "captions with control characters" not in dataset.info["warnings"]


def test_imported_folders_of_frames_are_embedded_and_searched(tmp_path, model):
    from PIL import Image

    from clip2video_plugin import compute_clip2video
    from clip2video_plugin.shapes import caption, held_out_scenes, render

    msrvtt(tmp_path)
    scenes = held_out_scenes(12, seed=21)[::4]  # of other things each
    for video_id, scene in zip(MSRVTT, scenes, strict=True):
        (tmp_path / "frames" / video_id).mkdir(parents=True)
        for i, frame in enumerate(render(scene, [(k + 0.5) / 12 for k in range(12)], 96)):
            Image.fromarray(frame).save(tmp_path / "frames" / video_id / f"{i + 1:08d}.png")
    dataset = load(tmp_path, protocol="full", media="frames")
    compute_clip2video(dataset, model=model, brain_key="c2v", index=tmp_path / "index", progress=False)
    for video_id, scene in zip(MSRVTT, scenes, strict=True):
        assert dataset.sort_by_similarity(caption(scene), k=1, brain_key="c2v").first().video_id == video_id


def test_repeated_ids_in_a_list_are_dropped_and_repeated_captions_kept(tmp_path):
    msrvtt(tmp_path, extra=sentences(MSRVTT[0]))
    lines = ["video_id", *MSRVTT, MSRVTT[0]]
    (tmp_path / "MSRVTT_test.full.csv").write_bytes("\r\n".join(lines).encode("utf-8-sig"))
    dataset = load(tmp_path, protocol="full", on_missing="keep")
    assert len(dataset) == 3
    assert len(dataset.first().captions) == 4
    assert dataset.info["warnings"]["repeated ids in lists"] == 1


def test_contradicting_records_are_an_error_that_names_both(tmp_path):
    msrvtt(tmp_path, videos=[record(MSRVTT[0]), record(MSRVTT[0], **{"end time": 99.0})])
    with pytest.raises(AnnotationError, match=r"video7010 is there twice.*1\.0-11\.5.*1\.0-99\.0"):
        load(tmp_path, protocol="full")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("MSRVTT_data.json", b'{"videos": [], "sentences": [', "no JSON at byte 29.*expected"),
        ("MSRVTT_data.json", b"\xff\xfe\x00", "not UTF-16"),
        ("MSRVTT_data.json", b'{"videos": "\xe9"}', "not UTF-8 at byte 12"),
        (
            "MSRVTT_data.json",
            json.dumps({"videos": [record("video1", video_id="../../etc/passwd")], "sentences": []}).encode(),
            "'../../etc/passwd' is no video id",
        ),
        (
            "MSRVTT_data.json",
            json.dumps({"videos": [record("video1", video_id="video1\x00")], "sentences": []}).encode(),
            "is no video id",
        ),
        ("MSRVTT_test.full.csv", b"video_id\n/etc/passwd\n", "'/etc/passwd' is no video id"),
        ("MSRVTT_test.full.csv", b"x" * 100_000_000, "is no video id"),
    ],
)
def test_hostile_msrvtt_files_are_one_short_line(tmp_path, name, content, message):
    msrvtt(tmp_path)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(AnnotationError, match=message) as error:
        load(tmp_path, protocol="full", on_missing="keep")
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 500


def test_a_link_that_leaves_the_folder_is_not_followed(tmp_path):
    (tmp_path / "data").mkdir()
    msrvtt(tmp_path / "data")
    videos(tmp_path / "elsewhere", MSRVTT[:1])
    videos(tmp_path / "data", MSRVTT[1:])
    (tmp_path / "data" / "video7010.mp4").symlink_to(tmp_path / "elsewhere" / "video7010.mp4")
    dataset = load(tmp_path / "data", protocol="full")
    assert dataset.info["missing"] == MSRVTT[:1]
    assert dataset.info["warnings"]["links that leave the folder"] == 1


def test_pairs_that_are_not_there_are_asked_for(tmp_path):
    msrvtt(tmp_path)
    (tmp_path / "MSRVTT_JSFUSION_test.csv").unlink()
    with pytest.raises(AnnotationError, match=r"MSRVTT_JSFUSION_test\.csv, which is not there"):
        load(tmp_path, protocol="1k-a")


# Files beside one another


def test_official_and_joined_files_in_one_folder_give_each_caption_once(tmp_path):
    msrvtt(tmp_path)
    value = json.loads((tmp_path / "MSRVTT_data.json").read_text())
    (tmp_path / "test_videodatainfo.json").write_text(json.dumps(value))
    frozen = {"annotations": [{"image_id": s["video_id"], "caption": s["caption"]} for s in value["sentences"]]}
    (tmp_path / "MSR_VTT.json").write_text(json.dumps(frozen))
    dataset = load(tmp_path, protocol="full", on_missing="keep")
    assert dataset.values("captions") == [[s["caption"] for s in sentences(i)] for i in MSRVTT]
    assert dataset.values("caption_ids") == [[0, 1]] * 3
    assert dataset.values("start") == [1.0] * 3
    assert dataset.info["warnings"]["videos whose captions test_videodatainfo.json repeats"] == 3
    assert dataset.info["warnings"]["videos whose captions MSR_VTT.json repeats"] == 3


def test_files_of_other_captions_are_reported_and_not_mixed(tmp_path):
    msrvtt(tmp_path)
    (tmp_path / "mine.json").write_text(json.dumps([{"video_id": MSRVTT[1], "desc": ["another"]}]))
    dataset = load(tmp_path, protocol="full", on_missing="keep")
    assert dataset.values("captions")[1] == [s["caption"] for s in sentences(MSRVTT[1])]
    kind = "videos whose captions differ in mine.json; those of MSRVTT_data.json were taken"
    assert dataset.info["warnings"][kind] == 1


def test_what_downloaders_write_beside_the_videos_is_no_annotation(tmp_path):
    msrvtt(tmp_path)
    videos(tmp_path, MSRVTT[:1])
    (tmp_path / "LICENSE.txt").write_bytes(b"Copyright \xa9 somebody")
    (tmp_path / "video7010.info.json").write_text("{broken")
    (tmp_path / "video7010.json").write_text("{broken")  # of video2dataset
    (tmp_path / "package.json").write_text('{"name": "x"}')
    dataset = load(tmp_path, protocol="full")
    assert dataset.values("captions") == [[s["caption"] for s in sentences(MSRVTT[0])]]
    assert dataset.info["passed_over"] == [str(tmp_path / "package.json")]


def test_an_import_that_finds_no_video_is_an_error_that_says_where_it_looked(tmp_path):
    msrvtt(tmp_path)
    with pytest.raises(AnnotationError, match=f"none of 3 videos is below {tmp_path}, the first is video7010"):
        load(tmp_path, protocol="full")
    (tmp_path / "video7010.mp4").mkdir()
    with pytest.raises(AnnotationError, match="none of 3 videos"):
        load(tmp_path, protocol="full")


def test_the_pairs_may_hold_separators_and_line_breaks_of_all_kinds(tmp_path):
    msrvtt(tmp_path)
    rows = [f'r,m,{MSRVTT[0]},"a, b"', f"r,m,{MSRVTT[1]},c, d", f"r,m,{MSRVTT[2]},e\u2028f\x85g"]
    (tmp_path / "MSRVTT_JSFUSION_test.csv").write_text("key,vid_key,video_id,sentence\r\n" + "\r\n".join(rows))
    dataset = load(tmp_path, on_missing="keep")
    assert dataset.values("query") == ["a, b", "c, d", "e\u2028f g"]
    assert dataset.info["warnings"]["captions with an unquoted separator, which was kept"] == 1


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "MSRVTT_JSFUSION_test.csv",
            "key,vid,words\n",
            "lacks the columns video_id and sentence; its columns: key, vid, words",
        ),
        ("MSRVTT_JSFUSION_test.csv", "", "its columns: none, it is empty"),
        (
            "MSRVTT_JSFUSION_test.csv",
            "video_id,sentence\nvideo1," + "x" * 131_073,
            "line 2 cannot be read: field larger",
        ),
        ("MSRVTT_JSFUSION_test.csv", 'video_id,sentence\nvideo1,"a\nvideo2,"b\n', "line 2.*a quotation mark opens"),
        ("MSRVTT_JSFUSION_test.csv", 'video_id,sentence\nvideo1,"a\nvideo2,b"\n', "line 2.*a quotation mark opens"),
        ("MSRVTT_data.json", '{"sentences": [' + "9" * 5000 + "]}", "a number of thousands of digits"),
        ("MSRVTT_data.json", '{"sentences": [], "sentences": [1]}', "gives 'sentences' twice"),
    ],
)
def test_broken_tables_say_where_and_what_is_there(tmp_path, name, content, message):
    msrvtt(tmp_path)
    (tmp_path / name).write_text(content)
    with pytest.raises(AnnotationError, match=message) as error:
        load(tmp_path, on_missing="keep")
    assert "\n" not in str(error.value)


def test_numbers_that_the_database_cannot_hold_are_left_out(tmp_path):
    odd = [{"caption": "big", "video_id": MSRVTT[0], "sen_id": 10**30}]
    times = {"start time": float("nan"), "end time": 10**400}
    msrvtt(tmp_path, videos=[record(MSRVTT[0], split=["test"], **times), *map(record, MSRVTT[1:])], extra=odd)
    sample = load(tmp_path, protocol="full", on_missing="keep").first()
    assert (sample.start, sample.captions[-1], sample.caption_ids) == (None, "big", [0, 1])
