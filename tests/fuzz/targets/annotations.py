"""Annotation files of every importer, in every layout that circulates."""

import json
import pickle
from collections.abc import Iterator
from pathlib import Path

from ..target import Files, Room, Target, Wrong

MSRVTT = ("video7010", "video7011", "video7012")
MSVD = ("-4wsuPCjDBc_5_15", "-7KMZQEsJW4_205_208", "mv89psg6zh4_33_46")
VATEX = ("G9zN5TTuGO4_000179_000189", "-Qzi_U7cVck_000006_000016", "CBL6uetTPHg_000089_000099")
URL = "https://www.youtube.com/watch?v=Sa4BUsvAcjc"


def make_msrvtt(place: Path) -> Iterator[tuple[str, Files]]:
    records = [
        {
            "video_id": i,
            "id": int(i[5:]),
            "category": 1,
            "url": URL,
            "start time": 1.0,
            "end time": 11.5,
            "split": "test",
        }
        for i in MSRVTT
    ]
    sentences = [{"caption": f"sentence {n} of {i}", "video_id": i, "sen_id": n} for i in MSRVTT for n in range(2)]
    beside = {
        "category.txt": b"music\t0\r\npeople\t1\r\n",
        "MSRVTT_test.full.csv": "\n".join(["video_id", *MSRVTT]).encode(),
        "MSRVTT_JSFUSION_test.csv": "\n".join(
            [
                "key,vid_key,video_id,sentence",
                *(f"ret{n},msr{i[5:]},{i},a sentence of {i}" for n, i in enumerate(MSRVTT)),
            ]
        ).encode(),
    }
    layouts = {
        "official": {"info": {}, "videos": records, "sentences": sentences},
        "alone": {"sentences": sentences},
        "descriptions": [{"video_id": i, "desc": f"a caption of {i}"} for i in MSRVTT],
        "annotations": {"annotations": [{"image_id": i, "caption": "x", "id": n} for n, i in enumerate(MSRVTT)]},
    }
    for name, value in layouts.items():
        yield name, {"MSRVTT_data.json": json.dumps(value).encode(), **beside}


def make_msvd(place: Path) -> Iterator[tuple[str, Files]]:
    captions = {i: [f"one of {i}", f"two of {i}"] for i in MSVD}
    mapping = "".join(f"{i} vid{n}\r\n" for n, i in enumerate(MSVD, 1))
    beside = {"youtube_mapping.txt": mapping.encode(), "test_list.txt": "\n".join(MSVD).encode()}
    head = "VideoID,Start,End,WorkerID,Source,AnnotationTime,Language,Description\n"
    rows = [
        f"{i[:11]},{','.join(i.rsplit('_', 2)[1:])},1,clean,9,English,{c}\n" for i, t in captions.items() for c in t
    ]
    tokens = {i: [c.split() for c in texts] for i, texts in captions.items()}
    layouts = {
        "raw-captions.pkl": pickle.dumps(tokens),
        "old-captions.pkl": pickle.dumps(captions, protocol=2),
        "captions_msvd.json": json.dumps(captions).encode(),
        "AllVideoDescriptions.txt": "".join(f"{i} {c}\n" for i, t in captions.items() for c in t).encode(),
        "MSR Video Description Corpus.csv": (head + "".join(rows) + ",,,,,,,\n").encode(),
        "sents_test_lc_nopunc.txt": "".join(
            f"vid{n}\t{c}\n" for n, t in enumerate(captions.values(), 1) for c in t
        ).encode(),
    }
    for name, content in layouts.items():
        yield name, {name: content, **beside}


def make_vatex(place: Path) -> Iterator[tuple[str, Files]]:
    english = {i: [f"caption {n} of {i}" for n in range(3)] for i in VATEX}
    layouts = {
        "official": [{"videoID": i, "enCap": texts, "chCap": ["一", "二"]} for i, texts in english.items()],
        "enCap": {i: {"enCap": texts} for i, texts in english.items()},
        "captions": english,
        "desc": [{"video_id": i, "desc": text} for i, texts in english.items() for text in texts],
    }
    listed = {"test_list.txt": "\n".join(VATEX).encode(), "vatex_test1k5_list.txt": "\n".join(VATEX).encode()}
    for name, value in layouts.items():
        yield name, {"vatex.json": json.dumps(value, ensure_ascii=False).encode(), **listed}


def make_folder(place: Path) -> Iterator[tuple[str, Files]]:
    from .texts import CAPTIONS

    videos = dict.fromkeys(("a.mp4", "b.mp4", "folder/c.webm"), b"")
    for name, text in CAPTIONS.items():
        yield name, {name.replace("list.", "captions."): text.encode(), **videos}
    yield "beside", {"a.txt": b"a dog\na cat\n", "folder/c.txt": b"a bird\r\n", **videos}


def _benchmark(dataset: str, protocols: tuple[str, ...]):
    def read(files: Files, room: Room) -> None:
        from clip2video_plugin.datasets.benchmark import read_benchmark
        from clip2video_plugin.datasets.sources import find_sources
        from clip2video_plugin.errors import Clip2VideoError

        sources = find_sources(room.put(files))
        errors = []
        for protocol in protocols:
            try:
                found = read_benchmark(dataset, sources, protocol=protocol)
            except Clip2VideoError as error:
                errors.append(error)
                continue
            for one in found.annotations:
                if any(text != text.strip() or not text for text in one.captions):
                    raise Wrong(f"a caption with nothing in it, or with edges: {one.captions}")
                for text in (
                    *one.captions,
                    *one.raw_captions,
                    *one.captions_zh,
                    one.category or "",
                    one.source_url or "",
                ):
                    text.encode()  # MongoDB takes no other
                if one.start is not None and not 0 <= one.start < (one.end or 0) < float("inf"):
                    raise Wrong(f"times that are none: {one.start} {one.end}")
        if errors:
            raise errors[0]

    return read


def read_folder(files: Files, room: Room) -> None:
    from clip2video_plugin.datasets.annotations import Warnings
    from clip2video_plugin.datasets.caption_table import read_captions
    from clip2video_plugin.datasets.sources import find_sources

    place = room.put(files)
    for name, texts in read_captions(place, find_sources(place), Warnings()):
        if name.startswith(("/", "../")) or name == "..":
            raise Wrong(f"{name!r} is outside of the folder")
        [text.encode() for text in texts]


NAMES = (b'"videos"', b'"sentences"', b'"video_id"', b'"caption"', b"video7010", b'"sen_id"', b'"split"', b'"test"')
TARGETS = (
    Target("msrvtt", "annotations of MSR-VTT", make_msrvtt, _benchmark("msrvtt", ("1k-a", "full")), 20, NAMES),
    Target(
        "msvd", "annotations of MSVD, pickles too", make_msvd, _benchmark("msvd", ("msvd",)), 20, (b"vid1", b"_5_15")
    ),
    Target(
        "vatex", "annotations of VATEX", make_vatex, _benchmark("vatex", ("vatex-hgr",)), 15, (b'"enCap"', b"_000179")
    ),
    Target(
        "folder", "folders of captioned videos", make_folder, read_folder, 15, (b"filename", b"caption", b"../a.mp4")
    ),
)
