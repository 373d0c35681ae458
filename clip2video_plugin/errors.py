"""Every error a user can meet. Each message names the value, what is allowed and what to do next."""

from clip2video_plugin.paths import printable

LONGEST = 4_000  # characters of a message; it may name a value of any length


class Clip2VideoError(Exception):
    """Base of all errors that this package raises on purpose, in one line. ``exit_code`` is that of ``c2v``."""

    exit_code = 1

    def __init__(self, message: object) -> None:
        text = printable(message)
        if len(text) > LONGEST:  # what is wrong stands at its beginning, and what to do at its end
            text = f"{text[: LONGEST // 2]} ... {text[-LONGEST // 2 + 5 :]}"
        super().__init__(text)


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


class WorkerError(Clip2VideoError):
    """Processes that decode videos apart from this one cannot be started."""


class CheckpointError(Clip2VideoError):
    """A checkpoint is missing, incomplete, damaged, unsafe, or of another architecture."""


class VideoIndexError(Clip2VideoError):
    """An index does not exist, was made with other weights, or cannot be written."""


class IndexBusyError(VideoIndexError):
    """Another process was writing to an index for longer than this one waited."""


class AnnotationError(Clip2VideoError):
    """An annotation file is missing or cannot be used as it is."""


class NotComparableError(Clip2VideoError):
    """An evaluation would not be of the published protocol."""

    exit_code = 4


class QueryError(Clip2VideoError):
    """A query cannot be answered as it is written."""


class TrainingError(Clip2VideoError):
    """A training run is configured wrongly, cannot go on, or has left the finite numbers."""


def as_unreadable(path: object, error: Exception) -> VideoReadError:
    """What went wrong with a video: as it says itself, or whatever a library says of it."""
    return error if isinstance(error, VideoReadError) else VideoReadError(path, f"{type(error).__name__}: {error}")


def is_panic(error: BaseException) -> bool:
    """Whether a library in Rust came to an end that it did not foresee, and that no name in Python stands for."""
    return type(error).__name__ in ("PanicException", "RustPanic")


def first_line(error: BaseException) -> str:
    """What a library's error says, in one line."""
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__
