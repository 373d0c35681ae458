"""What ``embed`` takes: buckets, objects, lists in files and on standard input; and the next time."""

import json
import os
import shutil
import threading
from collections import Counter
from pathlib import Path

import lancedb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clip2video_plugin import embed_videos, open_index, stores
from clip2video_plugin.errors import Clip2VideoError, VideoReadError
from clip2video_plugin.index.contents import missing
from clip2video_plugin.inputs import Inputs


def counts(report):
    return report.embedded, report.moved, report.skipped, len(report.failed)


def paths(uri):
    found = lancedb.connect(uri).open_table("videos").to_arrow()["path"].to_pylist()
    assert len(set(found)) == len(found)
    return sorted(found)


def names(*places, **how):
    return [str(found.place) for found in Inputs(places, **how).videos()]


def stamps_of(inputs):
    return {found.place: found.stamp for found in inputs.videos()}


@pytest.fixture
def bucket(s3, world):
    """A bucket with three videos in folders, and things that are none."""
    for i, key in enumerate(("v/a.mp4", "v/deep/er/b.MP4", "v/c #1?.mp4")):
        s3.put(key, world[0] / f"{i:05d}.mp4")
    for key in ("v/notes.txt", "v/.hidden.mp4", "v/.git/x.mp4", "v/deep/.x/y.mp4", "w.mp4", "v/raw.xyz9", "v/deep/"):
        s3.client.put_object(Bucket=s3.bucket, Key=key, Body=b"x")
    return s3


def test_a_prefix_is_a_folder_and_an_object_is_itself(bucket):
    below = [bucket.uri(key) for key in ("v/a.mp4", "v/c #1?.mp4", "v/deep/er/b.MP4")]
    assert sorted(names(bucket.uri("v"))) == sorted(names(bucket.uri("v/"))) == below
    assert sorted(names(f"s3://{bucket.bucket}")) == [*below, bucket.uri("w.mp4")]
    assert names(bucket.uri("v/notes.txt")) == [bucket.uri("v/notes.txt")]
    assert names(bucket.uri("v/a.mp4"), bucket.uri("v/a.mp4")) == [bucket.uri("v/a.mp4")]
    for nothing in ("nothing", "v/nothing/", "v/a"):
        with pytest.raises(VideoReadError, match="no such object"):
            names(bucket.uri(nothing))


def test_a_bucket_is_embedded_once_and_again_where_it_changed(bucket, world, model, tmp_path):
    uri = tmp_path / "index"
    first = embed_videos(bucket.uri("v"), index=uri, model=model)
    assert (counts(first), first.total, first.passed_over) == ((3, 0, 0, 0), 3, {".xyz9": 1})
    assert paths(uri) == sorted(names(bucket.uri("v")))
    local = embed_videos(world[0] / "00000.mp4", index=tmp_path / "local", model=model)
    rows = {r["path"]: r for r in lancedb.connect(uri).open_table("videos").to_arrow().to_pylist()}
    (same,) = lancedb.connect(tmp_path / "local").open_table("videos").to_arrow().to_pylist()
    assert counts(local) == (1, 0, 0, 0)
    np.testing.assert_allclose(rows[bucket.uri("v/a.mp4")]["vector"], same["vector"], atol=1e-6)
    assert rows[bucket.uri("v/a.mp4")]["fingerprint"] == same["fingerprint"]
    assert counts(embed_videos(bucket.uri("v"), index=uri, model=model)) == (0, 0, 3, 0)
    assert counts(embed_videos([bucket.uri("v/a.mp4")], index=uri, model=model)) == (0, 0, 1, 0)
    bucket.put("v/a.mp4", world[0] / "00003.mp4")
    assert counts(embed_videos(bucket.uri("v"), index=uri, model=model)) == (1, 0, 2, 0)
    other = Path(bucket.put("v/copy.mp4", world[0] / "00003.mp4")).name  # beside it, so a video of its own
    assert (other, counts(embed_videos(bucket.uri("v"), index=uri, model=model))) == ("copy.mp4", (1, 0, 3, 0))


