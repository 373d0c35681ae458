"""What may not be written to is read all the same, and a write says so in one line."""

import shutil
import subprocess

import pytest

from clip2video_plugin import embed_videos, load_model, search
from clip2video_plugin.errors import Clip2VideoError
from clip2video_plugin.index import open_index
from clip2video_plugin.index.calibration import write_fit
from clip2video_plugin.index.importing import import_index
from clip2video_plugin.index.portable import export_index
from clip2video_plugin.model import identity
from clip2video_plugin.model.convert import import_checkpoint
from clip2video_plugin.model.fetch import fetch
from clip2video_plugin.model.installed import use_by_default
from clip2video_plugin.model.saving import save_checkpoint
from clip2video_plugin.moving import move_videos
from clip2video_plugin.training import train
from clip2video_plugin.training.world import scene_videos

from ..training.tiny import config
from .scenarios.models import contents, miniature


@pytest.fixture
def mounted(tmp_path, world, world_index, model):
    """An index, a checkpoint, videos and an export, on what is mounted to be read alone."""
    source, place = tmp_path / "source", tmp_path / "ro"
    source.mkdir()
    place.mkdir()
    shutil.copytree(world_index, source / "index")
    whole = load_model("shapes", device="cpu", precision="float32")
    save_checkpoint(source / "models" / "mine", whole.network, whole.tokenizer)
    (source / "videos").mkdir()
    for video in sorted(world[0].glob("*.mp4"))[:3]:
        shutil.copy2(video, source / "videos")
    export_index(world_index, source / "out")
    for command in (["mount", "--bind", source, place], ["mount", "-o", "remount,ro,bind", place]):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"this user may not mount a folder to be read alone: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def test_all_that_reads_works_where_nothing_can_be_written(mounted, world, model, tmp_path, monkeypatch):
    before = contents(mounted)
    monkeypatch.setattr(identity, "LARGE", 1000)  # bytes of weights whose hash would be remembered beside them
    loaded = load_model(mounted / "models" / "mine", device="cpu")
    assert loaded.sha256 == load_model(mounted / "models" / "mine", device="cpu").sha256
    index = open_index(mounted / "index")
    assert [hit.path for hit in search("a red square", index=index, model=model)] == [
        hit.path for hit in search("a red square", index=tmp_path / "source" / "index", model=model)
    ]
    assert index.count() == sum(len(ids) for ids, _ in index.vector_batches()) == len(world[1])
    assert index.check() == []
    assert index.info().videos == len(world[1])
    export_index(index, tmp_path / "copy")
    import_index(mounted / "out", tmp_path / "index")
    assert embed_videos([mounted / "videos"], index=tmp_path / "new", model=model).embedded == 3
    assert embed_videos([world[0]], index=mounted / "index", model=model).skipped == len(world[1])  # nothing is new
    assert contents(mounted) == before


WRITES = {
    "embed": lambda ro, model: embed_videos([ro / "videos"], index=ro / "index", model=model),
    "embed anew": lambda ro, model: embed_videos([ro / "videos"], index=ro / "new", model=model),
    "windows": lambda ro, model: embed_videos([ro / "videos"], index=ro / "index", model=model, windows="1/1"),
    "move": lambda ro, model: move_videos(
        open_index(ro / "index").videos().__next__().path.rpartition("/")[0], ro / "videos", ro / "index"
    ),
    "remove": lambda ro, model: open_index(ro / "index").delete(list(open_index(ro / "index").ids())[:1]),
    "fit": lambda ro, model: write_fit(open_index(ro / "index"), {"a": 1}, 1),
    "import": lambda ro, model: import_index(ro / "out", ro / "new"),
    "export": lambda ro, model: export_index(ro / "index", ro / "copy"),
    "export over": lambda ro, model: export_index(ro / "index", ro / "out", force=True),
    "import a model": lambda ro, model: import_checkpoint(
        miniature(ro.parent, "mine"), activation="quick_gelu", heads=1
    ),
    "default": lambda ro, model: use_by_default("mine"),
    "fetch": lambda ro, model: fetch("clip4clip-didemo", url="http://127.0.0.1:9/"),
    "train": lambda ro, model: train(config(steps=2), scene_videos(24, seed=1), out=ro / "run", progress=False),
    "cache": lambda ro, model: train(
        config(steps=2, cache=str(ro / "cache")), scene_videos(24, seed=1), out=ro.parent / "run", progress=False
    ),
}


@pytest.mark.parametrize("what", WRITES)
def test_each_write_is_refused_in_one_line_that_names_the_place(mounted, model, monkeypatch, what):
    monkeypatch.setenv("C2V_MODELS", str(mounted / "models"))
    before = contents(mounted)
    with pytest.raises(Clip2VideoError) as error:
        WRITES[what](mounted, model)
    assert "\n" not in str(error.value)
    assert str(mounted) in str(error.value)
    assert "ead-only" in str(error.value)
    assert contents(mounted) == before


def test_a_cache_that_may_only_be_read_is_read(mounted, tmp_path):
    """What others have sampled; what is not there is decoded each time."""
    scenes, there = scene_videos(24, seed=1), tmp_path / "source" / "cache"
    first = train(config(steps=3, cache=str(there)), scenes, out=tmp_path / "one", progress=False)
    again = train(config(steps=3, cache=str(mounted / "cache")), scenes, out=tmp_path / "two", progress=False)
    assert contents(first.folder / "last") == contents(again.folder / "last")
