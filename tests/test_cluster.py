"""Embedding on a Ray cluster: the rows of a plain run, whatever of the cluster dies."""

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import deque
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import lancedb
import numpy as np
import psutil
import pytest
import typer
import yaml

from clip2video_plugin import __version__, blocks, cluster, embed_videos, load_model, open_index
from clip2video_plugin.blocks import Block, blocks_of
from clip2video_plugin.encode import Item
from clip2video_plugin.encode_windows import Wish
from clip2video_plugin.errors import CheckpointError, Clip2VideoError

from .conftest import C2V
from .objectstore import environment
from .test_embed import rows
from .video import clips

pytest.importorskip("ray", reason="the extra [ray] is not installed")

# Runs in all processes of the cluster's nodes: files by whose names decoders crash or never end, as no file does with
# every build of FFmpeg, and checkpoints that are not there.
TRICKS = """
import os, pathlib, signal, time
import av

def opening(source, *args, _open=av.open, **kwargs):
    name = os.path.basename(str(source))
    if name.startswith("crashes-once"):
        seen = pathlib.Path(os.environ["C2V_TEST_SEEN"], name)
        if not seen.exists():
            seen.touch()
            os.kill(os.getpid(), signal.SIGSEGV)
    elif name.startswith("crashes"):
        os.kill(os.getpid(), signal.SIGSEGV)
    elif name.startswith("hangs"):
        time.sleep(1000)
    elif name.startswith("waits"):
        while not pathlib.Path(os.environ["C2V_TEST_SEEN"], "go").exists():
            time.sleep(0.1)
    elif name.startswith("slow"):
        time.sleep(0.2)
    return _open(source, *args, **kwargs)

def isfile(path, _isfile=os.path.isfile):
    return "of-the-driver" not in str(path) and _isfile(path)

av.open, os.path.isfile = opening, isfile
"""


@pytest.fixture(scope="module")
def nodes(tmp_path_factory, store_address):
    """A Ray cluster of one node with two CPU cores, which may read the store; the processes of this module find it."""
    import ray
    from ray.cluster_utils import Cluster

    tricks = tmp_path_factory.mktemp("tricks")
    (tricks / "sitecustomize.py").write_text(TRICKS)
    short = tempfile.mkdtemp(prefix="c2v-ray-", dir="/tmp")  # its sockets have no room for more
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_TMPDIR", short)
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("PYTHONPATH", str(tricks), prepend=os.pathsep)
        patch.setenv("C2V_TEST_SEEN", str(tricks))
        for name, value in environment(store_address).items():
            patch.setenv(name, value)
        started = Cluster(
            initialize_head=True,
            head_node_args={
                "num_cpus": 2,
                "object_store_memory": 100_000_000,
                "include_dashboard": False,
                "ray_client_server_port": (client := free_port()),
            },
        )
        patch.delenv("PYTHONPATH")
        patch.setenv("RAY_ADDRESS", started.address)
        started.client = f"ray://127.0.0.1:{client}"
        started.tricks = tricks
        yield started
        ray.shutdown()
        started.shutdown()
    shutil.rmtree(short, ignore_errors=True)


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def small_videos(folder, count, name="{:03d}.mp4", frames=3):
    folder.mkdir(exist_ok=True)
    return [clips.write(folder / name.format(n), frames + n % 5, size=(64 + n % 3 * 16, 48)) for n in range(count)]


