"""What a dataset, run or request that cannot be served is answered with, word for word where it matters."""

from types import SimpleNamespace

import fiftyone as fo
import numpy as np
import pytest

from clip2video_plugin import compute_clip2video
from clip2video_plugin.app import plugin
from clip2video_plugin.app.compare import compare
from clip2video_plugin.app.evaluate import evaluate, find_dataset, worst_failures
from clip2video_plugin.app.operators.data import EvaluateRetrieval
from clip2video_plugin.app.operators.forms import refused
from clip2video_plugin.app.panel import selected_video
from clip2video_plugin.app.search import find
from clip2video_plugin.datasets import CaptionedVideoFolder
from clip2video_plugin.errors import Clip2VideoError

UNKNOWN = "0" * 24


@pytest.fixture(scope="module")
def dataset(world, model, tmp_path_factory):
    dataset = fo.Dataset.from_dir(dataset_dir=str(world[0]), dataset_type=CaptionedVideoFolder)
    index = tmp_path_factory.mktemp("index")
    compute_clip2video(dataset, model=model, brain_key="c2v", index=index, progress=False)
    dataset.add_sample_field("empty", fo.StringField)
    yield dataset
    dataset.delete_brain_run("c2v")
    dataset.delete()


def run(dataset):
    return dataset.load_brain_results("c2v")


REFUSED = {
    "brain_key is 'a b'; it must be an identifier such as 'clip2video'": lambda d: compute_clip2video(
        d, brain_key="a b"
    ),
    "vectors have shape (1, 3); expected [n, 256]": lambda d: run(d).add_to_index(np.zeros((1, 3)), [UNKNOWN]),
    "1 ids are in the index already, the first is ": lambda d: run(d).add_to_index(
        np.zeros((1, 256)), d.values("id")[:1], overwrite=False, allow_existing=False
    ),
    f"1 ids are not in the index, the first is {UNKNOWN}": lambda d: run(d).get_embeddings(
        [UNKNOWN], allow_missing=False
    ),
    "aggregation is 'max'; allowed is 'mean'": lambda d: run(d)._kneighbors(query="x", aggregation="max"),
    "a query is needed: a sentence, a sample id or a vector": lambda d: run(d)._kneighbors(
        query=None, aggregation="mean"
    ),
    "the query vector has 3 numbers; this index has 256": lambda d: run(d)._kneighbors(query=np.zeros(3)),
    f"sample {UNKNOWN} is not in the index of brain key 'c2v'; add it first": lambda d: run(d)._kneighbors(
        query=[UNKNOWN]
    ),
    "this view shows frames or patches; CLIP2Video ranks whole videos: search the dataset instead": lambda d: run(
        d
    ).ranked(d.to_frames(sample_frames=False), np.zeros(256), 5),
    "name a dataset, or a --protocol": lambda d: find_dataset(None, None, None),
    "datasets imported for protocol 'full': none; name the one to evaluate": lambda d: find_dataset(None, "full", None),
    "no dataset 'nowhere'; there are: ": lambda d: find_dataset("nowhere", None, None),
    "no indexed sample has a caption in the field 'empty'": lambda d: evaluate(
        d, brain_key="c2v", captions_field="empty"
    ),
    "has no field 'absent'; name the one that holds captions": lambda d: evaluate(
        d, brain_key="c2v", captions_field="absent"
    ),
    "has no field c2v_worst_rank; evaluate brain key 'c2v' first": lambda d: worst_failures(d, "c2v"),
    "both runs are 'c2v'; name two brain keys to compare": lambda d: compare(d, "c2v", "c2v"),
    "name the brain key to evaluate": lambda d: EvaluateRetrieval().execute(SimpleNamespace(params={})),
    "type what happens in the video": lambda d: find(d, ""),
}


@pytest.mark.parametrize("message", REFUSED)
def test_refusals(dataset, message):
    with pytest.raises(Clip2VideoError) as refusal:
        REFUSED[message](dataset)
    assert message in str(refusal.value)


def test_pictures_are_no_videos(dataset, pictures):
    with pytest.raises(Clip2VideoError, match="samples are of media type 'image'; CLIP2Video embeds videos"):
        compute_clip2video(pictures, brain_key="c2v")
    grouped = fo.Dataset()
    grouped.add_group_field("group", default="picture")
    group = fo.Group()
    video, picture = dataset.first().filepath, pictures.first().filepath
    grouped.add_samples(
        [
            fo.Sample(filepath=video, group=group.element("video")),
            fo.Sample(filepath=picture, group=group.element("picture")),
        ]
    )
    selection = SimpleNamespace(selected=[grouped.first().id], view=grouped.view(), dataset=grouped)
    with pytest.raises(Clip2VideoError, match="the selected sample is no video"):
        selected_video(selection)
    grouped.delete()


def test_warnings_count_what_was_passed_over(dataset, caplog):
    run(dataset).add_to_index(np.zeros((1, 256)), dataset.values("id")[:1], overwrite=False, warn_existing=True)
    run(dataset).remove_from_index([UNKNOWN], warn_missing=True)
    run(dataset).get_embeddings([UNKNOWN], warn_missing=True)
    assert "1 ids are in the index already and were passed over" in caplog.text
    assert caplog.text.count("1 ids are not in the index") == 2


def test_a_plugin_that_cannot_be_written_says_why(tmp_path, monkeypatch):
    monkeypatch.setattr(fo.config, "plugins_dir", str(tmp_path / "file"))
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(Clip2VideoError, match=r"file.* cannot be written: "):
        plugin.install()


def test_an_operator_without_a_dataset_is_refused(pictures):
    from fiftyone.operators import types

    for dataset in (None, pictures):
        inputs = types.Object()
        assert refused(inputs, SimpleNamespace(dataset=dataset))
        assert inputs.properties["refusal"].view.label == "This is no dataset of videos"
