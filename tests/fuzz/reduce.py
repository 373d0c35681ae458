"""A finding made smaller while it stays the same finding."""

import time
from collections.abc import Callable

from .target import Files


def reduced(files: Files, same: Callable[[Files], bool], seconds: float) -> Files:
    """Files with as much left out as time allows: whole files first, then halves, quarters and so on of each."""
    until = time.monotonic() + seconds
    for name in list(files):
        if len(files) > 1 and time.monotonic() < until:
            fewer = {other: content for other, content in files.items() if other != name}
            if same(fewer):
                files = fewer
    for name in list(files):
        part = len(files[name]) // 2
        while part and time.monotonic() < until:
            start = 0
            while start < len(files[name]) and time.monotonic() < until:
                content = files[name]
                less = files | {name: content[:start] + content[start + part :]}
                if same(less):
                    files = less
                else:
                    start += part
            part //= 2
    return files