def encoders():
    """The processes of the cluster's actors."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            found += [process] * ("ray::Encoder" in " ".join(process.cmdline()))
    return found


def cosine(one, other):
    return np.dot(one, other) / np.linalg.norm(one) / np.linalg.norm(other)


def assert_as_plain(uri, plain):
    found, wanted = rows(uri), rows(plain)
    assert found.keys() == wanted.keys()
    for path, row in found.items():
        assert {k: v for k, v in row.items() if k not in ("vector", "added")} == {
            k: v for k, v in wanted[path].items() if k not in ("vector", "added")
        }
        assert cosine(row["vector"], wanted[path]["vector"]) >= 0.9999999


def test_300_videos_are_embedded_as_by_plain_embed(nodes, model, tmp_path):
    videos = small_videos(tmp_path / "videos", 300)
    videos[17].write_text("no video")
    videos[18].write_bytes(videos[18].read_bytes()[:-40])
    videos[19].with_suffix(".srt").write_text("1\n00:00:00,000 --> 00:00:01,000\na red square\n")
    table = tmp_path / "captions.csv"
    table.write_text("filename,caption\n020.mp4,a circle\n")
    how = {"model": model, "captions": table, "tags": ["small"]}
    plain = embed_videos([tmp_path / "videos"], index=tmp_path / "plain", **how)
    seen = []
    report = embed_videos(
        [tmp_path / "videos"],
        index=tmp_path / "index",
        engine="ray",
        actors=2,
        progress=lambda report: seen.append(report.actors),
        **how,
    )
    assert (report.embedded, report.skipped, len(report.failed)) == (299, 0, 1)
    assert report.failed == plain.failed
    assert report.damaged == plain.damaged
    assert max(seen) == 2
    assert_as_plain(tmp_path / "index", tmp_path / "plain")
    again = embed_videos([tmp_path / "videos"], index=tmp_path / "index", engine="ray", actors=2, model=model)
    assert (again.embedded, again.skipped, len(again.failed)) == (0, 299, 1)


def test_windows_are_those_of_a_plain_run(nodes, model, tmp_path):
    small_videos(tmp_path / "videos", 4, frames=60)
    how = {"model": model, "windows": "2/1,4/2"}
    embed_videos([tmp_path / "videos"], index=tmp_path / "plain", **how)
    report = embed_videos([tmp_path / "videos"], index=tmp_path / "index", engine="ray", actors=1, **how)
    assert (report.embedded, report.windowed, report.failed) == (4, 4, [])
    assert_as_plain(tmp_path / "index", tmp_path / "plain")
    one, other = (
        lancedb.connect(tmp_path / name)
        .open_table("windows")
        .to_arrow()
        .sort_by([("path", "ascending"), ("start", "ascending"), ("end", "ascending")])
        for name in ("index", "plain")
    )
    assert len(one) == len(other) > 20
    assert one.select(["path", "start", "end"]) == other.select(["path", "start", "end"])
    assert min(map(cosine, one["vector"].to_pylist(), other["vector"].to_pylist())) >= 0.9999999


def test_videos_of_a_store_are_read_by_actors(nodes, model, s3, tmp_path):
    for video in small_videos(tmp_path / "videos", 5):
        s3.put(f"videos/{video.name}", video)
    embed_videos([s3.uri("videos")], index=tmp_path / "plain", model=model)
    report = embed_videos([s3.uri("videos")], index=s3.uri("index"), model=model, engine="ray", actors=1)
    assert (report.embedded, report.failed) == (5, [])
    assert_as_plain(s3.uri("index"), tmp_path / "plain")


def test_an_actor_is_killed_and_nothing_is_lost_or_blamed(nodes, model, tmp_path):
    small_videos(tmp_path / "videos", 40, "slow-{:02d}.mp4")
    killed = []

    def kill(report):
        if report.embedded and not killed:
            killed.append(encoders()[0])
            killed[0].kill()

    report = embed_videos(
        [tmp_path / "videos"], index=tmp_path / "index", model=model, engine="ray", batch_size=4, progress=kill
    )
    assert killed
    assert (report.embedded, report.failed) == (40, [])
    assert len(rows(tmp_path / "index")) == 40


def test_a_video_that_crashes_its_decoder_is_a_failure_and_no_other_is(nodes, model, tmp_path):
    small_videos(tmp_path / "videos", 20)
    for name in ("crashes.mp4", "crashes-once.mp4"):
        clips.write(tmp_path / "videos" / name, 4)
    how = {"index": tmp_path / "index", "model": model, "engine": "ray"}
    report = embed_videos([tmp_path / "videos"], **how)
    assert (report.embedded, report.skipped) == (21, 0)
    assert [(Path(f.path).name, f.reason) for f in report.failed] == [("crashes.mp4", "its decoder crashed")]
    assert {Path(path).name for path in rows(tmp_path / "index")} >= {"crashes-once.mp4", "000.mp4", "019.mp4"}
    assert len(rows(tmp_path / "index")) == 21
    (tmp_path / "videos" / "crashes.mp4").rename(tmp_path / "videos" / "mended.mp4")
    report = embed_videos([tmp_path / "videos"], **how)
    assert (report.embedded, report.skipped, report.failed) == (1, 21, [])


def test_a_decoder_that_never_ends_is_ended(nodes, model, tmp_path, monkeypatch):
    small_videos(tmp_path / "videos", 1)
    clips.write(tmp_path / "videos" / "hangs.mp4", 4)
    for module in (blocks, cluster):
        monkeypatch.setattr(module, "HOUR", 5.0)
    report = embed_videos([tmp_path / "videos"], index=tmp_path / "index", model=model, engine="ray", actors=1)
    assert report.embedded == 1
    assert [(Path(f.path).name, f.reason) for f in report.failed] == [("hangs.mp4", "it took more than 1.0 hours")]


def test_a_node_that_comes_late_works_and_its_loss_is_no_videos_fault(nodes, model, tmp_path):
    small_videos(tmp_path / "videos", 8)
    small_videos(tmp_path / "videos", 40, "waits-{:02d}.mp4")
    late, notes = [], set()

    def grow(report):
        notes.add(report.note)
        if report.embedded and not late:
            late.append(nodes.add_node(num_cpus=1, object_store_memory=100_000_000))
        if report.actors == 3 and len(late) == 1:
            nodes.remove_node(late[0], allow_graceful=False)
            (nodes.tricks / "go").touch()
            late.append("lost")

    report = embed_videos(
        [tmp_path / "videos"],
        index=tmp_path / "index",
        model=model,
        engine="ray",
        actors=3,
        batch_size=2,
        progress=grow,
    )
    assert "the cluster has room for 2 of 3 actors; others start when it has more" in notes
    assert len(late) == 2
    assert (report.embedded, report.failed) == (48, [])
    assert len(rows(tmp_path / "index")) == 48


def test_the_driver_is_killed_and_the_next_one_does_the_rest_beside_another(nodes, tmp_path):
    small_videos(tmp_path / "videos", 40, "slow-{:02d}.mp4")
    command = [*C2V, "embed", str(tmp_path / "videos"), "-i", str(tmp_path / "index"), "--engine", "ray"]
    command += ["--actors", "1", "--batch-size", "2"]
    first = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline and first.poll() is None and not count(tmp_path / "index"):
        time.sleep(0.1)
    first.kill()
    first.communicate()
    there = count(tmp_path / "index")
    assert 0 < there < 40
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert all(f"{there} unchanged, 0 failed" in out for out, _ in said), said
    assert len(rows(tmp_path / "index")) == 40
    assert not psutil.wait_procs(encoders(), timeout=20)[1]


def count(uri):
    try:
        return open_index(uri).count()
    except Clip2VideoError:
        return 0


def test_a_checkpoint_that_a_worker_lacks_is_brought_to_it(nodes, model, tmp_path):
    shutil.copytree(model.folder, tmp_path / "of-the-driver")
    small_videos(tmp_path / "videos", 3)
    how = {"index": tmp_path / "index", "model": tmp_path / "of-the-driver"}
    assert embed_videos([tmp_path / "videos"], engine="ray", actors=1, **how).embedded == 3
    embed_videos([tmp_path / "videos"], index=tmp_path / "plain", model=tmp_path / "of-the-driver")
    assert_as_plain(tmp_path / "index", tmp_path / "plain")


def test_a_checkpoint_that_changed_meanwhile_is_refused(nodes, model, tmp_path):
    small_videos(tmp_path / "videos", 1)
    shutil.copytree(model.folder, tmp_path / "model")
    loaded = load_model(tmp_path / "model", device="cpu")
    weights = tmp_path / "model" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-4:] = np.float32(0.5).tobytes()
    weights.write_bytes(content)
    with pytest.raises(CheckpointError, match=f"is not what it was when this run began .weights {loaded.sha256[:12]}"):
        embed_videos([tmp_path / "videos"], index=tmp_path / "index", model=loaded, engine="ray", actors=1)
    assert not psutil.wait_procs(encoders(), timeout=20)[1]


def test_from_elsewhere_through_ray_client(nodes, tmp_path, c2v):
    small_videos(tmp_path / "videos", 5)
    done = c2v("embed", tmp_path / "videos", "--engine", nodes.client, "--actors", "1", "--json")
    logs = Path(nodes.head_node.get_logs_dir_path()).glob("ray_client_server*")
    said = done.stderr + "".join(f"\n{log.name}\n{log.read_text()[-3000:]}" for log in logs)
    if "Starting Ray client server failed" in done.stderr:  # three times: Ray's own, seen on busy machines
        pytest.skip(said)
    assert done.returncode == 0, said
    assert json.loads(done.stdout)["embedded"] == 5
    assert [line for line in done.stderr.splitlines() if "knows generated shapes only" not in line] == []


def test_what_dies_with_its_node_is_not_blamed(nodes, model):
    ray = pytest.importorskip("ray")
    with cluster.connected(None) as (_, own):
        assert not own
        here = ray.nodes()[0]["NodeID"]
        work = cluster.Work(model.folder, model.sha256, {}, "cpu", "auto", None, "uniform", 8, 1)
        run = cluster._Run(ray, work, iter(()), 1, 0.0, 0.0)

        def dies(block, node, error=None):
            run._actors.append(actor := cluster._Actor(run._class.remote(), None, (node, ""), deque([(block, None)])))
            return run._died(actor, "its decoder crashed", error)

        wish = Wish(Item(Path("/a.mp4"), "a"), (1, 1.0), whole=True)
        block = Block([wish])
        gone, unreachable = ray.exceptions.ActorDiedError(), ray.exceptions.ActorUnavailableError("socket closed", None)
        assert [dies(block, "f" * 56, gone) for _ in range(3)] == [[]] * 3
        assert [dies(block, here, unreachable) for _ in range(2)] == [[]] * 2
        assert [block.crashes, block.losses, len(run._waiting)] == [0, 5, 5]
        assert dies(block, here, gone) == []
        assert [failure.reason for failure in dies(block, here, gone)] == ["its decoder crashed"]
        pair = Block([wish, wish])
        run._waiting.clear()
        assert dies(pair, "f" * 56) == []
        assert list(run._waiting) == [pair]  # whole
        assert dies(pair, here) == []
        assert [len(waiting.wishes) for waiting in run._waiting] == [2, 1, 1]


def test_ctrl_c_keeps_what_was_done_and_leaves_no_process(nodes, tmp_path):
    small_videos(tmp_path / "videos", 100, "slow-{:02d}.mp4")
    run = subprocess.Popen(
        [
            *C2V,
            "embed",
            str(tmp_path / "videos"),
            "-i",
            str(tmp_path / "index"),
            "--engine",
            "ray",
            "--batch-size",
            "1",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=os.environ | {"RAY_ADDRESS": "local", "PYTHONPATH": str(nodes.tricks)},
    )
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline and run.poll() is None and not count(tmp_path / "index"):
        time.sleep(0.1)
    started = psutil.Process(run.pid).children(recursive=True)
    assert any("raylet" in process.name() for process in started)
    os.killpg(run.pid, signal.SIGINT)  # as a terminal does
    out, err = run.communicate(timeout=100)
    assert run.returncode == 130, (out, err)
    assert [line for line in err.splitlines() if "knows generated shapes only" not in line] == [
        "c2v: interrupted; what was done is kept, run the same command again to go on"
    ]
    assert 0 < count(tmp_path / "index") < 100
    assert not psutil.wait_procs(started, timeout=20)[1]


def test_what_cannot_work_is_said_in_one_line(nodes, model, tmp_path, monkeypatch):
    videos, how = small_videos(tmp_path / "videos", 1), {"index": tmp_path / "index", "model": model}

    def said(**more):
        with pytest.raises(Clip2VideoError) as error:
            embed_videos(videos, **{**how, "engine": "ray", **more})
        return str(error.value)

    assert said(engine="dask") == "engine is 'dask'; allowed are ray and ray://host:port"
    assert said(engine="ray://") == "engine is 'ray://'; allowed are ray and ray://host:port"
    assert said(engine=None, actors=2) == (
        "actors is 2, and there is no engine to run them; add engine ray (--engine ray)"
    )
    assert said(gpus_per_actor=1.5) == "gpus_per_actor is 1.5; allowed are 1, 2, ... and parts of one, as 0.5"
    assert said(device="cuda:1", gpus_per_actor=1) == (
        "device is 'cuda:1'; Ray chooses the GPUs of actors: --gpus-per-actor 1"
    )
    gone = f"ray://127.0.0.1:{free_port()}"
    assert said(engine=gone).startswith(f"no Ray cluster {gone}: ")
    assert said(model=replace(model, folder=None)).startswith("model 'shapes' was never saved; save it")
    monkeypatch.setattr(cluster, "PATIENCE", 0.0)
    assert said(gpus_per_actor=1) == (
        "no node of the Ray cluster has 1 CPU and 1 GPU for an actor; they have 2 CPU and 0 GPU"
    )
    monkeypatch.setattr(cluster, "find_spec", lambda name: None)
    assert said() == "engine ray is not installed: pip install clip2video-plugin[ray]"


NOISE = """
import time
from clip2video_plugin.cluster import connected

