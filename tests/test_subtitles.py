"""Subtitles in any state: what is said and when; and which text files are a video's."""

import os
import random
from contextlib import suppress
from pathlib import Path

import pytest

from clip2video_plugin.subtitles import Line, Sidecars, SubtitleError, parse_subtitles, read_lines

SRT = "1\n00:00:01,000 --> 00:00:02,500\nHello <i>there</i>\nagain\n\n2\n01:00:03,250 --> 01:00:04,000\nBye\n"
SAID = [Line("Hello there again", 1.0, 2.5), Line("Bye", 3603.25, 3604.0)]
VTT = """WEBVTT - a title
Kind: captions

NOTE this is no
subtitle

STYLE
::cue { color: red }

intro
00:01.000 --> 00:02.500 position:10%,line-left align:left
<v Anna><c.loud>Hello</c> there <00:00:02.000>again

01:00:03.250 --> 01:00:04.000
{\\an8}Bye"""


def test_both_forms():
    assert parse_subtitles(SRT) == parse_subtitles(VTT) == SAID


@pytest.mark.parametrize("end", ["\r\n", "\r", "\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"])
def test_line_ends_and_encodings(tmp_path, end, encoding):
    path = tmp_path / "a.srt"
    path.write_bytes(SRT.replace("Bye", "Über").replace("\n", end).encode(encoding))
    assert read_lines(path) == [SAID[0], Line("Über", 3603.25, 3604.0)]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("00:05.000 --> 00:02.000\nreversed", [Line("reversed", 2.0, 5.0)]),
        ("00:00:01,5 -> 00:00:02\nno milliseconds", [Line("no milliseconds", 1.5, 2.0)]),
        ("00:01 --> 00:03\na\n00:02 --> 00:04\nb", [Line("a", 1.0, 3.0), Line("b", 2.0, 4.0)]),
        ("1\n00:01 --> 00:03\na\n2\n00:02 --> 00:04\nb", [Line("a", 1.0, 3.0), Line("b", 2.0, 4.0)]),
        ("00:01 --> 00:03\n\n00:02 --> 00:04\n<i></i>", []),
        ("00:01 --> 00:03\nfish &amp; chips &lt;3", [Line("fish & chips <3", 1.0, 3.0)]),
        ("00:01 --> 00:03\n\u202eevil\x1b[31m\x00", [Line("evil [31m", 1.0, 3.0)]),
        ("9999:01:00,000 --> 9999:01:01,000\nlate", [Line("late", 35996460.0, 35996461.0)]),
        ("99999999999999999999:01:00 --> 1:1:1\nx", []),
        ("-->\nx\n--> 00:01\ny\n00:01 -->\nz\n٠٠:٠١ --> ٠٠:٠٢\nw", []),
        ("WEBVTT", []),
        ("", []),
    ],
)
def test_odd_texts(text, lines):
    assert parse_subtitles(text) == lines


def test_a_text_is_a_caption_a_line(tmp_path):
    (tmp_path / "a.txt").write_text("\n a dog  runs \n\nin Lisbon\na dog runs\n")
    assert read_lines(tmp_path / "a.txt") == [Line("a dog runs"), Line("in Lisbon")]


def test_anything_at_all_is_lines_or_one_error(tmp_path):
    dice, path = random.Random(0), tmp_path / "a.vtt"
    for _ in range(60):
        data = bytearray(VTT.encode(dice.choice(["utf-8", "utf-16", "utf-32"])))
        for _ in range(dice.randrange(40)):
            data[dice.randrange(len(data))] = dice.randrange(256)
        path.write_bytes(data[: dice.randrange(len(data))])
        with suppress(SubtitleError):
            assert all(line.start <= line.end for line in read_lines(path))


def test_what_is_no_text_or_too_large_is_named(tmp_path):
    (tmp_path / "a.srt").write_bytes(bytes(range(256)) * 50)
    with pytest.raises(SubtitleError, match="is no text"):
        read_lines(tmp_path / "a.srt")
    with (tmp_path / "b.srt").open("wb") as file:
        file.truncate(17 << 20)
    with pytest.raises(SubtitleError, match="over 16 MB"):
        read_lines(tmp_path / "b.srt")
    with pytest.raises(SubtitleError, match="cannot be read"):
        read_lines(tmp_path)


def test_megabytes_take_a_moment(tmp_path):
    text = "".join(f"{i}\n00:00:01,000 --> 00:00:02,000\n<<<<<{{{{ line {i} {'<' * 50}\n\n" for i in range(50_000))
    (tmp_path / "a.srt").write_text(text)
    assert len(read_lines(tmp_path / "a.srt")) == 50_000


def beside(folder, *names, video="clip.mp4"):
    for name in (*names, video):
        (folder / name).touch()
    return [path.name for path in Sidecars().files(Path(folder / video))]


def test_which_files_are_a_videos(tmp_path):
    os.mkfifo(tmp_path / "clip.fr.srt")  # of which reading would never end
    names = ["clip.srt", "CLIP.TXT", "clip.en.vtt", "Clip.de.forced.srt", "clip.mp4.srt"]
    others = ["clip2.srt", "clip.notes.txt", "other.srt", "clip.json", ".srt", "captions.txt"]
    assert sorted(beside(tmp_path, *names, *others)) == sorted(names)
    assert Sidecars().files(tmp_path / "nowhere" / "clip.mp4") == []


def test_the_longer_name_and_the_exact_one_have_it(tmp_path):
    assert beside(tmp_path, "clip.1.mp4", "clip.1.srt", "clip.srt") == ["clip.srt"]
    assert [p.name for p in Sidecars().files(tmp_path / "clip.1.mp4")] == ["clip.1.srt"]
    assert beside(tmp_path, "Clip.mov", "Clip.srt", video="clip.mp4") == ["clip.srt"]
    assert [p.name for p in Sidecars().files(tmp_path / "Clip.mov")] == ["Clip.srt"]


def test_captions_stay_where_the_folder_cannot_be_listed(tmp_path, monkeypatch):
    (tmp_path / "clip.mp4").write_bytes(b"")
    (tmp_path / "clip.txt").write_text("a dog\n")
    assert [line.text for line in Sidecars().lines(tmp_path / "clip.mp4")] == ["a dog"]

    def fails(folder):
        raise OSError(5, "Input/output error", folder)

    monkeypatch.setattr("os.scandir", fails)
    sidecars = Sidecars()
    assert sidecars.lines(tmp_path / "clip.mp4") is None, "unknown, and not none"
    assert sidecars.unread == [f"text files beside videos in {tmp_path}: Input/output error"]
    assert Sidecars().lines(tmp_path / "gone" / "clip.mp4") is None
