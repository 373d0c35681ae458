"""The App under load: users at once who search, tag, look at moments, compute, add and delete.

    python benchmarks/load.py [--users 20] [--seconds 600] [--pages 1] [--videos 200] [--think 1] [--seed 0] [--quick]

Starts what ``c2v demo --app`` starts, on loopback and in a folder of its own: FiftyOne's App server with a mongod. The
users ask by the routes of the App's page, as the page does; ``--pages`` of them are pages in Chromium that type. Each
thinks for a while after an answer. tests/app/load.py says how answers are checked. Ctrl-C ends the load early, and what
was found so far is printed. The exit code is 1 if an answer was wrong, a request failed, or something was lost.
"""

from __future__ import annotations

import argparse
import atexit
import os
import platform
import shutil
import sys
import tempfile
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.append(str(Path(__file__).parents[1]))  # last: the folder datasets/ must not shadow a package

if TYPE_CHECKING:
    from tests.app.load import Load

SHOWN = 11  # times of which the memory is printed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--pages", type=int, default=1, help="of the users, those with a page in Chromium")
    parser.add_argument("--videos", type=int, default=200)
    parser.add_argument("--think", type=float, default=1.0, help="seconds between two actions of a user, on average")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="5 users, 60 seconds, 60 videos")
    args = parser.parse_args()
    if args.quick:
        args.users, args.seconds, args.videos = 5, 60, 60
    from clip2video_plugin.app.demo.mongod import use_own_database

    folder = Path(tempfile.mkdtemp(prefix="c2v-load-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)  # registered first, so it runs last
    use_own_database(folder)
    from tests.app.load import Load

    say("making and embedding the videos")
    load = Load(folder, args.users, args.videos, args.seed, args.think)
    with load.server(folder):
        say("asking while it is quiet")
        load.quiet()
        say(f"{args.users} users for {args.seconds:.0f} s")
        try:
            load.run(args.seconds, args.pages)
        except KeyboardInterrupt:
            say("ended early")
        load.compare()
    show(load, args.pages)
    sys.exit(1 if load.log.errors or load.wrong else 0)


def show(load: Load, pages: int) -> None:
    """The tables, in Markdown."""
    import numpy as np

    done = sum(map(len, load.log.seconds.values()))
    print(f"{load.users} users ({pages} in Chromium) for {load.seconds:.0f} s, {load.videos} videos; {date.today()}")
    print(f"{done} actions, {done / load.seconds:.1f} a second; {os.cpu_count()} cores, {platform.machine()}\n")
    print("| action | times | median s | 95 % s | worst s |\n|---|---|---|---|---|")
    for action, seconds in sorted(load.log.seconds.items(), key=lambda one: -len(one[1])):
        middle, most = np.percentile(seconds, [50, 95])
        print(f"| {action} | {len(seconds)} | {middle:.2f} | {most:.2f} | {max(seconds):.2f} |")
    print("\n| after s | server MB | mongod MB | open files of the server |\n|---|---|---|---|")
    for place in np.linspace(0, len(load.memory) - 1, min(SHOWN, len(load.memory))).round().astype(int):
        seconds, server, mongod, opened = load.memory[place]
        print(f"| {seconds:.0f} | {server:.0f} | {mongod:.0f} | {opened} |")
    later = np.array([row[:2] for row in load.memory[len(load.memory) // 2 :]])
    if len(later) > 2:
        print(f"\nIn the second half the server grows by {60 * np.polyfit(*later.T, 1)[0]:.1f} MB a minute.")
    for text, times in load.log.errors.most_common():
        print(f"\nfailed {times} times: {text}")
    for text in load.wrong:
        print(f"\nwrong at the end: {text}")
    if not load.log.errors and not load.wrong:
        print("\nNo request failed, every answer was right, no tag and no row was lost or doubled.")


def say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