def test_an_object_that_was_moved_keeps_its_row(bucket, world, model, tmp_path):
    uri, folder = tmp_path / "index", tmp_path / "videos"
    shutil.copytree(world[0], folder, ignore=lambda _, names: names[3:])
    (local,) = [path for path in folder.iterdir() if path.name == "00000.mp4"] or [next(folder.iterdir())]
    embed_videos([bucket.uri("v"), local], index=uri, model=model)
    before = {r["path"]: r for r in lancedb.connect(uri).open_table("videos").to_arrow().to_pylist()}
    bucket.client.copy_object(Bucket=bucket.bucket, Key="new/a.mp4", CopySource=f"{bucket.bucket}/v/a.mp4")
    bucket.client.delete_object(Bucket=bucket.bucket, Key="v/a.mp4")
    assert counts(embed_videos(bucket.uri("new"), index=uri, model=model)) == (0, 1, 0, 0)
    after = {r["path"]: r for r in lancedb.connect(uri).open_table("videos").to_arrow().to_pylist()}
    assert after.keys() - before.keys() == {bucket.uri("new/a.mp4")}
    assert before.keys() - after.keys() == {bucket.uri("v/a.mp4")}
    assert after[bucket.uri("new/a.mp4")]["vector"] == before[bucket.uri("v/a.mp4")]["vector"]
    assert counts(embed_videos(bucket.uri("new"), index=uri, model=model)) == (0, 0, 1, 0)


def test_a_library_that_was_uploaded_keeps_its_rows(s3, world, model, tmp_path):
    uri, file = tmp_path / "index", tmp_path / "x.mp4"
    shutil.copy(world[0] / "00004.mp4", file)
    embed_videos(file, index=uri, model=model)
    s3.put("up/x.mp4", file)
    file.unlink()
    assert counts(embed_videos(s3.uri("up"), index=uri, model=model)) == (0, 1, 0, 0)
    assert paths(uri) == [s3.uri("up/x.mp4")]


@pytest.fixture
def indexed(bucket, model, tmp_path):
    embed_videos([bucket.uri("v"), bucket.uri("none.mp4")][:1], index=tmp_path / "c2v-index", model=model)
    return bucket


@pytest.mark.parametrize("one_by_one", [100, 0])
def test_objects_that_are_gone_are_asked_for_together(indexed, one_by_one, tmp_path, monkeypatch):
    monkeypatch.setattr("clip2video_plugin.listing.ONE_BY_ONE", one_by_one)
    index = open_index(tmp_path / "c2v-index")
    assert (list(missing(index)), index.check()) == ([], [])
    indexed.client.delete_object(Bucket=indexed.bucket, Key="v/a.mp4")
    assert [entry.path for entry in missing(index)] == [indexed.uri("v/a.mp4")]
    assert not any(entry.missing for entry in index.videos())  # which asks no store
    assert index.check() == [f"1 objects that are gone, the first {indexed.uri('v/a.mp4')}"]
    with monkeypatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")  # where nobody answers
        unasked = Counter()
        assert list(missing(index, None, unasked)) == []
        assert sum(unasked.values()) == 3
        pruned = index.prune()
        assert (pruned.videos, sum(pruned.unasked.values())) == ([], 3)
    assert index.prune().videos == [indexed.uri("v/a.mp4")]
    for key in ("v/c #1?.mp4", "v/deep/er/b.MP4"):
        indexed.client.delete_object(Bucket=indexed.bucket, Key=key)
    assert index.prune().videos == [indexed.uri("v/c #1?.mp4"), indexed.uri("v/deep/er/b.MP4")]


def test_a_prefix_that_is_empty_as_a_whole_is_kept_until_it_is_told(s3, world, model, tmp_path):
    for i in range(2):
        s3.put(f"v/{i}.mp4", world[0] / f"{i:05d}.mp4")
    embed_videos(s3.uri("v"), index=tmp_path / "index", model=model)
    for i in range(2):
        s3.client.delete_object(Bucket=s3.bucket, Key=f"v/{i}.mp4")
    index = open_index(tmp_path / "index")
    assert index.prune().kept == {s3.uri("v"): 2}
    assert len(index.prune(folders=True).videos) == 2


def test_rows_are_listed_searched_and_removed_by_uri(indexed, model, tmp_path, c2v_here, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def said(*arguments):
        code, out, err = c2v_here(*arguments)
        assert (code, err) == (0, b""), err
        return out.decode()

    assert said("index", "list", indexed.uri("v/deep/")).split()[-1] == indexed.uri("v/deep/er/b.MP4")
    hits = json.loads(said("search", "--like", indexed.uri("v/a.mp4"), "--existing", "--json"))["hits"]
    assert sorted(hit["path"] for hit in hits) == [indexed.uri("v/c #1?.mp4"), indexed.uri("v/deep/er/b.MP4")]
    where = f"path:{indexed.uri('v/deep')}/*"
    hits = json.loads(said("search", "a thing", "--where", where, "--json"))["hits"]
    assert [hit["path"] for hit in hits] == [indexed.uri("v/deep/er/b.MP4")]
    assert "1 video and 0 failures removed" in said("index", "remove", indexed.uri("v/deep"))
    assert paths("c2v-index") == [indexed.uri("v/a.mp4"), indexed.uri("v/c #1?.mp4")]


def test_lists_of_text_parquet_and_names(bucket, tmp_path, monkeypatch):
    (tmp_path / "b.mp4").write_bytes(b"x")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "c.mp4").write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    given = [
        bucket.uri("v/c #1?.mp4"),
        "b.mp4",
        "folder",
        "b.mp4",
        "gone.mp4",
        bucket.uri("v/deep/"),
        "ftp://me:pw@h/x",
    ]
    wanted = [
        given[0],
        *(str(tmp_path / name) for name in ("b.mp4", "folder/c.mp4", "gone.mp4")),
        bucket.uri("v/deep/er/b.MP4"),
        "ftp://h/x",
    ]
    text = "\ufeff# made by hand\r\n\r\n" + "\r\n".join(given)
    (tmp_path / "list.txt").write_text(text, newline="")
    pq.write_table(pa.table({"other": range(7), "URI": pa.array(given).dictionary_encode()}), "list.parquet")
    for listed in ("list.txt", tmp_path / "list.parquet", given, iter(given)):
        assert names(listed=listed) == wanted
    assert (Inputs((), "list.txt").count(), Inputs((), "list.parquet").count()) == (7, 7)
    for name in ("list.txt", "list.parquet"):  # a list is a place as well
        assert names(listed=bucket.put(name, tmp_path / name)) == wanted


