"""Objects in Google Cloud Storage (gs) and Azure Blob Storage (az), through pyarrow."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from clip2video_plugin.errors import VideoGoneError, VideoReadError, first_line
from clip2video_plugin.places import Uri
from clip2video_plugin.stores.version import CHANGED, Answer, Passing, Version

if TYPE_CHECKING:
    from pyarrow.fs import FileInfo, FileSystem

ACCOUNT = ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT")
PATIENCE = 4  # seconds that Google's client goes on trying, for each of two questions
T = TypeVar("T")


@cache
def _google(process: int, emulator: str | None, keys: str | None) -> FileSystem:
    from pyarrow import fs

    found = keys or os.path.exists(os.path.expanduser("~/.config/gcloud/application_default_credentials.json"))
    options: dict[str, Any] = {"retry_time_limit": timedelta(seconds=PATIENCE)}
    if emulator:
        scheme, _, host = emulator.rpartition("://")
        return fs.GcsFileSystem(anonymous=True, endpoint_override=host, scheme=scheme or "http", **options)
    return fs.GcsFileSystem(anonymous=not found and not _at_google(), **options)


def _at_google() -> bool:
    """Whether this is one of Google's machines, which have credentials of their own."""
    try:
        with open("/sys/class/dmi/id/product_name") as file:
            return "Google" in file.read()
    except OSError:
        return False


@cache
def _azure(process: int, account: str, key: str | None, sas: str | None, authority: str | None) -> FileSystem:
    from pyarrow import fs

    more = {"blob_storage_authority": authority, "dfs_storage_authority": authority} if authority else {}
    if authority and authority.startswith(("127.", "localhost")):
        more |= {"blob_storage_scheme": "http", "dfs_storage_scheme": "http"}
    return fs.AzureFileSystem(account, account_key=key, sas_token=None if key else sas, **more)


def store_of(uri: Uri) -> FileSystem:
    """The store of a URI, with the credentials of the environment."""
    said, process = os.environ.get, os.getpid()
    if uri.scheme == "gs":
        return _google(process, said("STORAGE_EMULATOR_HOST"), said("GOOGLE_APPLICATION_CREDENTIALS"))
    host = uri.text.partition("://")[2].partition("/")[0]
    account = host.partition("@")[2].partition(".")[0]  # of az://container@account.dfs.core.windows.net/key
    account = account or next((os.environ[name] for name in ACCOUNT if os.environ.get(name)), "")
    if not account:
        raise VideoReadError(
            uri, f"the storage account is not named; set {ACCOUNT[0]}, or write az://container@account/key"
        )
    key = said("AZURE_STORAGE_ACCOUNT_KEY") or said("AZURE_STORAGE_KEY")
    return _azure(process, account, key, said("AZURE_STORAGE_SAS_TOKEN"), said("AZURE_BLOB_STORAGE_AUTHORITY"))


class CloudObject:
    """One object."""

    def __init__(self, uri: Uri) -> None:
        self.uri = uri
        self._file: Any = None

    def look(self) -> Version:
        info = told(self.uri, lambda: store_of(self.uri).get_file_info(key_of(self.uri)))
        if not info.is_file:
            raise VideoGoneError(self.uri, "there is no such object; check the names of bucket and object")
        return version(info)

    def read(self, start: int, end: int, version: Version | None) -> Answer:
        found = version or self.look()
        if self._file is None:
            self._file = told(self.uri, lambda: store_of(self.uri).open_input_file(key_of(self.uri)))
        some = told(self.uri, lambda: self._file.read_at(end - start, start))
        if version is not None and not self.look().is_of(version):  # no range can be asked of a version
            raise VideoReadError(self.uri, CHANGED)
        return Answer(found, start, iter([some] if some else []))


def walk(uri: Uri) -> Iterator[tuple[Uri, Version]]:
    """The objects below a prefix, by name."""
    from pyarrow.fs import FileSelector

    below = told(uri, lambda: store_of(uri).get_file_info(FileSelector(key_of(uri), recursive=True)))
    for info in sorted(below, key=lambda info: str(info.path)):
        if info.is_file:
            yield Uri(f"{uri.scheme}://{info.path}"), version(info)


def version(info: FileInfo) -> Version:
    """Size and time of change, in whole seconds."""
    return Version(int(info.size), float(int((info.mtime_ns or 0) // 10**9)), str(info.mtime_ns or ""))


def key_of(uri: Uri) -> str:
    """An object in its store: container and name, without the account."""
    host, slash, key = uri.text.partition("://")[2].partition("/")
    return host.partition("@")[0] + slash + key


def told(uri: Uri, ask: Callable[[], T]) -> T:
    """The answer to a request.

    Raises:
        VideoReadError: there is none; it says why, in words for users. Passing: another attempt may get one.
    """
    how = "GOOGLE_APPLICATION_CREDENTIALS" if uri.scheme == "gs" else "AZURE_STORAGE_ACCOUNT_KEY"
    try:
        return ask()
    except FileNotFoundError:
        raise VideoGoneError(uri, "there is no such object; check the names of bucket and object") from None
    except PermissionError:
        reason = f"access is denied; set {how}"
    except (OSError, ValueError) as error:
        said = first_line(error)
        if re.search(r"\b(401|403)\b|denied|unauthenticated|credential|Authorization", said, re.IGNORECASE):
            reason = f"access is denied; set {how}"
        elif re.search(r"resolve|connect|timed? ?out|unavailable|transport", said, re.IGNORECASE):
            reason = "no answer from its store; check the network"
        else:
            raise Passing(f"its store answers with an error ({type(error).__name__}); try again later") from None
    raise VideoReadError(uri, reason)
