"""What tensors cannot say, heads and activation: from a configuration beside them, from the format, or given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clip2video_plugin.errors import CheckpointError
from clip2video_plugin.model.config import Activation
from clip2video_plugin.model.formats.form import Given

HEADS_OF_64 = (768, 1024)  # widths of image towers whose heads are 64 wide in every published CLIP; ViT-H's are 80


@dataclass(frozen=True, kw_only=True)
class Said:
    """What stands beside the tensors.

    Attributes:
        where: the name of what says it.
        heads: of the image tower and of the text tower.
        pictures: fields of ModelConfig that say how pictures are made.
        firm: whether what is given may not contradict it.
    """

    where: str
    heads: tuple[int, int]
    activation: Activation
    norm_eps: float = 1e-5
    pictures: Mapping[str, Any] = field(default_factory=dict)
    firm: bool = True


def settled(path: Path, sizes: Mapping[str, Any], said: Said | None, given: Given) -> dict[str, Any]:
    """Heads, activation, norm and pictures, as fields of ModelConfig.

    Raises:
        CheckpointError: nothing says one of them, or what is given contradicts what stands beside the tensors, or
            heads do not divide their width.
    """
    unsaid = []
    activation = _one(path, "--activation", given.activation, said and said.activation, said)
    if activation is None:
        unsaid.append(
            "its activation (OpenAI's weights are quick_gelu, most later ones of open_clip gelu; the wrong one gives "
            "wrong vectors): --activation quick_gelu or --activation gelu"
        )
    heads = dict[str, int]()
    for position, (tower, short) in enumerate((("vision", "image"), ("text", "text"))):
        width = sizes[f"{tower}_width"]
        asked = given.heads[position] if given.heads and len(given.heads) > position else None
        number = _one(path, f"--heads ({short})", asked, said and said.heads[position], said)
        if number is None and width % 64 == 0 and (tower == "text" or width in HEADS_OF_64):
            number = width // 64
        if number is None:
            example = "--heads 16" if tower == "vision" else "--heads 16,20, of image and text"
            unsaid.append(
                f"how many attention heads its {short} tower has, {width} numbers wide (its model card does): {example}"
            )
        elif width % number:
            raise CheckpointError(f"{path}: {number} heads do not divide the {short} tower's width of {width} numbers")
        else:
            heads[f"{tower}_heads"] = number
    if unsaid:
        raise CheckpointError(f"{path} does not say {'; nor '.join(unsaid)}")
    beside = {"norm_eps": said.norm_eps, **said.pictures} if said else {}
    return {**heads, "activation": activation, **beside}


def _one(path: Path, option: str, given: Any, known: Any, said: Said | None) -> Any:
    if said and said.firm and given is not None and given != known:
        raise CheckpointError(f"{path}: {option} is {given}, but {said.where} says {known}; leave the option out")
    return known if given is None else given


def agree(path: Path, where: str, claims: Mapping[str, tuple[Any, Any]]) -> None:
    """Raises CheckpointError that names every size that is said and not found: name -> (said, found)."""
    wrong = [f"{name} is {said!r}, not {found}" for name, (said, found) in claims.items() if said != found]
    if wrong:
        raise CheckpointError(f"{path}: {where} contradicts the tensors: {'; '.join(wrong)}")


def whole(path: Path, where: str, name: str, value: Any) -> int:
    """A positive whole number of a configuration."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise CheckpointError(f"{path}: {where} says {name} is {value!r}; it must be a positive whole number")
    return value


def fraction(path: Path, where: str, name: str, value: Any) -> float:
    """A number of a configuration that lies between 0 and 1."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < 1:
        raise CheckpointError(f"{path}: {where} says {name} is {value!r}; it must lie between 0 and 1")
    return float(value)


def section(path: Path, where: str, values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """An object within a configuration; empty where it is missing or null."""
    found = values.get(name)
    if found is None:
        return {}
    if not isinstance(found, Mapping):
        raise CheckpointError(f"{path}: {where} says {name} is {found!r}; it must be an object")
    return found


def side(value: Any) -> Any:
    """The side of a square that is written as one number, as [h, w] or as {"height": h, "width": w}."""
    if isinstance(value, Mapping) and set(value) == {"height", "width"}:
        value = [value["height"], value["width"]]
    if isinstance(value, list | tuple) and len(value) == 2 and value[0] == value[1]:
        return value[0]
    return value
