"""A fixed number of mutated inputs of every kind, and all past findings. More: ``python -m tests.fuzz``."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from .findings import KNOWN, read_files
from .mutate import mutate
from .reduce import reduced
from .report import table
from .run import Run, Tally
from .target import Pool, Target
from .targets import TARGETS

INPUTS = 2_000  # of all targets together
LEAST = 12  # of each
PATIENCE = 120.0  # seconds: on a machine that does many things at once, an input may have to wait


def test_every_mutated_input_gives_an_answer_or_one_line(tmp_path):
    run = Run(tmp_path, [(t.name, t.says) for t in TARGETS], seed=1, jobs=1, hang=PATIENCE, tell=lambda line: None)
    whole = sum(target.share for target in TARGETS)
    try:
        for target in TARGETS:
            run.target(target.name, max(INPUTS * target.share // whole, LEAST), None)
    finally:
        run.close()
    assert not {name: dict(tally.findings) for name, tally in run.tallies.items() if tally.findings}
    for name, tally in run.tallies.items():
        assert tally.inputs == tally.accepted + sum(tally.refused.values()) >= LEAST, name
        assert tally.accepted or tally.inputs < 100, f"{name}: nothing is accepted, so little is reached"


def test_past_findings_are_of_targets_and_small():
    names = {target.name for target in TARGETS}
    for folder in KNOWN.iterdir():
        assert folder.name in names
        for known in folder.iterdir():
            assert 0 < sum(map(len, read_files(known).values())) < 20_000 or folder.name in ("index", "video")


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_an_input_is_the_same_again(target):
    files = {"a.json": b'{"a": [1, 2]}', "b.mp4": b"\0\0\0\x10ftypabcdefgh" * 9, "c.txt": b"1 --> 2\nwords\n" * 9}
    one, two = (Pool(target, [files]) for _ in range(2))
    inputs = [one.input(7, n) for n in range(30)]
    assert inputs == [two.input(7, n) for n in range(30)]
    assert len({json.dumps({k: v.hex() for k, v in i.items()}) for i in inputs}) > 15
    assert inputs != [one.input(8, n) for n in range(30)]


def test_mutations_of_anything_end_and_stay_bounded():
    random = Random(3)
    for n in range(2_000):
        data = random.randbytes(random.randrange(300))
        head = random.choice(
            (b"", b"PK\3\4", b"\x1a\x45\xdf\xa3", b"RIFF", b"{", b"\x80\4", b"\0\0\0\x08moov", b"\x89PNG\r\n\x1a\n")
        )
        assert len(mutate(Random(n), head + data, [data], [b"word"])) <= 1 << 20


def test_a_finding_is_made_smaller_and_stays_one():
    files = {"a": b"x" * 500 + b"bad" + b"y" * 500, "b": b"z" * 100}
    assert reduced(files, lambda some: b"bad" in some.get("a", b""), 60.0) == {"a": b"bad"}


BAD = """
import os, sys, time
from tests.fuzz import targets, worker
from tests.fuzz.target import Target

def read(files, room):
    data = files["f"]
    if data in (files for _, made in make(None) for files in made.values()): return
    if b"D" in data: os.kill(os.getpid(), 11)
    if b"H" in data: time.sleep(60)
    if b"M" in data: held = [b"x" * (1 << 26) for _ in range(9)]
    if b"X" in data: raise ValueError("x")
    if b"W" in data: open("/tmp/c2v-fuzz-outside", "w")

def make(place):
    return [(letter, {"f": letter.encode() * 40}) for letter in "DHMWXg"]

target = Target("bad", "a reader with every defect", make, read, 1)
worker.TARGETS = (target,)
"""


def test_crash_hang_memory_exception_and_writing_elsewhere_are_found(tmp_path, monkeypatch):
    from . import run as running

    (tmp_path / "bad.py").write_text(BAD + "worker.main()\n")
    real = subprocess.Popen
    monkeypatch.setattr(
        running.subprocess,
        "Popen",
        lambda command, **more: real([command[0], tmp_path / "bad.py", *command[3:]], **more),
    )
    monkeypatch.setattr(running, "MEMORY", 256 << 20)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    run = Run(tmp_path / "out", [("bad", "")], seed=26, jobs=2, hang=10.0, tell=lambda line: None)
    try:
        tally = run.target("bad", 17, None)
    finally:
        run.close()
    kinds = {sign.split()[0] for sign in tally.findings}
    assert {"crash", "hang", "memory", "ValueError", "Guard"} <= kinds, tally
    assert tally.inputs == 17
    kept = {about["kind"]: about for about in run.keeper.findings()}
    assert b"D" in (Path(kept["crash"]["folder"]) / "f").read_bytes()
    assert (Path(kept["ValueError"]["folder"]) / "f").read_bytes() == b"X"
    assert not os.path.exists("/tmp/c2v-fuzz-outside")


def test_memory_of_who_started_a_worker_is_not_counted(tmp_path):
    program = """if True:
        import sys
        from pathlib import Path
        from tests.fuzz import run
        run.MEMORY = 800 << 20
        held = b"x" * (run.MEMORY + (64 << 20))
        del held
        one = run.Run(Path(sys.argv[1]), [("place", "")], jobs=1, tell=lambda line: None)
        tally = one.target("place", 20, None)
        one.close()
        print(tally.inputs, dict(tally.findings), one._started)
    """
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", program, tmp_path], cwd=root, capture_output=True, text=True)
    assert done.stdout == "20 {} 1\n", done.stderr


def test_what_was_found_is_printed_when_it_is_interrupted(tmp_path):
    command = [sys.executable, "-m", "tests.fuzz", "place", "--seconds", "600", "--jobs", "1", "--out", tmp_path]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if line.startswith("place: ") and not line.startswith("place: 0 "):
                break
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
    assert "interrupted; so far:" in rest
    assert "| place |" in rest
    assert "| place |" in (tmp_path / "report.md").read_text()
    assert any((tmp_path / "corpus" / "place").iterdir())


def test_the_table_sums_up():
    tallies = [
        Tally("a", inputs=3, accepted=1, seconds=2.0),
        Tally("b", inputs=4, accepted=4, seconds=1.0),
        Tally("none"),
    ]
    tallies[0].refused["QueryError"] = 2
    lines = table(tallies).splitlines()
    assert len(lines) == 5
    assert lines[-1].startswith("| together | 7 | 5 | 2 |")


def test_targets_have_names_of_their_own():
    assert len({target.name for target in TARGETS}) == len(TARGETS)
    assert all(isinstance(target, Target) and target.share > 0 for target in TARGETS)
