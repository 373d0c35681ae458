"""``c2v demo``: from nothing to a searched FiftyOne dataset, in a database directory of its own."""

from __future__ import annotations

import os
import shutil
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from clip2video_plugin.app.mongod import use_own_database
from clip2video_plugin.errors import Clip2VideoError
from clip2video_plugin.progress import bar

NAME, BRAIN_KEY = "clip2video-demo", "clip2video"
COUNT, SEED = 48, 19
QUERIES = 3


@dataclass(frozen=True)
class Ranking:
    """The best videos for one sentence: (score, captions, path) each."""

    query: str
    searched: int
    rows: list[tuple[float, list[str], str]]


def default_folder() -> Path:
    """$C2V_DEMO, else ~/.cache/clip2video/demo."""
    return Path(os.environ.get("C2V_DEMO") or Path.home() / ".cache" / "clip2video" / "demo").expanduser()


def run_demo(folder: Path, *, k: int = 5) -> list[Ranking]:
    """Generates videos, imports them, embeds them and searches a few sentences.

    Everything is below ``folder``: videos, index and FiftyOne's database. Run again, it starts over
    with the dataset and keeps the videos.

    Raises:
        Clip2VideoError: FiftyOne's database cannot be started.
    """
    from clip2video_plugin.shapes import caption, held_out_scenes, write_videos

    videos = folder / "videos"
    scenes = held_out_scenes(COUNT, SEED)
    if not (videos / "captions.csv").is_file():
        shutil.rmtree(videos, ignore_errors=True)
        with bar("Generating videos", COUNT) as progress:
            write_videos(videos, scenes, progress=progress)
    use_own_database(folder)
    import fiftyone as fo

    from clip2video_plugin.app.brain import compute_clip2video
    from clip2video_plugin.datasets import CaptionedVideoFolder

    if fo.dataset_exists(NAME):
        old = fo.load_dataset(NAME)
        if old.has_brain_run(BRAIN_KEY):
            old.delete_brain_run(BRAIN_KEY)
        old.delete()
    dataset = fo.Dataset.from_dir(dataset_dir=str(videos), dataset_type=CaptionedVideoFolder, name=NAME, progress=False)
    dataset.persistent = True
    compute_clip2video(dataset, brain_key=BRAIN_KEY, index=folder / "index")
    out = []
    for scene in scenes[:: COUNT // QUERIES][:QUERIES]:
        query = caption(scene)
        view = dataset.sort_by_similarity(query, k=k, brain_key=BRAIN_KEY, dist_field="score")
        rows = list(zip(*view.values(["score", "captions", "filepath"]), strict=True))
        out.append(Ranking(query, len(dataset), rows))
    return out


def open_app(folder: Path, *, port: int = 5151, address: str = "127.0.0.1") -> None:
    """Opens the demo dataset in the App, with this plugin alone, and waits until it is closed.

    Raises:
        Clip2VideoError: the demo has not been run yet.
    """
    use_own_database(folder)
    os.environ["FIFTYONE_PLUGINS_DIR"] = str(folder / "plugins")
    import fiftyone as fo

    if not fo.dataset_exists(NAME):
        raise Clip2VideoError("the demo has not been run yet: c2v demo")
    from clip2video_plugin.app import plugin

    plugin.install()
    screen = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY") or not sys.platform.startswith("linux")
    session = fo.launch_app(fo.load_dataset(NAME), port=port, address=address, remote=not screen)
    with suppress(KeyboardInterrupt):  # the way to end it
        session.wait(-1)
