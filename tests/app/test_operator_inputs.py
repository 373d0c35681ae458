"""What operators are given from Python: nothing is passed over, a refusal says why, and folders are confined."""

import os
import shutil

import fiftyone as fo
import fiftyone.operators as foo
import pytest
from fiftyone.operators.executor import ExecutionError

from clip2video_plugin import compute_clip2video
from clip2video_plugin.app import plugin
from clip2video_plugin.app.operators.forms import URI
from clip2video_plugin.app.search import find
from clip2video_plugin.datasets import CaptionedVideoFolder, import_dataset
from clip2video_plugin.errors import AnnotationError


@pytest.fixture(scope="module", autouse=True)
def _installed():
    plugin.install()
    yield
    plugin.uninstall()


@pytest.fixture(scope="module")
def dataset(world, model, tmp_path_factory):
    index = tmp_path_factory.mktemp("index")
    dataset = fo.Dataset.from_dir(dataset_dir=str(world[0]), dataset_type=CaptionedVideoFolder, max_samples=4)
    compute_clip2video(dataset, model=model, brain_key="c2v", index=index, progress=False)
    yield dataset
    dataset.delete_brain_run("c2v")
    dataset.delete()


@pytest.fixture
def bare(world):
    dataset = fo.Dataset.from_dir(dataset_dir=str(world[0]), dataset_type=CaptionedVideoFolder, max_samples=1)
    yield dataset
    dataset.delete()


def operator(name):
    return foo.get_operator(f"{URI}/{name}")


@pytest.fixture
def videos(world, tmp_path, monkeypatch):
    """A folder to import, in the working directory."""
    monkeypatch.delenv("C2V_ROOTS", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "a.mp4").write_bytes(next(world[0].glob("*.mp4")).read_bytes())
    (tmp_path / "videos" / "captions.csv").write_text("file,caption\na,one\n")
    return tmp_path / "videos"


# Keywords

