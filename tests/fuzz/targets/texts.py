"""Lines that people type, and text files that they or other programs write."""

import io
import json
import math
from collections.abc import Iterator
from pathlib import Path

from ..target import Files, Room, Target, Wrong

QUERIES = (
    "a dog runs on the beach",
    "a dog runs | a dog jumps | a cat",
    'a dog --also "a running dog" --not "a stage" --not people -k 20',
    'a red bus --then "a man sits down" --then "he stands up" --moments',
    '--like clip.mp4@12-17 --where "duration<60 and tag:beach" --weight 0.7',
    'a song --captions "red bus" --threshold -0.5 --min-confidence 0.5 --diverse 0.25',
    '"a ""quoted"" word" --bank queries.txt -k 1',
    '--captions "" a dog --where "not path:*.mov"',
)
OPERATORS = (b"|", b"--also", b"--not", b"--then", b"--where", b"--like", b"--captions", b"--weight", b"-k",
             b"--moments", b"--threshold", b"--min-confidence", b"--bank", b"--diverse", b'""',
             b' "a" ', b"@1-2")  # fmt: skip
FILTERS = (
    "duration<60",
    "duration>=1.5m and duration<2h",
    'tag:beach or tag:\'two words\' or tag:"a ""b"""',
    "not (path:*.mov and caption:dog) or added>7d",
    "added>2026-01-31 and added<=2026-02-01T18:30",
    "added<2026-01-31T18:30:00+02:00 and not not tag=x",
    "path:folder/*/clip?.mp4 and caption:'a dog' and (duration!=3 or duration==4)",
    "((((((tag:a))))))",
)
WORDS = (b"duration", b"path", b"caption", b"tag", b"added", b"and", b"or", b"not", b"(", b")", b"<", b"<=", b"!=",
         b"==", b":", b"60s", b"7d", b"5m", b"2w", b"2026-01-31", b"0001-01-01", b"9999-12-31T23:59:59", b"*", b"?",
         b"''", b"24:00", b"2026-W05", b"Z", b"+25:00")  # fmt: skip
PLACES = (
    "/videos/clip.mp4", "clip.mp4", "~/clip.mp4", "s3://bucket/a folder/clip.mp4", "gs://b/k#x?y", "az://c@account/k.mp4",
    "file:///videos/a%20b.mp4", "https://user:pass@example.org:443/a%2fb.mp4?token=1&x=2#f", "HTTP://EXAMPLE.ORG:80/%e4",
    "https://example.org/clip.mp4?X-Amz-Signature=ab&X-Amz-Date=1", "abfss://c@a.dfs.core.windows.net/k",
)  # fmt: skip


def _lines(*texts: str) -> list[tuple[str, Files]]:
    return [(str(number), {"line": text.encode()}) for number, text in enumerate(texts)]


def _text(files: Files) -> str:
    return files.get("line", b"").decode("utf-8", "surrogateescape")


def read_query(files: Files, room: Room) -> None:
    from clip2video_plugin.query import Query

    query = Query.parse(_text(files))
    if Query.parse(query.line()) != query:
        raise Wrong(f"the line of a query says another: {query.line()!r}")


def read_filter(files: Files, room: Room) -> None:
    from clip2video_plugin.index.filters import columns_of, sql_of
    from clip2video_plugin.query.filters import parse_filter

    kept = parse_filter(_text(files), now=1.8e9)
    columns_of(kept)
    sql_of(kept).encode()


def read_place(files: Files, room: Room) -> None:
    from clip2video_plugin.places import Uri, absolute, has_credentials, place_of, video_id, without_credentials

    text = _text(files)
    shown = without_credentials(text) if "://" in text else text
    place = place_of(text)
    absolute(text), video_id(place), place.name, place.suffix
    if "://" in text and place_of(str(place)) != place:
        raise Wrong(f"{place} is another place than {place_of(str(place))}")
    if isinstance(place, Uri) and (has_credentials(str(place)) or has_credentials(shown)):
        raise Wrong(f"credentials are left in {place}, {shown}")


