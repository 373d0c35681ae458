"""What the pages say is so: links lead somewhere, commands and options exist, the tutorial works as typed."""

import ast
import importlib
import inspect
import os
import re
import runpy
import shlex
import subprocess
import sys
import typing
from pathlib import Path

import pytest
import typer

import clip2video_plugin
from clip2video_plugin.cli.main import app

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
GENERATED = {"cli.md"}  # by docs/site.py, when the site is built
RETURNED = {
    "report": clip2video_plugin.Report,
    "hit": clip2video_plugin.Hit,
}  # by the name that boxes of Python give it
FENCED = re.compile(r"^```(\w*)\n(.*?)^```", re.M | re.S)


def name(page):
    return str(page.relative_to(ROOT))


def prose(page):
    """The page without its boxes."""
    text = FENCED.sub("", page.read_text())
    return "\n".join(line for line in text.splitlines() if not line.startswith("    "))


def anchor(heading):
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").replace("*", "").lower()
    return re.sub(r"[ -]+", "-", re.sub(r"[^\w\- ]", "", text).strip())


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_leads_to_a_file_and_to_a_heading_in_it(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"[a-z]+:", target) or target in GENERATED:
            continue
        path, _, section = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), f"{name(page)} links to {target}"
        if section:
            headings = re.findall(r"^#+ (.*)$", FENCED.sub("", there.read_text()), re.M)
            assert section in map(anchor, headings), f"{name(page)} links to {target}"


@pytest.mark.parametrize("page", ["ARCHITECTURE.md", "docs/explanation/code.md"])
def test_every_file_that_the_map_of_the_code_names_is_there(page):
    named = set(re.findall(r"`([\w/]+(?:\.pyi?|/))`", (ROOT / page).read_text()))
    assert len(named) > 30
    below = {
        found.name for folder in ("panel", "demo") for found in (ROOT / "clip2video_plugin/app" / folder).iterdir()
    }
    missing = [n for n in named if not any((place / n).exists() for place in (ROOT, ROOT / "clip2video_plugin"))]
    assert not set(missing) - below


def boxed(page):
    """The lines of a page's boxes of commands, comments cut off; one that ends in a backslash goes on."""
    text = FENCED.sub(lambda box: box[2] if box[1] in ("console", "sh", "bash") else "", page.read_text())
    lines = [line[4:] for line in FENCED.sub("", page.read_text()).splitlines() if line.startswith("    ")]
    return [*lines, *(text.splitlines() if "```" in page.read_text() else [])]


def commands(page):
    """What of them is typed to c2v, as words."""
    for line in boxed(page):
        line = line.removeprefix("$ ").strip()
        for part in re.split(r"&&|;|\|(?= c2v)", line):
            if re.match(r"(\.venv/bin/)?c2v ", part := part.strip()):
                try:
                    words = shlex.split(part, comments=True)
                except ValueError:  # no command line, but what one printed
                    continue
                yield words[1:]


def test_the_pages_have_commands_to_look_at():
    assert sum(len(list(commands(page))) for page in PAGES) > 50


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_command_and_option_that_is_shown_exists(page):
    for words in commands(page):
        command, rest = typer.main.get_command(app), list(words)
        while hasattr(command, "commands") and rest and not rest[0].startswith("-"):
            assert rest[0] in command.commands or rest[0].isupper(), f"{name(page)}: c2v {shlex.join(words)}"
            if rest[0].isupper():
                return
            command = command.commands[rest.pop(0)]
        known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        for word in rest:
            if re.fullmatch(r"-[a-zA-Z]|--[a-z][a-z-]*(=.*)?", word):
                option = word.partition("=")[0]
                assert option in known | {"--help", "-h"}, f"{name(page)}: c2v {shlex.join(words)}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_box_of_python_compiles_and_imports_what_there_is(page):
    for language, code in FENCED.findall(page.read_text()):
        if language != "python":
            continue
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("clip2video_plugin"):
                module = importlib.import_module(node.module)
                for alias in node.names:
                    assert hasattr(module, alias.name), f"{name(page)}: {node.module}.{alias.name}"
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in RETURNED:
                there = {*dir(kind := RETURNED[node.value.id]), *kind.__dataclass_fields__}
                assert node.attr in there, f"{name(page)}: {node.value.id}.{node.attr}"


def test_the_reference_of_commands_shows_every_summary_whole():
    pytest.importorskip("mkdocs")
    text = runpy.run_path(str(ROOT / "docs" / "site.py"))["reference"]()
    shown = re.findall(r"^\* `[a-z-]+`: (.*)$", text, re.M)
    assert len(shown) > 30
    assert not [summary for summary in shown if summary.endswith("...")]
    assert "* `embed`: Embed videos and write them to an index, made when absent." in text


def test_no_sentence_of_the_readme_is_longer_than_thirty_words():
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", prose(ROOT / "README.md"))
    for line in re.split(r"\n|(?<=[.:!?])\s|\|", text):
        assert len(re.findall(r"[\w'’-]+", line)) <= 30, line


PUBLIC = ast.parse((ROOT / "clip2video_plugin" / "__init__.pyi").read_text()).body
HOMES = {one.names[0].name: one.module for one in PUBLIC if isinstance(one, ast.ImportFrom)}


