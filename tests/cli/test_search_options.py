"""``c2v search``: options and the one-line form say the same, and standard input is a query a line."""

import json

import pytest

from clip2video_plugin import Query, search
from clip2video_plugin.shapes import caption


@pytest.fixture(scope="module")
def asked(c2v_here, world_index):
    def run(*words):
        code, out, err = c2v_here("search", *words, "--index", world_index, "--json")
        assert (code, err) == (0, b"")
        return json.loads(out)

    return run


def test_options_say_what_a_line_says(asked, world, world_index, model):
    one, other = caption(world[1][0]), caption(world[1][1])
    for options, line in (
        ([f"{one} | {other}", "-k", "3"], f"{one} | {other} -k 3"),
        ([one, "--also", other], f"{one} --also {other}"),
        ([one, "--not", other, "--threshold", "0.5"], f"{one} --not {other} --threshold 0.5"),
        ([one, "--then", other, "--then", one], f'{one} --then "{other}" --then {one}'),
        ([one, "--where", "path:*0?.mp4 and duration<60"], f'{one} --where "path:*0?.mp4 and duration<60"'),
        (["--like", world[0] / "00002.mp4", "--diverse", "0.5"], f"--like {world[0] / '00002.mp4'} --diverse 0.5"),
        (
            [one, "--like", world[0] / "00002.mp4", "--weight", "0.2"],
            f"{one} --like {world[0] / '00002.mp4'} --weight .2",
        ),
        ([one, "--captions", "", "--moments"], f'{one} --moments --captions ""'),
    ):
        by_options, by_line = asked(*options), search(line, index=world_index, model=model).to_dict()
        assert [hit["id"] for hit in by_options["hits"]] == [hit["id"] for hit in by_line["hits"]], line
        assert len(by_options["dropped"]) == len(by_line["dropped"])
    assert asked(one, "--not", other)["query"] == Query((one,), without=(other,)).line()


def test_a_table_says_what_was_left_out(c2v_here, world, world_index):
    words = (caption(world[1][0]), "--not", caption(world[1][0]), "--threshold", "0.5", "--index", world_index)
    out = c2v_here("search", *words)[1].decode()
    assert f'that fit "{caption(world[1][0])}" with 0.500 or more; --threshold moves that' in out
    assert "no video fits" in c2v_here("search", "a dog --where duration>1h", "--index", world_index)[1].decode()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "is empty; describe what happens"),
        (["a dog --not"], "--not lacks its value"),
        (["a dog", "--where", "size<5"], "the filter 'size<5' cannot be read"),
        (["--like", "nowhere.mp4"], "no file and not in the index"),
        (["a | b", "--also", "c"], "one kind"),
    ],
)
def test_what_cannot_be_asked_is_one_line(c2v_here, world_index, words, said):
    code, out, err = c2v_here("search", *words, "--index", world_index)
    assert (code, out) == (1, b"")
    assert said in err.decode()
    assert err.count(b"\n") == 1


def test_lines_before_a_wrong_one_are_answered(c2v, world_index):
    done = c2v("search", "-", "--index", world_index, "-k", 1, input="a dog\na cat -k 2\na dog -k x\na cow\n")
    assert done.returncode == 1
    assert [len(json.loads(line)["hits"]) for line in done.stdout.splitlines()] == [1, 1]
    assert done.stderr.splitlines()[-1].startswith("c2v: -k is 'x', which is no whole number")


def test_the_help_shows_every_operator(c2v_here):
    from clip2video_plugin.query.language import OPERATORS

    shown = c2v_here("search", "--help")[1].decode()
    assert all(operator in shown for operator in OPERATORS)
