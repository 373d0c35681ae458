"""Checkpoints and the plugin put in place: ``c2v models import`` and ``fetch``, ``save_checkpoint``, ``c2v plugin``."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from tests.faults.harness import Scenario, as_c2v, c2v

NAME = "clip4clip-didemo"  # one of several files, of which nobody publishes hashes
IMPORTS = (
    *("torch", "tokenizers", "transformers.utils.chat_template_utils", "huggingface_hub.hf_api", "safetensors.torch"),
    *(
        "clip2video_plugin.model.convert",
        "clip2video_plugin.model.saving",
        "pydantic",
        "rich.console",
        "typer.rich_utils",
    ),
    *("http.server", "tests.standin", "tests.model.miniatures", "clip2video_plugin.model.fetch"),
)


def contents(folder: Path) -> dict[str, str]:
    """File -> SHA-256, of all below that are not hidden. What is remembered of weights has times, and is only there."""
    return {
        str(path.relative_to(folder)): "" if path.name.endswith(".safetensors.json") else digest(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not any(part[0] == "." for part in path.relative_to(folder).parts)
    }


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def hidden(folder: Path, *known: str) -> list[str]:
    """What a run leaves beside its results, and what is begun of a download."""
    return [
        str(path.relative_to(folder))
        for path in sorted(folder.rglob("*"))
        if (path.name[0] == "." or path.suffix in (".part", ".from"))
        and path.name not in (".hidden", "mine.pt.part", *known)
    ]


def one_thread() -> None:
    import torch

    from clip2video_plugin.model import identity

    torch.set_num_threads(1)  # threads do not survive a fork
    identity.LARGE = 1000  # bytes from which weights are remembered beside them


def load(folder: Path) -> str:
    """Loads what is there, as ``c2v`` does; gives the SHA-256 of its weights."""
    from clip2video_plugin import load_model

    return load_model(folder, device="cpu").sha256


def miniature(folder: Path, name: str, **changed: float) -> Path:
    """OpenAI's CLIP in miniature, as a pickle of tensors."""
    import torch

    from tests.model.miniatures import clip_state

    path = folder / f"{name}.pt"
    torch.save({key: value * changed.get("times", 1.0) for key, value in clip_state().items()}, path)
    return path


def installed(folder: Path) -> None:
    """A file to import, and an older model of its name in the models folder, which is the default one."""
    from clip2video_plugin.model.convert import import_checkpoint
    from clip2video_plugin.model.installed import use_by_default

    os.environ["C2V_MODELS"] = str(folder / "models")
    import_checkpoint(miniature(folder, "small", times=0.5), activation="quick_gelu", heads=1)
    use_by_default("small")
    miniature(folder, "small")


def do_import(folder: Path) -> None:
    os.environ["C2V_MODELS"] = str(folder / "models")
    c2v("models", "import", "small.pt", "--activation", "quick_gelu", "--heads", 1)


def of_models(folder: Path) -> dict[str, Any]:
    from clip2video_plugin.model.installed import find_checkpoint

    os.environ["C2V_MODELS"] = str(folder / "models")
    name, place = find_checkpoint()
    # loaded first: what is remembered of weights is written again then, where it could not be before
    return {"loads": load(place), "default": name, "files": contents(folder / "models")}


IMPORT = Scenario(
    name="import",
    prepare=installed,
    run=do_import,
    state=of_models,
    leftovers=lambda folder: hidden(folder, ".default"),
    foreign=("small.pt", "foreign.txt", "models/mine/weights.bin", "models/.hidden"),
    imports=IMPORTS,
    warm=one_thread,
)


def do_save(folder: Path) -> None:
    from clip2video_plugin import load_model
    from clip2video_plugin.model.saving import save_checkpoint

    model = load_model(folder / "models" / "small", device="cpu", precision="float32")
    as_c2v(lambda: save_checkpoint(folder / "here" / "copy", model.network, model.tokenizer, half=True))


SAVE = Scenario(
    name="save_checkpoint",
    prepare=installed,
    run=do_save,
    state=lambda folder: {"loads": load(folder / "here" / "copy"), "files": contents(folder / "here")},
    leftovers=lambda folder: hidden(folder / "here"),
    foreign=("small.pt", "foreign.txt", "here/.hidden", "here/copy.txt"),
    watched=("here",),
    imports=IMPORTS,
    warm=one_thread,
)


def do_fetch(folder: Path) -> None:
    from urllib.parse import urlsplit

    from clip2video_plugin.model.published import PUBLISHED
    from tests.model.miniatures import files
    from tests.standin import StandIn

    server = StandIn()
    for file in PUBLISHED[NAME].files:
        parts = urlsplit(file.url)
        server.put(f"/{parts.netloc}{parts.path}", files(NAME)[file.name])
    os.environ.update(C2V_MODELS=str(folder / "models"), C2V_MIRROR=server.url, no_proxy="127.0.0.1")
    c2v("models", "fetch", NAME, "--default")


FETCH = Scenario(
    name="fetch",
    prepare=lambda folder: (folder / "models").mkdir(),
    run=do_fetch,
    state=of_models,
    leftovers=lambda folder: hidden(folder, ".default"),
    foreign=("foreign.txt", "models/.hidden", "models/downloads/mine.pt", "models/downloads/mine.pt.part"),
    imports=IMPORTS,
    warm=one_thread,
)


# The plugin


def plugins(folder: Path) -> None:
    import fiftyone as fo

    fo.config.plugins_dir = str(folder / "plugins")


def outdated(folder: Path) -> None:
    """A copy of an earlier version in the plugins folder, beside another plugin."""
    from clip2video_plugin.app.plugin import install

    plugins(folder)
    with no_links():
        install()
    (folder / "plugins" / "clip2video" / "fiftyone.yml").write_text(
        'name: "@clip2video/clip2video"\nversion: "0.0.1"\noperators: []\n'
    )
    (folder / "plugins" / "other").mkdir()
    (folder / "plugins" / "other" / "fiftyone.yml").write_text("name: other\n")


@contextmanager
def no_links() -> Iterator[None]:
    with mock.patch.object(Path, "symlink_to", side_effect=OSError("no links here")):
        yield


def linked(folder: Path) -> None:
    plugins(folder)
    c2v("plugin", "install")


def copied(folder: Path) -> None:
    """Where links are not possible."""
    plugins(folder)
    with no_links():
        c2v("plugin", "install")


def of_plugin(folder: Path) -> dict[str, Any]:
    from clip2video_plugin.app import plugin

    plugins(folder)
    found = plugin.status()
    place = folder / "plugins" / "clip2video"
    link = os.readlink(place) if place.is_symlink() else ""
    there = [] if link else sorted(str(path.relative_to(place)) for path in place.rglob("*") if path.is_file())
    return {"works": found.works, "outdated": found.outdated, "files": there, "link": link}


def beside(folder: Path) -> Iterator[str]:
    known = {"clip2video", "other"}
    yield from (f"plugins/{path.name}" for path in (folder / "plugins").iterdir() if path.name not in known)


def of_plugins(name: str, run: Any) -> Scenario:
    return Scenario(
        name=name,
        prepare=outdated,
        run=run,
        state=of_plugin,
        leftovers=lambda folder: list(beside(folder)),
        foreign=("foreign.txt", "plugins/other"),
        imports=("tests.faults.own_fiftyone",),
    )


SCENARIOS = (IMPORT, SAVE, FETCH, of_plugins("plugin", linked), of_plugins("plugin-copied", copied))
