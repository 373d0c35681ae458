"""Columns of the tables, and the provenance that their schema carries."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa

from clip2video_plugin.errors import VideoIndexError
from clip2video_plugin.paths import as_path, stored
from clip2video_plugin.version import __version__

# Names of tables; those of FiftyOne runs begin with RUN, FRAMES and RUN_WINDOWS
VIDEOS, WINDOWS, FAILED, RUN, FRAMES, RUN_WINDOWS = "videos", "windows", "failures", "brain_", "frames_", "windows_"
CALIBRATION, BANKS = "calibration", "banks"  # what was fitted for scores; encoded queries (``calibration.py``)
TUNING = "tuning"  # how vector indexes are asked (``tuning.py``)
VOCABULARY = "vocabulary"  # the field of a network that stands for its tokenizer

# In the metadata of a field, what LanceDB knows the primary key by: writers at once do not double it (``merge.py``).
PRIMARY_KEY = "lance-schema:unenforced-primary-key"
ID = pa.field("id", pa.string(), nullable=False, metadata={PRIMARY_KEY: "true"})
KEY = ID.with_name("key")  # where ids repeat, as of frames: a key of two columns would not be looked at
IDENTITY, DATABASE, FORM, VERSION = (f"clip2video.{name}" for name in ("identity", "database", "form", "version"))
# Of what tables hold and mean, major.minor; tables made before it was kept have none. With another major number, what
# was written before is read wrongly; a minor one adds columns that may be null and are passed over by who knows none.
FORM_NOW = "1.0"

FAILURES = pa.schema(
    [
        ID,
        pa.field("path", pa.string(), nullable=False),
        pa.field("size", pa.int64()),
        pa.field("mtime", pa.float64()),
        pa.field("reason", pa.string()),
    ],
    metadata={FORM: FORM_NOW, VERSION: __version__},
)
# Tables of earlier versions get these columns when they are written to: a fingerprint of the file's content, when the
# row was made (seconds since 1970), what its owner calls it, and the thumbnails of its frames in order, 64 bytes each
# (``video/thumbnails.py``).
FINGERPRINT = pa.field("fingerprint", pa.string())
ADDED = pa.field("added", pa.float64())
TAGS = pa.field("tags", pa.list_(pa.string()))
THUMBNAILS = pa.field("thumbnails", pa.binary())
# Of each caption, [start, end] in seconds of a subtitle, [] of a line of a text file beside the video, null of others.
CAPTION_TIMES = pa.field("caption_times", pa.list_(pa.list_(pa.float64())))
LATER = (FINGERPRINT, ADDED, TAGS, THUMBNAILS, CAPTION_TIMES)
# Of a window: the id of the row of its video.
VIDEO = pa.field("video", pa.string(), nullable=False)
# And which windows were asked for: seconds/stride of each size, or "auto".
SIZES = pa.field("sizes", pa.string())


def windows_of(table: str) -> str:
    """The name of the table of windows that goes with a table of videos."""
    return WINDOWS if table == VIDEOS else RUN_WINDOWS + table.removeprefix(RUN)


def is_windows(table: str) -> bool:
    """Whether a table of this name holds windows."""
    return table == WINDOWS or table.startswith(RUN_WINDOWS)


def frames_named(count: int | None, policy: str | None) -> str:
    """In words, how many frames and which."""
    return f"{count} frames by key frames" if policy == "keyframes" else f"{count} {policy} frames"


@dataclass(frozen=True)
class Provenance:
    """What made the vectors of an index. Vectors of different weights or frames do not compare.

    ``policy`` and ``count`` say which frames were read; ``version`` is this package's, for the record. ``network`` is
    JSON of what else makes vectors: sizes, heads, kinds of blocks, preprocessing, vocabulary; "" in tables made before
    it was kept, which any network of the same weights fits. A field that it lacks is at its default there, except for
    the vocabulary, which is unknown then. ``folder`` is where the checkpoint lay, of one that was not installed.
    """

    model: str
    sha256: str
    policy: str
    count: int
    version: str
    network: str = ""
    folder: str = ""

    def to_metadata(self) -> dict[str, str]:
        return {f"clip2video.{key}": stored(str(value)) for key, value in asdict(self).items()}

    @classmethod
    def from_metadata(cls, metadata: dict[bytes, bytes] | None) -> Provenance:
        values = texts_of(metadata)
        check_form(metadata)
        try:
            fields = {name: values[f"clip2video.{name}"] for name in ("model", "sha256", "policy", "count", "version")}
        except KeyError:
            raise VideoIndexError("the table does not say which model made it; it is no index of c2v embed") from None
        return cls(
            as_path(fields["model"]),
            fields["sha256"],
            fields["policy"],
            int(fields["count"]),
            fields["version"],
            values.get("clip2video.network", ""),
            as_path(values.get("clip2video.folder", "")),
        )

    def __str__(self) -> str:
        return f"model {self.model!r} ({self.sha256[:12]}), {frames_named(self.count, self.policy)}"

    def check(self, other: Provenance, where: str) -> None:
        """Raises VideoIndexError unless vectors of the two compare."""
        if (self.sha256, self.policy, self.count) != (other.sha256, other.policy, other.count):
            raise VideoIndexError(
                f"{where} was made with {self}; this is {other}. "
                "Use the model and the frames it was made with (--model, --sampling), or another index (--index)"
            )
        if not self.network or not other.network:
            return
        made, this = json.loads(self.network), json.loads(other.network)
        known = (made.keys() | this.keys()) - ({VOCABULARY} - (made.keys() & this.keys()))
        if changed := [key for key in sorted(known) if made.get(key) != this.get(key)]:
            raise VideoIndexError(
                f"{where} was made with {self} and {_named(made, changed)}; "
                f"this model has the same weights with {_named(this, changed)}. "
                "Restore its config.json and tokenizer.json, or use another index (--index)"
            )


def _named(network: dict[str, Any], keys: list[str]) -> str:
    return ", ".join(f"{key} {network[key]!r}" if key in network else f"the usual {key}" for key in keys)


def new_marks(database: str = "") -> dict[str, str]:
    """What a table carries from the moment it is made: an identity, its form and which version of this package made it.

    And the FiftyOne database whose run it serves.
    """
    marks = {IDENTITY: uuid.uuid4().hex, FORM: FORM_NOW, VERSION: __version__}
    return marks | ({DATABASE: database} if database else {})


def texts_of(metadata: Mapping[bytes, bytes] | None) -> dict[str, str]:
    """What a schema says of itself, as text; of a stranger's file, bytes that are none are replaced."""
    return {key.decode(errors="replace"): value.decode(errors="replace") for key, value in (metadata or {}).items()}