def test_stamps_of_a_list_are_those_of_the_store(bucket, tmp_path):
    uris = names(bucket.uri("v"))
    stamps = stamps_of(Inputs(bucket.uri("v")))
    heads = [bucket.client.head_object(Bucket=bucket.bucket, Key=u.split("/", 3)[3]) for u in uris]
    times = [head["LastModified"] for head in heads]
    for mtime in (pa.array(times, pa.timestamp("us", "UTC")), [t.timestamp() + 0.25 for t in times]):
        table = pa.table({"path": uris, "size": [head["ContentLength"] for head in heads], "mtime": mtime})
        pq.write_table(table, tmp_path / "list.parquet")
        assert stamps_of(Inputs((), tmp_path / "list.parquet")) == stamps
    assert all(stamps.values())


@pytest.mark.parametrize(
    ("content", "wrong"),
    [
        (b"a.mp4\n\xff\x00\x01\n", "line 2"),
        (b"x" * 70_000, "line 1"),
        ("ü.mp4".encode("utf-16"), "UTF-16"),
        (b"PAR1 and no more", "list"),
    ],
)
def test_what_is_no_list_is_refused_in_one_line(content, wrong, tmp_path):
    (tmp_path / "list").write_bytes(content)
    with pytest.raises(Clip2VideoError, match=wrong):
        Inputs((), tmp_path / "list").count()
    with pytest.raises(Clip2VideoError, match=wrong) as error:
        names(listed=tmp_path / "list")
    assert "\n" not in str(error.value)
    pq.write_table(pa.table({"path": [["a.mp4"]]}), tmp_path / "list")
    with pytest.raises(Clip2VideoError, match="cannot read the list"):
        names(listed=tmp_path / "list")
    pq.write_table(pa.table({"name": ["a.mp4"]}), tmp_path / "list")
    with pytest.raises(Clip2VideoError, match="no column path, uri or filepath; it has name"):
        names(listed=tmp_path / "list")


def test_a_pipe_is_read_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=lambda: (tmp_path / "pipe").write_text("/a.mp4\n/b.mp4\n"))
    writer.start()
    inputs = Inputs((), tmp_path / "pipe")
    assert inputs.count() is None
    assert [str(found.place) for found in inputs.videos()] == ["/a.mp4", "/b.mp4"]
    writer.join()


def test_names_are_read_as_they_are_needed(world):
    taken = []

    def given():
        for i in range(10):
            taken.append(i)
            yield world[0] / f"{i:05d}.mp4"

    videos = Inputs(given()).videos()
    assert next(videos).place.name == "00000.mp4"
    assert taken == [0]
    assert Inputs(given()).count() is None
    assert next(Inputs((), given()).videos()).stamp is None


