"""A folder of captioned videos becomes a FiftyOne dataset, or says what is wrong with its table."""

import fiftyone as fo
import pytest

from clip2video_plugin.datasets import CaptionedVideoFolder
from clip2video_plugin.errors import Clip2VideoError


def load(folder):
    return fo.Dataset.from_dir(dataset_dir=str(folder), dataset_type=CaptionedVideoFolder)


def test_captions_and_metadata_are_imported(world):
    dataset = load(world[0])
    sample = dataset.first()
    assert len(dataset) == 24
    assert dataset.media_type == "video"
    assert len(sample.captions) == 3
    assert sample.metadata.frame_width == 96
    dataset.delete()


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (None, "has no captions.csv"),
        (b"file,text\n", "lacks the column caption and filename"),
        (b"filename,caption\n../outside.mp4,x\n", "no file inside the folder"),
        (b"filename,caption\n/etc/passwd,x\n", "no file inside the folder"),
        (b"filename,caption\n,x\n", "no file inside the folder"),
        (b"\xff\xfef\x00i\x00", "cannot be read"),
    ],
)
def test_a_bad_table_is_one_line(tmp_path, table, message):
    if table is not None:
        (tmp_path / "captions.csv").write_bytes(table)
    with pytest.raises(Clip2VideoError, match=message) as error:
        load(tmp_path)
    assert "\n" not in str(error.value)
