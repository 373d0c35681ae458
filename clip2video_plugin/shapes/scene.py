"""What happens in a video of the shapes world: who is there, what they do, and along which path.

Every distribution here is the same forwards and backwards in time: an action and its inverse run
over the same places, sizes and visibility, so no single frame tells which of the two it was.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from random import Random

COLOURS = {
    "red": (225, 45, 45),
    "blue": (45, 85, 235),
    "green": (40, 170, 60),
    "yellow": (245, 220, 40),
    "purple": (150, 50, 190),
    "orange": (250, 140, 25),
    "white": (250, 250, 250),
    "cyan": (60, 215, 225),
}
SHAPES = ("square", "circle", "triangle", "star", "cross", "bar")
# One pair per colour and at least one per shape, never seen together in training.
HELD_OUT = tuple((colour, SHAPES[(5 * i + 1) % len(SHAPES)]) for i, colour in enumerate(COLOURS))

INVERSE = {
    "left": "right",
    "up": "down",
    "up left": "down right",
    "up right": "down left",
    "grow": "shrink",
    "clockwise": "anticlockwise",
    "appear": "disappear",
    "blink": "blink",
    "jump": "jump",
    "pulse": "pulse",
}
INVERSE |= {b: a for a, b in INVERSE.items()}
ACTIONS = tuple(INVERSE)
SYMMETRIC = tuple(action for action in ACTIONS if INVERSE[action] == action)

_D = math.sqrt(0.5)
DIRECTIONS = {
    "left": (-1.0, 0.0),
    "right": (1.0, 0.0),
    "up": (0.0, -1.0),
    "down": (0.0, 1.0),
    "up left": (-_D, -_D),
    "up right": (_D, -_D),
    "down left": (-_D, _D),
    "down right": (_D, _D),
}

Thing = tuple[str, str]  # (colour, shape)
Event = tuple[int, str]  # (which thing, action)
Phase = tuple[Event, ...]  # events at the same time


@dataclass(frozen=True)
class Path:
    """How one thing is placed. Units: the canvas is 1 wide and high, angles in degrees."""

    x: float  # left edge of everything the thing covers, as a share of the room it has
    y: float
    radius: float
    reach: float  # distance of a move
    turn: float  # angle of a turn


@dataclass(frozen=True)
class State:
    x: float
    y: float
    radius: float
    angle: float
    visible: bool


@dataclass(frozen=True)
class Scene:
    """Things and phases: ((0, "left"),), ((1, "grow"),) is "0 moves left, then 1 grows"."""

    things: tuple[Thing, ...]
    phases: tuple[Phase, ...]
    paths: tuple[Path, ...]
    background: int  # seed

    @property
    def meaning(self) -> tuple[frozenset[tuple[Thing, str]], ...]:
        """Equal for two scenes exactly when the same captions describe both."""
        return tuple(frozenset((self.things[who], action) for who, action in phase) for phase in self.phases)

    @property
    def signature(self) -> str:
        """``meaning`` as text, the same in every process (the order of a set is not)."""
        return repr([sorted(phase) for phase in self.meaning])

    def reversed(self) -> Scene:
        """The scene whose frames are this one's in reverse order."""
        phases = tuple(tuple((who, INVERSE[action]) for who, action in phase) for phase in reversed(self.phases))
        return replace(self, phases=phases)

    def reordered(self) -> Scene:
        """The same actions in the other order, each in its own direction."""
        return replace(self, phases=self.phases[::-1])

    def redrawn(self, random: Random) -> Scene:
        """The same things doing the same, elsewhere and over another background."""
        return scene_of(self.things, self.phases, random)

    def state(self, who: int, time: float) -> State:
        """State of a thing at ``time`` in [0, 1]."""
        path, mine = self.paths[who], [dict(phase).get(who) for phase in self.phases]
        corners = [_state(mine, path, t / 8) for t in range(9)]
        low = [min(c[i] - c[2] for c in corners) for i in (0, 1)]
        high = [max(c[i] + c[2] for c in corners) for i in (0, 1)]
        x, y, radius, angle, visible = _state(mine, path, time)
        room = [1 - (b - a) for a, b in zip(low, high, strict=True)]
        return State(x - low[0] + path.x * room[0], y - low[1] + path.y * room[1], radius, angle, visible)


HOLD = 0.06  # share of a phase at rest at either end
SMALL, BIG = 0.6, 1.3


