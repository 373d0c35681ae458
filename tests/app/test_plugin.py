"""The plugin in FiftyOne's plugins folder: from a checkout, from a wheel, and placed there as it is."""

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import fiftyone as fo
import pytest
import yaml

from clip2video_plugin.app import plugin
from clip2video_plugin.app.operators import OPERATORS
from clip2video_plugin.app.panel import PANELS
from clip2video_plugin.errors import Clip2VideoError

from ..conftest import ROOT


@pytest.fixture
def plugins(tmp_path, monkeypatch):
    """An empty plugins folder, for this process and its children."""
    folder = tmp_path / "plugins"
    folder.mkdir()
    monkeypatch.setattr(fo.config, "plugins_dir", str(folder))
    monkeypatch.setenv("FIFTYONE_PLUGINS_DIR", str(folder))
    return folder


def test_the_manifest_declares_what_registers():
    manifest = yaml.safe_load((ROOT / "fiftyone.yml").read_text())
    assert manifest["name"] == plugin.NAME
    assert manifest["operators"] == [operator().name for operator in OPERATORS]
    assert manifest["panels"] == [panel().name for panel in PANELS]
    assert manifest["fiftyone"]["version"] == ">=1.22,<1.23"
    assert all((ROOT / name).is_file() for name in (*plugin.FILES, manifest["py_entry"], manifest["js_bundle"]))


def test_install_status_uninstall(plugins, c2v):
    assert c2v("plugin", "status").stdout == "not installed; run: c2v plugin install\n"
    done = c2v("plugin", "install")
    assert done.returncode == 0, done.stderr
    assert (plugins / "clip2video").resolve() == ROOT
    assert plugin.install() == plugins / "clip2video"  # again changes nothing
    status = c2v("plugin", "status", "--json")
    assert status.returncode == 0, status.stdout
    found = json.loads(status.stdout)
    assert (found["works"], found["errors"]) == (True, [])
    assert sorted(found["registered"]) == sorted(found["declared"])
    assert plugin.uninstall() == plugins / "clip2video"
    assert list(plugins.iterdir()) == []
    assert plugin.uninstall() is None
    assert (ROOT / "fiftyone.yml").is_file()


def test_what_is_in_its_place_is_not_touched(plugins):
    (plugins / "clip2video").mkdir()
    (plugins / "clip2video" / "mine.txt").write_text("mine")
    with pytest.raises(Clip2VideoError, match="is taken by something else"):
        plugin.install()
    assert (plugins / "clip2video" / "mine.txt").read_text() == "mine"


def test_a_broken_link_is_replaced(plugins):
    (plugins / "clip2video").symlink_to(plugins / "gone")
    assert plugin.install().resolve() == ROOT


def test_where_links_are_not_possible_its_files_are_copied(plugins, monkeypatch):
    def refuse(*_, **__):
        raise OSError("no links here")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    place = plugin.install()
    assert not place.is_symlink()
    assert plugin.status().works
    plugin.uninstall()
    assert not place.exists()


def test_a_full_disk_does_not_turn_a_link_into_a_copy(plugins, monkeypatch):
    def refuse(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "symlink_to", refuse)
    with pytest.raises(Clip2VideoError, match="cannot be written: No space left on device"):
        plugin.install()
    assert not any(plugins.iterdir())


def test_a_checkout_in_the_plugins_folder_is_left_to_its_owner(plugins):
    checkout = plugins / "someones" / "clip2video"
    checkout.mkdir(parents=True)
    for name in (*plugin.FILES, "pyproject.toml"):
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, checkout / name)
    assert plugin.status().works
    with pytest.raises(Clip2VideoError, match="is a checkout; delete it yourself"):
        plugin.uninstall()
    with pytest.raises(Clip2VideoError, match=r"is in .*someones.* already"):
        plugin.install()


def copied(place):
    for name in plugin.FILES:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, place / name)
    return place


