"""MSR-VTT full's 59,800 captions by 2,990 videos are ranked within 1 GB."""

import subprocess
import sys


def test_the_largest_protocol_fits_into_a_gigabyte():
    code = """
import numpy as np
from clip2video_plugin.evaluation.retrieval import BLOCK, rank_blocks
videos, captions = 2990, 59800
rng = np.random.default_rng(0)
texts, clips = (rng.standard_normal((n, 32), dtype=np.float32) for n in (captions, videos))
blocks = (texts[i : i + BLOCK] @ clips.T for i in range(0, captions, BLOCK))
found = rank_blocks(blocks, np.repeat(np.arange(videos), 20), videos).metrics()
assert (found["t2v"]["n"], found["v2t"]["n"]) == (captions, videos)
assert 1400 < found["t2v"]["MdR"] < 1600
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 1_000_000  # kilobytes
