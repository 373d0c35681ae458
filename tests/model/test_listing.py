"""``c2v models list`` shows what there is, in a terminal of any width and as JSON."""

import json

import pytest

from clip2video_plugin.model.installed import use_by_default
from clip2video_plugin.model.listing import list_models
from clip2video_plugin.model.published import PUBLISHED
from clip2video_plugin.model.replacing import replacing


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A model that was fetched, and one of the user's own of which nothing is known."""
    monkeypatch.setenv("C2V_MODELS", str(tmp_path))
    monkeypatch.delenv("C2V_MODEL", raising=False)

    def install(name, config, size):
        with replacing(tmp_path / name) as folder:
            (folder / "config.json").write_text(json.dumps(config))
            (folder / "model.safetensors").write_bytes(b"\0" * size)

    install("clip2video-msvd", {"about": PUBLISHED["clip2video-msvd"].card.to_dict()}, 3_000_000)
    install("my[red]own", {}, 0)
    use_by_default("clip2video-msvd")


@pytest.mark.parametrize("columns", [80, 120])
def test_every_model_has_a_row_that_fits(installed, c2v_here, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    code, out, err = c2v_here("models", "list")
    assert (code, err) == (0, b"")
    lines = out.decode().splitlines()
    assert max(map(len, lines[:-4])) <= columns
    assert "…" not in out.decode()
    rows = {line.split()[0]: line for line in lines[2:-4] if line[0] != " "}
    assert list(rows) == ["shapes", "clip2video-msvd", "my[red]own", *(n for n in PUBLISHED if n != "clip2video-msvd")]
    assert rows["clip2video-msvd"].endswith("default")
    assert "3 MB not stated 47.0 MSVD" in rows["clip2video-msvd"]
    assert rows["my[red]own"].split()[1:] == ["0", "MB", "not", "stated", "-", "yes"]
    assert rows["shapes"].rstrip().endswith("yes")
    assert "354 MB MIT" in rows["clip-vit-b32"]
    assert rows["clip-vit-b32"].rstrip().endswith("-")
    assert " ? not stated" in rows["clip4clip-lsmdc"]
    assert lines[-1].startswith("Models live in ")


def test_the_document_has_all_facts(installed, c2v_here, tmp_path):
    document = json.loads(c2v_here("models", "list", "--json")[1])
    models = {model["name"]: model for model in document["models"]}
    assert document["installed"]["my[red]own"] == str(tmp_path / "my[red]own")
    assert [name for name, model in models.items() if model["default"]] == ["clip2video-msvd"]
    assert [name for name, model in models.items() if model["installed"]] == list(document["installed"])
    vatex = models["clip2video-vatex"]
    assert [(recall["at_1"], recall["benchmark"]) for recall in vatex["recall"]] == [
        (57.3, "VATEX 1k5"),
        (61.2, "VATEX HGR"),
    ]
    assert (vatex["licence"], vatex["size"], vatex["folder"]) == (None, None, None)
    assert models["clip-vit-b16"]["files"][0]["size"] == 350_837_078
    assert models["clip-vit-b32"]["recall"] == [{"benchmark": "MSR-VTT 1k-A", "at_1": 31.1, "up_to": 31.6}]
    assert models["my[red]own"]["what"] is None


def test_a_score_is_of_the_published_weights_alone(installed, tmp_path):
    config = tmp_path / "clip2video-msvd" / "config.json"
    card = PUBLISHED["clip2video-msvd"].card.to_dict() | {"source": "my.bin"}
    config.write_text(json.dumps({"about": card}))
    (mine,) = (model for model in list_models() if model.name == "clip2video-msvd")
    assert (mine.recall, mine.words) == ((), "CLIP2Video, trained on MSVD")
