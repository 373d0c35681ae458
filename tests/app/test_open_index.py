"""The App's functions take an open index as well as its URI."""

import shutil

import fiftyone as fo

from clip2video_plugin import compute_clip2video, embed_videos, open_index


def test_a_run_keeps_its_vectors_in_the_index_that_is_given_open(world, model, tmp_path, monkeypatch):
    (tmp_path / "videos").mkdir()
    for i in range(2):
        shutil.copy(world[0] / f"{i:05d}.mp4", tmp_path / "videos")
    monkeypatch.chdir(tmp_path)
    embed_videos("videos", index="index", model=model)
    dataset = fo.Dataset.from_videos_dir(str(tmp_path / "videos"))
    try:
        results = compute_clip2video(dataset, brain_key="k", model=model, index=open_index("index"), progress=False)
        assert results.config.uri == str(tmp_path / "index")
        assert len(dataset.sort_by_similarity("a red square", k=2, brain_key="k")) == 2
        again = compute_clip2video(dataset, brain_key="k", model=model, index=open_index("index"), progress=False)
        assert again.config.table_name == results.config.table_name
        assert {path.name for path in tmp_path.iterdir()} == {"videos", "index"}
    finally:
        dataset.delete()
