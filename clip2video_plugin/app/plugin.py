"""The plugin in FiftyOne's plugins folder: installing it, removing it, and whether FiftyOne loads it."""

from __future__ import annotations

import errno
import filecmp
import os
import shutil
import sysconfig
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import fiftyone as fo
import yaml

import clip2video_plugin
from clip2video_plugin.aside import aside, clear, put
from clip2video_plugin.errors import Clip2VideoError

NAME = "@clip2video/clip2video"
FOLDER = "clip2video"
MANIFEST = "fiftyone.yml"
SCRIPTS = ("panel", "query_box", "options", "hits", "curve", "detail")
FILES = (
    MANIFEST,
    "requirements.txt",
    "clip2video_plugin/app/entry.py",
    *(f"clip2video_plugin/app/panel/{name}.js" for name in SCRIPTS),
)


@dataclass(frozen=True)
class PluginStatus:
    """What FiftyOne knows of the plugin.

    ``declared`` operators and panels are those of this package's fiftyone.yml, ``registered`` those that FiftyOne
    loaded; ``outdated`` says where what is in the plugins folder differs from this package; ``errors`` are tracebacks
    of what could not be loaded, and copies beside the first.
    """

    folder: Path | None
    source: Path | None
    version: str
    needs_fiftyone: str
    fiftyone: str
    enabled: bool = True
    declared: list[str] = field(default_factory=list)
    registered: list[str] = field(default_factory=list)
    outdated: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    @property
    def works(self) -> bool:
        return (
            self.folder is not None
            and self.enabled
            and not self.errors
            and not self.outdated
            and sorted(self.declared) == sorted(self.registered)
        )


def plugin_source() -> Path:
    """The folder with the plugin's fiftyone.yml: the checkout, or the one that the wheel brings.

    Raises:
        Clip2VideoError: there is none, as in an incomplete installation.
    """
    checkout = Path(clip2video_plugin.__file__).resolve().parents[1]
    candidates = [checkout]
    try:
        for file in distribution("clip2video-plugin").files or ():
            if file.name == MANIFEST:
                candidates.append(Path(str(file.locate())).resolve().parent)
    except PackageNotFoundError:  # a checkout that is not installed
        pass
    candidates.append(Path(sysconfig.get_path("data")) / "share" / "clip2video_plugin")
    for folder in candidates:
        if (folder / MANIFEST).is_file() and _manifest(folder).get("name") == NAME:
            return folder
    raise Clip2VideoError(f"no {MANIFEST} of {NAME} in {', '.join(map(str, candidates))}; install the package again")


def install() -> Path:
    """Links the plugin into FiftyOne's plugins folder, or copies it where links are not possible; returns its place.

    Raises:
        Clip2VideoError: something else is in its place, or the folder cannot be written.
    """
    source, target = plugin_source(), _place()
    there = _installed()
    if there is not None and there.resolve() == source:
        clear(target.parent, FOLDER)  # of a run that was killed when all was done
        return there
    if there is not None and there != target:
        raise Clip2VideoError(f"the plugin is in {there} already; take that away first (c2v plugin uninstall)")
    if target.exists() or target.is_symlink():
        if there is None and target.exists():
            raise Clip2VideoError(f"{target} is taken by something else; move it away first")
        if _is_checkout(target):
            raise Clip2VideoError(f"{target} is a checkout, which works as it is; move it away first to use another")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with aside(target.parent, FOLDER) as folder:
            new = folder / FOLDER
            try:
                new.symlink_to(source, target_is_directory=True)
            except OSError as error:
                if error.errno in (errno.EIO, errno.ENOSPC, errno.EROFS):  # the disk's trouble is not the link's
                    raise
                for name in FILES:
                    (new / name).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy2(source / name, new / name)
            put(new, target)
    except OSError as error:
        raise Clip2VideoError(f"{target} cannot be written: {error.strerror}") from None
    return target


