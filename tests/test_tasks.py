"""Parts of the vector index as tasks of Ray: the same index, and one line where a part cannot be made."""

import os
import shutil
import signal
import tempfile

import numpy as np
import pytest

from clip2video_plugin.cluster import connected
from clip2video_plugin.errors import Clip2VideoError
from clip2video_plugin.index import Provenance, VideoIndex, segments
from clip2video_plugin.index.connection import plain_errors
from clip2video_plugin.tasks import run_on

pytest.importorskip("ray", reason="the extra ray is not installed")
pytest.importorskip("lance")

DIM, ROWS = 64, 2000


@pytest.fixture(scope="module")
def cluster():
    """A Ray cluster of one node with two CPU cores; not one that others have on this machine."""
    import ray
    from ray.cluster_utils import Cluster

    short = tempfile.mkdtemp(prefix="c2v-ray-", dir="/tmp")  # its sockets have no room for more
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_TMPDIR", short)  # all that Ray writes: the folder it has otherwise may not be there
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        room = {"num_cpus": 2, "object_store_memory": 100_000_000, "min_worker_port": 0}
        node = Cluster(initialize_head=True, head_node_args={**room, "include_dashboard": False})
        patch.setenv("RAY_ADDRESS", node.address)
        with connected(None):
            yield run_on(None)
        ray.shutdown()
        node.shutdown()
    shutil.rmtree(short, ignore_errors=True)


@pytest.fixture
def everything():
    drawn = np.random.default_rng(0).standard_normal((ROWS, DIM)).astype(np.float32)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


@pytest.fixture
def index(tmp_path, everything):
    index = VideoIndex.create(tmp_path / "index", DIM, Provenance("test", "a" * 64, "uniform", 12, "0"))
    base = {"sample_id": None, "start": 0.0, "end": 2.0, "duration": 2.0, "captions": [], "size": 1, "mtime": 1.5}
    rows = [{**base, "id": f"v{n}", "path": f"/v/{n}.mp4", "vector": v} for n, v in enumerate(everything)]
    for n in range(0, ROWS, 1000):
        index._table.add(rows[n : n + 1000])
    return index


def build(index, each):
    with plain_errors(index.uri):
        segments.build(index.uri, index._table, bits=4, part_rows=1000, each=each)


def recall(index, everything):
    asked = everything[:30]
    best = [{f"v{n}" for n in row} for row in np.argsort(-(asked @ everything.T), axis=1)[:, :10]]
    return np.mean([len({hit.id for hit in index.search(q, 10)} & b) / 10 for q, b in zip(asked, best, strict=True)])


def test_tasks_make_the_parts_and_one_whose_process_is_killed_is_made_by_another(cluster, index, everything, tmp_path):
    processes, killed = set(), tmp_path / "killed"

    def each(make, parts):
        def once_killed(part):
            if part == parts[1] and not killed.exists():
                killed.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return os.getpid(), make(part)

        told = cluster(once_killed, parts)
        processes.update(process for process, _ in told)
        return [made for _, made in told]

    build(index, each)
    assert killed.exists()
    assert processes
    assert os.getpid() not in processes
    stats = index._table.index_stats(segments.NAME)
    assert (stats.num_indexed_rows, stats.num_unindexed_rows, stats.num_indices) == (ROWS, 0, 1)
    assert recall(index, everything) >= 0.97


def test_a_part_that_always_kills_its_process_is_one_line(cluster):
    with pytest.raises(Clip2VideoError, match="a part was lost 3 times on the cluster: ") as one:
        cluster(lambda part: os.kill(os.getpid(), signal.SIGKILL), [[0]])
    assert "\n" not in str(one.value)


def test_what_a_part_fails_of_is_said_in_one_line(cluster, index):
    def fail(part):
        raise OSError(f"no room on the disk for part {part}\nand a second line")

    with pytest.raises(
        Clip2VideoError, match=r"a part failed on the cluster: no room on the disk for part \[\d\]"
    ) as one:
        build(index, lambda make, parts: cluster(fail, parts))
    assert "\n" not in str(one.value)
    assert not index._table.list_indices()
