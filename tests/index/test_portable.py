"""An index as Parquet: whole, readable by others, and the same index again wherever it is read in."""

import signal
import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clip2video_plugin.errors import Clip2VideoError, VideoIndexError
from clip2video_plugin.index import VideoIndex, open_index
from clip2video_plugin.index.calibration import read_fit, write_fit
from clip2video_plugin.index.importing import import_index
from clip2video_plugin.index.portable import export_index
from clip2video_plugin.index.windows import VideoWindows
from clip2video_plugin.places import video_id

from .test_store import DIM, MADE, row, unit

SPANS = np.array([[0.0, 2.0], [1.0, 3.0]])


def placed(number, vector, folder="/library", **more):
    path = f"{folder}/{number}.mp4"
    return row(number, vector, path=path, added=100.0 + number) | {"id": video_id(path)} | more


@pytest.fixture
def index(tmp_path):
    """Fifty videos, two of them with windows, a failure, and a calibration."""
    index = VideoIndex.create(tmp_path / "index", DIM, MADE)
    rows = [placed(i, v, captions=["a dog"] if i == 7 else []) for i, v in enumerate(unit(50))]
    index.write(rows)
    index.create_windows().write_windows([VideoWindows(r, "2/1", SPANS, unit(2, i)) for i, r in enumerate(rows[:2])])
    index.write_failures(
        [{"id": video_id("/library/x"), "path": "/library/x", "size": 3, "mtime": 4.0, "reason": "no"}]
    )
    write_fit(index, {"a": 1}, 50)
    return index


def contents(index):
    """Everything in an index, by LanceDB and pyarrow alone."""
    import lancedb

    out = {}
    for name in ("videos", "windows", "failures"):
        out[name] = lancedb.connect(index.uri).open_table(name).to_arrow().sort_by("id").to_pylist()
    return out


def test_a_file_is_read_by_pandas_and_by_pyarrow(index, tmp_path):
    done = export_index(index, tmp_path / "videos.parquet")
    assert (done.rows, done.bytes) == ({"videos": 50}, (tmp_path / "videos.parquet").stat().st_size)
    frame = pd.read_parquet(tmp_path / "videos.parquet").sort_values("path")
    expected = index.rows(list(index.ids()))
    assert {r.id: r.path for r in frame.itertuples()} == {i: r["path"] for i, r in expected.items()}
    for r in frame.itertuples():
        np.testing.assert_array_equal(r.vector, expected[r.id]["vector"])
    metadata = pq.read_metadata(tmp_path / "videos.parquet").metadata
    assert metadata[b"clip2video.sha256"] == MADE.sha256.encode()


def test_a_folder_read_into_a_new_index_gives_the_same_tables_and_answers(index, tmp_path):
    done = export_index(index, tmp_path / "all")
    assert done.rows == {"videos": 50, "windows": 4, "failures": 1, "calibration": 1}
    told = []
    read = import_index(tmp_path / "all", tmp_path / "other", progress=lambda done, total: told.append((done, total)))
    assert (read.rows, read.same, told[-1]) == (done.rows, 0, (56, 56))
    other = open_index(tmp_path / "other")
    assert contents(other) == contents(index)
    assert (other.provenance, other.identity == index.identity) == (index.provenance, False)
    for query in unit(5, 9):
        assert other.search(query, 10) == index.search(query, 10)
        assert other.windows().search(query, 4, each=True) == index.windows().search(query, 4, each=True)
    fit = read_fit(other)
    assert (fit.values, fit.fresh) == ({"a": 1}, True)
    assert [hit.id for hit in other.text.search("dogs", 5)] == [hit.id for hit in index.text.search("dogs", 5)]


def test_reading_in_merges_by_id_and_again_changes_nothing(index, tmp_path):
    export_index(index, tmp_path / "all")
    other = VideoIndex.create(tmp_path / "other", DIM, MADE)
    own = placed(99, unit(1, 3)[0], "/elsewhere")
    stale = placed(1, unit(1, 4)[0]) | {"size": 9}
    other.write([own, stale])
    other.create_windows().write_windows(
        [VideoWindows(stale, "5/5", SPANS[:1] * 3, unit(1)), VideoWindows(own, "5/5", SPANS[:1], unit(1))]
    )
    assert import_index(tmp_path / "all", other).same == 0
    assert other.count() == 51
    assert other.windows().count() == 5
    assert other.rows([stale["id"]])[stale["id"]]["size"] == 1
    before = other._table.version, other.windows()._table.version
    assert import_index(tmp_path / "all", other).same == 50
    assert (other.count(), other._table.version) == (51, before[0])
    assert other.windows().count() == 5


