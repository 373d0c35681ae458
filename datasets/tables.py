"""Tables of comma- or tab-separated fields that people and spreadsheets write: nothing is cut or swallowed silently."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from clip2video_plugin.datasets.annotations import Warnings, lines_of, read_text
from clip2video_plugin.errors import AnnotationError

SHOWN = 300  # characters of the columns that an error names


class Table:
    """A file with a row of column names.

    Raises:
        AnnotationError: it cannot be read as text, or its first row is broken.
    """

    def __init__(self, path: Path, delimiter: str = ",") -> None:
        self.path, self._delimiter = path, delimiter
        self._rows = _rows(path, delimiter)
        self.columns = [name.strip() for name in next(self._rows, (1, 1, list[str]()))[2]]

    def pick(
        self, wanted: Sequence[tuple[str, ...]], warnings: Warnings, is_name: Callable[[str], object]
    ) -> Iterator[list[str | None]]:
        """The wanted columns of each row, each column by the first of its names that is there, in any case.

        A caption with a comma too many is put together again where its column is the last.

        Args:
            is_name: whether a text names a video. A quoted field that runs on over a line which begins another record,
                told by the name in the first wanted column, was not meant to.

        Raises:
            AnnotationError: columns are lacking, and which are there; or a row is broken, and its line.
        """
        places, delimiter = self._places(wanted), self._delimiter
        last = len(self.columns) - 1
        for first, final, row in self._rows:
            if len(row) > last + 1:
                if last not in places[1:]:
                    raise AnnotationError(
                        f"{self.path} line {first} has {len(row)} fields, the columns are {last + 1}; "
                        "put captions that hold the separator in double quotes"
                    )
                warnings["captions with an unquoted separator, which was kept"] += 1
                row = [*row[:last], delimiter.join(row[last:])]
            if final > first:
                for field in row:
                    for line in lines_of(field)[1:]:
                        fields = line.split(delimiter)
                        if len(fields) > last and is_name(fields[places[0]].strip()):
                            raise AnnotationError(f"{self.path} line {first}: {OPEN}")
                warnings["records that span several lines"] += 1
            yield [row[place] if place < len(row) else None for place in places]

    def _places(self, wanted: Sequence[tuple[str, ...]]) -> list[int]:
        have = [name.casefold() for name in self.columns]
        found = [next((have.index(n.casefold()) for n in names if n.casefold() in have), None) for names in wanted]
        lacking = [names[0] for names, place in zip(wanted, found, strict=True) if place is None]
        if lacking:
            shown = ", ".join(repr(name)[1:-1] for name in self.columns)[:SHOWN] or "none, it is empty"
            raise AnnotationError(
                f"{self.path} lacks the column{'s' * (len(lacking) > 1)} {' and '.join(lacking)}; its columns: {shown}"
            )
        return [place for place in found if place is not None]


OPEN = 'a quotation mark opens a field that runs on or is not closed; write "" for one that belongs to the text'


def _rows(path: Path, delimiter: str) -> Iterator[tuple[int, int, list[str]]]:
    """(first line, last line, fields) of each row that is not blank."""
    reader = csv.reader(io.StringIO(read_text(path), newline=""), delimiter=delimiter, strict=True)
    while True:
        first = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            reason = OPEN if "expected after" in str(error) or "unexpected end" in str(error) else str(error)
            raise AnnotationError(f"{path} line {first} cannot be read: {reason}") from None
        if any(row):
            yield first, reader.line_num, row
