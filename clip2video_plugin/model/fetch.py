"""Published weights: downloaded, checked, imported under their name."""

from __future__ import annotations

import difflib
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from clip2video_plugin.alone import alone_in
from clip2video_plugin.download import LARGEST, PAUSES, OtherFile, Progress, Tell, Wanted, bring, digest, in_words
from clip2video_plugin.errors import CheckpointError
from clip2video_plugin.model.drive import from_drive, need_gdown
from clip2video_plugin.model.installed import CONFIG, models_folder, use_by_default
from clip2video_plugin.model.published import DRIVE, PUBLISHED, File, Published
from clip2video_plugin.web import Refused

DOWNLOADS = {name: known.weights for name, known in PUBLISHED.items()}


def fetch(
    name: str,
    *,
    url: str | None = None,
    sha256: str | None = None,
    progress: Progress | None = None,
) -> Path:
    """Downloads a published model to the models folder and returns the path of its file, or of the folder of its files.

    An interrupted download goes on where it stopped. A file that is there and whole is kept. A SHA-256 that is not
    published is written down at the first fetch, and another one is refused from then on.

    Args:
        name: one of ``PUBLISHED``.
        url: where it lies instead; of a model of several files, the folder they lie in. Without it, $C2V_MIRROR
            stands before every address.
        sha256: what the weights must hash to, instead of the published or remembered SHA-256.
        progress: called with the bytes there and the bytes in all.

    Raises:
        CheckpointError: the name is unknown, the server cannot be reached, or a file is not the published one.
    """
    order = _order(name, url, sha256)
    with order.alone():
        order.remember(order.bring(progress))
    return order.path


def fetch_model(
    name: str,
    *,
    url: str | None = None,
    sha256: str | None = None,
    default: bool = False,
    progress: Progress | None = None,
    tell: Tell | None = None,
) -> Path:
    """Downloads a published model, imports it under its name, and returns the checkpoint's folder.

    A model that is installed is not fetched again. A server that breaks off is asked again a few times. The download is
    deleted after the import; its SHA-256 is remembered.

    Args:
        name: of a published model (``c2v models list``).
        url: where it lies instead, as for ``fetch``.
        sha256: that it must have, as for ``fetch``.
        progress: called as for ``fetch``.
        default: make it the default model.
        tell: called with lines that say what happens.

    Raises:
        CheckpointError: as ``fetch``, or something else has the name, or the file is no such model.
    """
    order, tell = _order(name, url, sha256), tell or (lambda line: None)
    if not order.installed(tell):
        with order.alone():
            if not order.installed(tell):  # by another process, meanwhile
                _install(order, progress, tell)
    elif order.waiting():
        with order.alone():  # whoever is at it is done then
            _finish(order)
    if default:
        use_by_default(name)
    return order.folder


def _install(order: _Order, progress: Progress | None, tell: Tell) -> None:
    from clip2video_plugin.model.convert import import_checkpoint

    known = order.known
    found = order.bring(progress, tell, PAUSES)
    try:
        import_checkpoint(
            order.path,
            name=order.name,
            options=dict(zip(("max_frames", "max_words"), known.frames_and_words or (), strict=False)),
            card=replace(known.card, source=order.source) if order.source else known.card,
            tell=tell,
        )
    except CheckpointError:
        if not (order.folder / CONFIG).is_file():  # else the import was done but for its last sync: see ``_finish``
            order.clear(unknown_only=True)  # what may be the wrong file is downloaded again, not imported again
        raise
    if known.weights in order.remember(found):
        is_now = f"has SHA-256 {found[known.weights]}; none is published, so it must have this one from now on"
        tell(f"{known.weights.name} {is_now}")
    order.clear()
    with suppress(OSError):
        order.place.rmdir()  # whoever waits for it finds the model installed


def _finish(order: _Order) -> None:
    """Ends the work of a process that was killed after the import: notes the hashes, deletes the download."""
    with in_words(str(order.place), CheckpointError):
        there = {file: digest(path) for file in order.waiting() if (path := order.place / file.name).is_file()}
        if order.known.weights in there:
            order.remember(there)
        order.clear()
    with suppress(OSError):
        order.place.rmdir()


def address(file: File, known: Published, url: str | None = None) -> str:
    """Where a file is fetched from: its own address, or what stands for it (``url``, $C2V_MIRROR)."""
    if url:
        if len(known.files) == 1:
            return url
        folder = url.removesuffix(f"/{known.weights.name}").rstrip("/")  # whoever names the weights means all beside
        return f"{folder}/{file.name}"
    if mirror := os.environ.get("C2V_MIRROR"):
        parts = urlsplit(file.url)
        return f"{mirror.rstrip('/')}/{parts.netloc}{parts.path}"
    return file.url


def _order(name: str, url: str | None, sha256: str | None) -> _Order:
    if name not in PUBLISHED:
        near = difflib.get_close_matches(name, PUBLISHED, n=3, cutoff=0.5)
        rest = [other for other in PUBLISHED if other not in near]
        raise CheckpointError(f"no download {name!r}; there is {', '.join(near + rest)}")
    if sha256 and not re.fullmatch(r"[0-9a-fA-F]{64}", sha256):
        raise CheckpointError(f"sha256 is {sha256!r}; it has 64 hexadecimal digits")
    known = PUBLISHED[name]
    at = {file: address(file, known, url) for file in known.files}
    for there in at.values():
        if there.startswith(DRIVE):
            need_gdown(name, there)
    return _Order(name, known, at, sha256 and sha256.lower(), url)


