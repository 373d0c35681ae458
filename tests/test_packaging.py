"""What a user installs holds every part, and starts without loading the heavy ones."""

import importlib
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

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


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Names of the files in a wheel built from the checkout."""
    out = tmp_path_factory.mktemp("wheel")
    source = out / "source"
    tracked = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
    )
    for name in tracked.stdout.splitlines():
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", out, source]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(next(out.glob("*.whl"))) as archive:
        return archive.namelist()


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
    assert getattr(clip2video_plugin, name).__name__ == name
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
