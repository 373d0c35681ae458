"""Mutated inputs by the thousand: ``python -m tests.fuzz [TARGET ...] [--seconds S] [--seed N] [--inputs N]``.

Each input must give a result, or one ``Clip2VideoError`` in one line. Anything else (another exception, a crash, more
than 30 s, more than 2 GB, a process started, a file written or a folder listed elsewhere) is a finding, which is kept
with its seed, made smaller, below ``--out``. What was found so far is printed when it is interrupted, too.

``--inputs`` are those of all targets together, split by their shares; ``--seconds`` likewise. ``--from`` goes on from
an input number, so that a long run can be had in slices. ``--replay FOLDER`` reads one kept input again, in this
process, and shows what comes of it.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from .findings import Keeper, read_files
from .report import table
from .run import HANG, Run
from .target import Room, Target
from .targets import TARGETS


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__.splitlines()[0])
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(t.name for t in TARGETS))
    parser.add_argument("--seconds", type=float, help="for all targets together")
    parser.add_argument("--inputs", type=int, help="for all targets together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--from", type=int, default=0, dest="first", help="number of the first input of each target")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--hang", type=float, default=HANG, help="seconds that an input may take")
    parser.add_argument("--out", type=Path, default=Path(tempfile.gettempdir()) / "c2v-fuzz")
    parser.add_argument("--list", action="store_true", help="the targets, and what they are")
    parser.add_argument("--replay", type=Path, metavar="FOLDER", help="one kept input")
    asked = parser.parse_args()
    known = {target.name: target for target in TARGETS}
    if asked.list:
        for target in TARGETS:
            print(f"{target.name:14}{target.share:4}/1000  {target.says}")
        return 0
    if asked.replay is not None:
        return replay(known[asked.targets[0] if asked.targets else asked.replay.parent.name], asked.replay)
    if unknown := sorted(set(asked.targets) - set(known)):
        parser.error(f"there is no target {', '.join(unknown)}; there are {', '.join(known)}")
    chosen = [known[name] for name in asked.targets] or list(TARGETS)
    if asked.seconds is None and asked.inputs is None:
        asked.seconds = 60.0
    asked.out.mkdir(parents=True, exist_ok=True)
    return fuzz(chosen, asked)


def fuzz(chosen: list[Target], asked: argparse.Namespace) -> int:
    whole = sum(target.share for target in chosen)
    run = Run(
        asked.out,
        [(target.name, target.says) for target in chosen],
        seed=asked.seed,
        jobs=asked.jobs,
        hang=asked.hang,
        tell=lambda line: print(line, flush=True),
    )
    try:
        for target in chosen:
            part = target.share / whole
            inputs = None if asked.inputs is None else max(round(asked.inputs * part), 1)
            seconds = None if asked.seconds is None else asked.seconds * part
            tally = run.target(target.name, inputs, seconds, asked.first)
            run.renew()
            print(table([tally]).splitlines()[2], flush=True)
    except KeyboardInterrupt:
        print("interrupted; so far:")
    finally:
        run.close()
    report = table(run.tallies.values())
    print(f"\n{report}\n")
    (asked.out / "report.md").write_text(f"seed {asked.seed}, from {asked.first}\n\n{report}\n", encoding="utf-8")
    found = {sign: tally.name for tally in run.tallies.values() for sign in tally.findings}
    kept = {str(about["sign"]): about["folder"] for about in Keeper(asked.out).findings()}
    for sign, name in found.items():
        print(f"{kept.get(sign, name)}: {sign}")
    return 1 if found else 0


def replay(target: Target, folder: Path) -> int:
    from .outcome import outcome_of
    from .worker import prepare

    files = read_files(folder.absolute())
    with tempfile.TemporaryDirectory(prefix="c2v-fuzz-") as place:
        prepare(Path(place))
        found = outcome_of(target, files, Room(Path(place)))
    print(f"{found.kind} {found.name}\n{found.text}")
    return 1 if found.kind == "finding" else 0


if __name__ == "__main__":
    sys.exit(main())
