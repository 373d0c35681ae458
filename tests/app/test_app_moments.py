"""The operator that marks moments, in real Chromium: its form, and the clips with their pictures in the grid."""

from benchmarks.stories import set_c

from .browser import MARKS, app_page, execute, field, open_operator, plugin_server, refuses, shoot
from .told import dataset_of, write_all

pytestmark = MARKS


def test_the_moments_of_a_search_are_clips_with_pictures_of_their_own(model, tmp_path, tmp_path_factory):
    stories = set_c(3, seed=8)
    write_all(stories, tmp_path / "videos")
    dataset = dataset_of(tmp_path / "videos", model, tmp_path / "index", name="app-moments")
    dataset.persistent = True
    with plugin_server(dataset, tmp_path_factory) as address, app_page(address, dataset) as (page, _):
        pictures = []
        page.on("response", lambda got: pictures.append(got) if "thumbnails" in got.url and "jpg" in got.url else None)
        open_operator(page, "Mark the moments of a search")
        field(page, "Number of videos").fill("0")
        refuses(page, "k is 0; it must lie between 1 and 10000")
        field(page, "Number of videos").fill("2")
        field(page, "What happens in the video").fill(stories[1].captions[2])
        said = execute(page)
        dataset.reload()
        marked = [d for sample in dataset if sample["c2v_moments"] for d in sample["c2v_moments"].detections]
        assert said == f"Moments, those of the best video first: {len(marked)} Videos: 2 Close"
        page.reload()  # the App takes up what its grid shows when the page is loaded
        for _ in range(1200):
            if len({got.url for got in pictures}) == len(marked):
                break
            page.wait_for_timeout(50)
        assert len({got.url for got in pictures}) == len(marked)
        assert {got.status for got in pictures} == {200}
        shoot(page, "moments-as-clips")
    dataset.delete_brain_run("c2v")
    dataset.delete()