def test_an_old_copy_is_told_from_what_the_package_offers(plugins, c2v):
    place = copied(plugins / "clip2video")
    manifest = yaml.safe_load((place / "fiftyone.yml").read_text())
    lost = manifest["operators"].pop()
    (place / "fiftyone.yml").write_text(yaml.safe_dump(manifest | {"version": "0.0.1"}))
    done = c2v("plugin", "status")
    assert done.returncode == 1
    assert f"missing {lost}" in done.stdout
    assert f"outdated: {lost} is not offered" in done.stdout
    assert "outdated: version is '0.0.1', this package's is " in done.stdout
    assert plugin.install() == place  # in its stead
    assert plugin.status().works


def test_a_copy_with_another_file_is_outdated(plugins):
    place = copied(plugins / "clip2video")
    assert plugin.status().works
    (place / "clip2video_plugin/app/panel/query_box.js").write_text("// of last year\n")
    assert plugin.status().outdated == ["clip2video_plugin/app/panel/query_box.js is another"]


def test_a_copy_is_found_at_any_depth_as_fiftyone_finds_it(plugins):
    deep = copied(plugins / "a" / "b" / "c" / "d")
    copied(plugins / ".hidden" / "clip2video")
    assert plugin.status().folder == deep
    assert plugin.status().works
    with pytest.raises(Clip2VideoError, match=f"is in {deep} already"):
        plugin.install()
    copied(plugins / "z" / "clip2video")
    assert not plugin.status().works
    assert any(f"another copy is in {plugins / 'z' / 'clip2video'}" in error for error in plugin.status().errors)


def test_a_checkout_in_its_place_is_not_removed_for_a_link(plugins):
    place = copied(plugins / "clip2video")
    (place / "pyproject.toml").write_text("mine")
    with pytest.raises(Clip2VideoError, match="is a checkout, which works as it is"):
        plugin.install()
    assert (place / "pyproject.toml").read_text() == "mine"


def test_errors_of_registration_are_told(plugins, c2v):
    place = copied(plugins / "clip2video")
    (place / "clip2video_plugin/app/entry.py").write_text(
        "def register(plugin):\n    raise RuntimeError('lost a screw')\n"
    )
    done = c2v("plugin", "status")
    assert done.returncode == 1
    assert "RuntimeError: lost a screw" in done.stdout
    assert "missing search_videos" in done.stdout


def test_a_checkout_works_where_the_package_is_not_installed(tmp_path):
    """What `fiftyone plugins download` leaves: the code in the plugins folder, and nothing on the path."""
    checkout = tmp_path / "plugins" / "clip2video"
    tracked = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
    ).stdout.splitlines()
    for name in tracked or [str(p.relative_to(ROOT)) for p in ROOT.rglob("*") if p.is_file()]:
        if name.split("/")[0] in ("clip2video_plugin", "cli", "datasets", "fiftyone.yml") and (ROOT / name).is_file():
            (checkout / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, checkout / name)
    code = (
        "import sys, importlib.util, importlib.machinery\n"
        # As if it were not installed: no finder of an editable install, no folder that holds it.
        "sys.meta_path[:] = [f for f in sys.meta_path if 'editable' not in getattr(f, '__module__', '') + repr(f)]\n"
        "assert importlib.util.find_spec('clip2video_plugin') is None\n"
        "spec = importlib.util.spec_from_file_location('entry', sys.argv[1] + '/clip2video_plugin/app/entry.py')\n"
        "entry = importlib.util.module_from_spec(spec); spec.loader.exec_module(entry)\n"
        "names = []\n"
        "class Plugin:\n"
        "    def register(self, cls): names.append(cls().name)\n"
        "entry.register(Plugin())\n"
        "from clip2video_plugin.datasets import import_dataset\n"
        "import clip2video_plugin\n"
        "assert clip2video_plugin.__file__.startswith(sys.argv[1])\n"
        "print(' '.join(names))\n"
    )
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", code, checkout], capture_output=True, text=True, cwd=tmp_path, env=env, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "search_videos" in done.stdout
    assert "video_search" in done.stdout
