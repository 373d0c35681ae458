"""Faults while checkpoints, runs of training, exports, moves and the plugin are written.

Of each a failing operation and a kill; ``python -m tests.faults`` tries all of them.
"""

import pytest

from .harness import Fault, Trial
from .scenarios import models, portable, training

SCENARIOS = [scenario for module in (models, portable, training) for scenario in module.SCENARIOS]
AT = (("kill", 0.35), ("fail", 0.75))  # at which of the operations, of all


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_the_rerun_ends_where_an_undisturbed_run_does(scenario, warm, tmp_path):
    trial = Trial(scenario, tmp_path / "of", warm)
    tried = [trial.attempt(Fault(mode, 1 + int(part * trial.operations))) for mode, part in AT]
    assert any(one.struck for one in tried)
    assert {f"{one.fault} ({one.struck})": one.problems for one in tried if one.problems} == {}