def read_windows(files: Files, room: Room) -> None:
    from clip2video_plugin.video.windows import WindowPlan

    plan = WindowPlan.of(_text(files))
    if plan is not None:
        for duration in (0.0, 0.04, 7.3, 3600.0):
            spans = plan.spans(duration)
            if not all(0 <= start <= end <= duration + 1e-5 for start, end in spans):
                raise Wrong(f"windows {plan.text} of {duration} s leave it")


SUBTITLES = {
    "clip.srt": "1\n00:00:01,000 --> 00:00:02,500\nA dog <i>runs</i>.\n\n"
    "2\n00:00:03,000 --> 00:01:00,000\n{\\an8}- Hello &amp; bye\n- two\n",
    "clip.vtt": "WEBVTT\n\nNOTE x\n\n00:01.000 --> 00:02.500 align:start\n<v Anna>A dog</v>\n\n"
    "id\n01:00:03.000 --> 01:00:04\n<00:01.000>b\n",
    "clip.txt": "a dog runs\n\na cat sleeps\r\na bird\rflies\n",
}


def make_subtitles(place: Path) -> Iterator[tuple[str, Files]]:
    for name, text in SUBTITLES.items():
        for encoding in ("utf-8", "utf-16", "utf-16-le", "cp1252"):
            yield f"{name}-{encoding}", {name: text.encode(encoding)}


def read_subtitles(files: Files, room: Room) -> None:
    from clip2video_plugin.subtitles import Sidecars, read_lines

    place = room.put(files | {"clip.mp4": b""}) / next(iter(files))
    lines = read_lines(place)
    if any("\n" in line.text or not line.text for line in lines):
        raise Wrong("a line without words, or of several lines")
    if any(line.start is not None and not 0 <= line.start <= (line.end or 0) < math.inf for line in lines):
        raise Wrong("a time that is none")
    if Sidecars().lines(place.with_name("clip.mp4")) != lines:
        raise Wrong("beside a video it says something else")


CAPTIONS = {
    "captions.csv": 'filename,caption\na.mp4,"a dog, running"\nb.mp4,a cat\nb,a bird "x"\n',
    "captions.tsv": "video_id\tsentence\tsplit\na\ta dog\ttrain\nfolder/c.webm\ta cat\ttest\n",
    "captions.json": json.dumps({"a.mp4": ["a dog", "a cat"], "b": "one"}),
    "list.json": json.dumps([{"video": "a.mp4", "caption": "x"}, {"file_name": "b.mp4", "captions": ["y", "z"]}]),
    "captions.jsonl": '{"file": "a.mp4", "text": "a dog"}\n{"path": "folder/c", "desc": ["b", "c"]}\n',
}
VIDEOS = ("a.mp4", "b.mp4", "folder/c.webm", "folder/a.mkv")


def make_captions(place: Path) -> Iterator[tuple[str, Files]]:
    yield from ((name, {name: text.encode()}) for name, text in CAPTIONS.items())


def read_captions(files: Files, room: Room) -> None:
    from clip2video_plugin.captions import read_table

    table = room.one(files)
    captions, notes = read_table(table, [table.parent / name for name in VIDEOS])
    if any("\n" in note for note in notes) or any("\n" in text for texts in captions.values() for text in texts):
        raise Wrong("a note or a caption of several lines")
    [text.encode() for texts in captions.values() for text in texts]


