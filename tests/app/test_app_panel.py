"""The Video search panel in real Chromium: typing, options, errors, and what can be kept of a search."""

import re
import shutil

import fiftyone as fo
import pytest

from benchmarks.stories import RATE, set_c
from clip2video_plugin import compute_clip2video
from clip2video_plugin.app.moments import compute_frames
from clip2video_plugin.app.search import find
from clip2video_plugin.datasets import CaptionedVideoFolder
from clip2video_plugin.query import Query
from clip2video_plugin.shapes import caption

from .browser import (
    HIT,
    MARKS,
    PANEL,
    QUERY,
    app_page,
    app_server,
    files,
    open_page,
    open_panel,
    plugin_server,
    select,
    select_first,
    shoot,
    start_over,
    wait_for_order,
)

pytestmark = MARKS


@pytest.fixture(scope="module")
def dataset(world, model, tmp_path_factory):
    """An indexed dataset, and one that is not."""
    index = tmp_path_factory.mktemp("panel")
    dataset = fo.Dataset.from_dir(dataset_dir=str(world[0]), dataset_type=CaptionedVideoFolder, name="app-panel")
    dataset.persistent = True
    dataset.select(dataset.values("id")[1::2]).tag_samples("odd")
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
    with plugin_server(dataset[0], tmp_path_factory, C2V_ROOTS=str(dataset[1])) as address:
        yield address


@pytest.fixture
def page(app, dataset):
    with app_page(app, dataset[0]) as (page, orders):
        start_over(page, orders, dataset[0], panel="video_search")
        open_panel(page)
        yield page, orders
    dataset[0].reload()


def ask(page, sentence):
    page.fill(QUERY, sentence)
    page.press(QUERY, "Enter")


def says(page, text):
    page.wait_for_selector(f'{PANEL} :text("{text}")', timeout=60_000)


def test_a_sentence_and_enter_redraw_the_grid_in_order(page, dataset, world):
    page, orders = page
    for number in (4, 17):
        sentence = caption(world[1][number])
        ask(page, sentence)
        wait_for_order(page, orders, files(find(dataset[0], sentence, brain_key="c2v", k=25).view))
        says(page, "of 24 videos, best score")
    shoot(page, "panel-search")
    assert page.locator(f"{PANEL} {HIT}").count() == 12  # of the best
    page.click(f'{PANEL} button:has-text("Show 12 more")')
    shown = page.locator(f"{PANEL} {HIT}").all_inner_texts()
    best = find(dataset[0], sentence, brain_key="c2v", k=25)
    assert [[text.split()[i] for i in (0, 1)] for text in shown] == [
        [str(rank), name] for rank, name in enumerate(files(best.view), start=1)
    ]
    widths = page.locator(f'{PANEL} [data-cy="clip2video-bar"] > div').evaluate_all(
        "bars => bars.map(b => b.offsetWidth)"
    )
    assert widths == sorted(widths, reverse=True)
    assert widths[0] > 50
    # the first query is offered again
    page.fill(QUERY, "")
    page.press(QUERY, "ArrowDown")
    page.click(f'[role="option"]:has-text("{caption(world[1][4])}")')
    wait_for_order(page, orders, files(find(dataset[0], caption(world[1][4]), brain_key="c2v", k=25).view))
    page.click(f'{PANEL} button:has-text("Back to all videos")')
    wait_for_order(page, orders, files(dataset[0]))


def test_results_are_tagged_and_saved_as_a_view(page, dataset, world):
    page, orders = page
    sentence = caption(world[1][9])
    ask(page, sentence)
    expected = find(dataset[0], sentence, brain_key="c2v", k=25)
    wait_for_order(page, orders, files(expected.view))
    page.click(f'{PANEL} button:has-text("Tag")')
    says(page, "name a tag, and search first")
    page.fill(f'{PANEL} [placeholder="a tag"]', "found")
    page.click(f'{PANEL} button:has-text("Tag")')
    says(page, f"tagged found: {len(expected.ids)} videos")
    assert dataset[0].count_sample_tags()["found"] == len(expected.ids)
    page.fill(f'{PANEL} [placeholder="a name"]', "kept")
    page.click(f'{PANEL} button:has-text("Save")')
    says(page, "saved as the view kept")
    dataset[0].reload()
    assert dataset[0].load_saved_view("kept").values("id") == expected.ids
    page.click(f'{PANEL} button:has-text("Save")')
    says(page, "there is a saved view 'kept' already")


