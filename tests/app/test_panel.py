"""The panel's events as the server runs them: they overlap, and each brings the page's state of when it happened."""

from copy import deepcopy

import fiftyone as fo
import fiftyone.operators as foo
import pydash
import pytest
from fiftyone.operators.executor import ExecutionContext, Executor

from clip2video_plugin import compute_clip2video
from clip2video_plugin.app import panel_memory, plugin
from clip2video_plugin.app.operators.forms import PANEL, URI
from clip2video_plugin.app.panel_memory import PANELS, forget, shown_in
from clip2video_plugin.datasets import CaptionedVideoFolder
from clip2video_plugin.shapes import caption


@pytest.fixture(scope="module")
def panel():
    plugin.install()
    yield foo.get_operator(f"{URI}/{PANEL}")
    plugin.uninstall()


@pytest.fixture(scope="module")
def dataset(world, model, tmp_path_factory):
    dataset = fo.Dataset.from_dir(dataset_dir=str(world[0]), dataset_type=CaptionedVideoFolder)
    compute_clip2video(dataset, model=model, brain_key="c2v", index=tmp_path_factory.mktemp("index"), progress=False)
    yield dataset
    dataset.delete_brain_run("c2v")
    dataset.delete()


@pytest.fixture(autouse=True)
def _closed():
    yield
    forget("one")


def happens(panel, dataset, event, state, selected=(), **params):
    """Runs an event; the page's state after it, what is drawn by name (None: nothing), and what else the page does."""
    asked = {
        "dataset_name": dataset.name,
        "view": [],
        "selected": list(selected),
        "params": {"panel_id": "one", "__method__": event, "panel_state": deepcopy(state), **params},
    }
    ctx = ExecutionContext(asked, executor=Executor())
    panel.execute(ctx)
    after, drawn, others = deepcopy(state), None, []
    for request in ctx.executor._requests:
        name, what = request.operator_uri, request.params
        if name == "patch_panel_state":
            for path, value in what["state"].items():
                pydash.set_(after, path, value)
        elif name == "show_panel_output":
            drawn = what["output"]["type"]["properties"]
        else:
            others.append(name)
    return after, drawn, others


def message(drawn):
    return drawn["message_shown"]["default"]


def test_an_event_of_before_the_answer_draws_the_answer_too(panel, dataset, world):
    opened, _, _ = happens(panel, dataset, "on_load", {})
    before, _, _ = happens(panel, dataset, "on_query", opened, value=caption(world[1][3]))
    first = dataset.first().id
    before, drawn, _ = happens(panel, dataset, "on_change_selected", before, selected=[first])
    assert "sample_shown" in drawn
    _, drawn, others = happens(panel, dataset, "on_query", before, value=caption(world[1][4]))
    answer = message(drawn)
    assert "set_view" in others
    # The new view clears the selection, which the page tells with the state it had before the answer.
    _, drawn, _ = happens(panel, dataset, "on_change_selected", before)
    assert message(drawn) == answer
    assert {"back", "keep", "save", "histogram"} <= set(drawn)
    assert "sample_shown" not in drawn


def test_a_menu_that_is_drawn_asks_nothing(panel, dataset, world):
    opened, _, _ = happens(panel, dataset, "on_load", {})
    menu = {"path": "options.k", "value": 25}
    assert happens(panel, dataset, "on_option", opened, **menu)[1] is None
    after, _, _ = happens(panel, dataset, "on_query", opened, value=caption(world[1][4]))
    assert happens(panel, dataset, "on_option", after, **menu)[1] is None
    _, drawn, others = happens(panel, dataset, "on_option", after, path="options.k", value=10)
    assert message(drawn).startswith("**10** of 24 videos")
    assert "set_view" in others


def test_the_selection_of_nothing_draws_nothing_when_nothing_was_selected(panel, dataset):
    opened, _, _ = happens(panel, dataset, "on_load", {})
    assert happens(panel, dataset, "on_change_selected", opened) == (opened, None, [])


def test_an_empty_question_is_refused_and_the_next_answer_takes_the_refusal_away(panel, dataset, world):
    opened, _, _ = happens(panel, dataset, "on_load", {})
    after, drawn, others = happens(panel, dataset, "on_query", opened, value="  ")
    assert "type what happens in the video" in str(drawn["error_shown"])
    assert not others
    _, drawn, _ = happens(panel, dataset, "on_query", after, value=caption(world[1][4]))
    assert "error_shown" not in drawn


def test_another_dataset_has_nothing_shown_of_the_last_one():
    shown_in("one", "first").say("found")
    assert shown_in("one", "first").message == "found"
    assert shown_in("one", "second").message is None


def test_a_closed_panel_is_forgotten(panel, dataset):
    happens(panel, dataset, "on_load", {})
    shown_in("one", dataset.name).say("found")
    happens(panel, dataset, "on_unload", {})
    assert shown_in("one", dataset.name).message is None


def test_panels_that_were_never_closed_do_not_fill_the_memory():
    shown_in("one", "first").say("found")
    for number in range(PANELS + 10):
        shown_in(f"left open {number}", "first")
        shown_in("one", "first")
    assert len(panel_memory._panels) == PANELS
    assert shown_in("one", "first").message == "found"
    for number in range(PANELS + 10):
        forget(f"left open {number}")
