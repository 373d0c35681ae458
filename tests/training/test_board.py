"""What TensorBoard itself reads of a run's files."""

import resource

import pytest

pytest.importorskip("tensorboard")
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from clip2video_plugin.training.board import Board


def curve(folder, name):
    """(step, value) of each point, in order."""
    read = EventAccumulator(str(folder))
    read.Reload()
    return [(point.step, point.value) for point in read.Scalars(name)]


def test_tensorboard_shows_each_number_at_its_step(tmp_path):
    board = Board(tmp_path / "board", 0)
    for step in (1, 2, 3):
        board.write(step, {"loss": step / 4, "R@1": 10 * step})
    board.close()
    assert curve(tmp_path / "board", "loss") == [(1, 0.25), (2, 0.5), (3, 0.75)]
    assert curve(tmp_path / "board", "R@1") == [(1, 10), (2, 20), (3, 30)]


def test_points_are_there_before_the_run_has_ended(tmp_path):
    board = Board(tmp_path / "board", 0)
    board.write(1, {"loss": 1.0})
    assert curve(tmp_path / "board", "loss") == [(1, 1.0)]
    board.close()


def test_of_a_resumed_run_only_points_after_its_state_are_taken_back(tmp_path):
    board = Board(tmp_path / "board", 0)
    for step in (1, 2, 3, 4):
        board.write(step, {"loss": 1.0})
    board.close()
    board = Board(tmp_path / "board", 2)
    for step in (3, 4, 5):
        board.write(step, {"loss": 2.0})
    board.close()
    assert curve(tmp_path / "board", "loss") == [(1, 1), (2, 1), (3, 2), (4, 2), (5, 2)]


def test_a_full_disk_is_an_error_of_the_writer_and_prints_nothing(tmp_path, capfd):
    board, before = Board(tmp_path / "board", 0), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            board.write(1, {f"number {n}": 1.0 for n in range(1000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        board.close()
    assert capfd.readouterr() == ("", "")
