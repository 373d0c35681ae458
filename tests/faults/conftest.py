"""The process from which the scenarios of a module are forked."""

import shutil

import pytest

from .harness import Warm


@pytest.fixture(scope="module")
def warm(request, tmp_path_factory):
    """Of all ``SCENARIOS`` of the module that asks."""
    if not shutil.which("cc"):
        pytest.skip("no C compiler (cc), which makes what strikes operations")
    with Warm(tmp_path_factory.mktemp("warm"), *request.module.SCENARIOS) as process:
        yield process
