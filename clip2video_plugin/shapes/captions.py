"""Sentences for scenes: several paraphrases of each, drawn by seed."""

from __future__ import annotations

from random import Random

from clip2video_plugin.shapes.scene import DIRECTIONS, Scene, Thing

WORDINGS = {
    "grow": ("grows", "gets bigger", "becomes larger"),
    "shrink": ("shrinks", "gets smaller", "becomes smaller"),
    "clockwise": ("turns clockwise", "rotates clockwise", "spins clockwise"),
    "anticlockwise": ("turns anticlockwise", "rotates counterclockwise", "spins anticlockwise"),
    "appear": ("appears", "shows up", "comes into view"),
    "disappear": ("disappears", "vanishes", "goes out of view"),
    "blink": ("blinks", "flashes", "flickers"),
    "jump": ("jumps", "hops up and down", "bounces once"),
    "pulse": ("pulses", "swells and shrinks back", "throbs"),
}
MOVES = ("moves {}", "goes {}", "slides {}", "travels {}")
TOWARDS = {
    "left": ("left", "to the left"),
    "right": ("right", "to the right"),
    "up": ("up", "upwards"),
    "down": ("down", "downwards"),
    "up left": ("up and left", "diagonally up to the left"),
    "up right": ("up and right", "diagonally up to the right"),
    "down left": ("down and left", "diagonally down to the left"),
    "down right": ("down and right", "diagonally down to the right"),
}


def caption(scene: Scene, random: Random | None = None) -> str:
    """One sentence; the plainest wording without ``random``, else a drawn paraphrase."""

    def choose(options: tuple[str, ...]) -> str:
        return random.choice(options) if random else options[0]

    def noun(thing: Thing, again: bool) -> str:
        if again:
            return choose(("it", "the " + thing[1]))
        return f"{choose(('a', 'the'))} {thing[0]} {thing[1]}"

    def verb(action: str) -> str:
        if action in DIRECTIONS:
            return choose(MOVES).format(choose(TOWARDS[action]))
        return choose(WORDINGS[action])

    clauses, named = [], set[int]()
    for phase in scene.phases:
        events = list(phase)
        if random and len(events) > 1:
            random.shuffle(events)
        parts = []
        for who, action in events:
            subject = noun(scene.things[who], who in named)
            # "a red square moves left, then grows" may drop its second subject
            if who in named and choose(("", "subject")) == "":
                subject = ""
            parts.append(f"{subject} {verb(action)}".strip())
            named.add(who)
        clauses.append(choose((" while ", " and at the same time ", " as ")).join(parts))
    sentence = choose((", then ", " and then ", ", afterwards ")).join(clauses)
    return sentence.replace("a orange", "an orange")


def captions(scene: Scene, count: int, seed: int) -> list[str]:
    """The plainest caption and up to ``count - 1`` different paraphrases."""
    random = Random(f"captions:{seed}:{scene.signature}") if count > 1 else None
    out = dict.fromkeys([caption(scene)])
    for _ in range(20 * count):
        if len(out) >= count or random is None:
            break
        out[caption(scene, random)] = None
    return list(out)
