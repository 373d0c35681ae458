"""How long the App takes from Enter in the Video search panel to the grid redrawn, in Chromium.

    python benchmarks/app_search.py [--videos 1000] [--searches 20] [--quick]

Makes a dataset of generated videos in a database of its own, starts the App in a process of its own, and types
sentences. A search counts from the key to the moment when the page has the new first page of samples and has
painted twice. Needs playwright and chromium.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))  # last: the folder datasets/ must not shadow a package


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=1000)
    parser.add_argument("--searches", type=int, default=20)
    parser.add_argument("--quick", action="store_true", help="100 videos, 8 searches")
    args = parser.parse_args()
    if args.quick:
        args.videos, args.searches = 100, 8
    from clip2video_plugin.app.demo.mongod import use_own_database

    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        use_own_database(home / "db")
        os.environ["FIFTYONE_PLUGINS_DIR"] = str(home / "plugins")
        print(json.dumps(measure(home, args.videos, args.searches), indent=2))


def measure(home: Path, videos: int, searches: int, model: str = "shapes") -> dict[str, object]:
    import fiftyone as fo

    from clip2video_plugin import compute_clip2video
    from clip2video_plugin.app import plugin
    from clip2video_plugin.app.search import find
    from clip2video_plugin.datasets import import_dataset
    from clip2video_plugin.shapes import caption, scenes, write_videos
    from tests.app.browser import app_page, app_server, select, wait_for_order

    made = list(islice(scenes(9), videos))
    write_videos(home / "videos", made, paraphrases=1)
    dataset = import_dataset("folder", home / "videos", name="timed", progress=False)
    compute_clip2video(dataset, model=model, brain_key="c2v", index=home / "index")
    plugin.install()
    seconds = []
    with app_server(dataset, home / "log") as address, app_page(address, dataset) as (page, orders):
        page.click('[data-item-id="@clip2video/clip2video/open_video_search"]')
        box = '[data-cy="clip2video-query"]'
        page.wait_for_selector(box, timeout=60_000)
        page.wait_for_timeout(5000)
        for number in range(searches + 1):
            sentence = caption(made[number * 7 % videos])
            expected = [path.rsplit("/", 1)[1] for path in find(dataset, sentence, k=25).view.values("filepath")]
            page.fill(box, sentence)
            began = time.perf_counter()
            page.press(box, "Enter")
            wait_for_order(page, orders, expected)
            page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
            seconds.append(time.perf_counter() - began)
            page.wait_for_timeout(1500)
        first = seconds.pop(0)  # which also loads the model and makes the field
        began = time.perf_counter()
        select(page, 0)
        page.wait_for_selector('text="Best-matching captions of this dataset:"', timeout=300_000)
        selected = time.perf_counter() - began
    return {
        "fiftyone": fo.__version__,
        "cores": os.cpu_count(),
        "videos": videos,
        "searches": len(seconds),
        "first s": round(first, 2),
        "median s": round(statistics.median(seconds), 2),
        "fastest s": round(min(seconds), 2),
        "slowest s": round(max(seconds), 2),
        "select a video s": round(selected, 2),
    }


if __name__ == "__main__":
    main()
