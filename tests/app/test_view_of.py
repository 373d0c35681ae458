"""A search's result as a view of a dataset: samples in order, with their scores, found by id or by file."""

import fiftyone as fo

from clip2video_plugin import search
from clip2video_plugin.shapes import caption


def test_a_result_is_a_view_of_a_dataset(world, world_index, model):
    dataset = fo.Dataset()
    paths = sorted(str(path) for path in world[0].glob("*.mp4"))
    dataset.add_samples([fo.Sample(filepath=path) for path in paths[:20]], progress=False)
    try:
        result = search(caption(world[1][3]), index=world_index, model=model, k=24)
        shown = [hit for hit in result if hit.path in paths[:20]]
        view = result.to_view(dataset)
        assert view.values("filepath") == [hit.path for hit in shown]
        assert view.values("clip2video_score") == [hit.score for hit in shown]
        assert dataset.count_values("clip2video_score") == {None: 20}
        assert len(search("a --where duration>1h", index=world_index, model=model).to_view(dataset)) == 0
    finally:
        dataset.delete()
