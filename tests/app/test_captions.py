"""Captions of a dataset's samples are searched with their vectors, in the App as well."""

import fiftyone as fo
import pytest

from clip2video_plugin import compute_clip2video
from clip2video_plugin.app.search import find
from clip2video_plugin.errors import Clip2VideoError

KEY = "c2v"


@pytest.fixture
def dataset(world):
    dataset = fo.Dataset()
    texts = (["Interview, Lisbon"], ["Anna's birthday", "in Oslo"], [], None)
    dataset.add_samples(
        [
            fo.Sample(filepath=str(world[0] / f"{i:05d}.mp4"), captions=text, title=f"reel {i}")
            for i, text in enumerate(texts)
        ]
    )
    yield dataset
    dataset.delete()


@pytest.fixture
def compute(dataset, model, tmp_path):
    def run(**options):
        seen = []
        index = tmp_path / "index"
        compute_clip2video(dataset, model=model, brain_key=KEY, index=index, progress=seen.append, **options)
        return seen[-1].embedded, seen[-1].captioned

    return run


def first(samples, query):
    found = find(samples, query, k=4)
    return found.view.first().filepath[-9:-4], found.result[0].matched


def test_a_search_looks_through_captions(dataset, compute):
    assert compute() == (4, 0)
    assert first(dataset, "the birthday of anna in oslo")[0] == "00001"
    assert first(dataset, "Lisbon interviews") == ("00000", "both")
    assert first(dataset[1:], "Lisbon interviews")[1] == "vector"  # in a view that has it not


def test_captions_that_change_are_taken_up_and_nothing_is_embedded(dataset, compute):
    compute()
    sample = dataset.skip(2).first()
    sample["captions"] = ["the canary"]
    sample.save()
    assert compute() == (0, 1)
    assert compute() == (0, 0)
    assert first(dataset, "canaries")[0] == "00002"


def test_another_field_or_none(dataset, compute):
    assert compute(captions_field="") == (4, 0)
    assert first(dataset, "Lisbon interviews")[1] == "vector"
    assert compute(captions_field="title") == (0, 4)
    assert first(dataset, "reel 3")[0] == "00003"
    with pytest.raises(Clip2VideoError, match="has no field 'nowhere'"):
        compute(captions_field="nowhere")
