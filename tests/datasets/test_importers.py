"""MSR-VTT, MSVD and VATEX from every circulated layout, whole or incomplete, honest or hostile."""

import json
import pickle

import fiftyone as fo
import pytest

from clip2video_plugin.datasets import MSRVTTDataset, MSVDDataset, VATEXDataset, import_dataset
from clip2video_plugin.datasets.annotations import AnnotationError

from ..video import clips

MSRVTT, MSVD, VATEX = (
    ["video7010", "video7011", "video7012"],
    ["-4wsuPCjDBc_5_15", "-7KMZQEsJW4_205_208", "mv89psg6zh4_33_46"],
    ["G9zN5TTuGO4_000179_000189", "-Qzi_U7cVck_000006_000016", "CBL6uetTPHg_000089_000099"],
)
URL = "https://www.youtube.com/watch?v=Sa4BUsvAcjc"


def record(number, **more):
    base = {"video_id": number, "category": 1, "url": URL, "start time": 1.0, "end time": 11.5, "split": "test"}
    return {**base, "id": int(number[5:]), **more}


def sentences(video_id, count=2):
    return [{"caption": f"sentence {i} of {video_id}", "video_id": video_id, "sen_id": i} for i in range(count)]


def msrvtt(folder, *, videos=None, extra=(), name="MSRVTT_data.json"):
    value = {
        "info": {},
        "videos": [record(i) for i in MSRVTT] if videos is None else videos,
        "sentences": [*(s for i in MSRVTT for s in sentences(i)), *extra],
    }
    (folder / name).write_text(json.dumps(value))
    (folder / "category.txt").write_text("music\t0\r\npeople\t1\r\n", newline="")
    (folder / "MSRVTT_test.full.csv").write_text("video_id\n" + "\n".join(MSRVTT) + "\n")
    rows = [f"ret{n},msr{i[5:]},{i},the sentence of {i}" for n, i in enumerate(reversed(MSRVTT))]
    (folder / "MSRVTT_JSFUSION_test.csv").write_text("key,vid_key,video_id,sentence\n" + "\n".join(rows) + "\n")


def videos(folder, ids, ending="mp4"):
    folder.mkdir(parents=True, exist_ok=True)
    for video_id in ids:
        clips.write(folder / f"{video_id}.{ending}", count=2, codec="mpeg4" if ending == "avi" else "libx264")


def load(folder, kind=MSRVTTDataset, **options):
    return fo.Dataset.from_dir(dataset_dir=str(folder), dataset_type=kind, **options)


# MSR-VTT


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


def test_progress_of_an_import_stays_off_standard_output(tmp_path, c2v):
    (tmp_path / "set").mkdir()
    msrvtt(tmp_path / "set")
    done = c2v("import", "msrvtt", tmp_path / "set", "--name", "quiet", "--protocol", "full", "--on-missing", "keep")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("quiet: 3 videos\n")
    assert "%" not in done.stdout
    fo.delete_dataset("quiet")


def test_a_pickle_over_64_mb_is_refused(tmp_path):
    folder = msvd_folder(tmp_path / "msvd", "json")
    with (folder / "raw-captions.pkl").open("wb") as file:
        file.truncate(65 << 20)
    with pytest.raises(AnnotationError, match="over 64 MB; convert it to JSON"):
        load(folder, MSVDDataset, on_missing="keep")


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


# MSVD

MSVD_CAPTIONS = {i: [f"one of {i}", f"two of {i}"] for i in MSVD}


def msvd_folder(folder, form):
    folder.mkdir()
    (folder / "youtube_mapping.txt").write_text("".join(f"{i} vid{n}\r\n" for n, i in enumerate(MSVD, 1)), newline="")
    (folder / "test_list.txt").write_text("\n".join(MSVD))
    if form == "pickle":
        tokens = {i: [c.split() for c in texts] for i, texts in MSVD_CAPTIONS.items()}
        (folder / "raw-captions.pkl").write_bytes(pickle.dumps(tokens))
    elif form == "json":
        (folder / "captions_msvd.json").write_text(json.dumps(MSVD_CAPTIONS))
    elif form == "descriptions":
        lines = "".join(f"{i} {c}\n" for i, texts in MSVD_CAPTIONS.items() for c in texts)
        (folder / "AllVideoDescriptions.txt").write_text("# comment\n\n" + lines)
    elif form == "csv":
        head = "VideoID,Start,End,WorkerID,Source,AnnotationTime,Language,Description\n"
        rows = [(i[:11], *i.rsplit("_", 2)[1:], c) for i, texts in MSVD_CAPTIONS.items() for c in texts]
        body = "".join(f"{v},{s},{e},1,clean,9,English,{c}\n" for v, s, e, c in rows)
        hindi = f"{MSVD[0][:11]},5,15,1,clean,9,Hindi,नहीं\n,,,,,,,\n"
        (folder / "MSR Video Description Corpus.csv").write_text(head + body + hindi)
    else:
        lines = "".join(f"vid{n}\t{c}\n" for n, texts in enumerate(MSVD_CAPTIONS.values(), 1) for c in texts)
        (folder / "sents_test_lc_nopunc.txt").write_text(lines)
    return folder