def check_form(metadata: Mapping[bytes, bytes] | None, what: str = "the table") -> None:
    """Raises VideoIndexError for a table whose form this version does not know."""
    values = texts_of(metadata)
    form = values.get(FORM, FORM_NOW)
    if form.partition(".")[0] != FORM_NOW.partition(".")[0]:
        made = values.get(VERSION, "unknown")
        raise VideoIndexError(
            f"{what} was made by version {made} of clip2video_plugin, in form {form}; this is version {__version__}, "
            f"which knows form {FORM_NOW.partition('.')[0]}: install that version or a later one "
            "(pip install --upgrade clip2video_plugin), or use another index (--index)"
        )


def identity_of(metadata: dict[bytes, bytes] | None) -> str:
    """The identity of a table; of one made before tables had one, a hash of its metadata."""
    values = texts_of(metadata)
    return values.get(IDENTITY) or hashlib.sha256(repr(sorted(values.items())).encode()).hexdigest()


def state_of(table: Any) -> tuple[str, int]:
    """Identity and version of a table. Where they differ from before, its rows may have changed."""
    return identity_of(table.schema.metadata), int(table.version)


def videos_schema(dim: int, provenance: Provenance, database: str = "", *, windows: bool = False) -> pa.Schema:
    """One row per video, or per window of one; ``start`` and ``end`` in seconds; ``vector`` has unit norm."""
    return pa.schema(
        [
            ID,
            pa.field("sample_id", pa.string()),
            pa.field("path", pa.string(), nullable=False),
            pa.field("start", pa.float64()),
            pa.field("end", pa.float64()),
            pa.field("duration", pa.float64()),
            pa.field("vector", pa.list_(pa.float32(), dim), nullable=False),
            pa.field("captions", pa.list_(pa.string())),
            pa.field("size", pa.int64()),
            pa.field("mtime", pa.float64()),
            *LATER,
            *([VIDEO, SIZES] if windows else []),
        ],
        metadata=new_marks(database) | provenance.to_metadata(),
    )
