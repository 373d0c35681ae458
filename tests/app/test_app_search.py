"""A sentence typed into the App's magnifier reorders a video dataset, in real Chromium.

The App runs in a process of its own that never imported this project.
"""

import json

import pytest

from clip2video_plugin.shapes import caption

from .browser import MARKS, app_page, app_server, shoot

pytestmark = MARKS


@pytest.fixture(scope="module")
def dataset(world, model, tmp_path_factory):
    import fiftyone as fo

    from clip2video_plugin import compute_clip2video
    from clip2video_plugin.datasets import CaptionedVideoFolder

    dataset = fo.Dataset.from_dir(dataset_dir=str(world[0]), dataset_type=CaptionedVideoFolder, name="app-search")
    dataset.persistent = True
    compute_clip2video(dataset, model=model, brain_key="c2v", index=tmp_path_factory.mktemp("app"), progress=False)
    yield dataset
    dataset.delete_brain_run("c2v")
    dataset.delete()


@pytest.fixture(scope="module")
def app(dataset, tmp_path_factory):
    with app_server(dataset, tmp_path_factory.mktemp("app-log") / "log") as address:
        yield address


@pytest.fixture
def page(app, dataset):
    with app_page(app, dataset) as both:
        yield both


def best(dataset, sentence):
    """The file that the same search finds from Python."""
    return dataset.sort_by_similarity(sentence, k=1, brain_key="c2v").first().filename


def type_sentence(page, orders, sentence, run):
    """Types into the magnifier, presses "Show results" of this ``run``-th search, returns the grid's new order."""
    page.click('[data-cy="action-sort-by-similarity"]')
    page.fill('[data-cy="input-Type anything!"]', sentence)
    with page.expect_response(lambda r: "/operators/execute" in r.url, timeout=120_000) as answer:
        page.press('[data-cy="input-Type anything!"]', "Enter")
    assert answer.value.json().get("error") is None, json.dumps(answer.value.json())[:2000]
    button = '[data-cy="panel-content-similarity_search_panel"] button[aria-label="Show results"]:not([disabled])'
    page.wait_for_function("([b, n]) => document.querySelectorAll(b).length == n", arg=[button, run], timeout=60_000)
    page.wait_for_timeout(500)
    before = orders[-1]
    page.locator(button).first.evaluate("e => e.click()")  # the newest search stands first
    for _ in range(200):
        if orders[-1] != before:
            return orders[-1]
        page.wait_for_timeout(200)
    raise AssertionError("the order of the grid did not change")


def test_a_sentence_typed_into_the_magnifier_reorders_the_videos(page, dataset, world):
    page, orders = page
    # The model is right about nearly all of these; the App must be where it is.
    right = [n for n, scene in enumerate(world[1]) if best(dataset, caption(scene)) == f"{n:05d}.mp4"]
    assert len(right) >= 18
    for run, number in enumerate((right[1], right[-2]), start=1):
        sentence = caption(world[1][number])
        order = type_sentence(page, orders, sentence, run)
        assert order[0] == f"{number:05d}.mp4"
        assert len(order) > 1
        shoot(page, f"magnifier-{run}")
        page.click('[data-cy="panel-tab-similarity_search_panel"] [title="Close"]')
        page.click('[data-cy="btn-clear-view-bar"]')
        page.wait_for_timeout(1500)
