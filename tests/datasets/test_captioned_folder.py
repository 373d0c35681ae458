"""A folder of captioned videos becomes a FiftyOne dataset, or says what is wrong with its captions."""

import json
import os

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


# Which file a record means


def imported(folder, records, files, **options):
    """File below the folder -> captions, and what the import says of itself. Files need not be videos for that."""
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    (folder / "captions.json").write_text(json.dumps(records))
    dataset = load(folder, **options)
    paths, captions = dataset.values(["filepath", "captions"])
    return {os.path.relpath(p, folder): c for p, c in zip(paths, captions, strict=True)}, dataset.info


PAIRED = {
    "two spellings are one video": (
        {"a.mp4": ["1"], "a": ["2"], "./a.mp4": ["3"]},
        ["a.mp4"],
        {"a.mp4": ["1", "2", "3"]},
        [],
    ),
    "which repeats no caption": ({"a.mp4": ["1", "1"], "a": ["1", "2"]}, ["a.mp4"], {"a.mp4": ["1", "1", "2"]}, []),
    "a folder is part of a name": ({"x/v": ["x"], "y/v": ["y"]}, ["x/v.mp4"], {"x/v.mp4": ["x"]}, ["y/v"]),
    "each its own": ({"x/v": ["x"], "y/v": ["y"]}, ["x/v.mp4", "y/v.mp4"], {"x/v.mp4": ["x"], "y/v.mp4": ["y"]}, []),
    "a number is no ending": ({"clip.1": ["1"], "clip": ["0"]}, ["clip.mp4"], {"clip.mp4": ["0"]}, ["clip.1"]),
    "a lone stem anywhere": ({"v": ["v"]}, ["x/y/v.mkv"], {"x/y/v.mkv": ["v"]}, []),
    "a folder left out": ({"y/v.mp4": ["v"]}, ["data/y/v.mp4", "data/x/v.mp4"], {"data/y/v.mp4": ["v"]}, []),
    "a folder too many": ({"videos/v.mp4": ["v"]}, ["v.mp4"], {"v.mp4": ["v"]}, []),
    "unless it is another's": ({"videos/v.mp4": ["1"], "v.mp4": ["2"]}, ["v.mp4"], {"v.mp4": ["2"]}, ["videos/v.mp4"]),
    "another ending": ({"v.avi": ["v"]}, ["v.mp4"], {"v.mp4": ["v"]}, []),
    "unless that is another's": ({"v.avi": ["1"], "v.mp4": ["2"]}, ["v.mp4"], {"v.mp4": ["2"]}, ["v.avi"]),
    "Windows": ({"x\\v.mp4": ["v"], ".\\w.mp4": ["w"]}, ["x/v.mp4", "w.mp4"], {"x/v.mp4": ["v"], "w.mp4": ["w"]}, []),
    "capitals": ({"X/V.MP4": ["v"]}, ["x/v.mp4"], {"x/v.mp4": ["v"]}, []),
    "both capitals": ({"V.mp4": ["V"], "v.mp4": ["v"]}, ["V.mp4", "v.mp4"], {"V.mp4": ["V"], "v.mp4": ["v"]}, []),
    "a path that stays inside": ({"x/../v.mp4": ["v"]}, ["v.mp4"], {"v.mp4": ["v"]}, []),
    "any ending by its exact path": ({"v.dat": ["v"]}, ["v.dat"], {"v.dat": ["v"]}, []),
    "a folder is no video": ({"d.mp4": ["d"], "v": ["v"]}, ["d.mp4/x.txt", "v.mp4"], {"v.mp4": ["v"]}, ["d.mp4"]),
    "a name too long": ({"n" * 300: ["n"], "v": ["v"]}, ["v.mp4"], {"v.mp4": ["v"]}, ["n" * 300]),
    "half a letter": ({"\ud800": ["n"], "v": ["v"]}, ["v.mp4"], {"v.mp4": ["v"]}, ["\\ud800"]),
}


@pytest.mark.parametrize("case", PAIRED)
def test_a_record_means_one_file_or_is_missing(tmp_path, case):
    records, files, expected, missing = PAIRED[case]
    found, info = imported(tmp_path, records, files)
    assert found == expected
    assert info["missing"] == missing
    kept, _ = imported(tmp_path, records, [], on_missing="keep")
    assert len(kept) == len(expected) + sum(name.isascii() and "\\ud" not in name for name in missing)


@pytest.mark.parametrize(
    ("name", "files", "could_be"),
    [
        ("v", ["x/v.mp4", "y/v.mp4"], "x/v.mp4, y/v.mp4"),
        ("v", ["v.mp4", "v.mkv"], "v.mp4, v.mkv"),
        ("V.mp4", ["x/v.mp4", "y/v.mp4"], "x/v.mp4, y/v.mp4"),
    ],
)
def test_a_name_that_could_be_several_files_is_given_none_and_reported(tmp_path, name, files, could_be):
    found, info = imported(tmp_path, {name: ["?"], "other.mp4": ["o"]}, [*files, "other.mp4"])
    assert found == {"other.mp4": ["o"]}
    assert info["missing"] == [name]
    assert info["ambiguous"] == [f"{name} could be {could_be}"]
    assert info["warnings"]["names that could mean several videos, and were given none"] == 1


