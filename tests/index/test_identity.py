"""A table that another process made anew under the same name is not taken for the one that was opened."""

import shutil
import subprocess
import sys

import numpy as np
import pytest

from clip2video_plugin.errors import QueryError, VideoIndexError
from clip2video_plugin.index import Provenance, VideoIndex, open_index

OLD, NEW = (Provenance(name, name * 8, "uniform", 12, "0") for name in ("old", "new"))


def row(number, direction):
    vector = np.zeros(4, np.float32)
    vector[direction] = 1
    return {
        "id": f"v{number}",
        "path": f"/v{number}.mp4",
        "start": 0.0,
        "vector": vector,
        "captions": [],
        "size": 1,
        "mtime": 0.0,
    }


def test_a_handle_kept_from_before_sees_the_new_tables_rows_in_a_view_and_its_model(tmp_path):
    made = VideoIndex.create(tmp_path, 4, OLD)
    made.write([row(0, 0), row(1, 1)])
    handle, query, ids = open_index(tmp_path), np.eye(4, dtype=np.float32)[0], {"v0", "v1"}
    assert [hit.id for hit in handle.search(query, 1, ids=ids)] == ["v0"]
    # in a process of its own: the same name, as many commits, other rows by another model
    code = (
        "import sys, numpy as np\n"
        "from clip2video_plugin.index import Provenance, VideoIndex, open_index\n"
        "from tests.index.test_identity import NEW, row\n"
        "open_index(sys.argv[1]).drop()\n"
        "VideoIndex.create(sys.argv[1], 4, NEW).write([row(0, 1), row(1, 0)])\n"
    )
    root = __file__.rsplit("/tests/", 1)[0]
    subprocess.run([sys.executable, "-c", code, tmp_path], cwd=root, check=True, timeout=60)
    assert handle._table.version == made._table.version  # which told the states apart before
    assert [hit.id for hit in handle.search(query, 1, ids=ids)] == ["v1"]
    assert handle.provenance == NEW


def test_an_identity_is_drawn_once_and_never_twice(tmp_path):
    one, two = (VideoIndex.create(tmp_path, 4, OLD, table=name) for name in ("one", "two"))
    assert one.identity == VideoIndex.create(tmp_path, 4, OLD, table="one").identity != two.identity
    one.write([row(0, 0)])
    assert open_index(tmp_path, table="one").identity == one.identity


def test_a_table_that_is_gone_is_said_to_be(tmp_path):
    made = VideoIndex.create(tmp_path, 4, OLD)
    shutil.rmtree(tmp_path / "videos.lance")
    for ask in (lambda: made.provenance, lambda: made.dim, lambda: made.state, made.count):
        with pytest.raises(VideoIndexError, match=str(tmp_path)):
            ask()


def test_a_view_of_ids_that_are_not_indexed_has_no_hits(tmp_path):
    made = VideoIndex.create(tmp_path, 4, OLD)
    assert made.search(np.ones(4, np.float32), 3, ids={"absent"}) == []
    made.write([row(0, 0)])
    assert made.search(np.ones(4, np.float32), 3, ids={"absent"}) == []
    assert made.search(np.ones(4, np.float32), 3, ids=set()) == []


@pytest.mark.parametrize("k", [0, -1, 2.7, 2.0, "2", True, None, float("nan"), 10**10, [3]])
def test_an_impossible_number_of_hits_never_reaches_lancedb(tmp_path, k):
    with pytest.raises(QueryError, match=r"^k is .*; it must be a whole number that lies between 1 and 10000$"):
        VideoIndex.create(tmp_path, 4, OLD).search(np.ones(4, np.float32), k)