def of_choices(public):
    """The sentence below a Literal type, which an editor and the site show."""
    module = importlib.import_module(f"clip2video_plugin.{HOMES[public]}")
    lines = ast.parse(inspect.getsource(module)).body
    at = next(n for n, line in enumerate(lines) if isinstance(line, ast.Assign) and line.targets[0].id == public)
    return lines[at + 1].value.value


@pytest.mark.parametrize("public", clip2video_plugin.__all__)
def test_every_public_name_says_what_it_takes_and_raises(public):
    found = getattr(clip2video_plugin, public)
    said = (of_choices(public) if typing.get_origin(found) is typing.Literal else inspect.getdoc(found)) or ""
    assert len(said) > 30, public
    if inspect.isfunction(found):
        assert "Raises:" in said, public
        taken = [p for p in inspect.signature(found).parameters if p not in ("progress", "device")]
        named = re.findall(r"^ +\*{0,2}(\w+):", said, re.M)
        assert not (missing := [p for p in taken if p not in named and f"``{p}``" not in said]), (public, missing)


def classes(hint):
    """The classes and the Literal types that a type names."""
    if isinstance(hint, type) or typing.get_origin(hint) is typing.Literal:
        yield hint
    for part in typing.get_args(hint):
        for one in part if isinstance(part, list) else [part]:
            yield from classes(one)


@pytest.mark.parametrize("public", clip2video_plugin.__all__)
def test_what_a_public_signature_names_is_public(public):
    found = getattr(clip2video_plugin, public)
    if inspect.isfunction(found) or found in (clip2video_plugin.Query, clip2video_plugin.TrainConfig):
        exported = [getattr(clip2video_plugin, name) for name in clip2video_plugin.__all__]
        for hint in typing.get_type_hints(found).values():
            for named in classes(hint):
                if typing.get_origin(named) is typing.Literal:
                    assert named in exported
                elif named.__module__.startswith("clip2video_plugin") and not getattr(named, "_is_protocol", False):
                    assert getattr(clip2video_plugin, named.__name__) is named


def test_the_boxes_about_long_runs_print_what_the_page_says(tmp_path):
    boxes = FENCED.findall((ROOT / "docs" / "long-runs.md").read_text())
    code = "\n".join(code for language, code in boxes if language == "python")
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=at_home_in(tmp_path), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    for language, printed in boxes:
        assert language == "python" or printed in done.stdout


def at_home_in(folder):
    """An environment whose home, database and plugins are of a folder."""
    home = folder / "home"
    home.mkdir()
    environment = {
        **os.environ,
        "HOME": str(home),
        "FIFTYONE_DATABASE_DIR": str(folder / "db"),
        "FIFTYONE_PLUGINS_DIR": str(folder / "plugins"),
        "FIFTYONE_DATABASE_NAME": "typed",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    for old in ("C2V_INDEX", "C2V_MODEL", "C2V_MODELS"):
        environment.pop(old, None)
    return environment


@pytest.mark.parametrize(
    ("command", "option", "choices"),
    [
        ("embed", "sampling", clip2video_plugin.Sampling),
        ("embed", "precision", clip2video_plugin.Precision),
        ("frames", "policy", clip2video_plugin.Policy),
        ("eval", "ties", clip2video_plugin.Ties),
        ("import", "kind", clip2video_plugin.DatasetKind),
        ("import", "split", clip2video_plugin.Split),
    ],
)
def test_the_help_of_an_option_names_every_choice(command, option, choices):
    taken = typer.main.get_command(app).commands[command].params
    said = next(one.help for one in taken if one.name == option)
    assert not [choice for choice in typing.get_args(choices) if not re.search(rf"\b{choice}\b", said)]


@pytest.mark.timeout(1800)  # it starts nine programs, one of which trains
def test_the_tutorial_works_as_it_is_typed(tmp_path):
    """Each box in its order; of the App it is installed only."""
    films, environment = tmp_path / "tutorial", at_home_in(tmp_path)
    films.mkdir()
    text = (ROOT / "docs" / "tutorial.md").read_text()
    said, typed = "", 0
    for found in re.finditer(r"^```python\n(?P<code>.*?)^```|^    (?P<line>\S[^\n]*)$", text, re.M | re.S):
        if code := found["code"]:
            (films / "typed.py").write_text(code)
            command = [sys.executable, "typed.py"]
        else:
            command = shlex.split(found["line"].partition("  #")[0])
            if command[0] not in ("c2v",):
                continue
        done = subprocess.run(command, cwd=films, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, (command, done.stderr[-2000:])
        said, typed = said + done.stdout, typed + 1
    assert typed >= 9
    assert "60 embedded, 0 unchanged, 0 failed" in said
    assert "0 embedded, 60 unchanged, 0 failed" in said
    score = re.search(r"films/00017\.mp4 (0\.\d{3})$", said, re.M)
    assert score, said
    assert float(score[1]) == pytest.approx(0.543, abs=0.03)  # which differs a little between processors
    assert (films / "runs" / "films-tuned" / "report.html").exists()