def unfold(page):
    """Opens the options."""
    button = page.locator(f'{PANEL} [data-cy="clip2video-options"]')
    if button.get_attribute("aria-expanded") == "false":
        button.click()
        page.wait_for_timeout(500)


def choose(page, label, text):
    """Chooses from a drop-down of the options."""
    unfold(page)
    at = ("query", "Brain key", "Results", "Tagged", "Length").index(label)
    page.locator(f'{PANEL} [role="combobox"]').nth(at).click()
    page.get_by_role("option", name=text, exact=True).click()


def test_options_ask_the_same_question_again(page, dataset, world):
    page, orders = page
    sentence = caption(world[1][9])
    ask(page, sentence)
    whole = find(dataset[0], sentence, brain_key="c2v", k=25)
    wait_for_order(page, orders, files(whole.view))
    choose(page, "Results", "10")
    says(page, "of 24 videos, best score")
    wait_for_order(page, orders, files(whole.view)[:10])
    choose(page, "Tagged", "odd")
    wait_for_order(page, orders, files(find(dataset[0].match_tags("odd"), sentence, brain_key="c2v", k=10).view))
    choose(page, "Length", "over 10 min")
    says(page, "No indexed video of this view fits the filters; 24 are indexed.")
    wait_for_order(page, orders, files(dataset[0]))
    choose(page, "Length", "under 10 s")
    choose(page, "Tagged", "all")
    wait_for_order(page, orders, files(whole.view)[:10])
    choose(page, "Brain key", "second")
    page.wait_for_selector('[data-cy="tag-second_score"]', timeout=60_000)
    dataset[0].reload()
    assert dataset[0].count("second_score") == 0  # the scores are the view's
    slider = page.locator(f'{PANEL} input[aria-label="weight"]')
    slider.focus()
    slider.press("Home")  # alignment alone
    wait_for_order(page, orders, files(find(dataset[0], sentence, brain_key="second", k=10, weight=0.0).view))
    shoot(page, "panel-options")
    choose(page, "Brain key", "c2v")  # brings the w of its own model
    wait_for_order(page, orders, files(whole.view)[:10])


def test_what_cannot_be_done_is_said_in_the_panel(page, dataset, world):
    page, orders = page
    page.fill(QUERY, "")
    page.click(f'{PANEL} button:has-text("Search")')
    says(page, "type what happens in the video")
    sentence = caption(world[1][9])
    ask(page, sentence)
    wait_for_order(page, orders, files(find(dataset[0], sentence, brain_key="c2v", k=25).view))
    page.click(f'{PANEL} button:has-text("Save")')
    says(page, "name the view, and search first")
    select_first(page)
    show = f'{PANEL} button:has-text("Show where in the video")'
    page.click(show)
    says(page, "that score at least")
    page.fill(f'{PANEL} input[type="number"]', "2")
    page.click(f'{PANEL} button:has-text("Mark in this video")')
    says(page, "no frame scores 2.000 or more; the best has")
    page.fill(f'{PANEL} input[type="number"]', "")
    page.click(f'{PANEL} button:has-text("Mark in this video")')
    says(page, "select a video, search, and give the score from which a moment counts")
    shoot(page, "panel-refusals")


def test_videos_whose_files_moved_are_named(page, dataset, world, tmp_path):
    page, _ = page
    sample = dataset[0].match(fo.ViewField("filepath").ends_with("/00009.mp4")).first()
    path, sample.filepath = sample.filepath, str(tmp_path / "moved.mp4")
    sample.save()
    try:
        ask(page, caption(world[1][9]))
        says(page, f"1 of these videos are not where the dataset says, the first is {tmp_path / 'moved.mp4'}")
        shoot(page, "panel-moved")
    finally:
        sample.filepath = path
        sample.save()


