"""Captions of videos: tables and text files beside them fill the index, and changes of these embed nothing again."""

import json
import os
import shutil

import pytest

from clip2video_plugin import embed_videos, open_index, search
from clip2video_plugin.captions import captions_of, read_table
from clip2video_plugin.encode import Item
from clip2video_plugin.errors import Clip2VideoError
from clip2video_plugin.query import Query
from clip2video_plugin.rows import video_id

SRT = "1\n00:00:00,500 --> 00:00:01,500\nThe budget is cut\n\n2\n00:00:02,000 --> 00:00:03,000\nAnna leaves\n"


@pytest.fixture
def videos(world, tmp_path):
    folder = tmp_path / "videos"
    folder.mkdir()
    for i in range(3):
        shutil.copy(world[0] / f"{i:05d}.mp4", folder / f"{i}.mp4")
    return folder


@pytest.fixture
def embed(videos, model, tmp_path):
    def run(captions=None, paths=None):
        report = embed_videos(paths or videos, index=tmp_path / "index", model=model, captions=captions)
        return report.embedded, report.moved, report.skipped, report.captioned, report.caption_notes

    return run


def said(tmp_path):
    index = open_index(tmp_path / "index")
    rows = index.rows(list(index.ids())).values()
    return {os.path.basename(row["path"]): (row["captions"], row["caption_times"]) for row in rows}


def found(tmp_path, words, model):
    hits = search(Query(captions=words), index=tmp_path / "index", model=model)
    return [(os.path.basename(hit.path), hit.start, hit.end) for hit in hits]


def test_files_beside_videos_are_captions_with_their_times(videos, embed, model, tmp_path):
    (videos / "0.en.SRT").write_text(SRT)
    (videos / "1.txt").write_text("holiday in Lisbon\nwith Anna\n")
    assert embed() == (3, 0, 0, 0, [])
    assert said(tmp_path) == {
        "0.mp4": (["The budget is cut", "Anna leaves"], [[0.5, 1.5], [2.0, 3.0]]),
        "1.mp4": (["holiday in Lisbon", "with Anna"], [[], []]),
        "2.mp4": ([], None),
    }
    assert found(tmp_path, "budget", model) == [("0.mp4", 0.5, 1.5)]
    assert found(tmp_path, "lisbon anna", model) == [("1.mp4", 0.0, 3.0)]
    assert embed() == (0, 0, 3, 0, [])


def test_changed_files_are_read_and_nothing_is_embedded(videos, embed, model, tmp_path):
    embed()
    before = {i: v.tolist() for i, v in open_index(tmp_path / "index").vectors([video_id(videos / "0.mp4")]).items()}
    (videos / "0.srt").write_text(SRT)
    assert embed() == (0, 0, 3, 1, [])
    assert found(tmp_path, "budget", model) == [("0.mp4", 0.5, 1.5)]
    (videos / "0.srt").write_text(SRT.replace("budget", "rent"))
    assert embed() == (0, 0, 3, 1, [])
    assert found(tmp_path, "budget", model) == []
    assert found(tmp_path, "rent", model) == [("0.mp4", 0.5, 1.5)]
    (videos / "0.srt").unlink()
    assert embed() == (0, 0, 3, 1, [])
    assert found(tmp_path, "rent", model) == []
    assert {i: v.tolist() for i, v in open_index(tmp_path / "index").vectors(list(before)).items()} == before


def test_a_table_gives_captions_that_stay_without_it(videos, embed, model, tmp_path):
    table = tmp_path / "titles.csv"
    table.write_text('file,caption\nvideos/0.mp4,"budget, first talk"\n1,Lisbon\n1,Lisbon\n1,Anna\nelsewhere/9.mp4,x\n')
    (videos / "0.txt").write_text("summary")
    assert embed(table) == (3, 0, 0, 0, ["titles.csv: 1 of 3 names fit no video: elsewhere/9.mp4"])
    expected = {
        "0.mp4": (["budget, first talk", "summary"], [None, []]),
        "1.mp4": (["Lisbon", "Anna"], None),
        "2.mp4": ([], None),
    }
    assert said(tmp_path) == expected
    assert embed() == (0, 0, 3, 0, [])
    assert said(tmp_path) == expected
    table.write_text("file,caption\n0.mp4,second talk\n")
    assert embed(table) == (0, 0, 3, 1, [])
    assert said(tmp_path) == expected | {"0.mp4": (["second talk", "summary"], [None, []])}
    os.utime(videos / "0.mp4", (1, 1))  # and those of a video that is embedded anew
    assert embed()[0] == 1
    assert said(tmp_path)["0.mp4"] == (["second talk", "summary"], [None, []])


def test_captions_move_with_their_video_and_files_with_their_folder(videos, embed, model, tmp_path):
    table = tmp_path / "t.json"
    table.write_text(json.dumps({"0.mp4": ["title"]}))
    (videos / "0.srt").write_text(SRT)
    embed(table)
    before = said(tmp_path)
    videos.rename(tmp_path / "elsewhere")
    assert embed(paths=tmp_path / "elsewhere") == (0, 3, 0, 0, [])
    assert said(tmp_path) == before
    (tmp_path / "elsewhere" / "0.mp4").rename(tmp_path / "0.mp4")  # without its subtitles
    assert embed(paths=tmp_path / "0.mp4") == (0, 1, 0, 0, [])
    assert said(tmp_path)["0.mp4"] == (["title"], None)