def test_paths_go_relative_to_a_folder_and_on_from_another(index, tmp_path):
    export_index(index, tmp_path / "moved", relative_to="/library")
    assert pq.read_table(tmp_path / "moved" / "videos.parquet")["path"].to_pylist()[:2] == ["0.mp4", "1.mp4"]
    with pytest.raises(VideoIndexError, match=r"are relative; say of which folder or prefix \(--root\)"):
        import_index(tmp_path / "moved", tmp_path / "other")
    for root in ("/mnt/disk", "s3://bucket/films"):
        other = open_index(import_index(tmp_path / "moved", tmp_path / root[:2], root=root).index)
        from clip2video_plugin.places import place_of

        ids = {video_id(place_of(f"{root}/{i}.mp4")): f"{root}/{i}.mp4" for i in range(50)}
        assert {i: e.path for i, e in other.entries(list(ids)).items()} == ids
        assert other.count() == 50
        first = video_id(place_of(f"{root}/0.mp4"))
        assert set(other.windows().ids()) >= {f"{first}/0.000-2.000", f"{first}/1.000-3.000"}
        assert other.failures()[0]["path"] == f"{root}/x"
    export_index(index, tmp_path / "whole.parquet")
    with pytest.raises(VideoIndexError, match="are whole, and --root is for relative ones"):
        import_index(tmp_path / "whole.parquet", tmp_path / "third", root="/mnt")
    with pytest.raises(VideoIndexError, match=r"/library/0\.mp4 is not below /elsewhere"):
        export_index(index, tmp_path / "outside.parquet", relative_to="/elsewhere")
    assert not (tmp_path / "outside.parquet").exists()


def test_nothing_is_replaced_unless_asked_for(index, tmp_path):
    for name in ("one.parquet", "all"):
        export_index(index, tmp_path / name)
        with pytest.raises(VideoIndexError, match=r"exists; choose another name, or let it be replaced \(--force\)"):
            export_index(index, tmp_path / name)
        index.write([placed(77, unit(1, 5)[0])])
        assert export_index(index, tmp_path / name, force=True).rows["videos"] == index.count()
        index.delete([video_id("/library/77.mp4")])
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "diary.txt").write_text("dear")
    with pytest.raises(VideoIndexError, match="is no such export"):
        export_index(index, tmp_path / "mine", force=True)
    assert (tmp_path / "mine" / "diary.txt").read_text() == "dear"
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_one_that_is_killed_leaves_nothing_under_its_name(tmp_path):
    index = VideoIndex.create(tmp_path / "index", 1024, MADE)
    index.write([row(i, v) for i, v in enumerate(unit(4000, 1, 1024))])
    code = (
        "import sys, time\nfrom clip2video_plugin.index import portable\nportable.GROUP = 500\n"
        "def wait(*a, **k): print(1, flush=True); time.sleep(9)\n"
        "portable.export_index(sys.argv[1], sys.argv[2], progress=wait)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, index.uri, tmp_path / "x.parquet"], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"1\n"
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    assert not (tmp_path / "x.parquet").exists()
    assert export_index(index, tmp_path / "x.parquet").rows == {"videos": 4000}


def test_one_that_was_stopped_while_it_was_read_in_goes_on(index, tmp_path, monkeypatch):
    from clip2video_plugin.index import importing

    export_index(index, tmp_path / "all")
    monkeypatch.setattr(importing, "ROWS", 10)

    def stop(done, total):
        if done == 30:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_index(tmp_path / "all", tmp_path / "other", progress=stop)
    assert open_index(tmp_path / "other").count() == 30
    assert import_index(tmp_path / "all", tmp_path / "other").same == 30
    assert contents(open_index(tmp_path / "other")) == contents(index)


def test_to_a_store_and_back(index, tmp_path, s3):
    for place in (s3.uri("backup/all"), s3.uri("one.parquet")):
        export_index(index, place)
        with pytest.raises(VideoIndexError, match="exists"):
            export_index(index, place)
        export_index(index, place, force=True)
        target = tmp_path / place[-3:]
        import_index(place, target)
        assert open_index(target).search(unit(1, 8)[0], 5) == index.search(unit(1, 8)[0], 5)
    keys = {one["Key"] for one in s3.client.list_objects_v2(Bucket=s3.bucket)["Contents"]}
    names = ("videos", "windows", "failures", "calibration")
    assert keys == {"one.parquet", *(f"backup/all/{name}.parquet" for name in names)}


def broken(table, what):
    """A hostile or damaged file, of a good one."""
    vectors = np.array(table["vector"].to_pylist(), np.float32)
    metadata = dict(table.schema.metadata)

    def with_vectors(values, dim=DIM):
        column = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), dim)
        return table.set_column(table.schema.get_field_index("vector"), "vector", column)

    match what:
        case "length":
            vectors[3] *= 2
            return with_vectors(vectors)
        case "nan":
            vectors[3, 1] = np.nan
            return with_vectors(vectors)
        case "dim":
            return with_vectors(np.ascontiguousarray(vectors[:, :8]), 8)
        case "twice":
            return pa.concat_tables([table, table.slice(0, 2)])
        case "column":
            return table.drop_columns(["path"])
        case "type":
            return table.set_column(0, "id", pa.array([[1.0]] * len(table)))
        case "null":
            return table.set_column(0, "id", pa.array([None] * len(table), pa.string()))
        case "model":
            return table.replace_schema_metadata(metadata | {b"clip2video.sha256": b"b" * 64})
        case "elsewhere":
            return table.replace_schema_metadata({})
        case "count":
            return table.replace_schema_metadata(metadata | {b"clip2video.count": b"many"})
        case "newer":
            return table.replace_schema_metadata(metadata | {b"clip2video.form": b"9.0"})
        case "up":
            table = table.set_column(2, "path", pa.array(["../../etc/passwd"] * len(table)))
            return table.replace_schema_metadata(metadata | {b"clip2video.relative": b"1"})