def test_links_that_leave_the_folder_are_missing(tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "secret.mp4").touch()
    (tmp_path / "set" / "v.mp4").symlink_to(tmp_path / "secret.mp4")
    (tmp_path / "set" / "out").symlink_to(tmp_path)
    found, info = imported(tmp_path / "set", {"v.mp4": ["v"], "out/secret.mp4": ["s"], "w": ["w"]}, ["w.mp4"])
    assert found == {"w.mp4": ["w"]}
    assert info["missing"] == ["v.mp4", "out/secret.mp4"]
    assert info["warnings"]["links that leave the folder"] == 1


def test_captions_that_match_no_video_are_an_error(tmp_path):
    with pytest.raises(Clip2VideoError, match=r"none of 1 captioned videos is below .*, the first is gone"):
        imported(tmp_path, {"gone": ["x"]}, ["here.mp4"])


def test_text_files_caption_the_video_beside_them_in_every_folder(tmp_path):
    for name in ("x/v", "y/v"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / f"{name}.mp4").touch()
        (tmp_path / f"{name}.txt").write_text(f"in {name}\u2028here\r\nagain", newline="")
    (tmp_path / "LICENSE.txt").write_text("words")
    assert load(tmp_path).values("captions") == [["in x/v\u2028here", "again"], ["in y/v\u2028here", "again"]]


# What tables hold


@pytest.mark.parametrize("character", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1e"])
@pytest.mark.parametrize("name", ["captions.csv", "captions.jsonl"])
def test_no_character_but_a_line_end_ends_a_line(folder, name, character):
    text = f"one{character}two"
    rows = {
        "captions.csv": f"filename,caption\r\na.mp4,{text}\r\nb c,three\r\n",
        "captions.jsonl": json.dumps({"file": "a.mp4", "text": text}, ensure_ascii=False)
        + '\r\n{"file": "b c", "text": "three"}',
    }
    (folder / name).write_text(rows[name], newline="")
    captions = load(folder).values("captions")
    assert [len(c) for c in captions] == [1, 1]
    assert captions[0][0].startswith("one")
    assert captions[0][0].endswith("two")


@pytest.mark.parametrize(
    ("table", "captions"),
    [
        ("filename,caption\na.mp4,a man, running, falls\n", ["a man, running, falls"]),
        ('filename,caption\na.mp4,"a man, running"\n', ["a man, running"]),
        ('filename,caption\na.mp4,a 5" pipe\n', ['a 5" pipe']),
        ('filename,caption\na.mp4,"two\nlines, of one"\n', ["two lines, of one"]),
        ("\ufeffFileName , Caption\na.mp4,x\n", ["x"]),
    ],
)
def test_a_caption_is_whole(folder, table, captions):
    (folder / "captions.csv").write_text(table)
    assert load(folder).first().captions == captions


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("captions.csv", "file,words\nx,y\n", "lacks the column caption; its columns: file, words"),
        ("captions.csv", "a;b\n", "lacks the columns filename and caption; its columns: a;b"),
        ("captions.csv", "", "lacks the columns filename and caption; its columns: none, it is empty"),
        ("captions.csv", "caption,file\na man, running,a.mp4\n", "line 2 has 3 fields, the columns are 2"),
        ("captions.csv", 'file,caption\na.mp4,x\nb,"open\na,y\nb,z\n', "line 3.*a quotation mark opens"),
        ("captions.csv", 'file,caption\na.mp4,"open\nb c,y\nb c,"z"\n', "line 2.*a quotation mark opens"),
        ("captions.csv", 'file,caption\na.mp4,"open\nb c,closed"\n', "line 2.*a quotation mark opens"),
        ("captions.csv", "file,caption\na.mp4," + "x" * 131_073, "line 2 cannot be read: field larger"),
        ("captions.json", '{"a": ' + "9" * 5000 + "}", "a number of thousands of digits"),
        ("captions.jsonl", '{"file": "a", "text": "x"}\n' + "9" * 5000, "line 2 holds a number of thousands of digits"),
        ("captions.jsonl", '{"file": "a", "words": "x"}', "line 1 has a record without .*its keys: file, words"),
        ("captions.json", '{"a": ["x"], "a": ["y"]}', "gives 'a' twice, with different values"),
        ("captions.csv", "file,caption\n..\\outside.mp4,x\n", "no file inside the folder"),
        ("captions.csv", "file,caption\nC:\\outside.mp4,x\n", "no file inside the folder"),
    ],
)
def test_broken_tables_say_where_and_what_is_there(folder, name, content, message):
    (folder / name).write_text(content)
    with pytest.raises(Clip2VideoError, match=message) as error:
        load(folder)
    assert "\n" not in str(error.value)


def test_of_several_tables_one_is_taken_and_the_others_named(folder):
    (folder / "captions.csv").write_text("file,caption\na,one\n")
    (folder / "captions.json").write_text('{"a": "one"}')
    dataset = load(folder)
    assert dataset.first().captions == ["one"]
    assert dataset.info["warnings"]["captions.json was passed over for captions.csv"] == 1


def test_the_command_prints_what_is_missing_and_what_was_passed_over(folder, c2v):
    (folder / "captions.csv").write_text("file,caption\na,one\ngone.mp4,two\n")
    done = c2v("import", "folder", folder, "--name", "told")
    fo.delete_dataset("told")
    assert done.stdout == "told: 1 video\n  1 missing: gone.mp4\n  videos that no record names: 1\n"