@dataclass(frozen=True)
class _Order:
    """A published model, where its files are fetched from, and what its weights must hash to if the user says so."""

    name: str
    known: Published
    at: dict[File, str]
    sha256: str | None
    url: str | None
    downloads: Path = field(default_factory=lambda: models_folder() / "downloads")

    @property
    def place(self) -> Path:
        """Where its files wait."""
        return self.downloads / self.name if self.known.apart else self.downloads

    @property
    def folder(self) -> Path:
        """Of the checkpoint."""
        return models_folder() / self.name

    @property
    def path(self) -> Path:
        """Of the file, or of the folder of the files."""
        return self.place / self.known.weights.name if len(self.known.files) == 1 else self.place

    @property
    def source(self) -> str | None:
        """The address, where that or the SHA-256 is the user's."""
        return self.at[self.known.weights] if self.url or self.sha256 else None

    def installed(self, tell: Tell) -> bool:
        """Whether the checkpoint is there. Raises CheckpointError where something else is."""
        if not (self.folder / CONFIG).is_file():
            if os.path.lexists(self.folder):
                raise CheckpointError(f"{self.folder} is in the way, and no checkpoint; move it, and run this again")
            return False
        weights = self.known.weights
        if self.sha256 and self.sha256 != self.seen().get(weights.url, weights.sha256):
            raise CheckpointError(f"{self.name} is installed in {self.folder}; for other weights, delete that first")
        tell(f"{self.name} is installed already, in {self.folder}; to fetch it anew, delete that first")
        return True

    @contextmanager
    def alone(self) -> Iterator[None]:
        """One process at a time with this model."""
        with in_words(str(self.place), CheckpointError):
            self.place.mkdir(parents=True, exist_ok=True)
        with alone_in(self.place):
            yield

    def bring(
        self, progress: Progress | None, tell: Tell | None = None, pauses: tuple[float, ...] = ()
    ) -> dict[File, str]:
        """Downloads all files; returns the SHA-256 of each."""
        found, before = dict[File, str](), 0
        for file, at in self.at.items():

            def show(done: int, total: int | None, before: int = before) -> None:
                if progress:
                    progress(before + done, None if total is None else before + total)

            by, target = from_drive(at, show) if at.startswith(DRIVE) else None, self.place / file.name
            with in_words(at, CheckpointError):
                try:
                    found[file] = bring(self.wanted(file), target, progress=show, tell=tell, pauses=pauses, by=by)
                except OtherFile as other:
                    if self.sha256 or file.sha256 or file.url not in self.seen():
                        raise
                    which = other.found if file is self.known.weights else "HASH, of the weights,"
                    raise Refused(f"{other}. The first fetch gave that; --sha256 {which} takes this one") from None
                before += target.stat().st_size
        return found

    def wanted(self, file: File) -> Wanted:
        """What is known of a file. If the user gives a SHA-256, it is of another version, so nothing else is known."""
        most = file.largest or LARGEST
        if self.sha256 in (None, self.known.weights.sha256):
            return Wanted(url=self.at[file], sha256=self.expected(file), size=file.size, largest=most)
        return Wanted(url=self.at[file], sha256=self.sha256 if file is self.known.weights else None, largest=most)

    def expected(self, file: File) -> str | None:
        """The SHA-256 that is published, or that of the first fetch."""
        return file.sha256 or self.seen().get(file.url)

    def seen(self) -> dict[str, str]:
        """SHA-256 of what was fetched first, by published address."""
        path = self.downloads / "sha256.json"
        try:
            value: Any = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError):
            value = None
        if not isinstance(value, dict) or not all(isinstance(sha256, str) for sha256 in value.values()):
            raise CheckpointError(f"{path} is damaged; delete it, and the hashes of downloads are noted anew")
        return value

    def remember(self, found: dict[File, str]) -> list[File]:
        """Notes the hashes that are not published; returns the files that had no known hash before."""
        with in_words("sha256.json", CheckpointError), alone_in(models_folder()):
            seen = self.seen()
            new = [file for file in found if file.sha256 is None and file.url not in seen]
            for file, sha256 in found.items():
                seen[file.url] = sha256
                if sha256 == file.sha256:
                    del seen[file.url]
            fresh = self.downloads / ".sha256.json.new"
            fresh.write_text(json.dumps(seen, indent=2) + "\n", encoding="utf-8")
            os.replace(fresh, self.downloads / "sha256.json")
        return new

    def waiting(self) -> list[File]:
        """Its files that are there, or were begun."""
        return [file for file in self.known.files if any(self.place.glob(f"{file.name}*"))]

    def clear(self, *, unknown_only: bool = False) -> None:
        """Deletes its files, and what was begun of them; or only those that no hash vouches for."""
        for file in self.known.files:
            if unknown_only and (self.expected(file) or (self.sha256 and file is self.known.weights)):
                continue
            for path in self.place.glob(f"{file.name}*"):
                path.unlink(missing_ok=True)
