"""A query's filter keeps of a dataset what its fields say."""

import fiftyone as fo
import pytest

from clip2video_plugin.app.filters import kept_by
from clip2video_plugin.query.filters import parse_filter

SAMPLES = [  # path, tags, seconds, captions
    ("/videos/a dog.mp4", ["beach"], 5.0, ["A dog runs.", "it barks"]),
    ("/videos/b.mov", ["beach", "o'hara $x"], 65.0, "A CAFÉ at night"),
    ("/other/deep/c.mp4", [], None, []),
    ("/other/d+1.mp4", ["$tags"], 600.0, None),
]


@pytest.fixture(scope="module")
def dataset():
    dataset = fo.Dataset()
    for path, tags, seconds, _ in SAMPLES:
        sample = fo.Sample(filepath=path, tags=tags, media_type="video")
        if seconds is not None:
            sample.metadata = fo.VideoMetadata(duration=seconds)
        dataset.add_sample(sample)
    dataset.add_sample_field("captions", fo.ListField, subfield=fo.StringField)
    return dataset


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("duration<60", "0"),
        ("duration!=5", "13"),
        ("not duration<60", "123"),
        ("duration>=1m and duration<=600", "13"),
        ("tag:beach", "01"),
        ('tag:"o\'hara $x"', "1"),
        ("tag:$tags", "3"),
        ("tag:beac", ""),
        ("path:*.mp4", "023"),
        ("path:c.mp4", "2"),
        ("path:other/*", "23"),
        ("path:d+1.mp4", "3"),
        ("path:d.1.mp4", ""),
        ('path:"a ?og.mp4"', "0"),
        ("added>1d", "0123"),
        ("added<2020-01-01", ""),
        ("tag:beach or path:c.mp4", "012"),
        ("not (tag:beach or path:c.mp4)", "3"),
    ],
)
def test_what_a_filter_keeps(dataset, text, kept):
    paths = kept_by(dataset, parse_filter(text)).values("filepath")
    assert "".join(str(n) for n, (path, *_) in enumerate(SAMPLES) if path in paths) == kept


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("caption:dog", "0"),
        ("caption:barks", "0"),
        ("caption:do", ""),
        ('caption:"dog barks"', "0"),
        ("caption:café", "1"),
    ],
)
def test_words_of_captions_in_one_string_or_several(text, kept):
    for several in (True, False):
        dataset = fo.Dataset()
        texts = [c if isinstance(c, list) else [c] if c else [] for *_, c in SAMPLES]
        dataset.add_samples(
            fo.Sample(filepath=path, captions=mine if several else " ".join(mine) or None)
            for (path, *_), mine in zip(SAMPLES, texts, strict=True)
        )
        paths = kept_by(dataset, parse_filter(text)).values("filepath")
        assert "".join(str(n) for n, (path, *_) in enumerate(SAMPLES) if path in paths) == kept


def test_a_dataset_without_captions_has_none(dataset):
    bare = fo.Dataset()
    bare.add_sample(fo.Sample(filepath="/a.mp4"))
    assert len(kept_by(bare, parse_filter("caption:dog"))) == 0
    assert len(kept_by(bare, parse_filter("not caption:dog"))) == 1