def test_two_users_search_at_once(page, dataset, world, tmp_path):
    page, orders = page
    sentences = [caption(world[1][n]) for n in (4, 9)]
    with app_server(dataset[0], tmp_path / "log") as address:
        other, others = open_page(page.context.browser, address, dataset[0])
        open_panel(other)
        for _ in range(2):
            ask(page, sentences[0])
            ask(other, sentences[1])
            wait_for_order(page, orders, files(find(dataset[0], sentences[0], brain_key="c2v", k=25).view))
            wait_for_order(other, others, files(find(dataset[0], sentences[1], brain_key="c2v", k=25).view))
            sentences.reverse()
        assert other.locator(f"{PANEL} .MuiAlert-root").count() == page.locator(f"{PANEL} .MuiAlert-root").count() == 0


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
    found = find(dataset[0], sentence, brain_key="c2v", k=25).view
    wait_for_order(page, orders, files(found))
    compute_frames(dataset[0].load_brain_results("c2v"), found.limit(1))
    select_first(page)
    says(page, "Score over time, seconds")
    for number in (1, 2):  # the frames of one video are there, those of the next are not
        name = orders[-1][number]
        select(page, number)
        says(page, name)
        page.click(f'{PANEL} button:has-text("Show where in the video")')
        says(page, "Score over time, seconds")
        shoot(page, f"panel-where-{number}")
    page.locator(f'{PANEL} [data-cy="clip2video-detail"] [data-cy="clip2video-curve"]').click()
    page.wait_for_selector(f'{PANEL} img[src^="data:image/jpeg"]', timeout=60_000)
    shoot(page, "panel-timeline")
    page.click(f'{PANEL} button:has-text("Mark in this video")')
    says(page, "moments are written to c2v_moments and shown as clips")
    dataset[0].reload()
    sample = dataset[0].match(fo.ViewField("filepath").ends_with(name)).first()
    assert {d.label for d in sample["c2v_moments"].detections} == {sentence}


def test_a_dataset_without_index_leads_to_computing_one(app, dataset):
    with app_page(app, fo.load_dataset("app-bare")) as (page, _):
        open_panel(page, shows=PANEL)
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


def order_of(dataset, query):
    """The files that the same question finds from Python."""
    return files(find(dataset, query, brain_key="c2v").view)


def chips(page, kind=""):
    return page.locator(f'{PANEL} [data-cy^="clip2video-chip-{kind}"]')


def test_the_line_becomes_chips_that_are_added_and_taken_away(page, dataset, world):
    page, orders = page
    sentence, other = caption(world[1][4]), caption(world[1][9])
    ask(page, f'{sentence} --not "{other}" --where "duration<60"')
    wait_for_order(page, orders, order_of(dataset[0], Query((sentence,), without=(other,), where="duration<60", k=25)))
    assert page.input_value(QUERY) == sentence
    assert chips(page).count() == 2
    assert other in chips(page, "without").inner_text()
    assert "duration<60" in chips(page, "where").inner_text()
    shoot(page, "panel-not")
    page.click(f'{PANEL} [data-cy="clip2video-add-then"]')
    page.keyboard.type(other)
    page.keyboard.press("Enter")
    asked = Query((sentence,), without=(other,), then=(other,), where="duration<60", k=25)
    wait_for_order(page, orders, order_of(dataset[0], asked))
    assert chips(page).count() == 3
    chips(page, "without").locator("svg").click()
    wait_for_order(page, orders, order_of(dataset[0], Query((sentence,), then=(other,), where="duration<60", k=25)))
    page.press(QUERY, "ArrowDown")  # the line that was asked first is offered as it was
    page.locator('[role="option"]:has-text("--not")').last.click()
    wait_for_order(page, orders, order_of(dataset[0], Query((sentence,), without=(other,), where="duration<60", k=25)))
    page.click(f'{PANEL} [data-cy="clip2video-add-without"]')
    page.keyboard.type(ODD)
    page.keyboard.press("Enter")
    page.wait_for_function("n => document.querySelectorAll('[data-cy=clip2video-chip-without]').length == n", arg=2)
    says(page, "best score")
    assert ODD in chips(page, "without").last.inner_text()
    assert page.evaluate("window.hacked") is None


ODD = '<img src=x onerror="window.hacked = 1"> *a* [b](c)'


def focused(page):
    return page.evaluate("document.activeElement.dataset.cy")


