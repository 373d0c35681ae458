"""Datasets that several files of tests ask for."""

import fiftyone as fo
import pytest


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A dataset of no videos."""
    dataset = fo.Dataset()
    dataset.add_sample(fo.Sample(filepath=str(tmp_path_factory.mktemp("p") / "picture.png")))
    yield dataset
    dataset.delete()