def _state(actions: list[str | None], path: Path, time: float) -> tuple[float, float, float, float, bool]:
    """x, y, radius, angle, visible of a thing that starts at the origin."""
    x = y = 0.0
    # The size before the first change of size, and the angle before the first turn, are those it departs from.
    scale = next((SMALL if a == "grow" else BIG for a in actions if a in ("grow", "shrink")), 1.0)
    angle = next(
        (-path.turn / 2 if a == "clockwise" else path.turn / 2 for a in actions if a in ("clockwise", "anticlockwise")),
        0.0,
    )
    visible = next((a == "disappear" for a in actions if a in ("appear", "disappear")), True)
    for number, action in enumerate(actions):
        progress = (time * len(actions) - number - HOLD) / (1 - 2 * HOLD)
        progress = min(max(progress, 0.0), 1.0)
        if action in DIRECTIONS:
            dx, dy = DIRECTIONS[action]
            x, y = x + dx * path.reach * progress, y + dy * path.reach * progress
        elif action in ("grow", "shrink"):
            start, stop = (SMALL, BIG) if action == "grow" else (BIG, SMALL)
            if progress > 0:
                scale = start + (stop - start) * progress
        elif action in ("clockwise", "anticlockwise"):
            angle += (path.turn if action == "clockwise" else -path.turn) * progress
        elif action == "appear":
            visible = visible or progress >= 0.5
        elif action == "disappear":
            visible = visible and progress <= 0.5
        elif action == "blink":
            visible = visible and not (0.2 <= progress < 0.4 or 0.6 < progress <= 0.8)
        elif action == "jump":
            y -= 0.3 * math.sin(math.pi * progress)
        elif action == "pulse":
            scale *= 1 + 0.6 * math.sin(math.pi * progress)
    return x, y, path.radius * scale, angle, visible


# Sampling

KINDS = {"alone": 0.3, "two parts": 0.2, "pair": 0.2, "sequence": 0.3}
HELD_OUT_KINDS = {"alone": 0.1, "two parts": 0.25, "pair": 0.25, "sequence": 0.4}


def scenes(seed: int, *, held_out: bool = False) -> Iterator[Scene]:
    """Endless random scenes over the training pairs, or over the held-out ones."""
    random = Random(f"shapes:{seed}:{held_out}")
    pairs = pairs_of(held_out=held_out)
    while True:
        kind = random.choices(list(KINDS), list(KINDS.values()))[0]
        things = _things(kind, pairs, random)
        yield scene_of(things, _phases(kind, things, random), random)


def held_out_scenes(count: int, seed: int) -> list[Scene]:
    """``count`` scenes of distinct meaning over pairs unseen in training, in fours that differ by motion alone."""
    random = Random(f"shapes-test:{seed}")
    pairs, seen, out = pairs_of(held_out=True), set[object](), list[Scene]()
    while len(out) < count:
        kind = random.choices(list(HELD_OUT_KINDS), list(HELD_OUT_KINDS.values()))[0]
        things = _things(kind, pairs, random)
        group = dict[object, Scene]()
        for _ in range(50):
            scene = scene_of(things, _phases(kind, things, random), random)
            if scene.meaning not in seen:
                group[scene.meaning] = scene
            if len(group) == 4:
                break
        else:
            continue  # these things have too few actions left
        seen |= set(group)
        out += group.values()
    return out[:count]


def pairs_of(*, held_out: bool) -> list[Thing]:
    """The things of training, or those never seen in it."""
    return [(c, s) for c in COLOURS for s in SHAPES if ((c, s) in HELD_OUT) == held_out]


def _things(kind: str, pairs: list[Thing], random: Random) -> tuple[Thing, ...]:
    return tuple(random.sample(pairs, 2 if kind in ("pair", "sequence") else 1))


def actions_of(thing: Thing) -> list[str]:
    """A circle looks the same from every angle, so it does not turn."""
    return [a for a in ACTIONS if not (thing[1] == "circle" and "clockwise" in a)]


def _phases(kind: str, things: tuple[Thing, ...], random: Random) -> tuple[Phase, ...]:
    first = random.choice(actions_of(things[0]))
    if kind == "alone":
        return (((0, first),),)
    if kind == "two parts":
        while True:
            second = random.choice(actions_of(things[0]))
            # Nothing can be seen of what happens before "appears" or after "disappears".
            if second not in (first, "appear") and first != "disappear":
                return (((0, first),), ((0, second),))
            first = random.choice(actions_of(things[0]))
    second = random.choice(actions_of(things[1]))
    if kind == "pair":
        return (((0, first), (1, second)),)
    return (((0, first),), ((1, second),))


def scene_of(things: tuple[Thing, ...], phases: tuple[Phase, ...], random: Random) -> Scene:
    """A scene somewhere on the canvas, its things as far apart as a few tries give."""

    def path() -> Path:
        return Path(
            x=random.random(),
            y=random.random(),
            radius=random.uniform(0.13, 0.18),
            reach=random.uniform(0.3, 0.45),
            turn=random.uniform(140, 220),
        )

    background = random.getrandbits(32)
    tries = [
        Scene(things, phases, tuple(path() for _ in things), background) for _ in range(5 if len(things) > 1 else 1)
    ]
    return min(tries, key=_overlap)


def _overlap(scene: Scene) -> float:
    """How much two things cover the same place, summed over a few moments."""
    if len(scene.things) < 2:
        return 0.0
    total = 0.0
    for step in range(5):
        a, b = scene.state(0, step / 4), scene.state(1, step / 4)
        total += max(0.0, a.radius + b.radius - math.hypot(a.x - b.x, a.y - b.y))
    return total
