"""Copies, audits of captions and nearest captions in FiftyOne: as functions and as operators."""

import fiftyone as fo
import fiftyone.operators as foo
import lancedb
import numpy as np
import pytest
from fiftyone.operators.executor import ExecutionError

from clip2video_plugin import compute_clip2video, embed_videos
from clip2video_plugin.app import plugin
from clip2video_plugin.app.curate import audit_captions, find_duplicates, nearest_captions
from clip2video_plugin.app.operators.forms import URI
from clip2video_plugin.errors import Clip2VideoError, QueryError
from clip2video_plugin.shapes import caption, held_out_scenes

from ..query.copies import films, write

SEED = 51


@pytest.fixture(scope="module", autouse=True)
def _installed():
    plugin.install()
    yield
    plugin.uninstall()


@pytest.fixture(scope="module")
def library(tmp_path_factory, model):
    """Eight captioned videos in a split each, two copies of the first two in the other; captions 2 and 3 exchanged."""
    root = tmp_path_factory.mktemp("library")
    made, texts = films(8, SEED), [caption(scene) for scene in held_out_scenes(8, SEED)]
    texts[2], texts[3] = texts[3], texts[2]
    dataset = fo.Dataset()
    for number, (film, text) in enumerate(zip(made, texts, strict=True)):
        path = write(root / f"{number}.mp4", film)
        dataset.add_sample(fo.Sample(str(path), tags=["train"], split=fo.Classification(label="a"), captions=[text]))
    for number, frames in ((0, made[0][:, :, ::-1]), (1, made[1][4:])):
        path = write(root / f"copy-{number}.mp4", frames, crf=35)
        dataset.add_sample(fo.Sample(str(path), tags=["test"], split=fo.Classification(label="b")))
    compute_clip2video(dataset, model=model, brain_key="c2v", index=root / "index", progress=False)
    yield dataset, root
    dataset.delete_brain_run("c2v")
    dataset.delete()


def operator(name):
    return foo.get_operator(f"{URI}/{name}")


def names(view):
    return [path.rsplit("/", 1)[1] for path in view.values("filepath")]


def test_copies_are_a_view_in_order_of_groups_with_what_they_are(library):
    dataset, _ = library
    copies = find_duplicates(dataset, by="tags")
    assert sorted(names(copies.view)) == ["0.mp4", "1.mp4", "copy-0.mp4", "copy-1.mp4"]
    assert copies.view.values("c2v_group") == [1, 1, 2, 2]
    assert dict(zip(names(copies.view), copies.view.values("c2v_copy"), strict=True))["copy-1.mp4"] == (
        "trim of 0.5-3.0 s"
    )
    assert set(copies.view.values("c2v_copy")) == {"original", "mirror", "trim of 0.5-3.0 s"}
    assert copies.view.values("c2v_leak") == [True] * 4
    assert dataset.count("c2v_group") == 4
    again = find_duplicates(dataset.match_tags("train"))
    assert (len(again.view), dataset.count("c2v_group")) == (0, 0)  # of the search before nothing stays
    assert find_duplicates(dataset, by="split").found.leaks == 2
    assert find_duplicates(dataset, by="folder").found.leaks == 0
    assert find_duplicates(dataset, least=1.0).found.groups == ()
    with pytest.raises(QueryError, match="by is 'nothing'"):
        find_duplicates(dataset, by="nothing")


def test_rows_of_an_earlier_version_are_read_on_request(library, model):
    dataset, root = library
    table = dataset.load_brain_results("c2v").config.table_name
    lancedb.connect(root / "index").open_table(table).drop_columns(["thumbnails"])
    assert find_duplicates(dataset).found.without == 10
    found = find_duplicates(dataset, read=True).found
    assert (found.without, len(found.groups)) == (0, 2)


def test_the_operator_for_copies(library):
    dataset, _ = library
    result = operator("find_duplicates")(dataset, by="tags", brain_key="c2v")
    assert {name: result[name] for name in ("groups", "videos", "searched", "leaks", "without", "blank")} == {
        "groups": 2,
        "videos": 4,
        "searched": 10,
        "leaks": 2,
        "without": 0,
        "blank": 0,
    }
    assert result["ids"] == [[v.id for v in g.videos] for g in find_duplicates(dataset, by="tags").found.groups]
    for wrong in ({"by": "nothing"}, {"least": 2}, {"among": 1}):
        with pytest.raises(ExecutionError, match=next(iter(wrong))):
            operator("find_duplicates")(dataset, **wrong)


