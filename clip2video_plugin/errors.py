"""Every error a user can meet. Each message names the value, what is allowed and what to do next."""

from clip2video_plugin.paths import printable


class Clip2VideoError(Exception):
    """Base of all errors that this package raises on purpose, in one line. ``exit_code`` is that of ``c2v``."""

    exit_code = 1

    def __init__(self, message: object) -> None:
        super().__init__(printable(message))


class VideoReadError(Clip2VideoError):
    """A video cannot be read: missing, empty, not a video, damaged, or not permitted."""

    def __init__(self, path: object, reason: str) -> None:
        super().__init__(f"cannot read {path}: {reason}")
        self.path = str(path)
        self.reason = reason

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        return type(self), (self.path, self.reason)


class VideoGoneError(VideoReadError):
    """A video is not where it is said to be: the folder, store or server that was asked has nothing of its name."""


class CheckpointError(Clip2VideoError):
    """A checkpoint is missing, incomplete, damaged, unsafe, or of another architecture."""


class VideoIndexError(Clip2VideoError):
    """An index does not exist, was made with other weights, or cannot be written."""


class IndexBusyError(VideoIndexError):
    """Another process was writing to an index for longer than this one waited."""


class NotComparableError(Clip2VideoError):
    """An evaluation would not be of the published protocol."""

    exit_code = 4


class QueryError(Clip2VideoError):
    """A query cannot be answered as it is written."""


class TrainingError(Clip2VideoError):
    """A training run is configured wrongly, cannot go on, or has left the finite numbers."""


def first_line(error: BaseException) -> str:
    """What a library's error says, in one line."""
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__
