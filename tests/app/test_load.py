"""Users at once: every answer is that of a quiet App, and nothing of what they write is lost."""

import os
from pathlib import Path

import pytest

from clip2video_plugin.app import plugin

from .load import Load


@pytest.fixture(scope="module")
def load(tmp_path_factory):
    load = Load(tmp_path_factory.mktemp("load"), users=6, videos=30, think=0.2)
    with load.server(Path(os.environ["FIFTYONE_CONFIG_PATH"]).parent):
        load.quiet()
        load.run(12, pages=0)
        load.compare()
    yield load
    load.end()
    plugin.uninstall()


def test_no_request_fails_and_every_answer_is_that_of_a_quiet_app_but_for_what_is_written(load):
    assert not load.log.errors
    assert {"search in the panel", "add and compute", "compute a changed view"} <= load.log.seconds.keys()


def test_no_tag_no_row_and_no_moment_is_lost_or_doubled(load):
    assert load.tags
    assert load.curves
    assert not load.wrong
