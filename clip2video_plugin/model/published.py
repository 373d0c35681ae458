"""Weights that others publish: where they lie, what they are, and how good their authors found them.

Facts are from the model cards and repositories named here; what none of them states is None. A hash that the
publisher's page does not show is one that several unrelated projects pin for the same revision.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from clip2video_plugin.model.card import Card, Training

DRIVE = "https://drive.google.com/drive/folders/"
SMALL = 1 << 20  # bytes; more is no config.json


@dataclass(frozen=True, kw_only=True)
class File:
    """A file of a published model; ``size`` in bytes, ``largest`` where only a bound is known."""

    name: str
    url: str
    sha256: str | None = None
    size: int | None = None
    largest: int | None = None


@dataclass(frozen=True, kw_only=True)
class Recall:
    """Text-to-video R@1 in percent, as published; from ``at_1`` to ``up_to`` where sources differ."""

    benchmark: str
    at_1: float
    up_to: float | None = None

    def __str__(self) -> str:
        return f"{self.at_1:.1f}" + (f"-{self.up_to:.1f}" if self.up_to else "") + f" {self.benchmark}"


@dataclass(frozen=True, kw_only=True)
class Published:
    """A model that ``c2v models fetch`` gets by its name.

    Attributes:
        what: it is, in a few words.
        files: the last one holds the weights.
        card: what the checkpoint will say of itself.
        page: for people.
        about: bytes of the weights, where they are known only roughly.
        frames_and_words: that it was trained with, where they are not the paper's 12 and 32.
        apart: its files wait in a folder of their own; OpenAI's have names that are theirs alone.
    """

    what: str
    files: tuple[File, ...]
    card: Card
    page: str
    recall: tuple[Recall, ...] = ()
    about: int | None = None
    frames_and_words: tuple[int, int] | None = None
    apart: bool = True

    @property
    def weights(self) -> File:
        return self.files[-1]

    @property
    def size(self) -> int | None:
        """Bytes of the weights; None where nobody says."""
        return self.weights.size or self.about

    @property
    def licence(self) -> str:
        return self.card.licence or "not stated"

    @property
    def on_drive(self) -> bool:
        return self.weights.url.startswith(DRIVE)

    def to_dict(self) -> dict[str, Any]:
        """All facts, for JSON."""
        return {
            "what": self.what,
            "training": self.card.training,
            "trained_on": self.card.trained_on,
            "size": self.size,
            "licence": self.card.licence,
            "recall": [asdict(recall) for recall in self.recall],
            "page": self.page,
            "files": [asdict(file) for file in self.files],
        }


def _openai(what: str, sha256: str, name: str, size: int, *recall: Recall) -> Published:
    url = f"https://openaipublic.azureedge.net/clip/models/{sha256}/{name}"  # the folder's name is the SHA-256
    page = "https://github.com/openai/CLIP"
    return Published(
        what=what,
        files=(File(name=name, url=url, sha256=sha256, size=size),),
        card=Card(training="zero-shot", source=page, licence="MIT"),
        page=page,
        recall=recall,
        apart=False,
    )


def _at_hub(
    repo: str,
    revision: str,
    what: str,
    weights: str,
    sha256: str | None = None,
    size: int | None = None,
    *,
    small: tuple[str, ...] = ("config.json",),
    gemma: bool = False,
    licence: str | None = None,
    trained_on: str | None = None,
    **rest: Any,
) -> Published:
    """A repository at Hugging Face, at one revision: its name stands for every byte in it."""
    page = f"https://huggingface.co/{repo}"
    files = [File(name=name, url=f"{page}/resolve/{revision}/{name}", largest=SMALL) for name in small]
    if gemma:
        files.append(File(name="tokenizer.json", url=f"{page}/resolve/{revision}/tokenizer.json", **_GEMMA))
    files.append(File(name=weights, url=f"{page}/resolve/{revision}/{weights}", sha256=sha256, size=size))
    training: Training = "trained" if trained_on else "zero-shot"
    card = Card(training=training, trained_on=trained_on, source=f"{page}/tree/{revision}", licence=licence)
    return Published(what=what, files=tuple(files), card=card, page=page, **rest)


def _one(what: str, url: str, page: str, trained_on: str, *recall: Recall) -> Published:
    """A state dict of a paper's code, of which neither size nor hash nor licence is published."""
    return Published(
        what=what,
        files=(File(name=url.rpartition("/")[2], url=url),),
        card=Card(training="trained", trained_on=trained_on, source=page),
        page=page,
        recall=recall,
    )


def _oxford(folder: str, file: str, trained_on: str, *recall: Recall) -> Published:
    url = f"https://www.robots.ox.ac.uk/~vgg/research/teachtext/CLIP4Clip-ckpts/{folder}/{file}"
    return _one("CLIP4Clip", url, "https://github.com/ioanacroi/qb-norm", trained_on, *recall)


def _paragraphs(known: Published) -> Published:
    """One whose captions are paragraphs about longer videos, by the README of CLIP4Clip."""
    return replace(known, frames_and_words=(64, 64))


def _authors(drive: str, file: str, trained_on: str, *recall: Recall) -> Published:
    page = "https://github.com/CryhanFang/CLIP2Video"
    return _one("CLIP2Video", f"{DRIVE}{drive}/{file}", page, trained_on, *recall)


