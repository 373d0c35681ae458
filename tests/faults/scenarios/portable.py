"""An index written as Parquet and read in, moved, and calibrated."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.faults.harness import Scenario, as_c2v, c2v
from tests.faults.scenarios.tables import strays, tables_of

IMPORTS = (
    "clip2video_plugin.index.importing",
    "clip2video_plugin.moving",
    "clip2video_plugin.query.calibrate",
    "clip2video_plugin.cli.upkeep",
    "rich.console",
    "rich.progress",
    "lance",
    "torch",
)


def of_videos(folder: Path, count: int = 30) -> Any:
    """An index of drawn vectors of files that are not there, as the embedded model would have made them."""
    import numpy as np

    from clip2video_plugin import load_model
    from clip2video_plugin.index import VideoIndex
    from clip2video_plugin.places import video_id
    from clip2video_plugin.provenance import provenance

    model = load_model("shapes", device="cpu", text_only=True)
    dim = model.config.vector_dim
    vectors = np.random.default_rng(3).standard_normal((count, dim)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    index = VideoIndex.create(folder / "index", dim, provenance(model, "uniform"))
    rows = list[dict[str, Any]]()
    for number, vector in enumerate(vectors):
        path = folder / "videos" / f"{number}.mp4"
        row = {"id": video_id(path), "sample_id": None, "path": str(path), "start": 0.0, "end": 2.0, "duration": 2.0}
        rows.append(row | {"vector": vector, "captions": ["a dog"] * (number % 3 == 0), "size": 1, "mtime": 1.5})
        rows[-1]["added"] = 1.6e9
    index.write(rows)
    return index


def filled(folder: Path) -> None:
    """Videos, windows of some, a failure, and a fit for both tables."""
    import numpy as np

    from clip2video_plugin.index.calibration import write_fit
    from clip2video_plugin.index.windows import VideoWindows
    from clip2video_plugin.places import video_id

    index = of_videos(folder)
    spans = np.array([[0.0, 2.0], [1.0, 3.0]])
    parts, ids = index.create_windows(), sorted(index.ids())
    rows = index.rows(ids[:3])
    parts.write_windows([VideoWindows(row, "2/1", spans, np.stack([row["vector"]] * 2)) for row in rows.values()])
    broken = folder / "videos" / "broken.mp4"
    index.write_failures([{"id": video_id(broken), "path": str(broken), "size": 3, "mtime": 4.0, "reason": "no"}])
    write_fit(index, {"a": 1}, 30)
    write_fit(parts, {"b": 2}, 6)


def without_identities(folder: Path) -> dict[str, Any]:
    """The tables, but for what is drawn when one is made."""
    tables = tables_of(folder)
    for row in tables.get("calibration", {}).get("rows", ()):
        row.pop("identity", None)
    return tables


def of_export(folder: Path) -> dict[str, Any]:
    """File -> rows."""
    import pyarrow.parquet as pq

    files = sorted((folder / "out").iterdir()) if (folder / "out").is_dir() else []
    tables = {path.name: pq.read_table(path).to_pylist() for path in files if path.name[0] != "."}
    for rows in tables.values():
        rows.sort(key=lambda row: str(row["id"]))
        for row in rows:
            row.pop("identity", None)
    return tables


def older(folder: Path) -> None:
    """An export of before, to be replaced."""
    from clip2video_plugin.index.portable import export_index

    index = of_videos(folder, 3)
    export_index(index, folder / "out")
    filled(folder)


def hidden(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name[0] == "." and path.name != ".hidden"]


EXPORT = Scenario(
    name="export",
    prepare=older,
    run=lambda folder: c2v("index", "export", "out", "--index", "index", "--force"),
    state=lambda folder: {"out": of_export(folder), "index": tables_of(folder / "index")},
    leftovers=hidden,
    foreign=("foreign.txt", ".hidden"),
    imports=IMPORTS,
)


def exported(folder: Path) -> None:
    import shutil

    from clip2video_plugin.index.portable import export_index

    filled(folder)
    export_index(folder / "index", folder / "out")
    shutil.rmtree(folder / "index")


IMPORT = Scenario(
    name="import-index",
    prepare=exported,
    run=lambda folder: c2v("index", "import", "out", "--index", "index"),
    state=lambda folder: without_identities(folder / "index"),
    leftovers=lambda folder: list(strays(folder / "index")),
    foreign=("out", "foreign.txt", "index/notes.txt"),
    imports=IMPORTS,
)


def move(folder: Path) -> None:
    """Again, too, where the run before failed after its last row: it says that nothing is left, and tidies up."""
    from clip2video_plugin.errors import VideoIndexError
    from clip2video_plugin.index import open_index
    from clip2video_plugin.moving import move_videos

    def look() -> bool:
        index, below = open_index("index"), f"starts_with(path, '{folder / 'videos'}/')"
        return bool(index.count(below) or index.failures(below))

    if as_c2v(look):
        c2v("index", "move", "videos", "films", "--index", "index")
    else:
        with suppress(VideoIndexError):
            move_videos("videos", "films", "index")


MOVE = Scenario(
    name="move",
    prepare=filled,
    run=move,
    state=lambda folder: tables_of(folder / "index"),
    leftovers=lambda folder: list(strays(folder / "index")),
    foreign=("foreign.txt", "index/notes.txt"),
    imports=IMPORTS,
)

CALIBRATE = Scenario(
    name="calibrate",
    prepare=of_videos,
    run=lambda folder: c2v("index", "calibrate", "--index", "index"),
    state=lambda folder: tables_of(folder / "index"),
    leftovers=lambda folder: list(strays(folder / "index")),
    foreign=("foreign.txt", "index/notes.txt"),
    imports=IMPORTS,
)

SCENARIOS = (EXPORT, IMPORT, MOVE, CALIBRATE)
