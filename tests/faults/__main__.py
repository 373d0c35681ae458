"""Every fault in every scenario, and what it showed::

    python -m tests.faults                                  # every operation of all scenarios fails, and is killed at
    python -m tests.faults embed windows --mode kill        # of these, kills alone
    python -m tests.faults --kills 1000 --seed 1            # kill -9 at random moments, 1,000 in all
    python -m tests.faults embed --every 7 --from 3         # every 7th operation from the third on
    python -m tests.faults building --kinds write rename    # operations of some kinds alone

Modes: ``fail`` (the n-th operation fails with EIO, ENOSPC or EACCES), ``full`` (from the n-th on nothing more fits on
the disk), ``kill`` (kill -9 at the n-th), ``tear`` (kill -9 in the middle of it, where it is a write). Prints each
problem as it is found, and the table at the end; Ctrl-C prints the table so far. Ends with 1 where anything was found.
"""

from __future__ import annotations

import argparse
import random
import re
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != ROOT]  # its datasets/ hides a package

from tests.faults.harness import KINDS, Fault, Trial, Tried  # noqa: E402
from tests.faults.scenarios import SCENARIOS  # noqa: E402

HEAD = f"{'scenario':16} {'operations':>10} {'fault':>8} {'tried':>6} {'survived':>8}  found"


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=f"by default all: {', '.join(SCENARIOS)}")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS, help="only operations of these kinds")
    parser.add_argument("--mode", nargs="+", choices=("fail", "full", "kill", "tear"))
    parser.add_argument(
        "--kills", type=int, help="instead, so many kills at random moments, over the scenarios in turn"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--every", type=int, default=1, help="only each so-many-th operation")
    parser.add_argument("--from", type=int, default=1, dest="first", help="the first operation")
    parser.add_argument("--folder", type=Path, help="where it is all done, for a while; by default a temporary one")
    args = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background it would be ignored
    names = args.scenarios or list(SCENARIOS)
    if unknown := [name for name in names if name not in SCENARIOS]:
        parser.error(f"no scenario {unknown[0]}; there are {', '.join(SCENARIOS)}")
    table, bad, began = dict[str, str](), list[Tried](), time.monotonic()
    try:
        with tempfile.TemporaryDirectory(prefix="c2v-faults-", dir=args.folder) as home:
            for number, name in enumerate(names):
                _tried(name, Path(home) / name, args, number, len(names), table, bad)
    except KeyboardInterrupt:
        print("\ninterrupted")
    print("\n" + "\n".join([HEAD, *table.values()]))
    print(f"{time.monotonic() - began:.0f} s, {len(bad)} faults did harm")
    return 1 if bad else 0


def _tried(
    name: str, home: Path, args: argparse.Namespace, number: int, of: int, table: dict[str, str], bad: list[Tried]
) -> None:
    """All faults of a scenario; adds to the table, and those that did harm to ``bad``."""
    with Trial(SCENARIOS[name], home) as trial:
        kinds = ", ".join(f"{count} {kind}" for kind, count in trial.counts.items() if count)
        print(f"{name}: {trial.operations} operations ({kinds}), {trial.seconds:.2f} s", flush=True)
        for mode, faults in _faults(trial, args, number, of):
            tried = list[Tried]()
            for fault in faults:
                tried.append(done := trial.attempt(fault))
                bad += [done] * bool(done.problems)
                for problem in done.problems:
                    print(f"  {name} {fault} ({done.struck or 'nothing'}): {problem}", flush=True)
                found = Counter(re.split("[:;]| the state", problem)[0] for one in tried for problem in one.problems)
                well = sum(not one.problems for one in tried)
                table[f"{name} {mode}"] = f"{name:16} {trial.operations:10} {mode:>8} {len(tried):6} {well:8}  " + (
                    ", ".join(f"{problem} ({count})" for problem, count in found.items()) or "nothing"
                )
                if len(tried) % 50 == 0:
                    print(f"  {name} {fault}: {len(tried)} tried", file=sys.stderr, flush=True)


def _faults(trial: Trial, args: argparse.Namespace, number: int, of: int) -> Iterator[tuple[str, Iterator[Fault]]]:
    if args.kills:
        drawn = random.Random(f"{args.seed} {trial.scenario.name}")
        mine = args.kills // of + (number < args.kills % of)
        yield "moments", (Fault("kill", moment=drawn.uniform(0, trial.seconds)) for _ in range(mine))
        return
    for mode in args.mode or ("fail", "full", "kill", "tear"):
        yield mode, trial.faults([mode], args.every, args.first, args.kinds)


if __name__ == "__main__":
    sys.exit(main())
