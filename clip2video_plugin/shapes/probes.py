"""Galleries that ask for one thing alone: what is there, how it moves, or what came first.

Each is a list of scenes of distinct meaning, so that every caption has one right answer.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random

from clip2video_plugin.shapes.scene import SYMMETRIC, Phase, Scene, Thing, actions_of, pairs_of, scene_of


def appearance(count: int, seed: int) -> list[Scene]:
    """One or two things that no other video shows; what they do tells nothing more."""
    random, pairs = Random(f"appearance:{seed}"), pairs_of(held_out=False)
    seen, out = set[frozenset[Thing]](), list[Scene]()
    while len(out) < count:
        things = tuple(random.sample(pairs, random.choice((1, 2))))
        if frozenset(things) not in seen:
            seen.add(frozenset(things))
            phase = tuple((who, random.choice(actions_of(thing))) for who, thing in enumerate(things))
            out.append(scene_of(things, (phase,), random))
    return out


def motion(count: int, seed: int, *, rivals: int = 8) -> list[Scene]:
    """One thing that does one thing; ``rivals`` videos in a row show the same thing doing another each."""
    random, pairs = Random(f"motion:{seed}"), pairs_of(held_out=False)
    out = list[Scene]()
    for thing in random.sample(pairs, -(-count // rivals)):
        chosen = random.sample(actions_of(thing), rivals)
        out += [scene_of((thing,), (((0, action),),), random) for action in chosen]
    return out[:count]


def order(count: int, seed: int, *, symmetric: bool) -> list[Scene]:
    """Two things that act in turn, in pairs of videos that differ in who came first alone.

    ``symmetric``: both actions look the same forwards and backwards, so no direction gives the order away.
    """
    random, pairs = Random(f"order:{seed}:{symmetric}"), pairs_of(held_out=False)
    seen, out = set[object](), list[Scene]()
    while len(out) < count:
        things = tuple(random.sample(pairs, 2))
        first, second = (random.choice(list(SYMMETRIC) if symmetric else actions_of(thing)) for thing in things)
        phases: tuple[Phase, ...] = (((0, first),), ((1, second),))
        scene = scene_of(things, phases, random)
        if frozenset(things) not in seen:
            seen.add(frozenset(things))
            # The twin is the same in everything but the order: places, sizes, ground.
            out += [scene, replace(scene, phases=phases[::-1])]
    return out[:count]
