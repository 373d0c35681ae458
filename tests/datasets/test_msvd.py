"""MSVD from every circulated layout, honest or hostile."""

import pickle

import pytest

from clip2video_plugin.datasets import MSVDDataset
from clip2video_plugin.errors import AnnotationError

from .layouts import MSVD, MSVD_CAPTIONS, load, msvd_folder, videos


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


class Hostile:
    def __reduce__(self):
        return print, ("code was run",)


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


def test_a_pickle_over_64_mb_is_refused(tmp_path):
    folder = msvd_folder(tmp_path / "msvd", "json")
    with (folder / "raw-captions.pkl").open("wb") as file:
        file.truncate(65 << 20)
    with pytest.raises(AnnotationError, match="over 64 MB; convert it to JSON"):
        load(folder, MSVDDataset, on_missing="keep")


# Files beside one another


def test_json_pickle_and_text_in_one_folder_give_each_caption_once(tmp_path):
    folder = msvd_folder(tmp_path / "msvd", "json")
    tokens = {f"vid{n}": [c.split() for c in texts] for n, texts in enumerate(MSVD_CAPTIONS.values(), 1)}
    (folder / "raw-captions.pkl").write_bytes(pickle.dumps(tokens))
    (folder / "AllVideoDescriptions.txt").write_text(f"# raw\n{MSVD[0]} One of it.\n{MSVD[0]} and a third\n")
    dataset = load(folder, MSVDDataset, on_missing="keep")
    assert dict(zip(*dataset.values(["video_id", "captions"]), strict=True)) == MSVD_CAPTIONS
    assert dataset.info["found"]["captions"] == 6
    assert dataset.info["warnings"] == {
        "videos whose captions raw-captions.pkl repeats": 3,
        "videos whose captions differ in AllVideoDescriptions.txt; those of captions_msvd.json were taken": 1,
    }


def test_other_files_beside_the_annotations_are_passed_over(tmp_path):
    folder = msvd_folder(tmp_path / "msvd", "json")
    videos(folder, MSVD[:1])
    (folder / "LICENSE.txt").write_bytes(b"Permission is granted \xa9\n")
    (folder / "notes.csv").write_text('what,when\n"so,1\n')
    (folder / f"{MSVD[0]}.info.json").write_text('{"id": "x", "formats": []}')
    (folder / "options.json").write_text('{"fps": 5}')
    dataset = load(folder, MSVDDataset)
    assert dataset.first().captions == MSVD_CAPTIONS[MSVD[0]]
    assert sorted(dataset.info["passed_over"]) == [
        str(folder / n) for n in ("LICENSE.txt", "notes.csv", "options.json")
    ]
    (folder / "captions_msvd.json").unlink()
    with pytest.raises(
        AnnotationError, match=r"no MSVD annotations: .*\(2 more files are none either\); expected raw-"
    ):
        load(folder, MSVDDataset)


def test_a_table_whose_columns_do_not_fit_says_which_there_are(tmp_path):
    folder = msvd_folder(tmp_path / "msvd", "csv")
    (folder / "MSR Video Description Corpus.csv").write_text("VideoID,Start,Ende,Language,Text\n")
    message = "lacks the columns End and Description; its columns: VideoID, Start, Ende, Language, Text"
    with pytest.raises(AnnotationError, match=message):
        load(folder, MSVDDataset, on_missing="keep")


def test_lines_end_where_lines_end(tmp_path):
    folder = msvd_folder(tmp_path / "msvd", "descriptions")
    lines = [f"{MSVD[0]} a\u2028b", f"{MSVD[0]} c\u0085d", f"{MSVD[0]} e\x0bf", f"{MSVD[0]} g\x0ch"]
    (folder / "AllVideoDescriptions.txt").write_text("\r\n".join(lines), newline="")
    dataset = load(folder, MSVDDataset, on_missing="keep")
    assert dataset.first().captions == ["a\u2028b", "c d", "e f", "g h"]
