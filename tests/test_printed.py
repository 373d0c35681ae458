"""What is shown of a public object in a notebook: one line that says what it is, without its numbers."""

import numpy as np
import pytest

import clip2video_plugin as c2v
from clip2video_plugin.evaluation.report import Evaluation


@pytest.fixture(scope="module")
def shown(world, world_index, model):
    frames = c2v.Frames(np.zeros((3, 32, 32, 3), np.uint8), np.array([0.5, 1.5, 2.5]), 320, 240, 3.0, "pyav")
    result = c2v.search("a red circle", index=world_index, model=model, k=2)
    return {
        "frames": frames,
        "model": model,
        "index": c2v.open_index(world_index),
        "result": result,
        "text": model.encode_captions(["a dog"]),
        "video": model.encode_frames([np.zeros((2, 48, 48, 3), np.uint8)]),
        "report": c2v.Report(embedded=4, failed=[c2v.Failure("a.mp4", "no video")], seconds=1.234, model="shapes"),
        "config": c2v.TrainConfig(batch_size=64, network={"temporal": "mean"}),
        "query": c2v.Query.parse("a dog -k 3"),
        "duplicates": c2v.Duplicates("index", 120, 0, 0, ()),
        "audit": c2v.Audit("index", 5, 20, 18, ()),
        "evaluation": Evaluation("tuned", "shapes", 5, 20, "strict", {"R@1": 45.61, "n": 20}, {"R@1": 50.0}),
    }


def test_each_is_one_short_line_without_arrays_and_addresses(shown):
    for name, value in shown.items():
        text = repr(value)
        assert str(value) == text
        assert "\n" not in text, name
        assert len(text) < 300, name
        assert not [part for part in ("array(", "tensor(", " object at ") if part in text], name


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("frames", "Frames(3 of 32x32, 0.50 to 2.50 s, of 3.00 s at 320x240, pyav)"),
        ("report", "Report(4 embedded, 1 failed, in 1.2 s by model 'shapes')"),
        ("config", "TrainConfig(network={'temporal': 'mean'}, batch_size=64)"),
        ("query", "Query(prompts=('a dog',), k=3)"),
        ("duplicates", "Duplicates(0 groups of 0 of 120 videos, 0 leaks)"),
        ("audit", "Audit(18 of 20 captions find their own of 5 videos first)"),
        ("evaluation", "Evaluation('tuned', 20 captions, 5 videos: text to video R@1 45.6; video to text R@1 50.0)"),
        ("text", "TextEmbedding(vector [1, 256], weight 0.5)"),
        ("video", "VideoEmbedding(vector [1, 256], frame_vectors [1, 12, 128])"),
    ],
)
def test_it_says_what_it_is(shown, name, said):
    assert repr(shown[name]) == said


def test_a_result_shows_its_best_hit(shown):
    result = shown["result"]
    assert repr(result).startswith(f"SearchResult('a red circle': 2 of {result.searched} videos, the best ")
    assert result[0].path in repr(result)


def test_a_model_and_an_index_name_the_weights(shown):
    model, index = shown["model"], shown["index"]
    assert repr(model).startswith("Model('shapes', 12 frames of 48x48, ")
    assert model.sha256[:12] in repr(model)
    assert model.sha256[:12] in repr(index)
    assert f"table videos: {index.count()} rows of 256 numbers" in repr(index)


def test_an_index_that_is_gone_shows_why(tmp_path, model):
    import shutil

    from clip2video_plugin.provenance import provenance

    index = c2v.VideoIndex.create(tmp_path / "index", model.config.vector_dim, provenance(model))
    assert "0 rows" in repr(index)
    shutil.rmtree(tmp_path / "index")
    assert "\n" not in repr(index)
    assert "0 rows" not in repr(index)


def test_settings_that_are_shown_make_the_same_ones(shown):
    for name in ("config", "query"):
        made = eval(repr(shown[name]), {"TrainConfig": c2v.TrainConfig, "Query": c2v.Query})
        assert made == shown[name]
