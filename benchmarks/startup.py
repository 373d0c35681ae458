"""How long a command takes from a cold start, beside ``python -c "import fiftyone"``.

    python benchmarks/startup.py [--rows 100000] [--rounds 7] [--quick]

``c2v search`` asks an index of that many random rows with the embedded model; every run is a process of its own.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile

import numpy as np
import pyarrow as pa
from side_by_side import show, timed

from clip2video_plugin import load_model
from clip2video_plugin.index import VideoIndex
from clip2video_plugin.provenance import provenance

C2V = [sys.executable, "-m", "clip2video_plugin.cli"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    rounds = 2 if args.quick else args.rounds
    with tempfile.TemporaryDirectory() as folder:
        fill(folder, args.rows)

        def run(*command: str) -> None:
            subprocess.run(command, check=True, capture_output=True)

        spent = timed(
            {
                'python -c "import fiftyone"': lambda: run(sys.executable, "-c", "import fiftyone"),
                "c2v search": lambda: run(*C2V, "search", "a red square moves left", "--index", folder),
                "c2v --help": lambda: run(*C2V, "--help"),
            },
            rounds,
        )
    show(f"cold start, {args.rows} rows", spent)


def fill(folder: str, rows: int) -> None:
    model = load_model("shapes")
    dim = model.config.vector_dim
    index = VideoIndex.create(folder, dim, provenance(model))
    schema, random = index._table.schema, np.random.default_rng(0)
    vectors = random.standard_normal((rows, dim), np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    known = {
        "id": pa.array([f"{n:032x}" for n in range(rows)]),
        "path": pa.array([f"/videos/{n}.mp4" for n in range(rows)]),
        "vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), dim),
    }
    arrays = [known[f.name].cast(f.type) if f.name in known else pa.nulls(rows, f.type) for f in schema]
    index._table.add(pa.Table.from_arrays(arrays, schema=schema))
    index.finish()


if __name__ == "__main__":
    main()
