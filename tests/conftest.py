"""What all tests share: a FiftyOne database of their own, generated videos, the embedded model."""

import atexit
import io
import os
import shutil
import signal
import sys
import tempfile
import uuid
from pathlib import Path

# Runs in the background start with Ctrl-C ignored, and so would every process that a test starts and interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)

# With the repository root on sys.path, the folder datasets/ would shadow Hugging Face's package.
ROOT = Path(__file__).parent.parent
sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != ROOT]

_HOME = Path(tempfile.mkdtemp(prefix="c2v-tests-"))
for _name in ("C2V_INDEX", "C2V_MODEL"):
    os.environ.pop(_name, None)
os.environ.update(
    C2V_MODELS=str(_HOME / "models"),
    C2V_DEMO=str(_HOME / "demo"),
    FIFTYONE_PLUGINS_DIR=str(_HOME / "plugins"),
)
(_HOME / "plugins").mkdir()
atexit.register(shutil.rmtree, _HOME, ignore_errors=True)  # registered first, so it runs last

from clip2video_plugin.app.demo.mongod import use_own_database  # noqa: E402

use_own_database(_HOME)

import subprocess  # noqa: E402

import pytest  # noqa: E402

SHARED = ROOT.parent / "shared"
C2V = [sys.executable, "-m", "clip2video_plugin.cli"]


@pytest.fixture(scope="session")
def shared_videos():
    """Real clips, good and broken, where the checkout has them."""
    folder = SHARED / "videos"
    if not folder.is_dir():
        pytest.skip("no ../shared/videos beside this checkout")
    return folder


@pytest.fixture(scope="session")
def model():
    from clip2video_plugin import load_model

    return load_model("shapes", device="cpu")


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    """A folder of 24 generated videos of unseen things, and the scene of each."""
    from clip2video_plugin.shapes import held_out_scenes, write_videos

    folder = tmp_path_factory.mktemp("world")
    scenes = held_out_scenes(24, seed=3)
    write_videos(folder, scenes)
    return folder, scenes


@pytest.fixture(scope="session")
def world_index(world, model, tmp_path_factory):
    """An index of the generated videos; not to be written to."""
    from clip2video_plugin import embed_videos

    uri = tmp_path_factory.mktemp("world-index")
    embed_videos([world[0]], index=uri, model=model)
    return uri


@pytest.fixture(scope="session")
def store_address():
    """A store of objects that speaks S3, for all tests of a process."""
    from .objectstore import serving

    with serving() as address:
        yield address


@pytest.fixture
def s3(store_address, monkeypatch):
    """An empty bucket, and an environment in which this process and those it starts find it."""
    from .objectstore import Store, environment

    for name, value in environment(store_address).items():
        monkeypatch.setenv(name, value)
    return Store(store_address, f"b{uuid.uuid4().hex[:20]}")


@pytest.fixture(scope="session")
def c2v_here():
    """Runs the command line in this process: exit code, and the bytes on stdout and on stderr."""
    from clip2video_plugin.cli.main import main

    def run(*arguments, encoding="utf-8"):
        out, err = io.BytesIO(), io.BytesIO()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                sys, "argv", ["c2v", *(os.fsdecode(a) if isinstance(a, bytes) else str(a) for a in arguments)]
            )
            patch.setattr(sys, "stdout", io.TextIOWrapper(out, encoding))
            patch.setattr(sys, "stderr", io.TextIOWrapper(err, encoding))
            with pytest.raises(SystemExit) as end:
                main()
            sys.stderr.flush()
            return end.value.code or 0, out.getvalue(), err.getvalue()

    return run


@pytest.fixture
def c2v(tmp_path):
    """Runs the command line in a process of its own, in an empty folder."""

    def run(*args, **kwargs):
        return subprocess.run(
            [*C2V, *map(str, args)],
            capture_output=True,
            text=True,
            cwd=kwargs.pop("cwd", tmp_path),
            timeout=300,
            **kwargs,
        )

    return run
