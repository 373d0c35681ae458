"""The files of MSR-VTT, MSVD and VATEX in small, in every circulated layout."""

import json
import pickle

import fiftyone as fo

from clip2video_plugin.datasets import MSRVTTDataset

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


def vatex_value(form):
    english = {i: [f"caption {n} of {i}" for n in range(3)] for i in VATEX}
    return {
        "official": [{"videoID": i, "enCap": texts, "chCap": ["一", "二"]} for i, texts in english.items()],
        "enCap": {i: {"enCap": texts} for i, texts in english.items()},
        "captions": english,
        "desc": [{"video_id": i, "desc": text} for i, texts in english.items() for text in texts],
    }[form]