UNKNOWN = {
    "compute_embeddings": (lambda o, d: o(d, brainkey="zz"), "brainkey", "brain_key, model, sampling, device"),
    "search_videos": (lambda o, d: o(d, "a", top=3), "top", "query, brain_key, k, weight"),
    "find_similar_videos": (lambda o, d: o(d, d.first().id, top=3), "top", "brain_key, k, samples"),
    "mark_moments": (lambda o, d: o(d, "a", pictures=1), "pictures", "query, brain_key, k, thumbnails"),
    "evaluate_retrieval": (lambda o, d: o(d, "c2v", tie="strict"), "tie", "brain_key, captions, ties, worst"),
    "sample_frames": (lambda o, d: o(d, ".", rate=5), "rate", "output, fps"),
    "index_info": (lambda o, d: o(d, "c2v", all=True), "all", "brain_key"),
    "delete_index": (lambda o, d: o(d, "c2v", force=True), "force", "brain_key"),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_a_keyword_that_there_is_not_is_refused_with_those_there_are(dataset, name):
    ask, keyword, allowed = UNKNOWN[name]
    with pytest.raises(ExecutionError, match=f"Reason: there is no parameter '{keyword}'; allowed are {allowed}"):
        ask(operator(name), dataset)
    assert dataset.list_brain_runs() == ["c2v"]


def test_an_import_with_an_unknown_keyword_makes_no_dataset(videos):
    with pytest.raises(ExecutionError, match="there is no parameter 'max_samples'; allowed are kind, folder, name"):
        operator("import_videos")("folder", videos, "unknown-keyword", max_samples=2)
    params = {"folder": str(videos), "name": "unknown-keyword", "max_samples": 2}
    with pytest.raises(ExecutionError, match="'max_samples'"):
        foo.execute_operator(f"{URI}/import_videos", params=params)
    assert not fo.dataset_exists("unknown-keyword")


REFUSED = {
    "This is no dataset of videos": ("pictures", lambda d: operator("search_videos")(d, "a")),
    "brain_key is 'nope'; allowed are c2v": ("dataset", lambda d: operator("search_videos")(d, "a", brain_key="nope")),
    "model is '/etc'; allowed are shapes": ("dataset", lambda d: operator("compute_embeddings")(d, model="/etc")),
    "sampling is 'all'; allowed are uniform, ": (
        "dataset",
        lambda d: operator("compute_embeddings")(d, sampling="all"),
    ),
    "k is 0; it must lie between 1 and": ("dataset", lambda d: operator("search_videos")(d, "a", k=0)),
    "k is '2'; it must lie between 1 and": ("dataset", lambda d: operator("search_videos")(d, "a", k="2")),
    "'a b' is no identifier": ("dataset", lambda d: operator("compute_embeddings")(d, brain_key="a b")),
    "This dataset has no CLIP2Video index yet": ("bare", lambda d: operator("delete_index")(d, "c2v")),
    "there is no field 'words'": ("dataset", lambda d: operator("evaluate_retrieval")(d, "c2v", captions="words")),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_a_refusal_gives_its_reason(request, reason):
    collection, ask = REFUSED[reason]
    with pytest.raises(ExecutionError) as refusal:
        ask(request.getfixturevalue(collection))
    assert f"Reason: {reason}" in str(refusal.value)


def test_one_id_is_one_video_and_not_its_letters(dataset):
    first = dataset.first().id
    alone = operator("find_similar_videos")(dataset, first, brain_key="c2v", k=2)
    assert alone["ids"] == operator("find_similar_videos")(dataset, [first], brain_key="c2v", k=2)["ids"]
    assert find(dataset, like=first, k=2).ids == alone["ids"]


@pytest.mark.parametrize("name", ["größe", "Voxel51/x", "a.b$c d"])
def test_whatever_fiftyone_takes_for_a_name_and_a_key_works(dataset, model, tmp_path, name):
    copy = dataset.clone(name=name)
    run = compute_clip2video(copy, model=model, brain_key="größe", index=tmp_path / "index", progress=False)
    assert run.total_index_size == 4
    assert len(find(copy, "a red square", brain_key="größe", k=2).ids) == 2
    copy.delete_brain_run("größe")
    copy.delete()


# Folders


def make(folder, name="confined"):
    return operator("import_videos")("folder", folder, name)


@pytest.fixture
def imported():
    yield
    if fo.dataset_exists("confined"):
        fo.delete_dataset("confined")


def test_by_default_the_working_directory_may_be_imported_from(videos, imported):
    assert make("videos")["videos"] == 1


@pytest.mark.parametrize("way", ["absolute", "dots", "link", "home", "nul"])
def test_an_import_from_elsewhere_is_refused_in_words(videos, tmp_path, world, monkeypatch, way):
    inside = tmp_path / "inside"
    inside.mkdir()
    monkeypatch.chdir(inside)
    (inside / "link").symlink_to(videos)
    monkeypatch.setenv("HOME", str(tmp_path))
    asked = {"absolute": videos, "dots": "../videos", "link": "link", "home": "~/videos", "nul": "a\0b"}[way]
    with pytest.raises(ExecutionError, match="outside of what the App may use") as refusal:
        make(asked)
    assert f"Reason: folder {asked}".replace("\0", "\\x00") in str(refusal.value)
    assert str(inside) in str(refusal.value)
    assert not fo.dataset_exists("confined")


def test_a_name_that_fiftyone_refuses_is_refused_in_words(videos):
    with pytest.raises(ExecutionError, match="name is '日本'; FiftyOne cannot take it"):
        make(videos, "日本")
    with pytest.raises(AnnotationError, match="name is '日本'; FiftyOne cannot take it"):
        import_dataset("folder", videos, name="日本")


def test_roots_that_are_named_are_the_only_ones(videos, tmp_path, monkeypatch, imported):
    other = tmp_path / "other"
    other.mkdir()
    (tmp_path / "other-too").mkdir()
    monkeypatch.setenv("C2V_ROOTS", f"{other}{os.pathsep}{tmp_path / 'nowhere'}")
    for asked in (videos, tmp_path / "other-too"):  # which only begins with the same letters
        with pytest.raises(ExecutionError, match=f"folder {asked} is outside of .*: {other}, {tmp_path}/nowhere"):
            make(asked)
    monkeypatch.setenv("C2V_ROOTS", f"{other}{os.pathsep}{videos}")
    assert make(videos)["videos"] == 1


def test_links_inside_an_imported_folder_do_not_lead_out(videos, tmp_path, monkeypatch):
    secret = tmp_path / "secret.txt"
    secret.write_text("secret words\n")
    monkeypatch.setenv("C2V_ROOTS", str(videos))
    (videos / "captions.csv").unlink()
    (videos / "captions.csv").symlink_to(secret)
    with pytest.raises(ExecutionError, match=r"captions\.csv, a link in folder .* is outside") as refusal:
        make(videos)
    assert "secret words" not in str(refusal.value)


def test_frames_are_written_beside_the_videos_and_in_the_working_directory_alone(dataset, world, tmp_path, monkeypatch):
    monkeypatch.delenv("C2V_ROOTS", raising=False)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    view = dataset.limit(1)
    outside = tmp_path / "outside"
    for asked in (outside, "../outside"):
        with pytest.raises(ExecutionError, match=f"Reason: folder {asked} is outside of what the App may use"):
            operator("sample_frames")(view, asked)
    (tmp_path / "here" / view.first().filename.removesuffix(".mp4")).symlink_to(outside)
    with pytest.raises(ExecutionError, match="a link in folder"):
        operator("sample_frames")(view, tmp_path / "here")
    assert not outside.exists()
    assert operator("sample_frames")(view, tmp_path / "here" / "frames", fps=1)["videos"] == 1
    try:
        assert operator("sample_frames")(view, world[0] / "frames of it", fps=1)["videos"] == 1
    finally:
        shutil.rmtree(world[0] / "frames of it", ignore_errors=True)  # other tests read the folder