@pytest.mark.parametrize("form", ["pickle", "json", "descriptions", "csv", "sentences"])
def test_msvd_captions_come_from_every_form(tmp_path, form):
    dataset = load(msvd_folder(tmp_path / form, form), MSVDDataset, on_missing="keep")
    assert dict(zip(*dataset.values(["video_id", "captions"]), strict=True)) == MSVD_CAPTIONS
    assert dataset.first().start == 5.0


@pytest.mark.parametrize("naming", ["ids.avi", "ids.mp4", "numbers.mp4"])
def test_msvd_videos_are_found_by_either_name(tmp_path, naming):
    folder = msvd_folder(tmp_path / "msvd", "json")
    names = MSVD if naming.startswith("ids") else ["vid1", "vid2", "vid3"]
    videos(folder / "YouTubeClips", names, naming.split(".")[1])
    dataset = load(folder, MSVDDataset)
    assert dataset.values("video_id") == MSVD
    assert any("avi" in kind for kind in dataset.info["warnings"]) == (naming == "ids.avi")


# VATEX


def vatex_value(form):
    english = {i: [f"caption {n} of {i}" for n in range(3)] for i in VATEX}
    return {
        "official": [{"videoID": i, "enCap": texts, "chCap": ["一", "二"]} for i, texts in english.items()],
        "enCap": {i: {"enCap": texts} for i, texts in english.items()},
        "captions": english,
        "desc": [{"video_id": i, "desc": text} for i, texts in english.items() for text in texts],
    }[form]


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


# Hostile and broken files


class Hostile:
    def __reduce__(self):
        return print, ("code was run",)


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


@pytest.mark.parametrize("value", [Hostile(), {"a": Hostile()}])
def test_a_malicious_pickle_is_refused_and_not_run(tmp_path, capsys, value):
    folder = msvd_folder(tmp_path / "msvd", "json")
    (folder / "raw-captions.pkl").write_bytes(pickle.dumps(value))
    with pytest.raises(AnnotationError, match="could run code; convert it to JSON"):
        load(folder, MSVDDataset, on_missing="keep")
    assert "code was run" not in capsys.readouterr().out


@pytest.mark.parametrize("content", [b"", b"no pickle", b"\x80\x05\x95\xff\xff\xff\xff"])
def test_a_damaged_pickle_is_one_line(tmp_path, content):
    folder = msvd_folder(tmp_path / "msvd", "json")
    (folder / "raw-captions.pkl").write_bytes(content)
    with pytest.raises(AnnotationError, match=r"raw-captions\.pkl"):
        load(folder, MSVDDataset, on_missing="keep")


def test_a_link_that_leaves_the_folder_is_not_followed(tmp_path):
    (tmp_path / "data").mkdir()
    msrvtt(tmp_path / "data")
    videos(tmp_path / "elsewhere", MSRVTT[:1])
    (tmp_path / "data" / "video7010.mp4").symlink_to(tmp_path / "elsewhere" / "video7010.mp4")
    dataset = load(tmp_path / "data", protocol="full")
    assert dataset.info["missing"] == MSRVTT
    assert dataset.info["warnings"]["links that leave the folder"] == 1


def test_pairs_that_are_not_there_are_asked_for(tmp_path):
    msrvtt(tmp_path)
    (tmp_path / "MSRVTT_JSFUSION_test.csv").unlink()
    with pytest.raises(AnnotationError, match=r"MSRVTT_JSFUSION_test\.csv, which is not there"):
        load(tmp_path, protocol="1k-a")


# import_dataset and c2v import


def test_several_splits_go_into_one_dataset(tmp_path):
    msrvtt(tmp_path, videos=[record(MSRVTT[0], split="train"), record(MSRVTT[1], split="validate"), record(MSRVTT[2])])
    (tmp_path / "MSRVTT_test.full.csv").unlink()
    dataset = import_dataset(
        "msrvtt", tmp_path, name="several", splits=["train", "val", "test"], protocol="full", on_missing="keep"
    )
    assert dict(zip(*dataset.values(["video_id", "tags"]), strict=True)) == {
        MSRVTT[0]: ["train"],
        MSRVTT[1]: ["val"],
        MSRVTT[2]: ["test"],
    }
    assert dataset.info["split"] == ["train", "val", "test"]
    with pytest.raises(AnnotationError, match="'several' exists"):
        import_dataset("msrvtt", tmp_path, name="several")
    dataset.delete()


def test_a_failed_import_leaves_nothing_behind(tmp_path):
    with pytest.raises(AnnotationError):
        import_dataset("msrvtt", tmp_path, name="failed")
    assert not fo.dataset_exists("failed")
    with pytest.raises(AnnotationError, match="kind is 'kinetics'; allowed are msrvtt, msvd, vatex, folder"):
        import_dataset("kinetics", tmp_path)


def test_the_command_imports(c2v, tmp_path):
    msrvtt(tmp_path)
    videos(tmp_path, MSRVTT[:2])
    done = c2v("import", "msrvtt", tmp_path, "--name", "by-command", "--protocol", "full")
    assert done.returncode == 0, done.stderr
    assert "by-command: 2 videos" in done.stdout
    assert "2 of 2990 videos, 6 of 59800 captions: not comparable" in done.stdout
    fo.delete_dataset("by-command")
