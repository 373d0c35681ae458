"""What lies aside is there for its process alone, goes with it, and takes its place as a whole."""

import os

import pytest

from clip2video_plugin import aside

pytestmark = pytest.mark.skipif(os.name != "posix", reason="a lock on a folder")


def test_it_is_a_new_folder_of_this_user_and_goes_with_all_that_is_in_it(tmp_path):
    with aside.aside(tmp_path, "making") as folder:
        assert folder.parent == tmp_path
        assert folder.stat().st_mode & 0o777 == 0o700
        (folder / "file").write_text("half")
    assert list(tmp_path.iterdir()) == []


def test_what_was_left_goes_and_what_a_process_holds_or_has_another_name_stays(tmp_path):
    left, others = tmp_path / f".making.{'0' * 32}", [tmp_path / ".making.mine", tmp_path / f".other.{'0' * 32}"]
    for folder in (left, *others):
        folder.mkdir()
    held = aside.Aside(tmp_path, "making")
    assert not left.exists()
    aside.clear(tmp_path, "making")
    assert sorted(tmp_path.iterdir()) == sorted([held.folder, *others])
    held.close()


def test_one_that_is_taken_for_a_left_one_before_it_has_its_lock_is_made_anew(tmp_path, monkeypatch):
    own, taken = aside._locked, []

    def locked(folder, *, wait):
        if wait and not taken:  # as another process does
            taken.append(folder)
            aside.clear(tmp_path, "making")
        return own(folder, wait=wait)

    monkeypatch.setattr(aside, "_locked", locked)
    with aside.aside(tmp_path, "making") as folder:
        assert folder != taken[0]
        assert list(tmp_path.iterdir()) == [folder]


def test_a_folder_gives_its_name_to_another_and_lies_aside_then(tmp_path):
    (tmp_path / "name").mkdir()
    (tmp_path / "name" / "old").touch()
    with aside.aside(tmp_path, "making") as folder:
        (folder / "new").mkdir()
        aside.put(folder / "new", tmp_path / "name")
    assert [path.name for path in tmp_path.iterdir()] == ["name"]
    assert list((tmp_path / "name").iterdir()) == []
