"""``c2v index prune`` removes the tables of FiftyOne runs that no dataset has, and no others."""

import json
import os
import shutil

import fiftyone as fo
import pytest

from clip2video_plugin import compute_clip2video
from clip2video_plugin.app.tables import prune_tables, run_tables
from clip2video_plugin.errors import Clip2VideoError, VideoIndexError
from clip2video_plugin.index import VideoIndex
from clip2video_plugin.index.tables import copy_table


@pytest.fixture
def index(world, world_index, model, tmp_path):
    """An index with runs of two datasets; one dataset is deleted, and FiftyOne leaves its tables behind."""
    folder = shutil.copytree(world_index, tmp_path / "index")
    kept, gone = fo.Dataset(persistent=True), fo.Dataset()
    for dataset in (kept, gone):
        dataset.add_samples([fo.Sample(filepath=str(path)) for path in sorted(world[0].glob("*.mp4"))[:4]])
        compute_clip2video(dataset, model=model, brain_key="k1", index=folder, progress=False)
    names = [dataset.get_brain_info("k1").config.table_name for dataset in (kept, gone)]
    frames = names[1].replace("brain_", "frames_")
    ids = dict.fromkeys(gone.values("id"), "x")
    copy_table(str(folder), names[1], frames, ids, {})
    copy_table(str(folder), names[1], "brain_elsewhere", ids, {"clip2video.database": "another"})
    copy_table(str(folder), names[1], "brain_old_k1", ids, {"clip2video.database": ""})
    gone.delete()
    yield folder, kept, names[1], frames
    kept.delete()


def there(folder):
    return {table.name for table in run_tables(folder)}


def test_tables_of_a_deleted_dataset_are_found_and_removed_and_no_others(index):
    folder, kept, gone, frames = index
    before = there(folder)
    whose = {table.name: (table.used_by, table.ours) for table in run_tables(folder)}
    assert whose["brain_elsewhere"] == ([], False)
    assert whose["brain_old_k1"] == ([], None)
    assert whose[kept.get_brain_info("k1").config.table_name] == ([f"{kept.name}: k1"], True)
    assert sorted(prune_tables(folder, dry_run=True)) == sorted([gone, frames])
    assert there(folder) == before
    assert sorted(prune_tables(folder)) == sorted([gone, frames])
    assert there(folder) == before - {gone, frames}
    assert prune_tables(folder, named=["brain_old_k1"]) == ["brain_old_k1"]
    for name, reason in (
        ("brain_elsewhere", "another FiftyOne database"),
        (kept.get_brain_info("k1").config.table_name, f"is read by {kept.name}: k1"),
        ("brain_none", "there is no table"),
    ):
        with pytest.raises(Clip2VideoError, match=reason):
            prune_tables(folder, named=[name])
    assert len(kept.sort_by_similarity("a red square", k=4, brain_key="k1")) == 4


def test_the_command_lists_them_first_and_removes_them_when_told_to(index, c2v):
    folder, kept, gone, _ = index
    env = os.environ | {"C2V_INDEX": str(folder)}
    first = c2v("index", "prune", env=env)
    assert (first.returncode, gone in first.stderr, "brain_elsewhere" in first.stderr) == (1, True, False)
    assert gone in there(folder)
    listed = c2v("index", "list", "--tables", env=env)
    assert f"{kept.name}: k1" in listed.stdout, listed.stderr
    told = c2v("index", "prune", "--yes", "--json", env=env)
    assert told.returncode == 0, told.stderr
    answer = json.loads(told.stdout)
    assert (gone in answer["tables"], answer["kept_tables"]) == (True, ["brain_old_k1"])
    assert there(folder) == {"brain_elsewhere", "brain_old_k1", kept.get_brain_info("k1").config.table_name}
    with pytest.raises(VideoIndexError):
        VideoIndex.open(folder, table=gone)