def uninstall() -> Path | None:
    """Takes the plugin out of the plugins folder; returns where it was, or None when it was not there.

    Raises:
        Clip2VideoError: it is a checkout of its own there, which is not this command's to delete.
    """
    there = _installed()
    if there is None:
        return None
    if _is_checkout(there):
        raise Clip2VideoError(f"{there} is a checkout; delete it yourself, or: fiftyone plugins delete {NAME}")
    _remove(there)
    return there


def status() -> PluginStatus:
    """Looks at the plugins folder and lets FiftyOne load the plugin."""
    import fiftyone.plugins as fop
    from fiftyone.plugins.context import PluginContext

    there, source = _installed(), plugin_source()
    manifest, own = _manifest(there if there is not None else source), _manifest(source)
    facts: dict[str, Any] = {
        "folder": there,
        "source": there.resolve() if there is not None else None,
        "version": str(manifest.get("version")),
        "needs_fiftyone": str(manifest.get("fiftyone", {}).get("version")),
        "fiftyone": fo.__version__,
        "declared": _offered(own),
    }
    if there is None:
        return PluginStatus(**facts)
    found = [plugin for plugin in fop.list_plugins(enabled="all") if plugin.name == NAME]
    if not found:
        return PluginStatus(**facts, errors=[f"FiftyOne does not list {NAME}; see its log for what is wrong"])
    context = PluginContext(found[0])
    context.register_all()
    return PluginStatus(
        **facts,
        enabled=any(plugin.name == NAME for plugin in fop.list_plugins(enabled=True)),
        registered=[instance.name for instance in context.instances],
        outdated=_differences(there, source),
        errors=[*context.errors, *(f"another copy is in {copy}; take one away" for copy in _copies()[1:])],
    )


def _differences(there: Path, source: Path) -> list[str]:
    """Where a copy differs from this package, a line each."""
    if there.resolve() == source:
        return []
    found, own = _manifest(there), _manifest(source)
    lines = [
        f"{key} is {found.get(key)!r}, this package's is {own.get(key)!r}"
        for key in ("version", "fiftyone")
        if found.get(key) != own.get(key)
    ]
    lines += [f"{name} is not offered" for name in _offered(own) if name not in _offered(found)]
    lines += [f"{name} is offered and gone" for name in _offered(found) if name not in _offered(own)]
    pairs = {name: (there / name, source / name) for name in FILES}
    other = [name for name, (a, b) in pairs.items() if not a.is_file() or not filecmp.cmp(a, b, shallow=False)]
    return lines + [f"{name} is another" for name in other]


def _offered(manifest: dict[str, Any]) -> list[str]:
    return [*manifest.get("operators", ()), *manifest.get("panels", ())]


def _place() -> Path:
    return Path(fo.config.plugins_dir).expanduser() / FOLDER


def _installed() -> Path | None:
    """Where in the plugins folder the plugin is, by its manifest's name; broken links at its own place count."""
    if _place().is_symlink() and not _place().exists():
        return _place()
    return next(iter(_copies()), None)


def _copies() -> list[Path]:
    """The plugin's folders at any depth, as FiftyOne finds them: not in hidden folders, nor within plugins."""
    found = []
    for root, folders, files in os.walk(_place().parent, followlinks=True):
        folders[:] = sorted(folder for folder in folders if not folder.startswith("."))
        if MANIFEST in files or "fiftyone.yaml" in files:
            folders.clear()
            if _manifest(Path(root)).get("name") == NAME:
                found.append(Path(root))
    return found


def _is_checkout(folder: Path) -> bool:
    return not folder.is_symlink() and (folder / "pyproject.toml").exists()


def _remove(path: Path) -> None:
    if path.is_symlink() or path.is_file():
        path.unlink()
    else:
        shutil.rmtree(path)


def _manifest(folder: Path) -> dict[str, Any]:
    try:
        value = yaml.safe_load((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError):
        return {}
    return value if isinstance(value, dict) else {}
