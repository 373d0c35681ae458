"""Names of imported checkpoints."""

from pathlib import Path

import pytest

from clip2video_plugin.model.convert import default_name


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("ViT-B-32.pt", "vit-b-32"),
        ("pytorch_model.bin.2", "pytorch_model.bin.2"),
        ("My Model.SAFETENSORS", "my-model"),
        ("epoch_32.pth", "epoch_32"),
        ("weights/clip-vit-base-patch32/", "clip-vit-base-patch32"),
        (
            "hub/models--openai--clip-vit-base-patch32/snapshots/3d74acf9a28c67741b2f4f2ea7635f0aaf6f0268",
            "clip-vit-base-patch32",
        ),
    ],
)
def test_a_name_comes_from_the_file_or_folder(path, name):
    assert default_name(Path(path)) == name
