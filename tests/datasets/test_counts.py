"""The published counts come out of the real annotation files, where the checkout has them."""

import pytest

from clip2video_plugin.datasets.benchmark import read_benchmark
from clip2video_plugin.datasets.protocols import PROTOCOLS
from clip2video_plugin.datasets.sources import Sources, find_sources
from clip2video_plugin.errors import AnnotationError

from ..conftest import SHARED

ANNOTATIONS = SHARED / "annotations"
pytestmark = pytest.mark.skipif(not ANNOTATIONS.is_dir(), reason="no ../shared/annotations beside this checkout")
FILES = {
    "msrvtt": ["train_val_videodatainfo.json", "test_videodatainfo.json", "category.txt"],
    "msvd": ["captions_msvd.json", "youtube_mapping.txt"],
    "vatex": ["vatex_validation_v1.0.hgr_test_1500.en_only.json", "vatex_mapping.txt"],
}
LISTED = [(p.dataset, p.name, split) for p in PROTOCOLS.values() for split in p.splits]


def read(dataset, protocol, split, *, lists=True):
    folder = ANNOTATIONS / dataset
    found = Sources(tables=[folder / name for name in FILES[dataset]])
    if lists:
        found.lists = sorted((folder / "splits").iterdir())
    elif dataset == "msrvtt":
        found.lists = [folder / "splits" / "MSRVTT_JSFUSION_test.csv"]
    return read_benchmark(dataset, found, protocol=protocol, split=split)


@pytest.mark.parametrize(("dataset", "protocol", "split"), LISTED)
def test_counts_with_split_lists(dataset, protocol, split):
    benchmark, size = read(dataset, protocol, split), PROTOCOLS[protocol].splits[split]
    assert len(benchmark.annotations) == size.videos
    if dataset != "vatex" or (protocol, split) == ("vatex-hgr", "test"):
        assert benchmark.captions == size.captions
        assert not benchmark.warnings


@pytest.mark.parametrize(("dataset", "protocol", "split"), [c for c in LISTED if c[1] != "vatex-hgr"])
def test_splits_that_official_files_determine_equal_the_lists(dataset, protocol, split):
    with_lists, derived = read(dataset, protocol, split), read(dataset, protocol, split, lists=False)
    ours = [a.video_id for a in derived.annotations]
    theirs = [a.video_id for a in with_lists.annotations]
    assert len(set(ours)) == len(ours)
    assert set(ours) == set(theirs)


@pytest.mark.parametrize(("dataset", "protocol"), [("msrvtt", "full"), ("msvd", "msvd"), ("vatex", "vatex-hgr")])
def test_every_circulated_file_in_one_folder_gives_the_published_captions(dataset, protocol):
    """Official files beside joined ones, excerpts and other layouts: no caption counts twice."""
    benchmark = read_benchmark(
        dataset, find_sources(None, annotations_path=ANNOTATIONS / dataset), protocol=protocol, split="test"
    )
    assert benchmark.captions == PROTOCOLS[protocol].splits["test"].captions
    assert benchmark.warnings


def test_1k_a_sentences_come_from_the_table_and_not_from_the_annotations():
    benchmark = read("msrvtt", "1k-a", "test")
    assert len(benchmark.queries) == 1000
    other = [a for a in benchmark.annotations if benchmark.queries[a.video_id] not in a.captions]
    assert 12 <= len(other) <= 35  # 35 differ byte by byte, 12 after folding white space


def test_a_split_that_a_protocol_does_not_have_is_named():
    with pytest.raises(AnnotationError, match="protocol 1k-a has no split 'val'; it has train, test"):
        read("msrvtt", "1k-a", "val")
    with pytest.raises(AnnotationError, match="protocol 'msvd' is none of msrvtt's; there are 1k-a, 7k, full"):
        read("msrvtt", "msvd", "test")
