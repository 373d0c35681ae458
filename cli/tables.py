"""Tables of search results."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table

from clip2video_plugin.cli.terminal import plain, say, show
from clip2video_plugin.counted import counted

if TYPE_CHECKING:
    from clip2video_plugin.app.compare import Comparison
    from clip2video_plugin.app.demo import Ranking
    from clip2video_plugin.app.plugin import PluginStatus
    from clip2video_plugin.bench import Speed
    from clip2video_plugin.datasets.audit import Audit
    from clip2video_plugin.evaluation.moments import MomentEvaluation
    from clip2video_plugin.evaluation.report import Evaluation
    from clip2video_plugin.index import Hit
    from clip2video_plugin.index.contents import IndexInfo
    from clip2video_plugin.index.optimizing import Optimized
    from clip2video_plugin.index.recall import Recall
    from clip2video_plugin.query import SearchResult
    from clip2video_plugin.query.confidence import Calibration
    from clip2video_plugin.training import TrainResult

LISTED_MOMENTS = 10  # of a hit
FOUND_BY = {"captions": "by captions", "both": "by vector and captions"}


def print_hits(result: SearchResult) -> None:
    """Rank, score, path and duration of each hit, its best window where it has any, how probable it is where that is
    known, and below it that captions found it, and its moments; then what was left out, and why.
    """
    known = any(hit.confidence is not None for hit in result.hits)
    windows = any(map(_is_part, result.hits))
    table = _table("video", "duration", "confidence" if known else None, "from - to" if windows else None)

    def below(what: str, score: str = "", span: str | None = None) -> None:
        cells = [what] if span is None else ["", span] if windows else [f"  {span}"]
        table.add_row("", score, *[""] * known, *cells, *[""] * (windows and span is None), "", style="dim")

    for hit in result.hits:
        path = plain(hit.path)
        if hit.missing:
            path.append(" (missing)", "red")
        sure = ["" if hit.confidence is None else f"{100 * hit.confidence:.0f} %"] * known
        part = [_span(hit.start, hit.end) if _is_part(hit) else ""] * windows
        length = "" if hit.duration is None else f"{hit.duration:.1f} s"
        table.add_row(str(hit.rank), f"{hit.score:.3f}", *sure, path, *part, length)
        if hit.matched != "vector":
            below(f"  {FOUND_BY[hit.matched]}")
        for moment in hit.moments[:LISTED_MOMENTS]:
            below("", f"{moment.score:.3f}", _span(moment.start, moment.end))
        if (more := len(hit.moments) - LISTED_MOMENTS) > 0:
            below("", span=f"and {more} more")
    _print(result.query, result.searched, table)
    for one in result.dropped:
        say(f'left out {one.dropped} that fit "{one.text}" with {one.threshold:.3f} or more; --threshold moves that')
    for note in result.notes:
        say(note)
    if not result.hits and result.refused is not None:
        say(f"nothing matches: the best hit is right with a probability of {100 * result.refused:.0f} %")
    elif not result.hits:
        say("no video fits")
    if result.warning:
        say(result.warning)
    elif result.about:
        show(plain(f"model {result.model}, {result.about}", "dim"), soft_wrap=True)


def _is_part(hit: Hit) -> bool:
    """Whether a hit is a window of its video, and not the whole of it."""
    return bool(hit.start) or (hit.end is not None and hit.duration is not None and hit.end < hit.duration - 1e-3)


def _span(start: float | None, end: float | None) -> str:
    return f"{start or 0:.1f} - {end:.1f} s" if end is not None else f"from {start or 0:.1f} s"


def print_calibration(fit: Calibration) -> None:
    """What a calibration was fitted from, what it promises and what came, and what a least confidence does."""
    by = "held-out captions" if fit.source == "captions" else "videos in place of sentences (an estimate)"
    say(f"{fit.table}: {fit.rows} rows; fitted from {fit.queries} {by} and {fit.foreign} sentences about other things")
    say(f"the best hit is believed from a score of {fit.credible:.3f}; a sentence holds from {fit.without:.3f}")
    table = Table("confidence", "promised", "observed", "queries", box=box.SIMPLE_HEAD)
    for each in fit.bins:
        numbers = f"{100 * each.promised:.1f} %", f"{100 * each.observed:.1f} %", str(each.count)
        table.add_row(f"{each.low:g} to {each.high:g}", *numbers)
    show(table)
    for gate in fit.gates:
        kept, refused, right = (f"{100 * share:.0f} %" for share in (gate.kept, gate.refused, gate.right))
        say(
            f"--min-confidence {gate.least:g} keeps {kept} of right answers and refuses {refused} of queries without "
            f"one; {right} of what is then first is right"
        )


def print_index(info: IndexInfo) -> None:
    """What an index holds and by which model, and a row per table."""
    say(f"index     {info.index}")
    if info.model is not None:
        say(f"made by   model {info.model} ({(info.sha256 or '')[:12]}), {info.seen}")
        say(f"vectors   {info.dim} numbers each")
    say(f"videos    {info.videos}, and {counted(info.failures, 'failure')} noted")
    if info.bytes is not None:
        say(f"on disk   {info.bytes / 1e6:.2f} MB")
    table = Table(box=box.SIMPLE_HEAD)
    for column in ("table", "rows", "MB", "versions", "indexes", "model"):
        table.add_column(column, justify="right" if column in ("rows", "MB", "versions") else "left", overflow="fold")
    for one in info.tables:
        numbers = str(one.rows), f"{one.bytes / 1e6:.2f}", str(one.versions)
        table.add_row(plain(one.name), *numbers, ", ".join(one.indexes), plain(one.model or ""))
    show(table)
    for one in info.tables:
        if one.asked is not None:
            least = f"; at least {min(one.recall.values()):.3f} of the 10 best found" if one.recall else ""
            say(f"the vector index of {plain(one.name)} is asked so: {one.asked}{least}")


def print_recall(recall: Recall) -> None:
    """What a vector index finds of what it should, by kind of query, and how it was asked."""
    if recall.settings is None:  # every query reads all rows
        return
    say(f"table {plain(recall.table)}: {counted(recall.rows, 'row')}, asked with {recall.settings.words}")
    table = Table("of the 10 best found for", "", box=box.SIMPLE)
    for kind, share in recall.recall.items():
        table.add_row(kind, f"{share:.3f}")
    show(table)
    say(f"measured in {recall.seconds:.1f} s")


def print_optimized(tables: list[Optimized]) -> None:
    """Of each table what it was and is."""
    shown = Table(box=box.SIMPLE_HEAD)
    for column in ("table", "rows", "parts", "versions", "MB", "not in an index"):
        shown.add_column(column, justify="left" if column == "table" else "right", overflow="fold")
    for one in tables:
        b, a = one.before, one.after
        pairs = [(b.parts, a.parts), (b.versions, a.versions), (f"{b.bytes / 1e6:.2f}", f"{a.bytes / 1e6:.2f}")]
        changes = [str(x) if x == y else f"{x} -> {y}" for x, y in [*pairs, (b.unindexed, a.unindexed)]]
        shown.add_row(plain(one.name), str(one.rows), *changes)
    show(shown)


def print_speed(speed: Speed) -> None:
    """Rates of this machine, and how near embedding comes to what its parts allow."""
    say(f"{counted(speed.videos, 'video')}, model {speed.model}, {speed.device}, {counted(speed.cores, 'core')}")
    table = Table("", "videos/s", box=box.SIMPLE)
    for name, rate in (("decode", speed.decode), ("encode", speed.encode), ("embed", speed.embed)):
        table.add_row(name, f"{rate:.1f}")
    show(table)
    table = Table("encode in", "videos/s", "least cosine to float32", box=box.SIMPLE)
    for name, precision in speed.precisions.items():
        table.add_row(name, f"{precision.encode:.1f}", f"{precision.cosine:.5f}")
    show(table)
    share = f"{100 * speed.embed / speed.allowed:.0f} %"
    say(f"embed reaches {share} of decoding and encoding in turn; a warm query takes {speed.query_ms:.1f} ms")


def print_ranking(ranking: Ranking) -> None:
    """Rank, score, what the video shows and its file, for the demo; the right answer in green."""
    table = _table("what the video shows", "video")
    for rank, (score, captions, path) in enumerate(ranking.rows, start=1):
        shown = plain(captions[0] if captions else "", "green" if ranking.query in captions else "")
        table.add_row(str(rank), f"{score:.3f}", shown, plain(Path(path).name))
    _print(ranking.query, ranking.searched, table)


def _table(what: str, last: str, sure: str | None = None, when: str | None = None) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    for name in filter(None, ("rank", "score", sure)):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column(what, overflow="fold")
    for name in filter(None, (when, last)):
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _print(query: str, searched: int, table: Table) -> None:
    shown = query if '"' in query else f'"{query}"'
    show(plain(shown, "bold").append(f"  among {counted(searched, 'video')}", "not bold"), soft_wrap=True)
    show(table)


LISTED = 3  # names that stand for the rest


def print_import(name: str, samples: int, info: dict[str, Any]) -> None:
    """What an import found, and what is not as published."""
    say(f"{name}: {counted(samples, 'video')}")
    for part in info.get("splits", [info]):
        if "expected" in part:
            found, expected = part["found"], part["expected"]
            state = "complete" if part["complete"] else "not comparable to published numbers"
            say(
                f"  {part['protocol']} {part['split']}: {found['videos']} of {expected['videos']} videos, "
                f"{found['captions']} of {expected['captions']} captions: {state}"
            )
        for names, what in (
            (part.get("missing", []), "missing"),
            (part.get("ambiguous", []), "not plain"),
            (part.get("passed_over", []), "without annotations"),
        ):
            if names:
                more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
                say(f"  {len(names)} {what}: {'; '.join(names[:LISTED])}{more}")
        for kind, count in part.get("warnings", {}).items():
            say(f"  {kind}: {count}")


def print_evaluations(name: str, evaluations: list[Evaluation]) -> None:
    """A table per direction: a row per run, beside the published one; the 95 % interval of R@1."""
    from clip2video_plugin.evaluation.report import METRICS

    for direction, label in (("t2v", "text to video"), ("v2t", "video to text")):
        table = Table(title=plain(f"{name}, {label}"), title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
        for column in ("run", "R@1", "95 %", *METRICS[1:], "n"):
            if column == "run":
                table.add_column(column, overflow="fold")
            else:
                table.add_column(column, justify="right", no_wrap=True)
        for evaluation in evaluations:
            values = getattr(evaluation, direction)
            low, high = evaluation.intervals.get(direction, {}).get("R@1", (None, None))
            interval = "" if low is None else f"{low:.1f}-{high:.1f}"
            rest = [f"{values[metric]:.1f}" for metric in METRICS[1:]]
            table.add_row(plain(evaluation.name), f"{values['R@1']:.1f}", interval, *rest, f"{values['n']:.0f}")
        published = next((e.published for e in evaluations if e.published), None)
        if published is not None:
            first, *others = (f"{value:.1f}" for value in getattr(published, direction))
            table.add_row(plain(published.source, "dim"), first, "", *others, "")
        show(table)
    for evaluation in evaluations:
        if evaluation.not_comparable:
            show(plain(f"{evaluation.name}: {evaluation.not_comparable}", "red"), soft_wrap=True)


def print_moment_scores(evaluation: MomentEvaluation) -> None:
    """R1 and mAP of moments of all lengths, and of the lengths that there are."""
    table = Table(box=box.SIMPLE_HEAD)
    for column in ("moments", "R1@.5", "R1@.7", "mIoU", "mAP", "mAP@.5", "mAP@.75", "n"):
        table.add_column(column, justify="left" if column == "moments" else "right", no_wrap=True)
    named = {"full": "all", "short": "to 10 s", "middle": "to 30 s", "long": "over 30 s"}
    for name, label in named.items():
        if scores := getattr(evaluation, name):
            n, *values = vars(scores).values()
            table.add_row(label, *(f"{value:.1f}" for value in values), str(n))
    show(table)


SHOWN = 8  # queries of each kind


def print_comparison(comparison: Comparison) -> None:
    """How R@1 changed, and the queries whose rank changed most, both ways."""
    points, low, high = comparison.difference
    say(
        f"R@1 {points:+.1f} points (95 %: {low:+.1f} to {high:+.1f}); {len(comparison.improved)} queries improved, "
        f"{len(comparison.broken)} broke, {comparison.unchanged} are where they were"
    )
    for title, changes, colour in (("improved", comparison.improved, "green"), ("broke", comparison.broken, "red")):
        if not changes:
            continue
        table = Table(title=title, title_justify="left", title_style=f"bold {colour}", box=box.SIMPLE_HEAD)
        for column in ("rank was", "is"):
            table.add_column(column, justify="right")
        table.add_column("query", overflow="fold")
        table.add_column("video", overflow="fold")
        for change in changes[:SHOWN]:
            table.add_row(f"{change.old:g}", f"{change.new:g}", plain(change.caption), plain(Path(change.path).name))
        show(table)
        if len(changes) > SHOWN:
            say(f"  and {len(changes) - SHOWN} more (--json lists all)")


def print_training(result: TrainResult) -> None:
    """How a run ended and where its results are."""
    end = "stopped early, as validation got no better" if result.stopped_early else "done"
    best = ", ".join(f"{name} {result.best[name]:.1f}" for name in ("R@1", "R@5", "R@10") if name in result.best)
    say(f"{counted(result.steps, 'step')}, {end}; best epoch {result.best_epoch}: {best} on the validation videos")
    if result.failed:
        say(f"left out {counted(len(result.failed), 'video')} that could not be read")
    say(f"weights {result.checkpoint}")
    say(f"report  {result.folder / 'report.html'}")


def print_plugin_status(status: PluginStatus) -> None:
    """Where the plugin is, what it offers, and what went wrong."""
    if status.folder is None:
        say("not installed; run: c2v plugin install")
        return
    at = f"{status.folder}" + (f" -> {status.source}" if status.source != status.folder else "")
    say(f"plugin    {status.version} in {at}")
    say(f"FiftyOne  {status.fiftyone} (needs {status.needs_fiftyone})")
    if not status.enabled:
        say("disabled; enable it: fiftyone plugins enable @clip2video/clip2video")
    for name in status.declared:
        say(f"  {'ok     ' if name in status.registered else 'missing'} {name}")
    for line in status.outdated:
        say(f"outdated: {line}")
    if status.outdated:
        say("renew it: c2v plugin uninstall && c2v plugin install")
    for error in status.errors:
        lines = error.strip().splitlines()
        for line in (f"error: {lines[-1]}", *lines):
            say(line)


def print_audit(audit: Audit, max_words: int) -> None:
    """What the splits share, with the longest overlaps."""
    table = Table(title=f"{audit.protocol}: shared between splits", title_justify="left", box=box.SIMPLE_HEAD)
    for column in ("splits", "clips of a shared source", "overlaps in time"):
        table.add_column(column, justify="left" if column == "splits" else "right")
    for leak in audit.leaks:
        table.add_row(f"{leak.first} / {leak.second}", str(leak.clips), str(leak.overlaps))
    show(table)
    for leak in audit.leaks:
        for first, second, seconds in leak.examples[:3]:
            say(f"  {leak.first} {first} and {leak.second} {second} share {seconds} s")
    table = Table(title="captions", title_justify="left", box=box.SIMPLE_HEAD)
    for column in ("split", "in several videos", "repeated in a video", f"over {max_words} tokens"):
        table.add_column(column, justify="left" if column == "split" else "right")
    for split, count in audit.repeated.items():
        table.add_row(split, str(count), str(audit.repeated_within[split]), str(audit.long[split]))
    show(table)
