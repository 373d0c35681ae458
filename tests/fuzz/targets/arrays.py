"""Arrays of evaluations: .npy, .npz, and pickles that are read as data."""

import io
import pickle
from collections.abc import Iterator
from pathlib import Path

from ..target import Files, Room, Target, Wrong


def _npy(array, version=None) -> bytes:
    import numpy as np

    target = io.BytesIO()
    np.lib.format.write_array(target, array, version=version)
    return target.getvalue()


def make_scores(place: Path) -> Iterator[tuple[str, Files]]:
    import numpy as np

    random = np.random.default_rng(0)
    square = random.standard_normal((6, 6))
    for kind in ("<f4", ">f8", "<f2", "<i4", "|u1"):
        yield f"square{kind[1:]}", {"scores.npy": _npy((square * 9).astype(kind))}
    yield "fortran", {"scores.npy": _npy(np.asfortranarray(square), (2, 0))}
    yield (
        "pair",
        {
            "texts.npy": _npy(square.astype("f4")),
            "videos.npy": _npy(square[:4].astype("f2")),
            "columns.npy": _npy(np.arange(6) % 4),
        },
    )
    for name, save in (("stored", np.savez), ("packed", np.savez_compressed)):
        target = io.BytesIO()
        save(target, scores=random.standard_normal((6, 3)), caption_video=np.arange(6) % 3)
        yield name, {"scores.npz": target.getvalue()}


def read_scores(files: Files, room: Room) -> None:
    import json

    from clip2video_plugin.evaluation.files import evaluate_scores, evaluate_vectors

    place = room.put(files)
    if (place / "texts.npy").exists() or (place / "videos.npy").exists():
        columns = place / "columns.npy"
        found = evaluate_vectors(place / "texts.npy", place / "videos.npy", columns if columns.exists() else None)
    else:
        found = evaluate_scores(next(iter(place.iterdir()), place / "scores.npy"))
    for row in (found.t2v, found.v2t):
        if not 0 <= row["R@1"] <= row["R@5"] <= row["R@10"] <= 100:
            raise Wrong(f"recalls that are none: {row}")
    json.dumps(found.to_dict(), allow_nan=False)


def _objects(rows):
    import numpy as np

    out = np.empty(len(rows), dtype=object)
    out[:] = list(rows)
    return out


def make_pickles(place: Path) -> Iterator[tuple[str, Files]]:
    import numpy as np

    square = np.arange(12.0).reshape(3, 4)
    values = {
        "array": square,
        "dict": {"scores": square.astype("f4"), "columns": np.arange(3)},
        "lists": [[1.0, 2.0], [3.0, 4.0]],
        "rows": [square[0], square[1]],
        "tuple": (square, np.asfortranarray(square)),
        "objects": _objects(square),
        "scalar": {"a": np.float32(3), "b": square},
    }
    for name, value in values.items():
        for protocol in (0, 2, 4, 5):
            yield f"{name}{protocol}", {"scores.pkl": pickle.dumps(value, protocol=protocol)}
    yield "npy", {"scores.npy": _npy(_objects(square))}


def read_pickle(files: Files, room: Room) -> None:
    from clip2video_plugin.evaluation.unpickle import read_pickled

    for array in read_pickled(room.one(files)).values():
        if array.dtype.kind not in "fiub":
            raise Wrong(f"an array of {array.dtype}")
        array.sum()


TARGETS = (
    Target("scores", ".npy and .npz of scores and vectors", make_scores, read_scores, 20, ()),
    Target("pickle", "pickles of arrays, read as data", make_pickles, read_pickle, 30, ()),
)
