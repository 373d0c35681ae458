"""The world is fair: seeded, reversible, and no single frame betrays a direction."""

from itertools import islice

import numpy as np
import pytest

from clip2video_plugin.shapes import (
    ACTIONS,
    COLOURS,
    HELD_OUT,
    INVERSE,
    SHAPES,
    caption,
    captions,
    held_out_scenes,
    render,
    scenes,
    write_videos,
)


def some(count=200, seed=1):
    return list(islice(scenes(seed), count))


def test_the_same_seed_gives_the_same_scenes_and_captions():
    assert some() == some()
    assert some() != some(seed=2)
    assert captions(some()[0], 4, 9) == captions(some()[0], 4, 9)


def test_every_colour_shape_action_and_kind_occurs():
    found = some(3000)
    assert {c for s in found for c, _ in s.things} == set(COLOURS)
    assert {shape for s in found for _, shape in s.things} == set(SHAPES)
    assert {a for s in found for phase in s.phases for _, a in phase} == set(ACTIONS)
    assert {(len(s.things), len(s.phases)) for s in found} == {(1, 1), (1, 2), (2, 1), (2, 2)}


def test_held_out_pairs_are_never_trained_on():
    assert not {thing for s in some(3000) for thing in s.things} & set(HELD_OUT)
    assert {colour for colour, _ in HELD_OUT} == set(COLOURS)


def test_the_test_set_has_distinct_meanings_and_three_rivals_or_more():
    found = held_out_scenes(1000, seed=0)
    assert len({s.meaning for s in found}) == 1000
    assert {thing for s in found for thing in s.things} <= set(HELD_OUT)
    for scene in found[::50]:
        assert sum(set(other.things) == set(scene.things) for other in found) >= 4


def test_a_reversed_scene_shows_the_same_frames_backwards():
    times = np.linspace(0, 1, 13).tolist()
    for scene in some(60):
        np.testing.assert_array_equal(render(scene.reversed(), times, 48), render(scene, times, 48)[::-1])
        assert scene.reversed().reversed() == scene


@pytest.fixture(scope="module")
def alone():
    """Scenes of one thing that does one thing."""
    return [s for s in islice(scenes(3), 12000) if len(s.things) == len(s.phases) == 1]


@pytest.mark.parametrize("action", [a for a in ACTIONS if INVERSE[a] != a])
def test_no_single_frame_betrays_the_direction(alone, action):
    """States of an action and of its inverse have the same distribution, so their means agree within noise."""

    def states(name):
        mine = [s for s in alone if s.phases[0][0][1] == name][:200]
        return np.array(
            [[st.x, st.y, st.radius, st.visible] for s in mine for t in np.linspace(0, 1, 9) for st in [s.state(0, t)]]
        )

    forward, backward = states(action), states(INVERSE[action])
    error = forward.std(axis=0) * np.sqrt(9 / len(forward)) * np.sqrt(2) + 1e-9
    assert (np.abs(forward.mean(axis=0) - backward.mean(axis=0)) / error < 4.5).all()


def test_everything_stays_on_the_canvas():
    for scene in some(150):
        for who in range(len(scene.things)):
            for time in np.linspace(0, 1, 17):
                state = scene.state(who, time)
                assert state.x - state.radius >= -0.02
                assert state.x + state.radius <= 1.02
                assert state.y - state.radius >= -0.02
                assert state.y + state.radius <= 1.02


def test_paraphrases_differ_and_begin_with_the_plainest():
    scene = next(s for s in some() if len(s.phases) == 2 and len(s.things) == 2)
    found = captions(scene, 5, seed=0)
    assert len(set(found)) == 5
    assert found[0] == caption(scene)
    assert ", then " in found[0]


def test_videos_are_h264_with_a_table_of_captions(tmp_path):
    import av

    written = write_videos(tmp_path, some(3))
    assert [path.name for path, _ in written] == ["00000.mp4", "00001.mp4", "00002.mp4"]
    with av.open(str(written[0][0])) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt, stream.frames) == ("h264", "yuv420p", 24)
    lines = (tmp_path / "captions.csv").read_text().splitlines()
    assert lines[0] == "filename,caption"
    assert len(lines) == 1 + sum(len(texts) for _, texts in written)
