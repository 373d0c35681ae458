"""An index of a newer version says so; an older one, and one that only has more columns, is read and written."""

import re

import lancedb
import pyarrow as pa
import pytest

from clip2video_plugin import __version__
from clip2video_plugin.errors import VideoIndexError
from clip2video_plugin.index import VideoIndex, open_index
from clip2video_plugin.index.calibration import read_fit, write_fit
from clip2video_plugin.index.frames import FrameIndex
from clip2video_plugin.index.schema import FORM

from .test_store import DIM, MADE, row, unit


@pytest.fixture
def whole(tmp_path):
    """An index with a table of every kind."""
    index = VideoIndex.create(tmp_path, DIM, MADE)
    index.write([row(i, v) for i, v in enumerate(unit(3))])
    index.create_windows()
    index.write_failures([{"id": "x", "path": "/x", "size": 0, "mtime": 0.0, "reason": "empty"}])
    write_fit(index, {"a": 1}, 3)
    VideoIndex.create(tmp_path, DIM, MADE, table="brain_a").write([row(1, unit(1)[0])])
    FrameIndex.create(str(tmp_path), DIM, MADE, "frames_a")
    return tmp_path


def remade(folder, name, form, *more):
    """The table as another version would have made it, by LanceDB alone."""
    connection = lancedb.connect(folder)
    data = connection.open_table(name).to_arrow()
    for column in more:
        data = data.append_column(column, pa.array(["?"] * len(data)))
    metadata = {k: v for k, v in (data.schema.metadata or {}).items() if k.decode() not in (FORM, "clip2video.version")}
    if form:
        metadata |= {FORM.encode(): form.encode(), b"clip2video.version": b"7.2.0"}
    elif b"clip2video.model" in metadata:
        metadata[b"clip2video.version"] = b"0.0.1"
    connection.create_table(name, data=data.replace_schema_metadata(metadata), mode="overwrite")


READERS = {
    "videos": lambda folder: open_index(folder),
    "windows": lambda folder: open_index(folder).windows(),
    "brain_a": lambda folder: open_index(folder, table="brain_a"),
    "frames_a": lambda folder: FrameIndex.open(str(folder), "frames_a"),
    "failures": lambda folder: open_index(folder).failures(),
    "calibration": lambda folder: read_fit(open_index(folder)),
}


@pytest.mark.parametrize("table", READERS)
def test_one_made_by_a_newer_version_says_which_and_what_to_do(whole, table):
    assert READERS[table](whole) is not None
    remade(whole, table, "2.0")
    said = (
        rf"was made by version 7\.2\.0 .*form 2\.0; this is version {re.escape(__version__)}, .*pip install --upgrade"
    )
    with pytest.raises(VideoIndexError, match=said) as raised:
        READERS[table](whole)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("form", ["1.9", ""])
def test_a_newer_minor_form_and_one_without_are_read_and_written(whole, form):
    for table in READERS:
        remade(whole, table, form, *(["new"] if form and table in ("videos", "failures") else []))
    for read in READERS.values():
        assert read(whole) is not None
    index = open_index(whole)
    index.write([row(1, unit(1, 5)[0], captions=["again"]), row(9, unit(1, 6)[0])])
    index.write_failures([{"id": "y", "path": "/y", "size": 0, "mtime": 0.0, "reason": "empty"}])
    assert index.count() == 4
    assert len(index.failures()) == 2
    assert index.search(unit(1, 6)[0], 1)[0].id == "v9"
