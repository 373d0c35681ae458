"""Commits that others come before are done again: long enough in time and in number, and not for ever."""

import pytest

from clip2video_plugin.index import commits


@pytest.fixture
def conflicting(monkeypatch):
    """A step that conflicts a number of times; each try takes the seconds that are given."""
    clock, tries = [0.0], list[float]()
    monkeypatch.setattr(commits.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(commits.time, "sleep", lambda seconds: None)

    def make(times, seconds):
        def step():
            clock[0] += seconds
            tries.append(clock[0])
            if len(tries) <= times:
                raise RuntimeError("lance error: Too many concurrent writers. Attempted 2 times")
            return "written"

        return step, tries

    return make


def test_on_a_slow_store_tries_count_as_well_as_seconds(conflicting):
    step, tries = conflicting(20, 30.0)  # ten minutes
    assert commits.patiently(step) == "written"
    assert len(tries) == 21


def test_on_a_quick_store_it_goes_on_for_its_seconds(conflicting):
    step, _ = conflicting(200, 0.5)
    assert commits.patiently(step) == "written"


def test_it_ends_where_others_never_stop(conflicting):
    step, tries = conflicting(10_000, 10.0)
    with pytest.raises(RuntimeError, match="concurrent writers"):
        commits.patiently(step)
    assert len(tries) == commits.TRIES


def test_what_is_no_conflict_is_not_tried_again(conflicting):
    def step():
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        commits.patiently(step)
