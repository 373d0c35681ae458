"""What the faults are tried on: modules with a scenario or some each."""

from tests.faults.scenarios import building, embed, frames, models, portable, training

MODULES = (embed, frames, building, models, portable, training)
SCENARIOS = {scenario.name: scenario for module in MODULES for scenario in module.SCENARIOS}