SAID = {
    "length": "the vector of /library/3.mp4 has length 2 and not 1",
    "nan": "has length nan and not 1",
    "dim": "has vectors of 8 numbers, and index .* of 16",
    "twice": "2 rows more than ids",
    "column": "has no column path",
    "type": "cannot read",
    "null": "column id is not filled in everywhere",
    "model": "was made with model 'test'",
    "elsewhere": "does not say which model made its vectors",
    "count": "does not say which model made its vectors",
    "newer": "form 9.0",
    "up": "is not below a folder",
}


@pytest.mark.parametrize("what", SAID)
def test_a_file_that_is_not_right_is_refused_in_a_line_and_changes_nothing(index, tmp_path, what):
    export_index(index, tmp_path / "good.parquet")
    pq.write_table(broken(pq.read_table(tmp_path / "good.parquet"), what), tmp_path / "bad.parquet")
    other = VideoIndex.create(tmp_path / "other", DIM, MADE)
    root = {"root": "/mnt"} if what == "up" else {}
    with pytest.raises(Clip2VideoError, match=SAID[what]) as raised:
        import_index(tmp_path / "bad.parquet", other, **root)
    assert "\n" not in str(raised.value)
    assert other.count() == 0


def test_what_is_no_parquet_is_refused_in_a_line(index, tmp_path):
    export_index(index, tmp_path / "good.parquet")
    whole = (tmp_path / "good.parquet").read_bytes()
    for name, content in {
        "cut": whole[:3000],
        "text": b"dear diary",
        "nothing": b"",
        "torn": whole[:200] + whole[300:],
    }.items():
        (tmp_path / f"{name}.parquet").write_bytes(content)
        with pytest.raises(VideoIndexError) as raised:
            import_index(tmp_path / f"{name}.parquet", tmp_path / "other")
        assert "\n" not in str(raised.value)
    with pytest.raises(VideoIndexError, match="no export at"):
        import_index(tmp_path / "missing.parquet", tmp_path / "other")
    with pytest.raises(VideoIndexError, match="no export at"):
        import_index(tmp_path / "index", tmp_path / "other")
    assert not (tmp_path / "other").exists()
