"""``report.html``: how a run went, in one file that opens without a network."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

from clip2video_plugin.paths import printable
from clip2video_plugin.training.state import REPORT, read_log

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; color: #222; padding: 0 1rem }}
table {{ border-collapse: collapse; margin: 1rem 0; width: 100% }}
td, th {{ border-bottom: 1px solid #ddd; padding: .3rem .6rem; text-align: left; vertical-align: top }}
td.n, th.n {{ text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }}
tr.best {{ background: #eef7ee; font-weight: 600 }}
.path {{ color: #666; overflow-wrap: anywhere }}
</style></head><body>
<h1>{title}</h1>
{body}
</body></html>
"""
RECALLS = ("R@1", "R@5", "R@10")


def write_report(folder: Path) -> Path:
    """Writes the report of the run in ``folder`` from its log: losses, recalls per epoch, hardest queries."""
    rows = read_log(folder)
    steps = [row for row in rows if "loss" in row]
    epochs = [row for row in rows if "validation" in row]
    best = max(epochs, key=lambda row: (row["validation"]["R@1"], -row["epoch"]), default=None)
    parts = [_curves(steps, epochs)]
    if best:
        parts += [_epochs(epochs, best), _hardest(best)]
    path = folder / REPORT
    partial = folder / f".{REPORT}"
    partial.write_text(PAGE.format(title=_shown(folder.resolve().name), body="\n".join(parts)), encoding="utf-8")
    partial.replace(path)
    return path


def _curves(steps: list[dict[str, Any]], epochs: list[dict[str, Any]]) -> str:
    """Loss and rate over steps, and recalls over epochs, as interactive plots."""
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    figure = make_subplots(rows=2, cols=1, subplot_titles=("loss", "recall on the validation videos, %"))
    shown = steps[:: max(len(steps) // 2000, 1)]
    two_parts = any("aligned_loss" in row for row in shown)
    for name in ("loss", "global_loss", "aligned_loss") if two_parts else ("loss",):
        figure.add_scatter(
            x=[row["step"] for row in shown], y=[row.get(name) for row in shown], name=name, row=1, col=1
        )
    for name in RECALLS:
        figure.add_scatter(
            x=[row["step"] for row in epochs],
            y=[row["validation"][name] for row in epochs],
            name=name,
            mode="lines+markers",
            row=2,
            col=1,
        )
    figure.update_xaxes(title_text="step", row=2, col=1)
    figure.update_layout(height=700, margin={"l": 50, "r": 20, "t": 40, "b": 40}, template="plotly_white")
    assert isinstance(figure, go.Figure)
    return str(figure.to_html(full_html=False, include_plotlyjs=True))


def _epochs(epochs: list[dict[str, Any]], best: dict[str, Any]) -> str:
    head = "".join(f'<th class="n">{name}</th>' for name in ("epoch", "step", *RECALLS, "MdR", "MnR"))
    lines = []
    for row in epochs:
        values = row["validation"]
        cells = [str(row["epoch"]), str(row["step"]), *(f"{values[name]:.1f}" for name in (*RECALLS, "MdR", "MnR"))]
        mark = ' class="best"' if row is best else ""
        lines.append(f"<tr{mark}>" + "".join(f'<td class="n">{cell}</td>' for cell in cells) + "</tr>")
    return f"<h2>Epochs</h2><table><tr>{head}</tr>{''.join(lines)}</table>"


def _hardest(best: dict[str, Any]) -> str:
    lines = [
        f'<tr><td class="n">{row["rank"]:g}</td><td>{_shown(row["caption"])}</td>'
        f'<td class="path">{_shown(row["video"])}</td><td class="path">{_shown(row["rival"])}</td></tr>'
        for row in best["hardest"]
    ]
    return (
        "<h2>Hardest queries of the best epoch</h2><table><tr><th class='n'>rank</th><th>query</th>"
        f"<th>its video</th><th>best other video</th></tr>{''.join(lines)}</table>"
    )


def _shown(text: str) -> str:
    return html.escape(printable(text))
