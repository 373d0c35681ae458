"""A first computation that cannot be done leaves neither a run nor a table: its key is free again."""

import shutil

import fiftyone as fo
import lancedb
import pytest

from clip2video_plugin import compute_clip2video, embed_videos, load_model
from clip2video_plugin.datasets import CaptionedVideoFolder
from clip2video_plugin.errors import Clip2VideoError


@pytest.fixture
def dataset(world):
    dataset = fo.Dataset.from_dir(dataset_dir=str(world[0]), dataset_type=CaptionedVideoFolder, max_samples=2)
    yield dataset
    dataset.delete()


def left_behind(dataset, folder):
    tables = lancedb.connect(folder).list_tables().tables if folder.exists() else []
    return dataset.list_brain_runs(), tables


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size is 0; it must be at least 1, a whole number"),
        ({"batch_size": 2.5}, "batch_size is 2.5"),
        ({"batch_size": "8"}, "batch_size is '8'"),
        ({"workers": -1}, "workers is -1"),
        ({"workers": True}, "workers is True"),
        ({"sampling": "each"}, "sampling is 'each'"),
        ({"device": "toaster"}, "device 'toaster' cannot be used"),
        ({"model": "nowhere"}, "no model 'nowhere'"),
    ],
)
def test_options_are_checked_before_anything_is_made(dataset, tmp_path, options, message):
    with pytest.raises(Clip2VideoError, match=message):
        compute_clip2video(dataset, brain_key="k", index=tmp_path / "index", progress=False, **options)
    assert left_behind(dataset, tmp_path / "index") == ([], [])


@pytest.mark.parametrize("options", [{"batch_size": 0}, {"workers": 0}])
def test_embedding_files_checks_them_too(world, model, tmp_path, options):
    with pytest.raises(Clip2VideoError, match="at least 1"):
        embed_videos(world[0], index=tmp_path / "index", model=model, **options)
    assert not (tmp_path / "index").exists()


def test_a_model_loaded_from_a_folder_is_found_again_by_its_folder(dataset, model, tmp_path, monkeypatch):
    shutil.copytree(model.folder, tmp_path / "mine")
    monkeypatch.chdir(tmp_path)
    loaded = load_model("mine", device="cpu")
    run = compute_clip2video(dataset, model=loaded, brain_key="k", index=tmp_path / "index", progress=False)
    assert run.config.checkpoint == str(tmp_path / "mine")
    monkeypatch.chdir("/")
    dataset.clear_cache()
    assert len(dataset.sort_by_similarity("a red square", k=1, brain_key="k")) == 1


def test_a_folder_called_as_an_installed_model_is_not_taken_for_it(dataset, model, tmp_path, monkeypatch):
    (tmp_path / "shapes").mkdir()
    monkeypatch.chdir(tmp_path)
    run = compute_clip2video(dataset, model="shapes", brain_key="k", index=tmp_path / "index", progress=False)
    assert run.config.checkpoint == "shapes"


def stop(report):
    if report.done:
        raise KeyboardInterrupt


def test_a_first_computation_that_fails_frees_its_key(dataset, model, tmp_path):
    dataset.set_values("filepath", [str(tmp_path / "gone.mp4"), str(tmp_path / "also gone.mp4")])
    with pytest.raises(KeyboardInterrupt):
        compute_clip2video(dataset, model=model, brain_key="k", index=tmp_path / "index", progress=stop)
    runs, tables = left_behind(dataset, tmp_path / "index")
    assert runs == []
    assert not [name for name in tables if name.startswith("brain")]


def test_one_that_had_begun_to_write_goes_on(dataset, model, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        compute_clip2video(dataset, model=model, brain_key="k", index=tmp_path / "index", batch_size=1, progress=stop)
    assert dataset.load_brain_results("k").total_index_size >= 1
    compute_clip2video(dataset, model=model, brain_key="k", index=tmp_path / "index", progress=False)
    assert dataset.load_brain_results("k").total_index_size == 2
