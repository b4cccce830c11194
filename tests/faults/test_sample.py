"""The sample of the fault campaign, and the bugs that it must find. All of it: `python -m tests.faults`."""

from dataclasses import replace

import pytest

from tests.faults import plans
from tests.faults.campaign import failures, run_cases, table
from tests.faults.lab import Lab
from tests.faults.plans import References
from tests.faults.seeded import SEEDED

pytestmark = [pytest.mark.cluster, pytest.mark.asyncio(loop_scope="session")]


async def test_every_write_and_every_kind_of_fault_is_recovered_from(lab: Lab, references: References) -> None:
    cases = plans.sample(references)
    assert plans.uncovered(references, cases) == set()
    outcomes = await run_cases(lab, cases, references)
    print(table(outcomes))
    assert failures(outcomes) == ""
    # What timing folded into another write cannot be faulted; more than a few would say that the numbers of writes are not stable.
    not_met = [str(outcome.case) for outcome in outcomes if not outcome.injected]
    assert len(not_met) <= len(cases) // 10, not_met


async def test_every_seeded_bug_is_caught(lab: Lab, references: References) -> None:
    cases = {bug: [replace(case, bug=bug, recovery_s=8.0) for case in cases] for bug, (_, cases) in SEEDED.items()}
    outcomes = await run_cases(lab, [case for each in cases.values() for case in each], references)
    for bug, (rules, _) in SEEDED.items():
        broken = {violation.rule for outcome in outcomes if outcome.case.bug == bug for violation in outcome.violations}
        assert broken & rules, f"{bug} was not noticed; only these rules were broken: {broken}"