def test_the_keyboard_does_all(page, dataset, world):
    page, orders = page
    page.mouse.click(5, 400)
    page.keyboard.press("/")
    assert focused(page) == "clip2video-query"
    page.keyboard.type(caption(world[1][4]))
    page.keyboard.press("Enter")
    expected = order_of(dataset[0], Query((caption(world[1][4]),), k=25))
    wait_for_order(page, orders, expected)
    page.keyboard.type(" and more")
    page.keyboard.press("Escape")
    assert page.input_value(QUERY) == caption(world[1][4])
    page.wait_for_selector(f"{PANEL} {HIT}")
    reached = []
    while focused(page) != "clip2video-hit":
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.dataset.cy ?? document.activeElement.innerText"))
        assert len(reached) < 20, reached
    assert reached[:2] == ["Search", "clip2video-add-without"]
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_selector(f'{PANEL} [data-cy="clip2video-detail"]')
    says(page, "Best-matching captions of this dataset")
    assert expected[1] in page.locator(f'{PANEL} [data-cy="clip2video-detail"]').inner_text()
    page.click(f'{PANEL} [data-cy="clip2video-add-like"]')
    like = dataset[0].match(fo.ViewField("filepath").ends_with(expected[1])).first().id
    wait_for_order(page, orders, order_of(dataset[0], Query((caption(world[1][4]),), like=(like,), k=25)))
    assert expected[1] in chips(page, "like").inner_text()


def test_nothing_jumps_while_it_loads(page, dataset, world):
    page, orders = page
    ask(page, caption(world[1][4]))
    wait_for_order(page, orders, order_of(dataset[0], Query((caption(world[1][4]),), k=25)))
    says(page, "best score")

    def places():
        boxes = [page.locator(f"{PANEL} {what}").first.bounding_box() for what in (QUERY, HIT)]
        return [(box["x"], box["y"]) for box in boxes]

    before = places()
    held = []
    page.route("**/operators/execute*", lambda route: held.append(route))
    ask(page, caption(world[1][9]))
    page.wait_for_selector(f'{PANEL} [data-cy="clip2video-hits"][aria-busy="true"]')
    page.wait_for_timeout(500)
    assert places() == before
    assert page.locator(f"{PANEL} {HIT}").count() == 12  # those of before, grey
    shoot(page, "panel-loading")
    page.unroute("**/operators/execute*")
    for route in held:
        route.continue_()
    wait_for_order(page, orders, order_of(dataset[0], Query((caption(world[1][9]),), k=25)))
    page.wait_for_selector(f'{PANEL} [data-cy="clip2video-hits"][aria-busy="false"]')
    assert places() == before


def test_how_sure_a_hit_is_and_that_nothing_matches(page, dataset, world):
    page, orders = page
    ask(page, caption(world[1][4]))
    says(page, "best score")
    unfold(page)
    page.click(f'{PANEL} button:has-text("Calibrate")')
    slider = page.locator(f'{PANEL} input[aria-label="minimum confidence"]')
    slider.wait_for()
    page.wait_for_selector(f'{PANEL} {HIT} [title="probability that it is right"]')
    shoot(page, "panel-confidence")
    ask(page, "people in a kitchen")
    slider.focus()
    slider.press("End")
    says(page, "Nothing matches among 24 videos.")
    says(page, "No video is right with a probability of 100%")
    shoot(page, "panel-nothing")
    page.click(f'{PANEL} button:has-text("Show them anyway")')
    wait_for_order(page, orders, order_of(dataset[0], Query(("people in a kitchen",), k=25)))


def opened_at(page):
    """Seconds that the App's player shows."""
    found = re.search(r"(\d+):(\d+\.\d+) /", page.locator("#modal").inner_text())
    return 60 * int(found[1]) + float(found[2]) if found else -1


@pytest.fixture(scope="module")
def stories(model, tmp_path_factory):
    """Three videos of five scenes each, with windows."""
    folder, told = tmp_path_factory.mktemp("stories"), set_c(3, seed=8)
    for n, story in enumerate(told):
        story.write(folder / f"{n}.mp4")
    dataset = fo.Dataset.from_videos_dir(str(folder), name="app-stories")
    dataset.persistent = True
    index = tmp_path_factory.mktemp("told") / "index"
    compute_clip2video(dataset, model=model, brain_key="c2v", index=index, windows="2/0.5,4/1,8/2", progress=False)
    yield dataset, told
    dataset.delete_brain_run("c2v")
    dataset.delete()


