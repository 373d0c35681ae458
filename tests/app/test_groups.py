"""Datasets of groups: two slices of videos and one of pictures, whichever is active."""

import fiftyone as fo
import fiftyone.operators as foo
import numpy as np
import pytest
from PIL import Image

from clip2video_plugin import compute_clip2video, evaluate
from clip2video_plugin.app import plugin
from clip2video_plugin.app.evaluate import worst_failures
from clip2video_plugin.app.operators.forms import URI
from clip2video_plugin.app.search import find
from clip2video_plugin.app.videos import all_samples, videos_of
from clip2video_plugin.errors import VideoIndexError
from clip2video_plugin.shapes import caption

SLICES = ("left", "right", "picture")


@pytest.fixture(scope="module")
def groups(world, model, tmp_path_factory):
    """Five groups; the videos are the first ten of the world, those of the slice "right" the last five of them."""
    videos, pictures = sorted(world[0].glob("*.mp4")), tmp_path_factory.mktemp("pictures")
    dataset = fo.Dataset()
    dataset.add_group_field("group", default="left")
    for n in range(5):
        Image.new("RGB", (64, 64), (40 * n, 0, 0)).save(pictures / f"{n}.png")
        files = {"left": videos[n], "right": videos[5 + n], "picture": pictures / f"{n}.png"}
        group = fo.Group()
        dataset.add_samples(
            [
                fo.Sample(filepath=str(path), group=group.element(name), captions=[caption(world[1][n + 5 * at])])
                for at, (name, path) in enumerate(files.items())
            ]
        )
    index = tmp_path_factory.mktemp("index")
    compute_clip2video(dataset, model=model, brain_key="c2v", index=index, progress=False)
    yield dataset
    dataset.delete_brain_run("c2v")
    dataset.delete()


@pytest.fixture(params=SLICES)
def grouped(request, groups):
    groups.group_slice = request.param
    yield groups
    groups.group_slice = "left"


def best(dataset, model, query, names):
    """Ids of the videos of these slices by their products with the sentence, made without a search."""
    vectors, ids, _ = dataset.load_brain_results("c2v").get_embeddings()
    scores = vectors @ model.encode_captions([query]).vector.numpy()[0]
    kept = set(dataset.select_group_slices(list(names)).values("id"))
    return [ids[i] for i in np.argsort(-scores) if ids[i] in kept]


def test_every_view_finds_as_many_as_it_is_asked_for_whatever_slice_is_active(grouped, model, world):
    query = caption(world[1][7])
    videos = ("left", "right")
    for view, names in (
        (grouped.select_group_slices(list(videos)), videos),
        (grouped.select_group_slices("left"), ("left",)),
        (grouped.select_group_slices("right"), ("right",)),
        (grouped.select_group_slices(_allow_mixed=True), videos),
    ):
        expected = best(grouped, model, query, names)[:3]
        assert view.sort_by_similarity(query, k=3, brain_key="c2v").values("id") == expected
        assert find(view, query, k=3).view.values("id") == expected
    assert find(grouped, query, k=3).view.values("id") == best(grouped, model, query, videos)[:3]
    inside = find(grouped.limit(2), query, k=10)
    assert len(inside.view) == len(inside.ids) == 4  # the videos of two groups


@pytest.mark.parametrize("active", ["left", "right"])
def test_a_view_of_groups_ranks_the_videos_of_its_slice(groups, model, world, active):
    groups.group_slice = active
    query = caption(world[1][7])
    found = groups.sort_by_similarity(query, k=3, brain_key="c2v")
    assert found.values("id") == best(groups, model, query, [active])[:3]
    groups.group_slice = "left"


def test_where_pictures_are_shown_those_of_the_groups_with_the_best_videos_are_found(groups, model, world):
    groups.group_slice = "picture"
    query = caption(world[1][7])
    group_of = dict(zip(*groups.select_group_slices(_allow_mixed=True).values(["id", "group.id"]), strict=True))
    expected = list(dict.fromkeys(group_of[i] for i in best(groups, model, query, ["left", "right"])))
    for k, view in ((3, groups), (2, groups.limit(4)), (5, groups)):
        inside = [group for group in expected if group in view.values("group.id")][:k]
        assert view.sort_by_similarity(query, k=k, brain_key="c2v").values("group.id") == inside
    groups.group_slice = "left"


def test_vectors_of_every_slice_are_added(grouped):
    run = grouped.load_brain_results("c2v")
    vectors, ids, _ = run.get_embeddings()
    run.remove_from_index(ids[:6])
    assert run.total_index_size == 4
    run.add_to_index(vectors[:6], ids[:6])
    assert run.total_index_size == 10
    with pytest.raises(VideoIndexError, match=f"1 ids are of no sample of the dataset, the first is {'0' * 24}"):
        run.add_to_index(vectors[:1], ["0" * 24])


def test_the_info_counts_the_videos_of_all_slices(grouped):
    plugin.install()
    info = foo.get_operator(f"{URI}/index_info")(grouped, brain_key="c2v")
    plugin.uninstall()
    assert info["videos"] == "10 of 10"


def test_the_gallery_of_an_evaluation_are_the_videos_of_all_slices(grouped):
    result = evaluate(grouped, brain_key="c2v", progress=False)
    assert (result.videos, result.captions) == (10, 10)
    assert len(worst_failures(grouped, "c2v")) == 10


def test_all_samples_are_those_of_all_slices(grouped):
    assert len(all_samples(grouped)) == len(all_samples(grouped.limit(1))) == 15
    assert len(videos_of(grouped)) == 10