_GEMMA: dict[str, Any] = {
    "sha256": "cb9140fae3ac5122c972d37adf83e1248471a38147ad76f8215c8872c6fd8322",
    "size": 34_363_039,
}
_ZERO_SHOT = Recall(benchmark="MSR-VTT 1k-A", at_1=31.1, up_to=31.6)
_OPEN_CLIP: dict[str, Any] = {"small": ("open_clip_config.json",), "licence": "MIT"}
_SIGLIP: dict[str, Any] = {
    "small": ("config.json", "preprocessor_config.json"),
    "gemma": True,
    "licence": "Apache-2.0",
}

PUBLISHED: dict[str, Published] = {
    "clip-vit-b32": _openai(
        "CLIP ViT-B/32",
        "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af",
        "ViT-B-32.pt",
        353_976_522,
        _ZERO_SHOT,
    ),
    "clip-vit-b16": _openai(
        "CLIP ViT-B/16",
        "5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f",
        "ViT-B-16.pt",
        350_837_078,
    ),
    "clip-vit-l14": _openai(
        "CLIP ViT-L/14",
        "b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836",
        "ViT-L-14.pt",
        932_768_134,
    ),
    "clip-vit-l14-336": _openai(
        "CLIP ViT-L/14, 336 pixels",
        "3035c92b350959924f9f00213499208652fc7ea050643e8b385c2dac08641f02",
        "ViT-L-14-336px.pt",
        934_088_680,
    ),
    "clip-vit-b32-hf": _at_hub(
        "openai/clip-vit-base-patch32",
        "3d74acf9a28c67741b2f4f2ea7635f0aaf6f0268",
        "CLIP ViT-B/32 in float32",
        "pytorch_model.bin",  # at this revision there is no model.safetensors
        "a63082132ba4f97a80bea76823f544493bffa8082296d62d71581a4feff1576f",
        605_247_071,
        licence="MIT",
        recall=(_ZERO_SHOT,),
    ),
    "clip-vit-b32-laion2b": _at_hub(
        "laion/CLIP-ViT-B-32-laion2B-s34B-b79K",
        "1a25a446712ba5ee05982a381eed697ef9b435cf",
        "CLIP ViT-B/32 of LAION-2B",
        "open_clip_model.safetensors",
        "ac4f8c4b88af6d963118cbf40ad93176d092abbedfcb752601ae1866352656e6",
        605_143_316,
        **_OPEN_CLIP,
    ),
    "clip-vit-b32-datacomp": _at_hub(
        "laion/CLIP-ViT-B-32-DataComp.XL-s13B-b90K",
        "f0e2ffa09cbadab3db6a261ec1ec56407ce42912",
        "CLIP ViT-B/32 of DataComp",
        "open_clip_model.safetensors",
        "3c00043509d2e3f35ec62bd85a643a393883dcda624d8208d034cc390c708297",
        about=605_000_000,
        **_OPEN_CLIP,
    ),
    "clip4clip-webvid": _at_hub(
        "Searchium-ai/clip4clip-webvid150k",
        "d2f89850fec28ac1e5cd27db2f0b76d7491e61ce",
        "CLIP4Clip",
        "model.safetensors",
        trained_on="WebVid-150k",
        recall=(Recall(benchmark="WebVid", at_1=50.74),),
        about=605_000_000,
    ),
    "clip4clip-msrvtt7k": _oxford("MSRVTT-7k", "pytorch_model.bin.4", "MSR-VTT (7k)"),
    "clip4clip-didemo": _paragraphs(
        _oxford("DiDeMo", "pytorch_model.bin.3", "DiDeMo", Recall(benchmark="DiDeMo", at_1=43.0))
    ),
    "clip4clip-lsmdc": _oxford("LSMDC", "pytorch_model.bin.3", "LSMDC", Recall(benchmark="LSMDC", at_1=21.3)),
    "clip4clip-activitynet": _paragraphs(_oxford("ActivityNet", "pytorch_model.bin.3", "ActivityNet")),
    "clip2video-msvd": _authors(
        "1LKMUZFf9EAxFbGShlA22eUCeGKC8DWx4", "pytorch_model.bin.2", "MSVD", Recall(benchmark="MSVD", at_1=47.0)
    ),
    "clip2video-msrvtt": _authors(
        "1a5Dcg8wNh88Z-bxb0ZMV3IJFjtSe7X2A",
        "pytorch_model.bin.2",
        "MSR-VTT (9k)",
        Recall(benchmark="MSR-VTT 1k-A", at_1=45.6),
    ),
    "clip2video-vatex": _authors(
        "15IDB7NdNx6DQx-LcTzvB3JiZZFu9v36l",
        "pytorch_model.bin.22",
        "VATEX",
        Recall(benchmark="VATEX 1k5", at_1=57.3),
        Recall(benchmark="VATEX HGR", at_1=61.2),
    ),
    "siglip2-b16-224": _at_hub(
        "google/siglip2-base-patch16-224",
        "75de2d55ec2d0b4efc50b3e9ad70dba96a7b2fa2",
        "SigLIP 2 B/16",
        "model.safetensors",
        "612923381c76ec5a9bed335d1c48827e3f2e506ac31b044b63b2031fadee6a0b",
        1_500_800_904,
        **_SIGLIP,
    ),
    "siglip2-b16-256": _at_hub(
        "google/siglip2-base-patch16-256",
        "3f9f96cb90da5dbc758b01813f2f6f1aee24c1ab",
        "SigLIP 2 B/16, 256 pixels",
        "model.safetensors",
        "6125cacc01fa93bdc98a0c5101cefcd69b2ed1f8ab4f38d86f4ad5984f5dc863",
        1_500_985_224,
        **_SIGLIP,
    ),
}