def test_captions_that_find_other_videos_first(library, model):
    dataset, _ = library
    found = audit_captions(dataset, k=3, progress=False)
    assert {names(dataset.select(one.id))[0] for one in found.captions[:2]} <= set(names(found.view))
    exchanged = {one.id for one in audit_captions(dataset, progress=False).captions}
    assert {names(dataset.select(i))[0] for i in exchanged} >= {"2.mp4", "3.mp4"}
    run = dataset.load_brain_results("c2v")
    vectors, ids, _ = run.get_embeddings()
    for one in found.captions:
        scores = vectors @ model.encode_captions([one.caption]).vector[0].numpy()
        order = [ids[n] for n in np.argsort(-scores)]
        assert one.rank == order.index(one.id) + 1
        assert one.rival == order[0]
    assert found.view.values("c2v_worst_rank") == sorted(found.view.values("c2v_worst_rank"), reverse=True)
    result = operator("audit_captions")(dataset, k=3)
    assert result["captions"] == [[one.caption, one.id, one.rank, one.rival] for one in found.captions]
    with pytest.raises(ExecutionError, match="no field 'words'"):
        operator("audit_captions")(dataset, captions="words")


def test_captions_that_fit_a_video(library, model):
    dataset, _ = library
    sample = dataset.match(fo.ViewField("filepath").ends_with("/5.mp4")).first()
    vector = dataset.load_brain_results("c2v").get_embeddings([sample.id])[0][0]
    texts = [text for some in dataset.values("captions") for text in some or ()]
    scores = {text: float(vector @ model.encode_captions([text]).vector[0].numpy()) for text in texts}
    best = sorted(texts, key=lambda text: -scores[text])[:4]
    found = nearest_captions(dataset, sample.id, k=4)
    assert [fit.caption for fit in found] == best
    assert [fit.own for fit in found] == [text in sample.captions for text in best]
    result = operator("nearest_captions")(dataset, sample.id, k=4)
    assert result["captions"] == [[fit.caption, fit.score, fit.own] for fit in found]
    among = nearest_captions(dataset, sample.id, captions=["a red circle grows", sample.captions[0]])
    assert among[0].caption == sample.captions[0]
    with pytest.raises(Clip2VideoError, match="is no video of dataset"):
        nearest_captions(dataset, "0" * 24)
    with pytest.raises(Clip2VideoError, match="no field 'words'"):
        nearest_captions(dataset, sample.id, captions_field="words")
    with pytest.raises(ExecutionError, match="Select one video"):
        operator("nearest_captions")(dataset, "")


def test_rows_copied_from_an_index_of_files_bring_their_thumbnails(library, model, tmp_path):
    dataset, root = library
    embed_videos([root], index=tmp_path / "index", model=model)
    compute_clip2video(dataset, model=model, brain_key="copied", index=tmp_path / "index", progress=False)
    assert find_duplicates(dataset, brain_key="copied").found.without == 0
    dataset.delete_brain_run("copied")


def test_clips_stand_for_their_videos(library):
    dataset, _ = library
    clips = fo.TemporalDetections(detections=[fo.TemporalDetection(label="it", support=[1, n]) for n in (4, 8)])
    dataset.set_values("events", [clips.copy() for _ in range(len(dataset))])
    found = find_duplicates(dataset.to_clips("events"), brain_key="c2v")
    assert sorted(names(found.view)) == ["0.mp4", "1.mp4", "copy-0.mp4", "copy-1.mp4"]


def test_deleting_an_index_deletes_what_copies_wrote(library, model):
    dataset, root = library
    compute_clip2video(dataset.limit(2), model=model, brain_key="other", index=root / "index", progress=False)
    find_duplicates(dataset, brain_key="other")
    assert dataset.has_sample_field("other_group")
    operator("delete_index")(dataset, "other")
    dataset.reload()
    assert not any(name.startswith("other_") for name in dataset.get_field_schema())
