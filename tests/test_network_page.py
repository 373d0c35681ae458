"""docs/explanation/network.md is what comments point to: every section that one names is there."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "explanation" / "network.md"
SOURCES = [path for name in ("clip2video_plugin", "cli", "datasets", "tests") for path in (ROOT / name).rglob("*.py")]


def anchors():
    """Of the headings, as GitHub and MkDocs make them."""
    headings = re.findall(r"^#+ (.+)$", PAGE.read_text(), re.MULTILINE)
    return {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_what_comments_point_to_is_there():
    named = {(path.name, name) for path in SOURCES for name in re.findall(r"network\.md#([\w-]+)", path.read_text())}
    assert len(named) > 15
    assert [(path, name) for path, name in sorted(named) if name not in anchors()] == []


def test_the_page_points_to_sections_and_files_that_are_there():
    text = PAGE.read_text()
    assert {name for name in re.findall(r"\]\(#([\w-]+)\)", text) if name not in anchors()} == set()
    package = ROOT / "clip2video_plugin"
    assert [name for name in re.findall(r"`(\w+/\w+\.py)`", text) if not (package / name).is_file()] == []


def test_no_comment_points_to_a_specification_that_is_elsewhere():
    elsewhere = re.compile(r"reference (?:sections? )?\d+(?:\.\d+)?\b|\bclip2video\.md")
    lost = {path.name: elsewhere.findall(path.read_text()) for path in SOURCES if path != Path(__file__)}
    assert {name: found for name, found in lost.items() if found} == {}
