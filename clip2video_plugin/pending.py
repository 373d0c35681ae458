"""Which videos are left to embed: new ones, changed ones, and those without the windows that are wanted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any

from clip2video_plugin.captions import recaptioned, told_by
from clip2video_plugin.encode import Item, Stamp, Unreadable, batched
from clip2video_plugin.encode_windows import Windowed, Wish
from clip2video_plugin.index import VideoIndex, memory
from clip2video_plugin.index.schema import FINGERPRINT, TAGS, THUMBNAILS
from clip2video_plugin.index.windows import Made, VideoWindows
from clip2video_plugin.index.writer import Writer
from clip2video_plugin.listing import AT_ONCE
from clip2video_plugin.paths import printable
from clip2video_plugin.places import Uri
from clip2video_plugin.report import Failure, Report
from clip2video_plugin.rows import LASTING, failure_of, moved_from, row_of, unchanged, video_id, with_tags
from clip2video_plugin.video.files import file_stamp
from clip2video_plugin.video.fingerprint import fingerprint
from clip2video_plugin.video.windows import WindowPlan

LOOKUP = 1000  # videos asked for in the index at once


class Pending:
    """What is to be embedded of items; rows that are only taken over go to the writer at once.

    Args:
        known: an index of paths by the same model, whose unchanged rows are copied instead of embedded.
        plan: which windows every video gets, None for none.
    """

    def __init__(
        self, index: VideoIndex, known: VideoIndex | None, plan: WindowPlan | None, writer: Writer, report: Report
    ) -> None:
        self._index, self._known, self._plan, self._writer, self._report = index, known, plan, writer, report
        self._windows = index.create_windows() if plan else index.windows()
        self._rows = dict[str, dict[str, Any]]()  # of videos that lack nothing but windows
        self._counted = set[str]()  # ids of those that the report has
        self._taken = set[str]()  # ids of rows whose videos were found elsewhere

    def wishes(self, items: Iterable[Item], tell: Callable[[], None]) -> Iterator[Wish]:
        """The videos to decode; the others are counted, or their rows copied from ``known`` or taken over."""
        for chunk in batched(items, LOOKUP):
            with memory.given_back():  # of questions to tables of any size
                stamps = self._stamps(chunk)
                have = self._index.entries([item.id for item in chunk])
                same = {item.id for item in chunk if unchanged(item, stamps[item.id], have.get(item.id))}
                chunk = self._tagged(chunk, [i for i in have if i not in same])
                bare = self._bare([item for item in chunk if item.id in same], stamps)
                self._report.skipped += len(same) - len(bare)
                recaptioned_rows = {
                    row["id"]: row for row in recaptioned([i for i in chunk if i.id in same], self._index)
                }
                self._report.captioned += len(recaptioned_rows)
                for new in self._retagged([item for item in chunk if item.id in same], recaptioned_rows):
                    self._writer.add(new)
                self._rows |= self._index.rows(bare)
                left = [item for item in chunk if item.id not in same]
                over = self._take_over(left, stamps) if left else set()
            self._writer.flush_when_due()
            tell()
            for item in chunk:
                if item.id not in over and (item.id not in same or item.id in bare):
                    yield self._wish(item, stamps[item.id], whole=item.id not in self._rows)

    def _stamps(self, items: list[Item]) -> dict[str, Stamp]:
        """Size and time of change of each; objects that were not listed are asked for together."""
        known = {item.id: item.stamp for item in items if item.stamp is not None}
        objects = {item.id: item.path for item in items if item.id not in known and isinstance(item.path, Uri)}
        if objects:
            with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="ask") as pool:
                known |= zip(objects, pool.map(file_stamp, objects.values()), strict=True)
        return known | {item.id: file_stamp(item.path) for item in items if item.id not in known}

    def _tags(self, ids: Sequence[str]) -> dict[str, list[str] | None]:
        found = self._index.columns(["id", TAGS.name], ids)
        return dict(zip(found["id"].to_pylist(), found[TAGS.name].to_pylist(), strict=True))

    def _tagged(self, items: list[Item], changed: list[str]) -> list[Item]:
        """The items, with the tags that the rows of changed files have."""
        tags = self._tags(changed) if changed else {}
        return [replace(i, tags=with_tags(tags[i.id], i.tags)) if tags.get(i.id) else i for i in items]

    def _retagged(self, items: list[Item], rows: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
        """These rows, and those of other unchanged videos that lack tags, with all tags that they are to have."""
        wanted = {item.id: item.tags for item in items if item.tags}
        if not wanted:
            return list(rows.values())
        have = self._tags(list(wanted))
        lacking = [i for i, tags in wanted.items() if i in have and not set(tags) <= set(have[i] or ())]
        rows = self._index.rows([i for i in lacking if i not in rows]) | rows
        return [row | {TAGS.name: with_tags(have.get(i), wanted.get(i, ()))} for i, row in rows.items()]

    def _wish(self, item: Item, stamp: Stamp, *, whole: bool) -> Wish:
        marks: dict[str, object] = {"size": stamp[0], "mtime": stamp[1]}
        return Wish(item, stamp, whole, partial(self._unfinished, item.id, marks))

    def _unfinished(self, video: str, marks: dict[str, object], more: dict[str, object]) -> Any:
        assert self._windows is not None
        return self._windows.unfinished(video, marks | more)

    def _fits(self, made: Made | None, stamp: Stamp) -> bool:
        """Whether a file has the windows that are wanted."""
        if self._plan is None:
            return True
        return made is not None and (made.size, made.mtime, made.sizes) == (*stamp, self._plan.text)

    def _bare(self, items: list[Item], stamps: dict[str, Stamp]) -> list[str]:
        """Ids of those of unchanged videos that lack the windows that are wanted."""
        if self._plan is None or self._windows is None or not items:
            return []
        made = self._windows.windows_made([item.id for item in items])
        bare = [item.id for item in items if not self._fits(made.get(item.id), stamps[item.id])]
        self._report.others += sum(i in made and made[i].sizes != self._plan.text for i in bare)
        return bare

    def _take_over(self, items: list[Item], stamps: dict[str, Stamp]) -> set[str]:
        """Ids of videos whose rows, and windows, were copied or only got another name."""
        known, over = self._known, set[str]()
        copies = known.rows([video_id(item.path) for item in items]) if known else {}
        moved, unread = moved_from(items, stamps, self._index, self._taken)
        before = self._index.rows(list(moved.values()))
        for item in items:
            stamp, copy = stamps[item.id], copies.get(video_id(item.path))
            if item.id in unread:
                self.failed(Unreadable(item, stamp, "it may have been moved here, and cannot be read; embed it again"))
                over.add(item.id)
                continue
            if row := before.get(moved.get(item.id, "")):
                self._taken.add(row["id"])
                content = row.get(FINGERPRINT.name) or fingerprint(item.path)
                new = row_of(item, stamp, row["duration"], row["vector"], content, before=told_by(row))
                new |= {name: row[name] for name in LASTING if row.get(name)}
                new[TAGS.name] = with_tags(row.get(TAGS.name), item.tags)
                self._writer.add(new, instead_of=row["id"])
                self._report.moved += 1
                source = self._windows
            elif known and copy and (copy["size"], copy["mtime"]) == stamp:
                row, content, shown = copy, copy.get(FINGERPRINT.name), copy.get(THUMBNAILS.name)
                self._writer.add(
                    new := row_of(item, stamp, copy["duration"], copy["vector"], content, shown, told_by(copy))
                )
                self._report.skipped += 1
                source = known.windows()
            else:
                continue
            made = source.windows_made([row["id"]]).get(row["id"]) if source else None
            if source and made and self._fits(made, stamp) and (windows := source.all_windows(row["id"])):
                self._writer.add_windows(windows.of(new))
            if self._fits(made, stamp):
                over.add(item.id)
            else:
                self._rows[item.id] = new
                self._counted.add(item.id)
        return over

    def failed(self, video: Unreadable) -> None:
        """A video that cannot be read: it is noted in the index, and told."""
        self._writer.add_failure(failure_of(video))
        self._report.failed.append(Failure(str(video.item.path), printable(video.reason)))

    def finish(self, done: Windowed) -> None:
        """A video that was decoded: its windows, and its row where it had none."""
        assert self._plan is not None
        row = self._rows.pop(done.item.id, None)
        if done.vector is not None:
            before = self._index.captions([done.item.id]).get(done.item.id) if self._index.text.there else None
            shown = done.thumbnails.tobytes()
            row = row_of(done.item, done.stamp, done.duration, done.vector, done.content, shown, before)
            self._writer.add(row)
        assert row is not None
        self._writer.add_windows(VideoWindows(row, self._plan.text, done.spans, done.vectors, done.small))
        self._report.windowed += 1
        self._report.embedded += done.item.id not in self._counted
