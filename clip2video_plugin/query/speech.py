"""Where in a video the words of a sentence are said: the subtitles that hold them."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

# Words that the index of words leaves out
SMALL = (
    "a an and are as at be but by for if in into is it no not of on or such that the their then there these they this "
    "to was will with"
)
STOP = frozenset(SMALL.split())
ENDINGS = ("ing", "ied", "ies", "ed", "es", "s", "y", "e")
STEM = 3  # fewest letters that are left of a word
PASSAGE = 30.0  # seconds within which the words of one sentence are said

Times = Sequence[Sequence[float] | None]


def said_at(sentence: str, captions: Sequence[str], times: Times) -> tuple[float, float] | None:
    """Start and end of the fewest subtitles that hold the words which no other caption holds.

    Args:
        captions: of one video, which hold all words of the sentence together.
        times: (start, end) of each in seconds; nothing of those that are not said.

    Returns:
        None where no subtitle is needed for it; (nan, nan) where the words are too far apart to be one sentence.
    """
    stems = {stem(word) for word in words(sentence)}
    cues = sorted((t[0], t[1], text) for t, text in zip(times, captions, strict=False) if t)
    lines = [text for text, t in zip(captions, [*times, *[None] * len(captions)], strict=False) if not t]
    stems -= {stem(word) for text in lines for word in words(text)}
    held = [(start, end, here) for start, end, text in cues if (here := _stems_in(text, stems))]
    needed = frozenset[str]().union(*(here for _, _, here in held))
    if not needed:
        return None
    inside, first = Counter[str](), 0
    best: tuple[int, float, float, float] | None = None  # subtitles, seconds, start, end
    for last, (_, _, here) in enumerate(held):
        inside.update(here)
        while all(inside[word] > (word in held[first][2]) for word in needed):
            inside.subtract(held[first][2])
            first += 1
        if all(inside[word] for word in needed):
            start, end = held[first][0], max(end for _, end, _ in held[first : last + 1])
            passage = last - first, end - start if last > first else 0.0, start, end
            best = min(best or passage, passage)
    assert best is not None
    return best[2:] if best[1] <= PASSAGE else (math.nan, math.nan)


def _stems_in(text: str, stems: frozenset[str] | set[str]) -> frozenset[str]:
    folded = fold(text)
    likely = [s for s in stems if s in folded]  # far cheaper than to cut every subtitle of a film into words
    return frozenset(likely).intersection(map(stem, words(folded))) if likely else frozenset()


def words(text: str) -> list[str]:
    """The words of a text that count, folded."""
    return [word for word in re.findall(r"[^\W_]+", fold(text)) if word not in STOP]


def fold(text: str) -> str:
    """Small letters without accents."""
    return "".join(c for c in unicodedata.normalize("NFKD", text.lower()) if not unicodedata.combining(c))


def stem(word: str) -> str:
    """A word without its ending: "running", "runs" and "run" are the same."""
    for ending in ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= STEM:
            word = word[: -len(ending)]
            break
    return word[:-1] if len(word) > STEM and word[-1] == word[-2] else word
