"""import_dataset and c2v import: several splits, and what a failed import leaves."""

import fiftyone as fo
import pytest

from clip2video_plugin.datasets import import_dataset
from clip2video_plugin.errors import AnnotationError

from .layouts import MSRVTT, msrvtt, record, videos


def test_several_splits_go_into_one_dataset(tmp_path):
    msrvtt(tmp_path, videos=[record(MSRVTT[0], split="train"), record(MSRVTT[1], split="validate"), record(MSRVTT[2])])
    (tmp_path / "MSRVTT_test.full.csv").unlink()
    dataset = import_dataset(
        "msrvtt", tmp_path, name="several", splits=["train", "val", "test"], protocol="full", on_missing="keep"
    )
    assert dict(zip(*dataset.values(["video_id", "tags"]), strict=True)) == {
        MSRVTT[0]: ["train"],
        MSRVTT[1]: ["val"],
        MSRVTT[2]: ["test"],
    }
    assert dataset.info["split"] == ["train", "val", "test"]
    with pytest.raises(AnnotationError, match="'several' exists"):
        import_dataset("msrvtt", tmp_path, name="several")
    dataset.delete()


def test_a_failed_import_leaves_nothing_behind(tmp_path):
    with pytest.raises(AnnotationError):
        import_dataset("msrvtt", tmp_path, name="failed")
    assert not fo.dataset_exists("failed")
    with pytest.raises(AnnotationError, match="kind is 'kinetics'; allowed are msrvtt, msvd, vatex, folder"):
        import_dataset("kinetics", tmp_path)


def test_the_command_imports(c2v, tmp_path):
    msrvtt(tmp_path)
    videos(tmp_path, MSRVTT[:2])
    done = c2v("import", "msrvtt", tmp_path, "--name", "by-command", "--protocol", "full")
    assert done.returncode == 0, done.stderr
    assert "by-command: 2 videos" in done.stdout
    assert "2 of 2990 videos, 6 of 59800 captions: not comparable" in done.stdout
    fo.delete_dataset("by-command")


def test_progress_of_an_import_stays_off_standard_output(tmp_path, c2v):
    (tmp_path / "set").mkdir()
    msrvtt(tmp_path / "set")
    done = c2v("import", "msrvtt", tmp_path / "set", "--name", "quiet", "--protocol", "full", "--on-missing", "keep")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("quiet: 3 videos\n")
    assert "%" not in done.stdout
    fo.delete_dataset("quiet")
