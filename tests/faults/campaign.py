"""Many trials at once, and what came of them."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.faults.lab import Lab
from tests.faults.plans import References
from tests.faults.scenarios import SCENARIOS
from tests.faults.trial import QUIET_S, Case, Outcome, run_trial

AT_ONCE = 16  # a trial mostly waits; more than this make two cores the bottleneck, and timing is what is tried here
ATTEMPTS = 2  # a write that timing has folded into another is not there to be faulted; once more, then it counts as not injected


async def find_references(lab: Lab) -> References:
    """The scenarios without faults. Raises AssertionError when one of them is not right even so."""
    outcomes = await run_cases(lab, [Case(name) for name in SCENARIOS], {})
    broken = [f"{outcome.case}: {violation}" for outcome in outcomes for violation in outcome.violations]
    assert not broken, "without any fault: " + "; ".join(broken)
    return {outcome.case.scenario: outcome for outcome in outcomes}


async def run_cases(
    lab: Lab,
    cases: Sequence[Case],
    references: References,
    *,
    at_once: int = AT_ONCE,
    quiet_s: float = QUIET_S,
    on_outcome: Callable[[Outcome], None] = lambda outcome: None,
    is_enough: Callable[[], bool] = lambda: False,
) -> list[Outcome]:
    """In the order of the cases, without those that had not begun when it was enough."""
    slots = asyncio.Semaphore(at_once)

    async def run(case: Case) -> Outcome | None:
        reference = references[case.scenario].end if case.scenario in references else None
        async with slots:
            if is_enough():
                return None
            for _ in range(ATTEMPTS):
                outcome = await run_trial(lab, case, reference, quiet_s=quiet_s)
                if outcome.injected or outcome.violations or case.fault is None:
                    break
        on_outcome(outcome)
        return outcome

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(run(case)) for case in cases]
    return [outcome for task in tasks if (outcome := task.result())]


@dataclass(slots=True)
class Row:
    """One kind of fault."""

    injected: int = 0
    recovered: int = 0
    violated: int = 0
    not_injected: int = 0
    slowest_s: float = 0.0


def table(outcomes: Sequence[Outcome]) -> str:
    """Faults injected, recovered and violated, by kind of fault, as a table of Markdown."""
    rows: defaultdict[str, Row] = defaultdict(Row)
    for outcome in outcomes:
        for row in (rows[outcome.case.kind], rows["all"]):
            row.injected += outcome.injected
            row.not_injected += not outcome.injected
            row.violated += bool(outcome.violations)
            row.recovered += outcome.injected and not outcome.violations
            row.slowest_s = max(row.slowest_s, outcome.recovered_s if not outcome.violations else 0.0)
    lines = [f"| {'fault':44} | injected | recovered | violations | not met | slowest s |", f"|{'-' * 46}|---:|---:|---:|---:|---:|"]
    rows["all"] = rows.pop("all", Row())  # last
    for name, row in rows.items():
        numbers = f"{row.injected:8} | {row.recovered:9} | {row.violated:10} | {row.not_injected:7} | {row.slowest_s:9.1f}"
        lines.append(f"| {name:44} | {numbers} |")
    return "\n".join(lines)


def failures(outcomes: Sequence[Outcome]) -> str:
    """What went wrong, with the end of the operator's log."""
    told = [outcome for outcome in outcomes if outcome.violations]
    return "\n".join(
        "\n  ".join([f"{outcome.case} ({outcome.seconds:.0f} s)", *map(str, outcome.violations), *outcome.log.splitlines()[-20:]])
        for outcome in told
    )
