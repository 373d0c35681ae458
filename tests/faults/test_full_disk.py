"""A disk of a few MB that is full at some point of a work: one line, what was there stays, and with room it goes on."""

import os
import shutil
import subprocess

import pytest
import torch

from clip2video_plugin import embed_videos, load_model
from clip2video_plugin.errors import Clip2VideoError
from clip2video_plugin.index import VideoIndex, open_index
from clip2video_plugin.index.importing import import_index
from clip2video_plugin.index.portable import export_index
from clip2video_plugin.model.saving import save_checkpoint
from clip2video_plugin.training import train
from clip2video_plugin.training.world import scene_videos

from ..index.test_store import DIM, MADE, row, unit
from ..training.tiny import config
from .scenarios.models import contents
from .scenarios.tables import tables_of
from .scenarios.training import of_run

PARTS = (0.0, 0.5)  # of the bytes that a work takes, which are free


@pytest.fixture
def disk(tmp_path):
    """A file system of 24 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", place], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"this user may not mount a file system: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def free(disk):
    found = os.statvfs(disk)
    return found.f_bavail * found.f_bsize


def sentences_of(path):
    from tokenizers import Tokenizer

    return Tokenizer.from_file(str(path))


class Embed:
    """``embed_videos`` of two videos more than there are."""

    def __init__(self, world, model):
        self.videos, self.model = sorted(world[0].glob("*.mp4"))[:4], model

    def before(self, disk):
        embed_videos(self.videos[:2], index=disk / "index", model=self.model)

    def work(self, disk):
        embed_videos(self.videos, index=disk / "index", model=self.model)

    def state(self, disk):
        return tables_of(disk / "index")

    def kept(self, disk):
        assert open_index(disk / "index").count() >= 2


class Save:
    """``save_checkpoint`` over an older one."""

    def __init__(self, world, model):
        self.model = load_model("shapes", device="cpu", precision="float32")

    def before(self, disk):
        save_checkpoint(disk / "models" / "mine", self.model.network, self.model.tokenizer, half=True)
        self.first = contents(disk / "models")

    def work(self, disk):
        save_checkpoint(disk / "models" / "mine", self.model.network, self.model.tokenizer)

    def state(self, disk):
        return contents(disk / "models")

    def kept(self, disk):
        assert contents(disk / "models") == self.first


class Export:
    """``export_index`` in place of an older export."""

    def __init__(self, world, model):
        pass

    def before(self, disk):
        self.index = VideoIndex.create(disk.parent / "index", DIM, MADE)
        self.index.write([row(i, v) for i, v in enumerate(unit(30))])
        export_index(self.index, disk / "out")
        self.first = (disk / "out" / "videos.parquet").read_bytes()
        self.index.write([row(i, v) for i, v in enumerate(unit(3000))])

    def work(self, disk):
        export_index(self.index, disk / "out", force=True)

    def state(self, disk):
        import pyarrow.parquet as pq

        return pq.read_table(disk / "out" / "videos.parquet").sort_by("id").to_pylist()

    def kept(self, disk):
        assert (disk / "out" / "videos.parquet").read_bytes() == self.first


class Import:
    """``import_index`` into an index that has other rows."""

    def __init__(self, world, model):
        pass

    def before(self, disk):
        source = VideoIndex.create(disk.parent / "source", DIM, MADE)
        source.write([row(i, v, added=5.0) for i, v in enumerate(unit(3000))])
        export_index(source, disk.parent / "out")
        VideoIndex.create(disk / "index", DIM, MADE).write([row(9000, unit(1)[0])])

    def work(self, disk):
        import_index(disk.parent / "out", disk / "index")

    def state(self, disk):
        return tables_of(disk / "index")

    def kept(self, disk):
        assert open_index(disk / "index").rows(["v9000"])


class Train:
    """A run of a few steps with a cache, that goes on from its state."""

    def __init__(self, world, model):
        self.scenes = scene_videos(24, seed=1)

    def before(self, disk):
        torch.set_num_threads(1)

    def work(self, disk):
        settings = config(steps=4, save_every=2, cache=str(disk / "cache"))
        train(settings, self.scenes, out=disk / "run", resume=True, progress=False)

    def state(self, disk):
        return of_run(disk)

    def kept(self, disk):
        pass


@pytest.mark.parametrize("kind", [Embed, Save, Export, Import, Train])
def test_a_disk_that_is_full_at_any_point_costs_one_line_and_a_rerun(disk, world, model, kind, capsys):
    one = kind(world, model)
    one.before(disk)
    (start := disk.parent / "start").mkdir()
    shutil.copytree(disk, start, dirs_exist_ok=True)
    room = free(disk)
    one.work(disk)
    need, expected = room - free(disk), one.state(disk)
    failed = 0
    for part in PARTS:
        for path in disk.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        shutil.copytree(start, disk, dirs_exist_ok=True)
        with (disk / "ballast").open("wb") as file:
            file.write(bytes(max(0, free(disk) - int(need * part))))
        try:
            one.work(disk)
        except Clip2VideoError as error:
            failed += 1
            message = str(error)
        else:
            message = "space"  # what only keeps things does without
        assert "\n" not in message
        assert "space" in message or "no room" in message
        one.kept(disk)
        (disk / "ballast").unlink()
        one.work(disk)
        assert one.state(disk) == expected
    assert failed
    assert not [
        path for path in disk.rglob(".*") if path.name not in (".c2v.lock", ".c2v.build.lock", ".c2v.unfinished")
    ]
