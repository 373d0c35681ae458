"""Encoding in batches: every item once, in order, on whatever device."""

from hypothesis import given
from hypothesis import strategies as st

from clip2video_plugin.encode import Item, Unreadable, _delayed, encode_items


@given(values=st.lists(st.integers()), by=st.integers(0, 5))
def test_what_is_delayed_is_the_same_in_the_same_order(values, by):
    assert list(_delayed(iter(values), by)) == values


def test_one_more_is_made_before_one_is_given():
    made = []
    values = _delayed((made.append(n) or n for n in range(3)), 1)
    assert (next(values), made) == (0, [0, 1])


def test_items_come_in_order_with_those_that_cannot_be_read(world, model, tmp_path):
    (tmp_path / "broken.mp4").write_bytes(b"not a video")
    paths = [*sorted(world[0].glob("*.mp4"))[:5], tmp_path / "broken.mp4", *sorted(world[0].glob("*.mp4"))[5:7]]
    todo = [(Item(path, str(number)), (0, 0.0)) for number, path in enumerate(paths)]
    batches = list(encode_items(todo, model, batch_size=3))
    assert [len(batch) for batch in batches] == [3, 3, 2]
    done = [one for batch in batches for one in batch]
    assert [one.item.path for one in done] == paths
    assert [isinstance(one, Unreadable) for one in done] == [n == 5 for n in range(8)]
