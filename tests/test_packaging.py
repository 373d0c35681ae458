"""What a user installs holds every part, and starts without loading the heavy ones."""

import importlib
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path
from typing import Literal, get_origin

import pytest

import clip2video_plugin

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES = PROJECT["tool"]["setuptools"]["packages"]


def folders():
    """Every package of the checkout, by its installed name."""
    found = set()
    for top, name in (
        ("clip2video_plugin", "clip2video_plugin"),
        ("cli", "clip2video_plugin.cli"),
        ("datasets", "clip2video_plugin.datasets"),
    ):
        for init in (ROOT / top).rglob("__init__.py"):
            inside = init.parent.relative_to(ROOT / top).parts
            found.add(".".join([name, *inside]))
    return found


def tracked():
    """What the repository holds, with what is not committed yet."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return [name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


def run(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def wheel_of(source, out):
    run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", out, source)
    return next(out.glob("*.whl"))


@pytest.fixture(scope="module")
def tree_wheel(tmp_path_factory):
    """A wheel built from a copy of the checkout; beside it the copy, ``source``."""
    out = tmp_path_factory.mktemp("wheel")
    for name in tracked():
        (out / "source" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, out / "source" / name)
    return wheel_of(out / "source", out)


@pytest.fixture(scope="module")
def sdist(tree_wheel, tmp_path_factory):
    """A source distribution of the same copy."""
    out = tmp_path_factory.mktemp("sdist")
    code = f"from setuptools import build_meta; build_meta.build_sdist({str(out)!r})"
    run(sys.executable, "-c", code, cwd=tree_wheel.parent / "source")
    return next(out.glob("*.tar.gz"))


@pytest.fixture(scope="module")
def wheel(tree_wheel):
    """Names of the files in the wheel."""
    with zipfile.ZipFile(tree_wheel) as archive:
        return archive.namelist()


@pytest.fixture(scope="module")
def fresh(tree_wheel, tmp_path_factory):
    """A new environment that has the wheel, and sees of this one's packages all but the checkout."""
    folder = tmp_path_factory.mktemp("fresh") / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", folder)
    run(sys.executable, "-m", "pip", "--python", folder, "install", "-q", "--no-deps", "--no-index", tree_wheel)
    [site] = folder.glob("lib/python3*/site-packages")
    shared = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    (site / "shared.pth").write_text("\n".join(shared))  # of .pth files in those nothing is read, as of the checkout's
    return folder


def recorded(wheel):
    with zipfile.ZipFile(wheel) as archive:
        [record] = [name for name in archive.namelist() if name.endswith(".dist-info/RECORD")]
        return sorted(archive.read(record).decode().splitlines())


def test_a_wheel_of_the_source_distribution_is_that_of_the_checkout(tree_wheel, sdist, tmp_path):
    assert recorded(wheel_of(sdist, tmp_path)) == recorded(tree_wheel)


def test_the_source_distribution_holds_the_repository(sdist):
    with tarfile.open(sdist) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    assert {name for name in tracked() if not name.startswith((".git", "shared"))} <= held
    assert not [name for name in held if "__pycache__" in name]


def test_the_installed_wheel_starts_in_a_fresh_environment(fresh):
    assert run(fresh / "bin" / "c2v", "--version", cwd="/").split()[-1] == clip2video_plugin.__version__
    assert "Usage: c2v" in run(fresh / "bin" / "c2v", "--help", cwd="/")


def test_the_installed_wheel_finds_its_model_recipes_queries_and_plugin(fresh):
    code = """
import sys
from pathlib import Path
from typing import Literal, get_origin
import clip2video_plugin
from clip2video_plugin import load_model
from clip2video_plugin.app.plugin import FILES, plugin_source
from clip2video_plugin.query.asking import everyday
from clip2video_plugin.training.config import recipes
assert Path(clip2video_plugin.__file__).is_relative_to(sys.prefix), clip2video_plugin.__file__
assert plugin_source().is_relative_to(Path(sys.prefix).resolve()), plugin_source()
assert all((plugin_source() / name).is_file() for name in FILES)
assert load_model("shapes").encode_captions(["a square moves left"])
print(len(everyday()), *recipes())
"""
    queries, *recipes = run(fresh / "bin" / "python", "-c", code, cwd="/").split()
    assert int(queries) > 100
    assert set(recipes) == {path.stem for path in (ROOT / "clip2video_plugin/training/recipes").glob("*.toml")}


