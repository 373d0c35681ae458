"""A folder of captioned videos becomes a FiftyOne dataset, or says what is wrong with its captions."""

import json

import fiftyone as fo
import pytest

from clip2video_plugin.datasets import CaptionedVideoFolder
from clip2video_plugin.errors import Clip2VideoError

from ..video import clips


def load(folder, **options):
    return fo.Dataset.from_dir(dataset_dir=str(folder), dataset_type=CaptionedVideoFolder, **options)


@pytest.fixture
def folder(tmp_path):
    clips.write(tmp_path / "a.mp4", count=2)
    (tmp_path / "deep").mkdir()
    clips.write(tmp_path / "deep" / "b c.mkv", count=2)
    return tmp_path


def test_captions_and_metadata_are_imported(world):
    dataset = load(world[0])
    sample = dataset.first()
    assert len(dataset) == 24
    assert dataset.media_type == "video"
    assert len(sample.captions) == 3
    assert sample.metadata.frame_width == 96
    assert dataset.info["found"] == {"videos": 24, "captions": 72}
    dataset.delete()


ROWS = [("a.mp4", "one"), ("a.mp4", "two"), ("deep/b c.mkv", "three")]
FORMS = {
    "captions.csv": "filename,caption\n" + "".join(f"{n},{c}\n" for n, c in ROWS),
    "captions.tsv": "video\tsentence\n" + "".join(f"{n}\t{c}\n" for n, c in ROWS),
    "captions.json": json.dumps({"a": ["one", "two"], "b c": "three"}),
    "captions.jsonl": "".join(json.dumps({"video": n, "text": c}) + "\n" for n, c in ROWS),
}


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_every_form_gives_the_same(folder, name, encoding):
    (folder / name).write_text(FORMS[name], encoding=encoding)
    dataset = load(folder)
    assert dataset.values("captions") == [["one", "two"], ["three"]]
    dataset.delete()


def test_a_list_of_records_and_text_files_beside_the_videos(folder):
    (folder / "captions.json").write_text(json.dumps([{"filename": n, "captions": [c]} for n, c in ROWS]))
    assert load(folder).values("captions") == [["one", "two"], ["three"]]
    (folder / "captions.json").unlink()
    (folder / "a.txt").write_text("one\n\ntwo\n")
    (folder / "deep" / "b c.txt").write_text("three")
    assert load(folder).values("captions") == [["one", "two"], ["three"]]


def test_missing_videos_are_counted_kept_or_an_error(folder):
    (folder / "captions.csv").write_text("filename,caption\na.mp4,one\ngone.mp4,two\n")
    assert load(folder).info["missing"] == ["gone.mp4"]
    assert len(load(folder, on_missing="keep")) == 2
    with pytest.raises(Clip2VideoError, match=r"the first is gone\.mp4"):
        load(folder, on_missing="error")


def test_bad_captions_are_counted_and_dropped(folder):
    (folder / "captions.json").write_text(json.dumps({"a": ["good", "", None, 5, "nul\x00 esc\x1b[31m", "\ud800"]}))
    dataset = load(folder)
    assert dataset.first().captions == ["good", "nul esc[31m"]
    assert dataset.info["warnings"]["empty captions"] == 2
    assert dataset.info["warnings"]["captions that are no text"] == 2
    assert dataset.info["warnings"]["captions with control characters"] == 2


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (None, b"", "has no captions"),
        ("captions.csv", b"file,words\n", "lacks the column caption"),
        ("captions.csv", b"filename,caption\n../outside.mp4,x\n", "no file inside the folder"),
        ("captions.csv", b"filename,caption\n/etc/passwd,x\n", "no file inside the folder"),
        ("captions.csv", b"filename,caption\na\x00b,x\n", "no file inside the folder|cannot be read"),
        ("captions.csv", b"filename,caption\n,x\n", "has no captions"),
        ("captions.csv", b"caption,\xff\xfe\n", "not UTF-8 at byte 8"),
        ("captions.json", b'{"a": ["x"', "no JSON at byte 10"),
        ("captions.json", b"5", "holds a int"),
        ("captions.json", b"[" * 100_000, "nested too deeply|no JSON"),
        ("captions.jsonl", b'{"video": "a"}\n', "without file name or caption"),
        ("captions.jsonl", b"no json\n", "no JSON"),
    ],
)
def test_what_cannot_be_used_is_one_line(folder, name, content, message):
    if name is not None:
        (folder / name).write_bytes(content)
    with pytest.raises(Clip2VideoError, match=message) as error:
        load(folder)
    assert "\n" not in str(error.value)


def test_the_command_imports_a_folder_and_takes_its_options(folder, c2v):
    (folder / "words.tsv").write_text("video\tcaption\na.mp4\tthere\ngone.mp4\tnot there\n")
    options = ("--annotations", folder / "words.tsv", "--on-missing", "keep")
    done = c2v("import", "folder", folder, "--name", "from-folder", *options)
    assert done.returncode == 0, done.stderr
    assert fo.load_dataset("from-folder").values("captions") == [["there"], ["not there"]]
    fo.delete_dataset("from-folder")
    refused = c2v("import", "folder", folder, "--name", "from-folder", *options[:2], "--on-missing", "error")
    assert refused.returncode == 1
    assert refused.stderr == "c2v: 1 captioned videos are not there, the first is gone.mp4\n"
    assert not fo.dataset_exists("from-folder")
