"""The table of published models says what ../shared/reference/weights.md found, and nothing that nobody knows."""

import re

import pytest

from clip2video_plugin.model.installed import EMBEDDED
from clip2video_plugin.model.published import DRIVE, PUBLISHED
from tests.conftest import SHARED


def test_the_names_are_those_of_the_issue():
    assert list(PUBLISHED) == [
        "clip-vit-b32",
        "clip-vit-b16",
        "clip-vit-l14",
        "clip-vit-l14-336",
        "clip-vit-b32-hf",
        "clip-vit-b32-laion2b",
        "clip-vit-b32-datacomp",
        "clip4clip-webvid",
        "clip4clip-msrvtt7k",
        "clip4clip-didemo",
        "clip4clip-lsmdc",
        "clip4clip-activitynet",
        "clip2video-msvd",
        "clip2video-msrvtt",
        "clip2video-vatex",
        "siglip2-b16-224",
        "siglip2-b16-256",
    ]
    assert EMBEDDED not in PUBLISHED


@pytest.mark.parametrize("name", PUBLISHED)
def test_what_is_said_of_a_model_can_be_used(name):
    known = PUBLISHED[name]
    assert re.fullmatch(r"[a-z0-9][a-z0-9-]*", name)  # a folder's name
    names = [file.name for file in known.files]
    assert len(set(names)) == len(names)
    for file in known.files:
        assert file.url.startswith("https://")
        assert file.url.endswith(f"/{file.name}")
        assert file.sha256 is None or re.fullmatch(r"[0-9a-f]{64}", file.sha256)
        assert (file.size or file.largest or 1) > 0
    assert known.card.training == ("trained" if known.card.trained_on else "zero-shot")
    assert known.card.source.startswith(known.page)
    assert known.weights.size is None or 300e6 < known.weights.size < 2e9


def test_every_openai_folder_is_named_by_the_hash_of_its_file():
    for name in ("clip-vit-b32", "clip-vit-b16", "clip-vit-l14", "clip-vit-l14-336"):
        (file,) = PUBLISHED[name].files
        assert file.sha256 == file.url.split("/")[-2]
        assert file.url.startswith("https://openaipublic.azureedge.net/clip/models/")


def test_every_file_at_hugging_face_is_of_one_revision():
    for known in PUBLISHED.values():
        if "huggingface.co" in known.page:
            assert len({re.search(r"/resolve/([0-9a-f]{40})/", file.url)[1] for file in known.files}) == 1


def test_addresses_hashes_and_scores_are_those_of_the_reference():
    facts = SHARED / "reference" / "weights.md"
    if not facts.is_file():
        pytest.skip("no ../shared/reference beside this checkout")
    text = facts.read_text(encoding="utf-8")
    for name, known in PUBLISHED.items():
        if name.startswith("clip-vit") and not name.endswith(("hf", "laion2b", "datacomp")):
            assert known.weights.sha256 in text
        for repository in re.findall(r"^https://huggingface.co/(.+)", known.page):
            assert repository.removeprefix("laion/CLIP-ViT-B-32").removesuffix("-256") in text
        if known.weights.url.startswith(DRIVE):
            assert known.weights.url.removeprefix(DRIVE).split("/")[0] in text
        for recall in known.recall:
            assert f"{recall.at_1:.1f}" in text or f"{recall.at_1:.2f}" in text
    for name in ("clip-vit-b32-hf", "clip4clip-webvid"):
        assert re.search(r"/resolve/([0-9a-f]{40})/", PUBLISHED[name].weights.url)[1] in text


def test_where_no_licence_is_stated_none_is_claimed():
    stated = {name: known.card.licence for name, known in PUBLISHED.items()}
    assert {name for name, licence in stated.items() if licence is None} == {
        name for name in PUBLISHED if name.startswith(("clip4clip", "clip2video"))
    }
    assert stated["siglip2-b16-256"] == "Apache-2.0"
    assert PUBLISHED["clip4clip-didemo"].licence == "not stated"
