"""What was fitted for a table is stored with the index, by whoever writes last, and is known to be of another table."""

import subprocess
import sys

import numpy as np

from clip2video_plugin.index import Provenance, VideoIndex, calibration, open_index
from clip2video_plugin.index.calibration import has_calibration, read_fit, sample_rows, write_fit
from clip2video_plugin.index.contents import check
from clip2video_plugin.query import Gallery
from clip2video_plugin.query.confidence import calibration_of

MADE, OTHER = (Provenance(name, name * 8, "uniform", 12, "0") for name in ("made", "other"))


def row(number, captions=()):
    return {"id": f"v{number}", "path": f"/v{number}.mp4", "start": 0.0, "vector": np.eye(4)[number % 4].tolist()} | {
        "captions": list(captions),
        "size": 1,
        "mtime": 0.0,
    }


def test_a_fit_comes_back_and_only_for_its_table(tmp_path):
    videos, run = (VideoIndex.create(tmp_path, 4, MADE, table=name) for name in ("videos", "brain_1"))
    assert not has_calibration(videos.uri)
    assert read_fit(videos) is None
    write_fit(videos, {"credible": 0.5}, 3)
    write_fit(videos, {"credible": 0.25, "own": {"é'": 1e-9}}, 4)
    assert has_calibration(videos.uri)
    fit = read_fit(open_index(tmp_path))
    assert (fit.values, fit.rows, fit.fresh) == ({"credible": 0.25, "own": {"é'": 1e-9}}, 4, True)
    assert read_fit(run) is None


def test_a_fit_of_a_table_that_was_made_anew_is_stale(tmp_path):
    made = VideoIndex.create(tmp_path, 4, MADE)
    write_fit(made, {}, 1)
    assert read_fit(made).fresh
    made.drop()
    assert not read_fit(VideoIndex.create(tmp_path, 4, MADE)).fresh
    write_fit(open_index(tmp_path), {}, 1)
    assert read_fit(open_index(tmp_path)).fresh
    open_index(tmp_path).drop()
    assert not read_fit(VideoIndex.create(tmp_path, 4, OTHER)).fresh


def test_a_fit_of_another_version_is_stale(tmp_path, monkeypatch):
    made = VideoIndex.create(tmp_path, 4, MADE)
    with monkeypatch.context() as patch:
        patch.setattr(calibration, "FORM", calibration.FORM - 1)
        write_fit(made, {"credible": 0.5}, 3)
        assert read_fit(made).fresh
    assert not read_fit(made).fresh
    assert calibration_of(Gallery(made)) is None


def test_two_processes_store_at_once_and_one_row_is_left(tmp_path):
    VideoIndex.create(tmp_path, 4, MADE)
    code = (
        "import sys\n"
        "from clip2video_plugin.index import open_index\n"
        "from clip2video_plugin.index.calibration import write_fit\n"
        "for n in range(5): write_fit(open_index(sys.argv[1]), {'by': sys.argv[2]}, n)\n"
    )
    both = [subprocess.Popen([sys.executable, "-c", code, tmp_path, name]) for name in "ab"]
    assert [each.wait(60) for each in both] == [0, 0]
    index = open_index(tmp_path)
    assert index._connection.open_table("calibration").count_rows() == 1
    assert read_fit(index).values["by"] in "ab"
    assert read_fit(index).rows == 4


def test_a_calibration_is_no_problem_of_an_index(tmp_path):
    made = VideoIndex.create(tmp_path, 4, MADE)
    write_fit(made, {}, 0)
    assert check(tmp_path) == []


def test_rows_are_drawn_of_all_or_of_those_with_captions(tmp_path):
    made = VideoIndex.create(tmp_path, 4, MADE)
    made.write([row(n, ["a dog"] * (n % 2)) for n in range(40)])
    assert len(sample_rows(made, 100, 0)) == 40
    few = sample_rows(made, 7, 0)
    assert len(few) == 7
    assert few.keys() == sample_rows(made, 7, 0).keys() != sample_rows(made, 7, 1).keys()
    assert {int(i[1:]) % 2 for i in sample_rows(made, 100, 0, captioned=True)} == {1}