def test_a_film_gives_the_subtitle_that_was_meant(videos, embed, model, tmp_path):
    cues = [
        f"{i}\n00:{i // 60:02d}:{i % 60:02d},000 --> 00:{i // 60:02d}:{i % 60:02d},900\nline {i}\n" for i in range(1500)
    ]
    cues[700] = cues[700].replace("line 700", "the canary of the submarine")
    (videos / "0.srt").write_text("\n".join(cues))
    embed()
    assert found(tmp_path, "submarine canary", model) == [("0.mp4", 700.0, 700.9)]


def test_a_file_that_is_no_text_is_told_and_the_captions_stay(videos, embed, tmp_path):
    (videos / "0.srt").write_text(SRT)
    embed()
    before = said(tmp_path)
    (videos / "0.srt").write_bytes(os.urandom(5000))
    assert embed() == (0, 0, 3, 0, [f"{videos / '0.srt'} is no text"])
    assert said(tmp_path) == before


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "\x00", 'file,caption\n"0.mp4,x'])
def test_a_table_that_is_none_is_one_line(videos, embed, tmp_path, text):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(Clip2VideoError, match=r"^[^\n]*t\.csv[^\n]*$"):
        embed(tmp_path / "t.csv")
    with pytest.raises(Clip2VideoError, match=r"none\.csv cannot be read"):
        embed(tmp_path / "none.csv")


def test_names_of_a_table_mean_the_nearest_file(tmp_path):
    paths = [tmp_path / "a" / "x.mp4", tmp_path / "b" / "x.mp4", tmp_path / "b" / "Y.MOV"]
    table = tmp_path / "b" / "t.tsv"
    table.parent.mkdir()
    table.write_text(
        f"video\ttext\nx.mp4\there\n{paths[0]}\tthere\ny.mp4\tloose\nC:\\b\\Y.MOV\twindows\n../../../x\tout\n"
    )
    captions, notes = read_table(table, paths)
    assert captions[str(paths[1])] == ["here"]
    assert captions[str(paths[0])] == ["there"]
    assert captions[str(paths[2])] == ["loose"]
    assert notes
    table.rename(tmp_path / "t.tsv")
    captions, notes = read_table(tmp_path / "t.tsv", paths)
    assert notes[0].startswith("t.tsv: 2 of 5 names fit no video: ")
    assert "t.tsv: 1 of 5 names could mean several videos: x.mp4" in notes


def test_what_is_not_known_now_stays(tmp_path):
    before = (["field", "cue", "line"], [None, [0.0, 1.0], []])
    item = Item(tmp_path / "v.mp4", "v")
    assert captions_of(item, before) == {"captions": before[0], "caption_times": before[1]}
    assert captions_of(Item(tmp_path / "v.mp4", "v", captions=["new"]), before)["captions"] == ["new", "cue", "line"]
    assert captions_of(Item(tmp_path / "v.mp4", "v", beside=lambda _: []), before)["captions"] == ["field"]
    assert captions_of(item) == {"captions": [], "caption_times": None}


def test_the_windows_of_a_film_do_not_repeat_its_subtitles(videos, model, tmp_path):
    (videos / "0.srt").write_text(SRT)
    report = embed_videos(videos / "0.mp4", index=tmp_path / "index", model=model, windows="1/0.5")
    assert (report.embedded, report.windowed) == (1, 1)
    windows = open_index(tmp_path / "index").windows()
    assert {tuple(row["captions"] or ()) for row in windows.rows(list(windows.ids())).values()} == {()}
    assert found(tmp_path, "budget", model) == [("0.mp4", 0.5, 1.5)]
    (videos / "0.srt").write_text(SRT.replace("budget", "rent"))
    report = embed_videos(videos / "0.mp4", index=tmp_path / "index", model=model, windows="1/0.5")
    assert (report.embedded, report.windowed, report.captioned) == (0, 0, 1)
    assert found(tmp_path, "rent", model) == [("0.mp4", 0.5, 1.5)]


def test_an_index_of_an_earlier_version_gets_captions(videos, embed, model, tmp_path):
    embed()
    index = open_index(tmp_path / "index")
    index._table.drop_columns(["caption_times"])
    (videos / "0.srt").write_text(SRT)
    assert found(tmp_path, "budget", model) == []
    assert embed() == (0, 0, 3, 1, [])
    assert found(tmp_path, "budget", model) == [("0.mp4", 0.5, 1.5)]


def test_the_command_takes_a_table(c2v_here, videos, tmp_path):
    (tmp_path / "t.csv").write_text("file,caption\n0.mp4,Lisbon\n7.mp4,x\n")
    args = ("embed", videos, "--index", tmp_path / "index", "--model", "shapes")
    assert c2v_here(*args)[0] == 0
    code, out, err = c2v_here(*args, "--captions", tmp_path / "t.csv")
    assert (code, out.decode().splitlines()[0][:60]) == (
        0,
        "0 embedded, 3 unchanged (1 with other captions), 0 failed, 0",
    )
    assert "c2v: t.csv: 1 of 2 names fit no video: 7.mp4" in err.decode()
    code, out, err = c2v_here("search", "lisbon", "--index", tmp_path / "index", "-k", 3)
    assert out.decode().count("by vector and captions") == 1
    code, out, err = c2v_here(*args, "--captions", tmp_path / "no.csv")
    assert (code, len(err.decode().splitlines())) == (1, 1)