def test_where_in_the_hits_a_query_fits_is_shown_opened_and_marked(app, stories):
    dataset, told = stories
    sentence, (start, end) = told[1].captions[2], told[1].spans[2]
    with app_page(app, dataset) as (page, orders):
        open_panel(page)
        ask(page, sentence)
        wait_for_order(page, orders, order_of(dataset, Query((sentence,), k=25)))
        says(page, "of 3 videos, best score")
        first = page.locator(f"{PANEL} {HIT}").first
        assert page.locator(f'{PANEL} [data-cy="clip2video-curve"]').count() == 3
        shoot(page, "panel-windows")
        # Its picture opens it at its best window, which lies where the scene does, on a slow machine too.
        speed = page.context.new_cdp_session(page)
        speed.send("Emulation.setCPUThrottlingRate", {"rate": 10})
        first.get_by_title("Open at").click()
        for _ in range(300):
            if start - 0.5 <= (time := opened_at(page)) < end:
                break
            page.wait_for_timeout(200)
        assert start - 0.5 <= time < end
        speed.send("Emulation.setCPUThrottlingRate", {"rate": 1})
        shoot(page, "panel-opened")
        for _ in range(60):  # the first may stop what plays, or come before the App listens
            page.keyboard.press("Escape")
            if not page.locator("#modal.modalon").count():
                break
            page.wait_for_timeout(500)
        page.wait_for_selector("#modal.modalon", state="detached")
        page.click(f'{PANEL} button:has-text("Mark moments")')
        says(page, "moments are written to c2v_moments and shown as clips")
        shoot(page, "panel-moments")
        dataset.reload()
        best = dataset.match(fo.ViewField("filepath").ends_with("/1.mp4")).first()["c2v_moments"].detections[0]
        assert best.label == sentence
        middle = sum(best.support) / 2 / RATE
        assert start < middle < end


def test_diversity_a_bank_and_the_captions_are_asked_for_and_a_menu_leads_on(page, dataset, world):
    page, orders = page
    sentence, other = caption(world[1][4]), caption(world[1][9])
    ask(page, sentence)
    wait_for_order(page, orders, order_of(dataset[0], Query((sentence,), k=25)))
    unfold(page)
    slider = page.locator(f'{PANEL} input[aria-label="diversity"]')
    slider.focus()
    slider.press("End")
    wait_for_order(page, orders, order_of(dataset[0], Query((sentence,), k=25, diversity=1.0)))
    slider.press("Home")
    wait_for_order(page, orders, order_of(dataset[0], Query((sentence,), k=25)))
    bank = dataset[1] / "bank.txt"
    bank.write_text("\n".join(caption(scene) for scene in world[1]))
    page.get_by_label("Query bank (QB-Norm)").fill(str(bank))
    page.get_by_label("Query bank (QB-Norm)").press("Enter")
    wait_for_order(page, orders, order_of(dataset[0], Query((sentence,), k=25, bank=str(bank))))
    elsewhere = bank.rename(bank.parent.parent / "elsewhere.txt")
    page.get_by_label("Query bank (QB-Norm)").fill(str(elsewhere))
    page.get_by_label("Query bank (QB-Norm)").press("Enter")
    says(page, "is outside of what the App may use")
    page.get_by_label("Query bank (QB-Norm)").fill("")
    page.get_by_label("Query bank (QB-Norm)").press("Enter")
    page.wait_for_selector(f"{PANEL} .MuiAlert-root", state="detached")
    page.click(f'{PANEL} [data-cy="clip2video-add-captions"]')
    page.keyboard.type(other)
    page.keyboard.press("Enter")
    wait_for_order(page, orders, order_of(dataset[0], Query((sentence,), k=25, captions=other)))
    assert other in chips(page, "captions").inner_text()
    shoot(page, "panel-captions")
    page.click(f'{PANEL} [data-cy="clip2video-tools"]')
    page.click('[role="menuitem"]:has-text("Find copies of videos")')
    page.wait_for_selector('[role="dialog"] :text("Cosine from which two videos are copies")', timeout=60_000)
