"""A process that has imported what some scenarios need, and forks for each try.

Reads a request a line, as JSON, and answers with a line. Started by ``harness.Warm``, with the names of the scenarios,
and with the shim before the C library. A fork is safe here: nothing has been computed before it, so there are no
threads but LanceDB's, which starts its own anew.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import pickle
import select
import signal
import sys
import time
import traceback
import warnings
from pathlib import Path
from typing import Any

from tests.faults.lance import strike_calls
from tests.faults.scenarios import SCENARIOS


def main() -> None:
    warnings.filterwarnings("ignore", "lancedb fork support|lance is not fork-safe")
    named = [SCENARIOS[name] for name in sys.argv[1:]]
    for module in ("clip2video_plugin.cli.main", *(module for scenario in named for module in scenario.imports)):
        importlib.import_module(module)
    for scenario in named:
        scenario.once()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(tried(json.loads(line))), file=answers, flush=True)


def tried(asked: dict[str, Any]) -> dict[str, Any]:
    """Forks, waits for the child, kills it at the moment that was asked for, or when it hangs."""
    began = time.monotonic()
    child = os.fork()
    if not child:
        work(SCENARIOS[asked["scenario"]], asked)
    handle = os.pidfd_open(child)
    moment, limit = asked.get("moment"), asked["limit"]
    hung = not select.select([handle], [], [], limit if moment is None else moment)[0]
    if hung:
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    os.close(handle)
    code = os.waitstatus_to_exitcode(status)
    return {"code": code, "seconds": time.monotonic() - began, "hung": hung and moment is None}


def work(scenario: Any, asked: dict[str, Any]) -> None:
    """The child: its output to files, its operations counted; never returns."""
    answer, folder = Path(asked["answer"]), Path(asked["folder"])
    code, value, counts = 0, None, []
    try:
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for number, name in ((1, "out"), (2, "err")):
            os.dup2(os.open(answer.with_suffix(f".{name}"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)
        os.chdir(folder)
        scenario.warm()
        shim = ctypes.CDLL(None, use_errno=True)
        if strike := asked.get("strike"):
            note = os.open(answer.with_suffix(".struck"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            strike_calls(shim)
            below = "\n".join(str(folder / name) for name in scenario.watched)
            shim.faults_arm(
                os.fsencode(below), strike["mode"], ctypes.c_long(strike["n"]), strike["code"], strike["kinds"], note
            )
        try:
            value = getattr(scenario, asked["what"])(folder)
        finally:
            shim.faults_disarm()
            counts = [shim.faults_count(kind) for kind in range(10)]
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    try:
        sys.stdout.flush()
        sys.stderr.flush()
        answer.with_suffix(".part").write_bytes(pickle.dumps((value, counts)))
        answer.with_suffix(".part").rename(answer)  # a kill may come here too
    finally:
        os._exit(code)


if __name__ == "__main__":
    main()