def make_lists(place: Path) -> Iterator[tuple[str, Files]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    yield "text", {"list.txt": b"a.mp4\n# no\n\nfolder/b.mkv\nhttp://localhost:9/c.mp4\nfile:///x/d.mp4\n"}
    yield "utf-8", {"list.txt": "\ufeffä.mp4\r\nb.mp4\r\n".encode()}
    names = ["a.mp4", None, "folder/b.mkv", "http://localhost:9/c.mp4"]
    for name, columns in {
        "names": {"path": names},
        "stamps": {"uri": names, "size": [1, 2, 3, None], "mtime": [1.5, 2.5, None, 3.5]},
        "times": {
            "FilePath": names,
            "size": pa.array([1, 2, 3, 4], pa.uint8()),
            "mtime": pa.array([1, 2, 3, 4], pa.timestamp("ms", "UTC")),
        },
        "words": {"path": pa.array(names).dictionary_encode(), "size": ["1", "2", None, "4"], "mtime": [None] * 4},
        "numbers": {"path": [1, 2, 3, 4], "other": [[1], [], None, [2]]},
    }.items():
        target = io.BytesIO()
        pq.write_table(pa.table(columns), target, compression="none" if name != "stamps" else "zstd")
        yield name, {"list.parquet": target.getvalue()}


def read_list(files: Files, room: Room) -> None:
    from clip2video_plugin.inputs import Inputs

    path = room.one(files)
    for count, found in enumerate(Inputs([], path).videos()):
        str(found.place).encode("utf-8", "surrogateescape")
        if count > 1000:
            break
    Inputs([], path).count()


def make_banks(place: Path) -> Iterator[tuple[str, Files]]:
    yield "plain", {"bank.txt": b"a dog runs\na cat sleeps\n\n a bird \r\na dog runs\n"}


def read_bank(files: Files, room: Room) -> None:
    from clip2video_plugin.query.bank import lines_of

    if not all(text.strip() for text in lines_of(room.one(files))):
        raise Wrong("an empty query")


def make_moments(place: Path) -> Iterator[tuple[str, Files]]:
    true = [{"qid": n, "query": "a", "vid": f"v{n}", "relevant_windows": [[n, n + 4], [9, 12.5]]} for n in range(3)]
    found = [{"qid": n, "pred_relevant_windows": [[n + 1, n + 4, 0.5], [0, 9, 0.25]]} for n in range(3)]
    files = {name: "\n".join(map(json.dumps, rows)).encode() for name, rows in (("t.jsonl", true), ("p.jsonl", found))}
    yield "three", files


def read_moments(files: Files, room: Room) -> None:
    from clip2video_plugin.evaluation.moments import evaluate_moment_files

    place = room.put(files)
    found = evaluate_moment_files(place / "p.jsonl", place / "t.jsonl")
    json.dumps(found.to_dict(), allow_nan=False)


def make_toml(place: Path) -> Iterator[tuple[str, Files]]:
    from clip2video_plugin.training.config import recipes

    for name, path in recipes().items():
        yield name, {"recipe.toml": path.read_bytes()}


def read_toml(files: Files, room: Room) -> None:
    from clip2video_plugin.training.config import config_of, load_config

    config = load_config(room.one(files))
    if config_of(config.to_dict()) != config:
        raise Wrong("what a configuration says is another one")


TOML = (b"[network]", b"[train]", b"steps = ", b"betas = [0.9, 0.98]", b"true", b"inf", b"nan", b"-1", b'""', b"[]",
        b"{}", b"1e400", b"2026-01-01", b"0x7fffffffffffffffffff")  # fmt: skip
CLOCKS = (b"-->", b"00:00:01,000", b"WEBVTT", b"<i>", b"{\\an8}", b"&amp;")
SIZES = ("5/2.5,10/5", "auto", "2/0.5", "none")
TARGETS = (
    Target("query", "one-line queries", lambda _: _lines(*QUERIES), read_query, 140, OPERATORS),
    Target("filter", "filters of --where, as SQL", lambda _: _lines(*FILTERS), read_filter, 100, WORDS),
    Target(
        "place", "paths, URIs and addresses", lambda _: _lines(*PLACES), read_place, 60, (b"://", b"@", b"%", b"?sig")
    ),
    Target("windows", "sizes of windows", lambda _: _lines(*SIZES), read_windows, 15, (b",", b"/")),
    Target("subtitles", ".srt, .vtt and .txt beside videos", make_subtitles, read_subtitles, 60, CLOCKS),
    Target(
        "captions", "tables of captions", make_captions, read_captions, 50, (b"caption", b"a.mp4", b'"', b",", b"\t")
    ),
    Target("list", "lists of inputs, text and Parquet", make_lists, read_list, 30, ()),
    Target("bank", "files of queries", make_banks, read_bank, 15, (b"\n",)),
    Target("moments", "moments and true ones", make_moments, read_moments, 20, (b'"qid"', b"[", b"]", b"1e999")),
    Target("recipe", "training configurations", make_toml, read_toml, 20, TOML),
)