with connected(None) as (ray, own):
    ray._private.utils.push_error_to_driver(ray._private.worker.global_worker, "node", "a machine was lost")
    time.sleep(2)
"""


def test_what_ray_says_is_not_printed_among_what_is_asked_for(nodes):
    done = subprocess.run([sys.executable, "-c", NOISE], capture_output=True, text=True, timeout=200)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_nothing_is_started_where_nothing_is_left_to_do(nodes, model, tmp_path, monkeypatch):
    videos = small_videos(tmp_path / "videos", 2)
    embed_videos(videos, index=tmp_path / "index", model=model)
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{free_port()}")  # where no cluster is
    report = embed_videos(videos, index=tmp_path / "index", model=model, engine="ray")
    assert (report.embedded, report.skipped) == (0, 2)


def test_of_large_files_there_are_fewer_in_a_block():
    sizes = [1, 1, 1, 1, 1, 500, 20, 30, 30]
    wishes = [Wish(Item(Path(f"/{n}"), str(n)), (size * 1_000_000, 0.0), whole=True) for n, size in enumerate(sizes)]
    blocks = [[wish.stamp[0] // 1_000_000 for wish in block.wishes] for block in blocks_of(iter(wishes), 4)]
    assert blocks == [[1, 1, 1, 1], [1], [500], [20, 30], [30]]


MANIFESTS = Path(__file__).parent.parent / "docs" / "cluster"
PINNED = re.search(r"^ray==(\S+)", (MANIFESTS.parent.parent / "constraints.txt").read_text(), re.MULTILINE)[1]
# Fields of ray.io/v1 that KubeRay's types have (ray-operator/apis/ray/v1), and those that they require.
RAY_JOB = {
    *("activeDeadlineSeconds", "backoffLimit", "rayClusterSpec", "submitterPodTemplate", "metadata", "clusterSelector"),
    *("submitterConfig", "managedBy", "deletionPolicy", "entrypoint", "runtimeEnvYAML", "jobId", "submissionMode"),
    *("entrypointResources", "entrypointNumCpus", "entrypointNumGpus", "ttlSecondsAfterFinished", "suspend"),
    "shutdownAfterJobFinishes",
}
RAY_CLUSTER = {
    *("suspend", "managedBy", "autoscalerOptions", "headServiceAnnotations", "enableInTreeAutoscaling"),
    *("gcsFaultToleranceOptions", "headGroupSpec", "rayVersion", "workerGroupSpecs"),
}
HEAD, HEAD_REQUIRED = {"headService", "enableIngress", "serviceType"}, {"template", "rayStartParams"}
GROUP = {"suspend", "replicas", "idleTimeoutSeconds", "scaleStrategy", "numOfHosts"}
GROUP_REQUIRED = {"groupName", "minReplicas", "maxReplicas", "rayStartParams", "template"}


def parsed(command):
    """What a line of the terminal asks ``c2v embed`` for; a usage error where it is none."""
    from clip2video_plugin.cli.main import app

    program, name, *arguments = shlex.split(command)
    assert (program, name) == ("c2v", "embed")
    return typer.main.get_command(app).commands["embed"].make_context("embed", arguments).params


def test_the_cluster_file_is_one_of_rays():
    import jsonschema
    from ray.autoscaler._private.util import prepare_config, validate_config

    text = (MANIFESTS / "cluster.yaml").read_text()
    config = prepare_config(yaml.safe_load(text))
    validate_config(config)
    assert config["head_node_type"] in config["available_node_types"]
    assert all("ray start" in config[f"{who}_start_ray_commands"][-1] for who in ("head", "worker"))
    with pytest.raises(jsonschema.ValidationError):
        validate_config(prepare_config(yaml.safe_load(text + "nodes: 3\n")))


def test_the_ray_job_has_the_fields_of_its_kind_and_a_command_line_of_ours():
    job = yaml.safe_load((MANIFESTS / "rayjob.yaml").read_text())
    assert (job["apiVersion"], job["kind"], set(job)) == (
        "ray.io/v1",
        "RayJob",
        {"apiVersion", "kind", "metadata", "spec"},
    )
    spec, of = job["spec"], job["spec"]["rayClusterSpec"]
    assert set(spec) <= RAY_JOB
    assert set(of) <= RAY_CLUSTER
    assert HEAD_REQUIRED <= set(of["headGroupSpec"]) <= HEAD | HEAD_REQUIRED
    assert all(GROUP_REQUIRED <= set(group) <= GROUP | GROUP_REQUIRED for group in of["workerGroupSpecs"])
    for group in (of["headGroupSpec"], *of["workerGroupSpecs"]):
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
        for container in group["template"]["spec"]["containers"]:
            assert {"name", "image", "resources"} <= set(container)
    asked = parsed(spec["entrypoint"])
    assert (asked["engine"], asked["index"]) == ("ray", "s3://bucket/index")
    assert of["rayVersion"] == PINNED


def test_the_image_and_the_commands_of_the_documentation_fit():
    assert f"FROM rayproject/ray:{PINNED}-py311" in (MANIFESTS / "Dockerfile").read_text()
    text = (MANIFESTS.parent / "cluster.md").read_text()
    commands = re.findall(r"^ +(?:ray exec \S+ ')?(c2v embed [^#'\n]*--engine[^#'\n]*)", text, re.MULTILINE)
    assert len(commands) >= 4
    assert all(parsed(command)["engine"].startswith("ray") for command in commands)


WITHOUT = """
import sys

class Without:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "clip2video_plugin":
            raise ModuleNotFoundError(f"No module named {name!r}")

sys.meta_path.insert(0, Without())
"""


def test_a_connected_process_stays_connected_and_a_worker_without_the_package_is_named(nodes, model, tmp_path):
    import ray

    videos, shadow = small_videos(tmp_path / "videos", 2), tmp_path / "shadow"
    shadow.mkdir()
    (shadow / "sitecustomize.py").write_text(WITHOUT)
    ray.init(nodes.address, runtime_env={"env_vars": {"PYTHONPATH": str(shadow)}}, log_to_driver=False)
    try:
        with pytest.raises(Clip2VideoError) as error:
            embed_videos(videos, index=tmp_path / "index", model=model, engine="ray", actors=1)
        assert str(error.value) == (
            "actors cannot start: ModuleNotFoundError: No module named 'clip2video_plugin'; "
            f"install clip2video-plugin {__version__} on all machines"
        )
        assert ray.is_initialized()
    finally:
        ray.shutdown()
