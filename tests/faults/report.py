"""docs/faults.md: what a campaign found, with the command that it was found by."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime

from tests.bench.report import machine
from tests.faults.campaign import table
from tests.faults.scenarios import SCENARIOS
from tests.faults.trial import Outcome


def page(outcomes: Sequence[Outcome], planned: int, command: str, seconds: float, quiet_s: float) -> str:
    """The whole page, Markdown."""
    by_scenario = Counter(outcome.case.scenario for outcome in outcomes if outcome.injected)
    scenarios = "\n".join(f"| {name} | {by_scenario[name]} |" for name in SCENARIOS if by_scenario[name])
    violated = [f"- {outcome.case}: {outcome.violations[0]}" for outcome in outcomes if outcome.violations]
    return (
        f"""# Faults

`{command}`

{sum(outcome.injected for outcome in outcomes):,} faults injected, {sum(bool(outcome.violations) for outcome in outcomes)} trials \
with a violation, {len(outcomes):,} of {planned:,} cases, in {seconds / 60:.0f} minutes, on {datetime.now(UTC):%Y-%m-%d}, {machine()}.

A trial is one scenario with one fault: the operator, in a process of its own and with the shipped rights, reaches a real kube-apiserver
through a proxy that kills the operator at a write, loses or falsifies an answer, or breaks a watch. An observer keeps every version of
every object, and an oracle (`tests/faults/oracle.py`) judges that history alone: no run twice, no tick lost, no two at once, no model live
that is not the newest good one, every status true within 30 s of the fault, then no write for {quiet_s:.0f} s, and the same end as without
the fault. *Not met*: the write did not happen in that trial, because timing folded it into another one. *Slowest*: seconds from the end
of the fault until all was well.

{table(outcomes)}

| scenario | injected |
|---|---:|
{scenarios}

{"## Violations" if violated else ""}
{chr(10).join(violated)}
""".rstrip()
        + "\n"
    )
