"""Folders of LanceDB in which bytes changed or files are gone, exports in Parquet, and what is stored in tables."""

import json
from collections.abc import Iterator
from pathlib import Path

from ..findings import read_files
from ..target import Files, Room, Target, Wrong

DIM = 16


def _rows(count: int):
    import numpy as np

    vectors = np.random.default_rng(0).standard_normal((count, DIM)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return [
        {
            **{"id": f"{n:032x}", "path": f"/videos/{n}.mp4", "start": 0.0, "end": 9.0, "vector": vector, "size": n},
            **{"mtime": 1.5, "captions": ["a dog runs"] if n % 2 else [], "tags": ["beach"], "duration": 9.0},
        }
        for n, vector in enumerate(vectors)
    ]


def _index(folder: Path):
    """Videos, windows of two of them, a failure, a calibration, and an index of ids."""
    import numpy as np

    from clip2video_plugin.index import Provenance, VideoIndex
    from clip2video_plugin.index.calibration import write_fit
    from clip2video_plugin.index.windows import VideoWindows

    index = VideoIndex.create(folder, DIM, Provenance("fuzz", "0" * 64, "uniform", 12, "0"))
    rows = _rows(20)
    index.write(rows[:10])
    index.write(rows[10:])
    vectors = np.stack([row["vector"] for row in rows])
    spans = np.array([[0.0, 2.0], [1.0, 3.0]])
    index.create_windows().write_windows([VideoWindows(row, "2/1", spans, vectors[:2]) for row in rows[:2]])
    index.write_failures([{"id": "f" * 32, "path": "/videos/x.mp4", "size": 3, "mtime": 4.0, "reason": "no"}])
    write_fit(index, {"a": 1}, 20)
    return index


def make_indexes(place: Path) -> Iterator[tuple[str, Files]]:
    _index(place / "index")
    yield "index", read_files(place / "index")


def read_index(files: Files, room: Room) -> None:
    """What `c2v search`, `c2v index show` and `c2v embed` ask of it."""
    import numpy as np

    from clip2video_plugin.index import open_index
    from clip2video_plugin.index.calibration import read_fit
    from clip2video_plugin.index.contents import describe

    folder = room.put(files)
    describe(folder)
    index = open_index(folder)
    wanted = np.eye(1, index.dim, dtype=np.float32)[0]
    hits = index.search(wanted, 5)
    index.search(wanted, 5, where="duration < 60")
    rows = index.rows([hit.id for hit in hits])
    if len(rows) > len(hits):
        raise Wrong(f"{len(rows)} rows of {len(hits)} hits")
    if (windows := index.windows()) is not None:
        windows.search(wanted, 4, each=True)
    read_fit(index)
    index.failures()


def read_written(files: Files, room: Room) -> None:
    """What `c2v embed` writes into it."""
    from clip2video_plugin.index import open_index
    from clip2video_plugin.index.contents import check

    index = open_index(room.put(files))
    index.write(_rows(3))
    index.count()
    if any("\n" in line for line in check(index)):
        raise Wrong("a problem in several lines")


def make_exports(place: Path) -> Iterator[tuple[str, Files]]:
    from clip2video_plugin.index.portable import export_index

    index = _index(place / "index")
    export_index(index, place / "all")
    yield "all", read_files(place / "all")
    export_index(index, place / "one.parquet")
    yield "one", {"one.parquet": (place / "one.parquet").read_bytes()}


def read_export(files: Files, room: Room) -> None:
    from clip2video_plugin.index.importing import import_index

    folder = room.put({f"export/{name}": content for name, content in files.items()})
    import_index(
        folder / "export" / "one.parquet" if set(files) == {"one.parquet"} else folder / "export", folder / "index"
    )


def make_fits(place: Path) -> Iterator[tuple[str, Files]]:
    from clip2video_plugin.query.confidence import SIGNS, Bin, Calibration, Gate
    from clip2video_plugin.query.logistic import Logistic

    fit = Logistic(tuple(map(float, SIGNS)), 0.5)
    found = Calibration(
        **{"table": "videos", "windows": False, "source": "videos", "queries": 200, "foreign": 50, "rows": 120},
        **{"answered": 0.5, "credible": 0.3, "without": 0.25, "first": fit, "rest": fit},
        **{"bins": (Bin(0.0, 0.5, 0.25, 0.3, 10),), "gates": (Gate(0.5, 0.9, 0.8, 0.7),), "own": {"a": 0.5, "b": 0.25}},
    )
    yield "calibration", {"fit.json": json.dumps(found.to_json()).encode()}


def read_fit(files: Files, room: Room) -> None:
    """A calibration as it stands in a table, which an export of others can bring."""
    from clip2video_plugin.errors import VideoIndexError
    from clip2video_plugin.index.calibration import read_json
    from clip2video_plugin.query.confidence import Calibration

    values = read_json(files.get("fit.json", b"").decode("utf-8", "replace"))
    try:
        found = Calibration.from_json(values or {})
    except ValueError as error:  # as `calibration_of` takes it: there is none
        raise VideoIndexError(str(error)) from None
    p = found.confidences([0.5, 0.4, 0.4], ["a", "b", "c"], 100, 0.5)
    if len(p) != 3:
        raise Wrong(f"{len(p)} probabilities of 3 hits")
    json.dumps(found.report())
    str(found)


TARGETS = (
    Target("index", "index folders, searched", make_indexes, read_index, 8),
    Target("writing", "index folders, written to and checked", make_indexes, read_written, 3),
    Target("fit", "calibrations", make_fits, read_fit, 20, (b'"weights"', b'"own"', b'"bins"', b"1e999")),
    Target("export", "exports in Parquet, read into an index", make_exports, read_export, 8),
)
