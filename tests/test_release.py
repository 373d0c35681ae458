"""What is released says one version, one licence and one list of operators, and is tried by the scripts in .ci/."""

import ast
import re
import tomllib
from pathlib import Path

import yaml

from clip2video_plugin.version import __version__

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text())
MANIFEST = yaml.safe_load((ROOT / "fiftyone.yml").read_text())
WORKFLOW = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())


def test_citation_and_plugin_have_the_version_of_the_package():
    assert CITATION["version"] == MANIFEST["version"] == __version__


def test_the_licence_is_the_same_everywhere():
    assert CITATION["license"] == MANIFEST["license"] == PROJECT["license"] == "MIT"


def test_the_citation_names_the_paper():
    [paper] = CITATION["references"]
    assert paper["url"].endswith("2106.11097")
    assert [author["family-names"] for author in paper["authors"]] == ["Fang", "Xiong", "Xu", "Chen"]


def test_the_first_version_of_the_changelog_is_that_of_the_package():
    versions = re.findall(r"^## \[(.+?)\] - (\S+)$", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert versions[0][0] == __version__
    assert all(re.fullmatch(r"unreleased|\d{4}-\d\d-\d\d", day) for _, day in versions)


def test_the_workflow_runs_the_scripts_and_every_python_of_the_package():
    steps = [step for job in WORKFLOW["jobs"].values() for step in job["steps"]]
    called = {script for step in steps for script in re.findall(r"\.ci/\w+", step.get("run", ""))}
    assert called == {f".ci/{script.name}" for script in (ROOT / ".ci").iterdir()}
    named = [c.rpartition(" ")[2] for c in PROJECT["classifiers"] if "Python :: 3." in c]
    assert WORKFLOW["jobs"]["installed"]["strategy"]["matrix"]["python"] == named


def test_the_plugins_page_lists_the_operators_by_the_labels_of_the_app():
    listed = re.findall(r"^\| `(\w+)` \| (.+?) \|", (ROOT / "docs" / "fiftyone-plugin.md").read_text(), re.M)
    assert [name for name, _ in listed] == MANIFEST["operators"]
    shown = dict[str, str]()
    for file in (ROOT / "clip2video_plugin" / "app" / "operators").glob("*.py"):
        for call in ast.walk(ast.parse(file.read_text())):
            if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "described":
                said = dict(zip(("name", "label"), call.args, strict=False)) | {
                    key.arg: key.value for key in call.keywords
                }
                shown[said["name"].value] = said["label"].value
    assert shown == {name: label for name, label in listed if not label.startswith("(")}  # one has only a button
