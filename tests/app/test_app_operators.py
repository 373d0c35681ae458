"""Every operator in real Chromium: its form, its refusals, what it does, and as a delegated run."""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import fiftyone as fo
import fiftyone.operators as foo
import pytest
from fiftyone.operators.delegated import DelegatedOperationService
from fiftyone.operators.executor import ExecutionRunState
from PIL import Image

from clip2video_plugin import compute_clip2video
from clip2video_plugin.app.operators.forms import URI
from clip2video_plugin.app.search import find
from clip2video_plugin.datasets import CaptionedVideoFolder
from clip2video_plugin.shapes import caption

from .browser import (
    DIALOG,
    MARKS,
    app_page,
    cancel,
    execute,
    field,
    files,
    open_operator,
    plugin_server,
    refuses,
    select_first,
    shoot,
    start_over,
    wait_for_order,
)

pytestmark = MARKS
COMPUTE = "Compute CLIP2Video embeddings"
NO_INDEX = "This dataset has no CLIP2Video index yet"
MANY = 40  # links to each of the 24 videos: enough to cancel a run half way


@pytest.fixture(scope="module")
def datasets(world, model, tmp_path_factory):
    """``ops`` is indexed, ``bare`` is not, ``pictures`` holds no videos, and ``many`` takes a while."""
    folder = tmp_path_factory.mktemp("many")
    for video in world[0].glob("*.mp4"):
        for number in range(MANY):
            (folder / f"{video.stem}-{number}.mp4").symlink_to(video)
    made = {
        name: fo.Dataset.from_dir(dataset_dir=str(world[0]), dataset_type=CaptionedVideoFolder, name=f"app-{name}")
        for name in ("ops", "bare")
    }
    made["pictures"] = fo.Dataset("app-pictures")
    for number in range(2):
        Image.new("RGB", (32, 32)).save(folder / f"picture-{number}.png")
    made["pictures"].add_samples([fo.Sample(filepath=str(p)) for p in sorted(folder.glob("*.png"))])
    made["many"] = fo.Dataset("app-many")
    made["many"].add_samples([fo.Sample(filepath=str(p)) for p in sorted(folder.glob("*.mp4"))])
    for dataset in made.values():
        dataset.persistent = True
    compute_clip2video(made["ops"], model=model, brain_key="c2v", index=tmp_path_factory.mktemp("ops"), progress=False)
    yield made
    for dataset in made.values():
        dataset.reload()
        for key in dataset.list_brain_runs():
            dataset.delete_brain_run(key)
        dataset.delete()


@pytest.fixture(scope="module")
def app(datasets, tmp_path_factory):
    # the variable lets the App schedule runs
    environment = {"FIFTYONE_ALLOW_LEGACY_ORCHESTRATORS": "true", "C2V_ROOTS": str(tmp_path_factory.getbasetemp())}
    with plugin_server(datasets["ops"], tmp_path_factory, **environment) as address:
        yield address


@pytest.fixture
def on(app, datasets):
    """Opens a page on a whole dataset; the App remembers the view of the page before."""

    @contextmanager
    def opened(name):
        with app_page(app, datasets[name]) as (page, orders):
            start_over(page, orders, datasets[name])
            yield page, orders

    yield opened
    for dataset in datasets.values():
        dataset.reload()


def test_search_videos(on, datasets, world):
    sentence = caption(world[1][5])
    with on("ops") as (page, orders):
        open_operator(page, "Search videos by a sentence")
        refuses(page, "Required property")
        field(page, "What happens in the video").fill(sentence)
        field(page, "Number of results").fill("0")
        refuses(page, "k is 0; it must lie between 1 and 10000")
        field(page, "Number of results").fill("7")
        shoot(page, "operator-search")
        assert execute(page) == "Videos shown, the best first: 7 Videos in the index: 24 Close"
        wait_for_order(page, orders, files(find(datasets["ops"], sentence, k=7).view))


def test_find_similar_videos(on, datasets):
    with on("ops") as (page, orders):
        open_operator(page, "Find videos like the selected ones")
        refuses(page, "Select one or more videos first")
        cancel(page)
        first = datasets["ops"].match(fo.ViewField("filepath").ends_with(orders[-1][0])).first()
        select_first(page)
        open_operator(page, "Find videos like the selected ones")
        field(page, "Number of results").fill("4")
        assert execute(page).startswith("Videos shown, the best first: 4")
        wait_for_order(page, orders, files(find(datasets["ops"], like=[first.id], k=4).view))


def test_evaluate_retrieval(on, datasets):
    with on("ops") as (page, orders):
        open_operator(page, "Evaluate CLIP2Video retrieval")
        field(page, "Field of captions").fill("nothing")
        refuses(page, "there is no field 'nothing'")
        field(page, "Field of captions").fill("captions")
        said = execute(page)
        assert "R@1, text to video: " in said
        assert "MnR, video to text: " in said
        shoot(page, "operator-evaluate")
        datasets["ops"].reload()
        worst = datasets["ops"].exists("c2v_worst_rank").sort_by("c2v_worst_rank", reverse=True)
        wait_for_order(page, orders, files(worst))


def test_sample_frames(on, tmp_path):
    with on("ops") as (page, _):
        open_operator(page, "Sample frames of videos")
        field(page, "Frames a second").fill("500")
        refuses(page, "fps is 500; it must lie between 1 and 100")
        field(page, "Frames a second").fill("1")
        field(page, "Folder").fill(str(tmp_path / "frames"))
        assert execute(page).startswith("Videos: 24 Videos that could not be read: 0")
        assert len(list((tmp_path / "frames").iterdir())) == 24


