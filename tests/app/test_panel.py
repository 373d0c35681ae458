"""The panel's events as the server runs them: they overlap, and each brings the page's state of when it happened."""

import json
import shutil
from copy import deepcopy
from dataclasses import replace

import fiftyone as fo
import fiftyone.operators as foo
import pydash
import pytest
from fiftyone.operators.executor import ExecutionContext, Executor
from markdown_it import MarkdownIt

from clip2video_plugin import compute_clip2video
from clip2video_plugin.app import plugin
from clip2video_plugin.app.operators.forms import PANEL, URI
from clip2video_plugin.app.panel import memory
from clip2video_plugin.app.panel.hits import listed
from clip2video_plugin.app.panel.memory import PANELS, shown_in
from clip2video_plugin.app.panel.parts import about, plain
from clip2video_plugin.app.search import find
from clip2video_plugin.datasets import CaptionedVideoFolder
from clip2video_plugin.query import Query
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
    memory._panels.clear()


def happens(panel, dataset, event, state, selected=(), view=(), **params):
    """Runs an event; the page's state after it, what is drawn by name (None: nothing), and what else the page does.

    What the page itself lays out is drawn as "page".
    """
    asked = {
        "dataset_name": dataset.name,
        "view": list(view),
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
            drawn = {**what["output"]["type"]["properties"], "page": what["output"]["view"]}
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
    assert {"back", "keep"} <= set(drawn)
    assert len(drawn["page"]["hits"]) == 24
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


def test_options_chosen_at_once_hold_all(panel, dataset, world):
    """Each is told with the state of before the others were answered."""
    sentence = caption(world[1][4])
    opened, _, _ = happens(panel, dataset, "on_load", {})
    before, _, _ = happens(panel, dataset, "on_query", opened, value=sentence)
    happens(panel, dataset, "on_option", before, path="options.length", value="over 10 min")
    happens(panel, dataset, "on_option", before, path="options.length", value="under 10 s")
    after, drawn, _ = happens(panel, dataset, "on_option", before, path="options.k", value=7)
    assert after["options"] == {**before["options"], "length": "under 10 s", "k": 7}
    assert [hit["id"] for hit in drawn["page"]["hits"]] == find(dataset, sentence, brain_key="c2v", k=7).ids
    # the next question too, asked before any of the answers
    other = caption(world[1][9])
    _, drawn, _ = happens(panel, dataset, "on_query", before, value=other)
    assert [hit["id"] for hit in drawn["page"]["hits"]] == find(dataset, other, brain_key="c2v", k=7).ids


def test_an_answer_that_was_overtaken_changes_nothing(panel, dataset, world, monkeypatch):
    opened, _, _ = happens(panel, dataset, "on_load", {})
    slow, fast = caption(world[1][4]), caption(world[1][9])
    told = []

    def overtaken(searched, query, **options):
        found = find(searched, query, **options)
        if slow in query.prompts:
            told.append(happens(panel, dataset, "on_query", opened, value=fast)[1])
        return found

    monkeypatch.setattr("clip2video_plugin.app.panel.panel.find", overtaken)
    _, drawn, others = happens(panel, dataset, "on_query", opened, value=slow)
    assert "set_view" not in others
    assert drawn["page"]["hits"] == told[0]["page"]["hits"]
    assert [hit["id"] for hit in drawn["page"]["hits"]] == find(dataset, fast, brain_key="c2v", k=25).ids[:24]


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
    opened, _, _ = happens(panel, dataset, "on_load", {})
    shown_in(opened["page"], dataset.name).say("found")
    happens(panel, dataset, "on_unload", opened)
    assert shown_in(opened["page"], dataset.name).message is None


def test_panels_that_were_never_closed_do_not_fill_the_memory():
    shown_in("one", "first").say("found")
    for number in range(PANELS + 10):
        shown_in(f"left open {number}", "first")
        shown_in("one", "first")
    assert len(memory._panels) == PANELS
    assert shown_in("one", "first").message == "found"


def test_two_pages_with_one_panel_keep_what_each_found(panel, dataset, world):
    pages = [happens(panel, dataset, "on_load", {})[0] for _ in range(2)]
    after, drawn, _ = happens(panel, dataset, "on_query", pages[0], value=caption(world[1][3]))
    assert "back" in drawn
    assert "back" not in happens(panel, dataset, "on_computed", pages[1])[1]
    _, drawn, _ = happens(panel, dataset, "on_tag", pages[1], value="mine")
    assert "name a tag, and search first" in str(drawn["error_shown"])
    assert "mine" not in dataset.count_sample_tags()
    # A saved workspace brings the state of the page that saved it to a session with another view.
    third, drawn, _ = happens(panel, dataset, "on_load", after)
    assert third["page"] != after["page"]
    assert "back" not in drawn


def test_a_second_page_of_a_session_shows_what_its_view_is_the_answer_to(panel, dataset, world):
    opened, _, _ = happens(panel, dataset, "on_load", {})
    after, drawn, _ = happens(panel, dataset, "on_query", opened, value=caption(world[1][3]))
    answer = message(drawn)
    stages = shown_in(after["page"], dataset.name).view
    second, drawn, _ = happens(panel, dataset, "on_load", after, view=json.loads(json.dumps(stages)))
    assert message(drawn) == answer
    # FiftyOne mirrors the state to the first page.
    _, drawn, _ = happens(panel, dataset, "on_change_selected", second, selected=[dataset.first().id])
    assert message(drawn) == answer


def test_no_event_is_answered_before_the_page_has_its_id(panel, dataset, world):
    assert happens(panel, dataset, "on_query", {}, value=caption(world[1][3]))[1] is None


def texts(markdown):
    """The lines of a text as a Markdown renderer shows them, and what else than lines, lists and stars it made."""
    tokens = MarkdownIt("commonmark", {"html": True}).parse(markdown)
    inline = [child for token in tokens if token.type == "inline" for child in token.children]
    kinds = {t.type for t in (*tokens, *inline)}
    return "".join(t.content if t.type == "text" else "\n" for t in inline), kinds


ODD = "# <img src=x onerror=alert(1)> [a](http://b) *c* _d_ `e` | ~~f~~ 1. & \\ ![g](h)"


def test_captions_and_names_are_shown_as_they_are_written(panel, dataset, world, tmp_path):
    sample = dataset.first()
    path, captions = sample.filepath, sample.captions
    sample.filepath = str(shutil.copy(path, tmp_path / "*a*_b_[c](d).mp4"))
    sample.captions = [ODD, "second\nline", "x" * 10_000]
    sample.save()
    try:
        opened, _, _ = happens(panel, dataset, "on_load", {})
        _, drawn, _ = happens(panel, dataset, "on_change_selected", opened, selected=[sample.id])
    finally:
        sample.filepath, sample.captions = path, captions
        sample.save()
    shown, kinds = texts(drawn["sample_shown"]["default"])
    for text in (ODD, "second line", "*a*_b_[c](d).mp4", "x" * 200):
        assert text in shown
    assert "x" * 400 not in shown
    assert not kinds & {"html_inline", "html_block", "link_open", "image", "em_open", "code_inline", "heading_open"}


@pytest.mark.parametrize(
    "text", [ODD, "- a", "1. a", "12) a", "+ a", "=== a", "> a", "# a", "***", "---", "a_b_c", "&lt;"]
)
def test_text_is_shown_as_it_is_written(text):
    shown, kinds = texts(plain(text))
    assert shown == text
    assert kinds == {"paragraph_open", "inline", "text", "paragraph_close"} | (kinds & {"text_special"})


def test_captions_in_a_field_of_one_string_are_not_taken_apart(panel, world, model, tmp_path):
    sentence = caption(world[1][0])
    dataset = fo.Dataset()
    path = sorted(world[0].glob("*.mp4"))[0]
    dataset.add_samples([fo.Sample(filepath=str(path), captions=sentence), fo.Sample(filepath=str(path))])
    run = compute_clip2video(dataset, model=model, brain_key="c2v", index=tmp_path / "index", progress=False)
    first, second = dataset.values("id")
    shown = about(dataset, run, first).splitlines()
    assert shown[1] == f"- {sentence}"
    assert len([line for line in shown if line.startswith("- ")]) == 2  # its own, and the best-matching one
    assert "no captions" in about(dataset, run, second)
    dataset.delete()


def test_a_name_whose_address_is_taken_is_refused_in_words(panel, dataset, world):
    dataset.save_view("My view", dataset.limit(1))
    opened, _, _ = happens(panel, dataset, "on_load", {})
    after, _, _ = happens(panel, dataset, "on_query", opened, value=caption(world[1][4]))
    for name in ("my-view", "MY VIEW", "!!!", "x" * 2000):
        _, drawn, _ = happens(panel, dataset, "on_save", after, value=name)
        assert "the view cannot be called so; choose another name: " in str(drawn["error_shown"]), name
    _, drawn, _ = happens(panel, dataset, "on_save", after, value="<b>*größe*</b>")
    assert texts(message(drawn))[0] == "saved as the view <b>*größe*</b>"
    _, drawn, _ = happens(panel, dataset, "on_save", after, value="<b>*größe*</b>")
    error = texts(drawn["error_shown"]["view"]["label"])[0]  # FiftyOne's alerts show Markdown
    assert error == "there is a saved view '<b>*größe*</b>' already; choose another name"
    for name in ("My view", "<b>*größe*</b>"):
        dataset.delete_saved_view(name)


@pytest.mark.parametrize("tag", ["any", "a.b", "$x", "<b>*x*</b>", "x, y", "'\"\\", "größe", "tag x"])
def test_a_tag_of_any_name_is_given_and_chosen(panel, dataset, world, tag):
    opened, _, _ = happens(panel, dataset, "on_load", {})
    after, _, _ = happens(panel, dataset, "on_query", opened, value=caption(world[1][4]))
    after, _, _ = happens(panel, dataset, "on_option", after, path="options.k", value=10)
    after, drawn, _ = happens(panel, dataset, "on_tag", after, value=tag)
    assert texts(message(drawn))[0] == f"tagged {tag}: 10 videos"
    choices = {c["label"]: c["value"] for c in drawn["options"]["type"]["properties"]["only_tag"]["view"]["choices"]}
    assert list(choices) == ["all", tag]
    after, drawn, _ = happens(panel, dataset, "on_option", after, path="options.k", value=25)
    assert message(drawn).startswith("**24** of 24")
    _, drawn, _ = happens(panel, dataset, "on_option", after, path="options.only_tag", value=choices[tag])
    assert message(drawn).startswith("**10** of 24")
    dataset.untag_samples(tag)


@pytest.mark.parametrize(
    "query", ["a \"red\" 'square'; DROP TABLE", "word " * 2000, "<b>*x*</b>", "\\ ☃ \u2028 {0} %s $where"]
)
def test_a_query_of_any_text_is_answered(panel, dataset, query):
    opened, _, _ = happens(panel, dataset, "on_load", {})
    after, drawn, _ = happens(panel, dataset, "on_query", opened, value=query)
    assert message(drawn).startswith("**24** of 24")
    assert len(after["history"][0]) < 400


def test_the_embedded_model_says_what_it_is_good_for(panel, dataset, model):
    _, drawn, _ = happens(panel, dataset, "on_load", {})
    assert texts(drawn["warning_shown"]["default"])[0].strip() == model.warning


LINE = 'a red square moves left | a blue circle grows --not "a stage" --then "a white bar blinks" --where duration<60'


def test_a_typed_line_becomes_chips_that_say_the_same(panel, dataset):
    opened, _, _ = happens(panel, dataset, "on_load", {})
    after, drawn, _ = happens(panel, dataset, "on_query", opened, value=LINE)
    line = drawn["page"]["line"]
    assert line["text"] == "a red square moves left | a blue circle grows"
    chips = {chip["kind"]: chip["text"] for chip in line["chips"]}
    assert chips == {"without": "a stage", "then": "a white bar blinks", "where": "duration<60"}
    assert after["query"] == after["history"][0]
    assert Query.parse(after["query"]) == Query.parse(LINE)
    # Taken apart as the page has it, it is the same question.
    again, drawn, _ = happens(panel, dataset, "on_query", opened, value=line["text"], chips=line["chips"])
    assert again["query"] == after["query"]
    assert drawn["page"]["line"] == line
    # Without a chip it is the question without that part.
    fewer = [chip for chip in line["chips"] if chip["kind"] != "then"]
    again, _, _ = happens(panel, dataset, "on_query", opened, value=line["text"], chips=fewer)
    assert Query.parse(again["query"]) == replace(Query.parse(LINE), then=())


def test_two_filters_hold_both(panel, dataset):
    opened, _, _ = happens(panel, dataset, "on_load", {})
    chips = [{"kind": "where", "text": text} for text in ("duration<60", "duration>1")]
    after, drawn, _ = happens(panel, dataset, "on_query", opened, value="a red square", chips=chips)
    assert drawn["page"]["line"]["chips"][0]["text"] == "(duration<60) and (duration>1)"
    assert message(drawn).startswith("**24** of 24")
    _, drawn, _ = happens(panel, dataset, "on_query", after, value="a red square --where duration>60")
    assert drawn["page"]["nothing"]["title"] == "Nothing matches"
    assert drawn["page"]["nothing"]["lines"] == ["The filters leave few videos, or none."]


def test_a_line_that_says_nothing_right_leaves_what_was_found(panel, dataset, world):
    opened, _, _ = happens(panel, dataset, "on_load", {})
    after, before, _ = happens(panel, dataset, "on_query", opened, value=caption(world[1][4]))
    for value in ("a dog --not", 'a dog --where "size<3"', "a dog -k 0", "--not x"):
        _, drawn, others = happens(panel, dataset, "on_query", after, value=value)
        assert "error_shown" in drawn, value
        assert not others
        assert drawn["page"]["hits"] == before["page"]["hits"]
        assert drawn["page"]["line"] == before["page"]["line"]


def test_an_option_that_is_typed_is_chosen(panel, dataset, world):
    opened, _, _ = happens(panel, dataset, "on_load", {})
    sentence = caption(world[1][4])
    after, drawn, _ = happens(panel, dataset, "on_query", opened, value=f"{sentence} -k 7 --weight 0.25")
    assert message(drawn).startswith("**7** of 24")
    assert after["options"]["k"] == 7
    assert 7 in drawn["options"]["type"]["properties"]["k"]["type"]["values"]
    assert drawn["page"]["weight"] == 0.25
    assert after["query"] == sentence
    expected = find(dataset, sentence, brain_key="c2v", k=7, weight=0.25)
    assert [hit["id"] for hit in drawn["page"]["hits"]] == expected.ids


def test_hits_are_listed_as_they_were_found(panel, dataset, world):
    opened, _, _ = happens(panel, dataset, "on_load", {})
    sentence = caption(world[1][4])
    _, drawn, _ = happens(panel, dataset, "on_query", opened, value=sentence)
    found = find(dataset, sentence, brain_key="c2v", k=25)
    hits = drawn["page"]["hits"]
    assert [hit["id"] for hit in hits] == found.ids
    assert [hit["score"] for hit in hits] == pytest.approx(found.scores, abs=1e-4)
    assert [hit["name"] for hit in hits] == [path.rsplit("/", 1)[1] for path in found.view.values("filepath")]
    assert [hit["rank"] for hit in hits] == list(range(1, 25))
    assert not any(hit["missing"] for hit in hits)
    assert hits[0]["caption"] == found.view.first().captions[0]


def test_a_hit_that_was_deleted_since_leaves_the_others_their_scores(dataset, world):
    found = find(dataset, caption(world[1][3]), brain_key="c2v")
    gone, at = "0" * 24, 2  # the third best, until somebody deleted it
    since = replace(
        found,
        ids=[*found.ids[:at], gone, *found.ids[at:]],
        scores=[*found.scores[:at], (found.scores[at - 1] + found.scores[at]) / 2, *found.scores[at:]],
    )
    assert [(hit["id"], hit["score"], hit["rank"]) for hit in listed(since, {}, {})] == [
        (one, round(score, 6), rank)
        for rank, (one, score) in enumerate(zip(found.ids, found.scores, strict=True), start=1)
    ]


def test_videos_like_the_selected_one(panel, dataset, world):
    first = dataset.first()
    opened, _, _ = happens(panel, dataset, "on_load", {})
    _, drawn, _ = happens(panel, dataset, "on_change_selected", opened, selected=[first.id])
    chosen = {"id": first.id, "video": first.id, "name": first.filename}
    assert drawn["page"]["selected"] == [chosen]
    _, drawn, _ = happens(panel, dataset, "on_query", opened, value="", chips=[{"kind": "like", "text": first.id}])
    assert drawn["page"]["line"]["chips"] == [{"kind": "like", "text": first.id, "label": first.filename}]
    assert [hit["id"] for hit in drawn["page"]["hits"]] == find(dataset, Query(like=(first.id,), k=25)).ids


def test_files_that_lie_elsewhere_are_not_read_for_the_page(panel, dataset, world, tmp_path):
    bank = tmp_path / "bank.txt"
    bank.write_text("a red square\n")
    opened, _, _ = happens(panel, dataset, "on_load", {})
    for value in (f"a red square --bank {bank}", f"--like {bank}", f"--like {bank}@1-2"):
        _, drawn, others = happens(panel, dataset, "on_query", opened, value=value)
        assert "is outside of what the App may use" in str(drawn["error_shown"]), value
        assert not others


def test_what_a_bank_did_is_said(panel, dataset, world, tmp_path, monkeypatch):
    monkeypatch.setenv("C2V_ROOTS", str(tmp_path))
    bank = tmp_path / "bank.txt"
    bank.write_text("\n".join(caption(scene) for scene in world[1]))
    opened, _, _ = happens(panel, dataset, "on_load", {})
    sentence = caption(world[1][4])
    after, drawn, _ = happens(panel, dataset, "on_query", opened, value=f"{sentence} --bank {bank}")
    assert after["options"]["bank"] == str(bank)
    (note,) = find(dataset, Query((sentence,), k=25, bank=str(bank)), brain_key="c2v").result.notes
    assert texts(message(drawn))[0].endswith(note)
