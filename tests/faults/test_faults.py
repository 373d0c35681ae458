"""Operations that fail, a disk that is full, and kill -9: the rerun ends with the tables of an undisturbed run.

A few operations of each scenario; ``python -m tests.faults`` tries all of them.
"""

import pytest

from .harness import WRITES, Fault, Trial
from .scenarios import building, embed, frames

SCENARIOS = [scenario for module in (embed, frames, building) for scenario in module.SCENARIOS]
TRIED = 6  # operations of each


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_nothing_is_lost_where_an_operation_fails_or_the_process_is_killed_at_it(scenario, warm, tmp_path):
    trial = Trial(scenario, tmp_path / "of", warm)
    faults = [
        Fault("tear", trial.counts["write"], WRITES)
        if number == TRIED - 1
        else Fault(("fail", "kill", "full")[number % 3], 1 + (2 * number + 1) * trial.operations // (2 * TRIED))
        for number in range(TRIED)
    ]
    tried = [trial.attempt(fault) for fault in faults]
    assert sum(bool(one.struck) for one in tried) >= TRIED - 2  # threads do not always take as many operations
    assert {f"{one.fault} ({one.struck})": one.problems for one in tried if one.problems} == {}


def test_a_harmful_fault_is_noticed(warm, tmp_path):
    """The harness itself: a run that is killed and left so has fewer rows, and a foreign file that changes is named."""
    trial = Trial(embed.SCENARIOS[0], tmp_path / "of", warm)
    trial.expected["videos"]["rows"].append({"id": "one more"})
    (trial.made / "foreign.txt").write_text("changed")
    problems = trial.attempt(Fault("kill", 150)).problems
    assert any("entries, not" in problem for problem in problems)
    assert any("a foreign file was touched: foreign.txt" in problem for problem in problems)
