"""The Video search panel in real Chromium: typing, options, errors, and what can be kept of a search."""

import shutil

import fiftyone as fo
import pytest

from clip2video_plugin import compute_clip2video
from clip2video_plugin.app import plugin
from clip2video_plugin.app.search import find
from clip2video_plugin.datasets import CaptionedVideoFolder
from clip2video_plugin.shapes import caption

from .browser import MARKS, app_page, app_server, select_first, shoot, wait_for_order

pytestmark = MARKS
QUERY = '[data-cy="clip2video-query"]'
BUTTON = '[data-item-id="@clip2video/clip2video/open_video_search"]'
PANEL = '[data-cy="panel-content-video_search"]'


@pytest.fixture(scope="module")
def dataset(world, model, tmp_path_factory):
    """An indexed dataset, and one that is not."""
    index = tmp_path_factory.mktemp("panel")
    dataset = fo.Dataset.from_dir(dataset_dir=str(world[0]), dataset_type=CaptionedVideoFolder, name="app-panel")
    dataset.persistent = True
    for key in ("c2v", "second"):
        compute_clip2video(dataset, model=model, brain_key=key, index=index / key, progress=False)
    bare = fo.Dataset.from_dir(dataset_dir=str(world[0]), dataset_type=CaptionedVideoFolder, name="app-bare")
    bare.persistent = True
    yield dataset, index
    for one in (dataset, bare):
        for key in one.list_brain_runs():
            one.delete_brain_run(key)
        one.delete()


@pytest.fixture(scope="module")
def app(dataset, tmp_path_factory):
    plugin.install()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("C2V_INDEX", str(tmp_path_factory.mktemp("index")))
        with app_server(dataset[0], tmp_path_factory.mktemp("app-log") / "log") as address:
            yield address
    plugin.uninstall()


@pytest.fixture
def page(app, dataset):
    with app_page(app, dataset[0]) as (page, orders):
        page.locator(BUTTON).evaluate("e => e.click()")  # it may lie under a neighbour where the row is full
        page.wait_for_selector(QUERY, timeout=60_000)
        yield page, orders
    dataset[0].reload()


def ask(page, sentence):
    page.fill(QUERY, sentence)
    page.press(QUERY, "Enter")


def files(found):
    return [path.rsplit("/", 1)[1] for path in found.view.values("filepath")]


def says(page, text):
    page.wait_for_selector(f'{PANEL} :text("{text}")', timeout=60_000)


def test_a_sentence_and_enter_redraw_the_grid_in_order(page, dataset, world):
    page, orders = page
    for number in (4, 17):
        sentence = caption(world[1][number])
        ask(page, sentence)
        wait_for_order(page, orders, files(find(dataset[0], sentence, brain_key="c2v", k=25)))
        says(page, "of 24 videos, best score")
    shoot(page, "panel-search")
    assert page.locator(f"{PANEL} .js-plotly-plot").count() == 1
    # the first query is offered again
    page.fill(QUERY, "")
    page.press(QUERY, "ArrowDown")
    page.click(f'[role="option"]:has-text("{caption(world[1][4])}")')
    wait_for_order(page, orders, files(find(dataset[0], caption(world[1][4]), brain_key="c2v", k=25)))
    page.click(f'{PANEL} button:has-text("Back to all videos")')
    wait_for_order(page, orders, [path.rsplit("/", 1)[1] for path in dataset[0].values("filepath")])


def test_results_are_tagged_and_saved_as_a_view(page, dataset, world):
    page, orders = page
    sentence = caption(world[1][9])
    ask(page, sentence)
    expected = find(dataset[0], sentence, brain_key="c2v", k=25)
    wait_for_order(page, orders, files(expected))
    page.click(f'{PANEL} button:has-text("Tag")')
    says(page, "name a tag, and search first")
    page.fill(f'{PANEL} [placeholder="a tag"]', "found")
    page.click(f'{PANEL} button:has-text("Tag")')
    says(page, f"{len(expected.ids)} videos are tagged found")
    assert dataset[0].count_sample_tags()["found"] == len(expected.ids)
    page.fill(f'{PANEL} [placeholder="a name"]', "kept")
    page.click(f'{PANEL} button:has-text("Save")')
    says(page, "saved as the view kept")
    dataset[0].reload()
    assert dataset[0].load_saved_view("kept").values("id") == expected.ids
    page.click(f'{PANEL} button:has-text("Save")')
    says(page, "there is a saved view 'kept' already")


def test_a_selected_video_shows_its_captions_and_those_that_fit_it(page, dataset):
    page, orders = page
    select_first(page)
    shoot(page, "panel-selected")
    first = dataset[0].match(fo.ViewField("filepath").ends_with(orders[-1][0])).first()
    says(page, first.captions[0])
    says(page, "Best-matching captions of this dataset")


def test_where_in_a_video_a_query_fits_is_plotted_and_marked(page, dataset, world):
    page, orders = page
    sentence = caption(world[1][9])
    ask(page, sentence)
    wait_for_order(page, orders, files(find(dataset[0], sentence, brain_key="c2v", k=25)))
    name = orders[-1][0]
    select_first(page)
    page.click(f'{PANEL} button:has-text("Show where in the video")')
    says(page, "Score over time, seconds")
    page.wait_for_selector(f"{PANEL} .js-plotly-plot .scatterlayer .point", timeout=60_000)
    page.wait_for_timeout(1000)
    page.locator(f"{PANEL} .js-plotly-plot .scatterlayer .point").nth(3).click(force=True)
    page.wait_for_selector(f'{PANEL} img[src^="data:image/jpeg"]', timeout=60_000)
    shoot(page, "panel-timeline")
    page.click(f'{PANEL} button:has-text("Mark moments")')
    says(page, "moments are written to c2v_moments and shown as clips")
    dataset[0].reload()
    sample = dataset[0].match(fo.ViewField("filepath").ends_with(name)).first()
    assert {d.label for d in sample["c2v_moments"].detections} == {sentence}
    page.click('[data-cy="btn-clear-view-bar"]')
    page.wait_for_timeout(1500)


def test_a_dataset_without_index_leads_to_computing_one(app, dataset):
    with app_page(app, fo.load_dataset("app-bare")) as (page, _):
        page.locator(BUTTON).evaluate("e => e.click()")  # it may lie under a neighbour where the row is full
        says(page, "Nothing to search yet")
        page.click(f'{PANEL} button:has-text("Compute embeddings")')
        page.wait_for_selector('[role="dialog"] :text("Brain key")', timeout=60_000)
        shoot(page, "panel-empty")


def test_an_index_deleted_under_the_app_is_told_in_the_panel(page, dataset, world):
    page, _ = page
    shutil.move(dataset[1] / "c2v", dataset[1] / "away")
    try:
        ask(page, "a red square moves left")
        says(page, "the vectors of brain key 'c2v' are gone")
        shoot(page, "panel-index-gone")
    finally:
        shutil.move(dataset[1] / "away", dataset[1] / "c2v")
