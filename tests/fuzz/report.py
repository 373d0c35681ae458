"""The table of a run, in Markdown."""

from collections.abc import Iterable

from .run import Tally

HEAD = ("target", "inputs", "accepted", "refused", "of which", "findings", "a second", "slowest", "memory")


def table(tallies: Iterable[Tally]) -> str:
    """A line for each target that was read, and one for all of them."""
    read = [tally for tally in tallies if tally.inputs]
    lines = [list(HEAD), ["---", *["---:"] * 3, "---", *["---:"] * 4], *map(_line, read)]
    total = Tally("together")
    for tally in read:
        total.inputs += tally.inputs
        total.accepted += tally.accepted
        total.refused += tally.refused
        total.findings += tally.findings
        total.seconds += tally.seconds
        total.slowest, total.peak = max(total.slowest, tally.slowest), max(total.peak, tally.peak)
    lines.append([*_line(total)[:4], "", *_line(total)[5:]])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _line(tally: Tally) -> list[str]:
    names = ", ".join(f"{name} {count:,}" for name, count in tally.refused.most_common())
    return [
        tally.name,
        f"{tally.inputs:,}",
        f"{tally.accepted:,}",
        f"{sum(tally.refused.values()):,}",
        names,
        f"{len(tally.findings)} ({sum(tally.findings.values()):,} inputs)" if tally.findings else "0",
        f"{tally.inputs / tally.seconds:,.0f}" if tally.seconds else "",
        f"{tally.slowest:.2f} s",
        f"{tally.peak / 1e6:,.0f} MB",
    ]
