import fiftyone as fo
import pytest


@pytest.fixture(autouse=True, scope="module")
def _leave_no_datasets():
    """Commands that look for the dataset of a protocol must not find those of these tests."""
    yield
    fo.delete_non_persistent_datasets()