def test_import_videos(on, world, tmp_path):
    with on("ops") as (page, _):
        open_operator(page, "Import videos with captions")
        field(page, "Folder").fill(str(tmp_path / "nowhere"))
        refuses(page, f"there is no folder {tmp_path / 'nowhere'}")
        field(page, "Folder").fill("/etc")
        refuses(page, "folder /etc is outside of what the App may use: ")
        field(page, "Folder").fill(str(world[0]))
        field(page, "Name of the new dataset").fill("app-ops")
        refuses(page, "there is a dataset 'app-ops' already")
        field(page, "Name of the new dataset").fill("app-imported")
        assert execute(page).startswith("Dataset: app-imported Videos: 24")
        page.wait_for_url("**/datasets/app-imported", timeout=60_000)
    fo.delete_dataset("app-imported")


def test_compute_embeddings_index_info_and_delete_index(on, datasets):
    with on("bare") as (page, _):
        for label in ("About a CLIP2Video index", "Delete a CLIP2Video index", "Search videos by a sentence"):
            open_operator(page, label)
            refuses(page, NO_INDEX)
            cancel(page)
        open_operator(page, COMPUTE)
        field(page, "Brain key").fill("my key")
        refuses(page, "'my key' is no identifier")
        field(page, "Brain key").fill("made")
        choose_execute(page)
        said = execute(page)
        assert "Brain key: made Videos that can be searched now: 24 Videos that could not be read: 0" in said
        open_operator(page, "About a CLIP2Video index")
        said = execute(page)
        assert "Indexed videos: 24 of 24 Model: shapes" in said
        open_operator(page, "Delete a CLIP2Video index")
        page.wait_for_selector(f'{DIALOG} :text("Its vectors are deleted for good; the videos are not touched")')
        assert execute(page).startswith("Deleted: made")
        datasets["bare"].reload()
        assert datasets["bare"].list_brain_runs() == []


def test_pictures_are_refused(on):
    with on("pictures") as (page, _):
        for label in (COMPUTE, "Sample frames of videos", "Find videos like the selected ones"):
            open_operator(page, label)
            refuses(page, "This is no dataset of videos")
            cancel(page)


def test_a_scheduled_run_is_done_by_a_worker(on, datasets):
    with on("bare") as (page, _):
        open_operator(page, COMPUTE)
        field(page, "Brain key").fill("later")
        page.click(f"{DIALOG} button:text-is('Schedule')")  # the default choice of this operator
        page.wait_for_selector(DIALOG, state="detached", timeout=60_000)
    with worker():
        run = wait_for_run(datasets["bare"], ExecutionRunState.COMPLETED)
    assert run.result.result["indexed"] == 24
    datasets["bare"].reload()
    assert find(datasets["bare"], "a red square", brain_key="later").searched == 24
    datasets["bare"].delete_brain_run("later")


def test_a_cancelled_run_keeps_what_is_done_and_goes_on(app, datasets, tmp_path, monkeypatch):
    monkeypatch.setenv("C2V_INDEX", str(tmp_path))
    many, service = datasets["many"], DelegatedOperationService()
    compute = foo.get_operator(f"{URI}/compute_embeddings")
    compute(many, brain_key="c2v", device="cpu", delegate=True)
    with worker():
        run = wait_for_run(many, ExecutionRunState.RUNNING, until=lambda run: run.status and run.status.progress > 0.1)
        assert f" of {24 * MANY}, " in run.status.label
        assert "videos/s" in run.status.label
        service.set_failed(run.id)  # what "fiftyone delegated fail" does
        done = settled(many)
        assert 0 < done < 24 * MANY
        compute(many, brain_key="c2v", device="cpu", delegate=True)
        again = wait_for_run(many, ExecutionRunState.COMPLETED)
    assert again.result.result["indexed"] == 24 * MANY
    assert many.load_brain_results("c2v").total_index_size == 24 * MANY


def choose_execute(page):
    """Of a run that is scheduled by default."""
    page.click(f'{DIALOG} [aria-haspopup="menu"]')
    page.click('[role="menuitem"]:has-text("Execute")')


class worker:
    """The process that works off scheduled runs."""

    def __enter__(self):
        script = os.path.join(os.path.dirname(sys.executable), "fiftyone")
        self.process = subprocess.Popen(
            [script, "delegated", "launch"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def __exit__(self, *_):
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(30)


def wait_for_run(dataset, state, until=lambda run: True, seconds=240):
    """The newest run of a dataset, once it is in this state."""
    for _ in range(seconds * 10):
        runs = DelegatedOperationService().list_operations(dataset_name=dataset.name)
        run = max(runs, key=lambda r: r.queued_at)
        if run.run_state == state and until(run):
            return run
        assert run.run_state != ExecutionRunState.FAILED, run.result
        time.sleep(0.1)
    raise AssertionError(f"the run is {run.run_state}, not {state}")


def settled(dataset):
    """The number of indexed videos, once it has stopped growing."""
    sizes = []
    while len(sizes) < 3 or len(set(sizes[-3:])) > 1:
        time.sleep(2)
        dataset.reload()
        sizes.append(dataset.load_brain_results("c2v", cache=False).total_index_size)
    return sizes[-1]