def test_the_command_line_takes_uris_lists_and_standard_input(bucket, world, tmp_path, c2v, c2v_here, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def counted(text):
        report = json.loads(text)
        return report["embedded"], report["skipped"], [f["path"] for f in report["failed"]]

    assert counted(c2v_here("embed", bucket.uri("v/deep"), "--json")[1]) == (1, 0, [])
    lines = f"{bucket.uri('v/a.mp4')}\n{world[0] / '00005.mp4'}\n{bucket.uri('none.mp4')}\n"
    given = c2v("embed", "-", "--json", input=lines)
    assert counted(given.stdout) == (2, 0, [bucket.uri("none.mp4")]), given.stderr
    (tmp_path / "list.txt").write_text(lines)
    assert counted(c2v_here("embed", "--list", "list.txt", "--json")[1]) == (0, 2, [bucket.uri("none.mp4")])
    code, _, told = c2v_here("embed", "--list", "nowhere.txt")
    assert (code, told.count(b"\n")) == (1, 1)
    assert b"No such file" in told
    assert c2v_here("embed")[0] == 2
    code, _, told = c2v_here("frames", bucket.uri("v"), "out")
    assert (code, told.count(b"\n")) == (1, 1)
    assert b"s3://" in told


def test_texts_beside_an_object_are_its_captions_and_follow_it(s3, world, model, tmp_path, monkeypatch):
    srt = "1\n00:00:01,000 --> 00:00:02,000\n{}\n"
    s3.put("v/clip.mp4", world[0] / "00000.mp4")
    s3.put("v/clip.two.mp4", world[0] / "00001.mp4")
    s3.client.put_object(Bucket=s3.bucket, Key="v/clip.en.srt", Body=srt.format("good morning").encode())
    s3.client.put_object(Bucket=s3.bucket, Key="v/clip.two.txt", Body=b"a second one")
    s3.client.put_object(Bucket=s3.bucket, Key="v/clipper.txt", Body=b"of nobody")

    def captions():
        table = lancedb.connect(tmp_path / "index").open_table("videos").to_arrow().to_pylist()
        return {row["path"].rpartition("/")[2]: row["captions"] for row in table}

    def embed():
        report = embed_videos(s3.uri("v"), index=tmp_path / "index", model=model)
        return report.embedded, report.skipped, report.captioned

    assert embed() == (2, 0, 0)
    assert captions() == {"clip.mp4": ["good morning"], "clip.two.mp4": ["a second one"]}
    assert embed() == (0, 2, 0)
    s3.client.put_object(Bucket=s3.bucket, Key="v/clip.en.srt", Body=srt.format("good evening").encode())
    s3.client.delete_object(Bucket=s3.bucket, Key="v/clip.two.txt")
    assert embed() == (0, 2, 2)
    assert captions() == {"clip.mp4": ["good evening"], "clip.two.mp4": []}
    monkeypatch.setattr("clip2video_plugin.captions.CLOCKS", -3600)  # as an hour later
    monkeypatch.setattr("clip2video_plugin.subtitles.read_lines", lambda path: pytest.fail(f"{path} was fetched again"))
    assert embed() == (0, 2, 0)


def test_a_table_of_captions_names_objects(bucket, model, tmp_path):
    table = (
        f"video,caption\n{bucket.uri('v/a.mp4')},by its address\nb.MP4,by its name\ns3://other/v/a.mp4,of no video\n"
    )
    (tmp_path / "captions.csv").write_text(table)
    report = embed_videos(bucket.uri("v"), captions=tmp_path / "captions.csv", index=tmp_path / "index", model=model)
    rows = lancedb.connect(tmp_path / "index").open_table("videos").to_arrow().to_pylist()
    assert {row["path"]: row["captions"] for row in rows if row["captions"]} == {
        bucket.uri("v/a.mp4"): ["by its address"],
        bucket.uri("v/deep/er/b.MP4"): ["by its name"],
    }
    assert ["1 of 3 names fit no video" in note for note in report.caption_notes] == [True]
    with pytest.raises(Clip2VideoError, match="of this machine"):
        embed_videos(bucket.uri("v"), captions="s3://b/captions.csv", index=tmp_path / "index", model=model)


def test_a_store_that_fails_while_it_is_listed_ends_the_run_and_nothing_is_lost(bucket, model, tmp_path, monkeypatch):
    monkeypatch.setattr("clip2video_plugin.pending.LOOKUP", 1)  # which is what a listing of thousands comes to
    listed = stores.walk

    def fails(uri):
        for number, one in enumerate(listed(uri)):
            if number == 4:
                raise VideoReadError(uri, "no answer from its store")
            yield one

    with monkeypatch.context() as patch:
        patch.setattr(stores, "walk", fails)
        with pytest.raises(VideoReadError, match="no answer from its store"):
            embed_videos(bucket.uri("v"), index=tmp_path / "index", model=model)
    there = paths(tmp_path / "index")
    assert set(there) < set(names(bucket.uri("v")))
    assert counts(embed_videos(bucket.uri("v"), index=tmp_path / "index", model=model)) == (
        3 - len(there), 0, len(there), 0,
    )  # fmt: skip


def test_nothing_is_made_for_what_is_not_there(s3, tmp_path):
    for name in (s3.uri("typo"), f"s3://{s3.bucket}-typo/v", "http://127.0.0.1:9/folder/", tmp_path / "typo"):
        with pytest.raises(VideoReadError):
            embed_videos(name, index=tmp_path / "index")
    assert not (tmp_path / "index").exists()