def test_the_wheel_carries_the_recipes(wheel):
    recipes = {path.name for path in (ROOT / "clip2video_plugin/training/recipes").glob("*.toml")}
    assert {f"clip2video_plugin/training/recipes/{name}" for name in recipes} <= set(wheel)
    assert len(recipes) >= 6


def test_the_package_list_names_every_folder():
    assert set(PACKAGES) == folders()


def test_the_wheel_carries_every_sub_package(wheel):
    for package in PACKAGES:
        assert f"{package.replace('.', '/')}/__init__.py" in wheel


def test_the_wheel_carries_data_and_plugin(wheel):
    wanted = [
        "clip2video_plugin/py.typed",
        "clip2video_plugin/model/data/bpe_simple_vocab_16e6.txt.gz",
        "clip2video_plugin/model/embedded/model.safetensors",
        "share/clip2video_plugin/fiftyone.yml",
        "share/clip2video_plugin/requirements.txt",
        "share/clip2video_plugin/clip2video_plugin/app/entry.py",
        "share/clip2video_plugin/clip2video_plugin/app/panel/query_box.js",
        "licenses/LICENSE",
        "licenses/NOTICE",
    ]
    for name in wanted:
        assert any(entry.endswith(name) for entry in wheel), name


@pytest.mark.parametrize("package", PACKAGES)
def test_every_sub_package_imports_from_the_installation(package):
    code = f"import {package}; print({package}.__file__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd="/", timeout=120)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", clip2video_plugin.__all__)
def test_every_exported_name_is_there(name):
    exported = getattr(clip2video_plugin, name)
    assert get_origin(exported) is Literal or exported.__name__ == name
    assert name in dir(clip2video_plugin)


@pytest.mark.parametrize("arguments", [["--help"], ["search", "--help"], ["embed", "--help"], ["models", "--help"]])
def test_help_loads_nothing_heavy(arguments):
    code = (
        "import sys\n"
        f"sys.argv = ['c2v', *{arguments!r}]\n"
        "from clip2video_plugin.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        "heavy = {'torch', 'fiftyone', 'lancedb', 'decord', 'av', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "Usage: c2v" in done.stdout


def test_the_import_loads_nothing_heavy():
    code = "import sys, clip2video_plugin; assert not {'torch', 'fiftyone', 'lancedb', 'numpy'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


def test_constraints_pin_every_direct_dependency():
    project = PROJECT["project"]
    wanted = project["dependencies"] + [d for extra in project["optional-dependencies"].values() for d in extra]
    pinned = {line.split("==")[0] for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line}
    for dependency in wanted:
        name = re.split(r"[\[;>=<]", dependency)[0].strip()
        assert name in pinned, name
    assert "torch==2.13.0" in (ROOT / "constraints.txt").read_text()


def test_only_app_and_datasets_import_fiftyone():
    for file in [*(ROOT / "clip2video_plugin").rglob("*.py"), *(ROOT / "cli").rglob("*.py")]:
        if "app" not in file.relative_to(ROOT).parts:
            text = file.read_text()
            assert "import fiftyone" not in text, file
            assert "from fiftyone" not in text, file


def test_an_old_decord_beside_decord2_is_named(monkeypatch):
    from clip2video_plugin.video import decord_reader

    monkeypatch.setattr(decord_reader.importlib.metadata, "version", {"decord": "0.6.0", "decord2": "3.4.0"}.get)
    message = decord_reader.conflicting_decord()
    assert "decord 0.6.0" in message
    assert "pip" in message
    assert "\n" not in message


def test_decord2_alone_is_no_conflict():
    from clip2video_plugin.video.decord_reader import conflicting_decord

    importlib.invalidate_caches()
    assert conflicting_decord() is None
