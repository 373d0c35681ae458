"""Windows in runs: written by the brain method, and of the run's own whatever becomes of it."""

import fiftyone as fo
import fiftyone.operators as foo
import lancedb
import numpy as np
import pytest

from clip2video_plugin import compute_clip2video, embed_videos
from clip2video_plugin.app import plugin
from clip2video_plugin.app.operators.forms import URI
from clip2video_plugin.app.tables import run_tables
from clip2video_plugin.datasets import CaptionedVideoFolder
from clip2video_plugin.errors import Clip2VideoError
from clip2video_plugin.index.contents import check

SIZES = "1/0.5,2/1"


@pytest.fixture
def dataset(world):
    dataset = fo.Dataset.from_dir(dataset_dir=str(world[0]), dataset_type=CaptionedVideoFolder, max_samples=4)
    yield dataset
    for name in fo.list_datasets():
        fo.delete_dataset(name)


def compute(samples, folder, model, key="k1", **options):
    return compute_clip2video(samples, model=model, brain_key=key, index=folder, progress=False, **options)


def videos_with_windows(run):
    """Video -> number of its windows, from the table itself."""
    table = lancedb.connect(run.config.uri).open_table(run.config.table_name.replace("brain_", "windows_"))
    owners = table.to_arrow()["video"].to_pylist()
    return {owner: owners.count(owner) for owner in owners}


def test_a_run_has_windows_of_its_samples_and_keeps_them_up_to_date(dataset, model, tmp_path):
    run = compute(dataset[:3], tmp_path, model, windows=SIZES)
    ids = dataset.values("id")
    assert set(videos_with_windows(run)) == set(ids[:3])
    assert run.table.windows().count() == sum(videos_with_windows(run).values()) > 12
    run = compute(dataset, tmp_path, model)  # a new sample gets what the run has
    assert set(videos_with_windows(run)) == set(ids)
    run.remove_from_index([ids[0]])
    assert set(videos_with_windows(run)) == set(ids[1:])
    dataset.delete_samples([ids[1]])
    compute(dataset, tmp_path, model)
    assert ids[1] not in videos_with_windows(run)
    vectors, found, _ = run.compute_embeddings(dataset.select(ids[2]))
    run.add_to_index(vectors, found)  # of the same file: its windows are right
    assert ids[2] in videos_with_windows(run)
    assert check(tmp_path) == []


def test_windows_of_an_index_of_paths_are_taken(dataset, model, tmp_path):
    paths = dataset.values("filepath")
    embed_videos(paths, index=tmp_path, model=model, windows=SIZES)
    seen = []
    compute(dataset, tmp_path, model, windows=SIZES)
    run = compute_clip2video(
        dataset, model=model, brain_key="k2", index=tmp_path, windows=SIZES, progress=lambda r: seen.append(r.embedded)
    )
    assert max(seen) == 0
    row = lancedb.connect(tmp_path).open_table("windows").to_arrow().to_pylist()[0]
    sample = dataset.match(fo.ViewField("filepath") == row["path"]).first()
    spans, vectors = run.table.windows().windows_by_video([sample.id])[sample.id]
    at = [tuple(span) for span in spans.tolist()].index((row["start"], row["end"]))
    np.testing.assert_array_equal(vectors[at], row["vector"])


def test_a_clone_that_writes_has_windows_of_its_own_and_a_deleted_run_none(dataset, model, tmp_path):
    run = compute(dataset, tmp_path, model, windows=SIZES)
    before = videos_with_windows(run)
    clone = dataset.clone()
    copy = compute(clone, tmp_path, model)
    assert copy.config.table_name != run.config.table_name
    assert sorted(videos_with_windows(copy).values()) == sorted(before.values())
    assert all(one.ours and one.used_by for one in run_tables(tmp_path))
    copy.remove_from_index(list(videos_with_windows(copy))[:1])
    assert videos_with_windows(run) == before
    dataset.delete_brain_run("k1")
    clone.delete_brain_run("k1")
    assert lancedb.connect(tmp_path).list_tables().tables == []


def test_an_import_with_other_ids_has_the_windows_under_them(dataset, model, tmp_path):
    run = compute(dataset, tmp_path / "index", model, windows=SIZES)
    before = videos_with_windows(run)
    dataset.export(export_dir=str(tmp_path / "export"), dataset_type=fo.types.FiftyOneDataset, export_media=False)
    again = fo.Dataset.from_dir(dataset_dir=str(tmp_path / "export"), dataset_type=fo.types.FiftyOneDataset)
    other = again.load_brain_results("k1")
    copied = compute(again, tmp_path / "index", model)
    assert set(videos_with_windows(copied)) == set(again.values("id"))
    assert sorted(videos_with_windows(copied).values()) == sorted(before.values())
    rows = lancedb.connect(tmp_path / "index").open_table(other.config.table_name.replace("brain", "windows"))
    assert all(row["id"].startswith(row["video"] + "/") for row in rows.to_arrow().to_pylist())


def test_the_operator_asks_for_windows(dataset, model, tmp_path, monkeypatch):
    monkeypatch.setenv("C2V_INDEX", str(tmp_path))
    plugin.install()
    try:
        operator = foo.get_operator(f"{URI}/compute_embeddings")
        operator(dataset, brain_key="k1", model="shapes", windows="custom", sizes=SIZES)
        run = dataset.load_brain_results("k1")
        assert run.table.windows().window_sizes() == SIZES
        operator(dataset, brain_key="k1", model="shapes", windows="auto")
        assert run.table.windows().window_sizes() == "auto"
        for wrong in ({"windows": "many"}, {"windows": "custom", "sizes": "5"}):
            with pytest.raises(Exception, match=r"windows are '5'|windows is 'many'"):
                operator(dataset, brain_key="k1", model="shapes", **wrong)
    finally:
        plugin.uninstall()
    with pytest.raises(Clip2VideoError, match="windows are 'many'"):
        compute(dataset, tmp_path, model, windows="many")
