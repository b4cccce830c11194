"""What becomes of due ticks, as rows of a table, and the check of one row. The schedule is hourly; a tick is written as its time of day."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tests.builders import at, metadata, schedule_spec, short, tick_name

from retrain_operator.api.schedule import TickDecision
from retrain_operator.cron import Cron
from retrain_operator.rules.observed import ChildRun
from retrain_operator.rules.ticks import Held, plan


def told(decision: TickDecision | None) -> str | None:
    """`Skip Superseded 09:00..11:00 x3`, and the job where there is one."""
    if decision is None:
        return None
    ticks = short(decision.scheduled_time)
    if decision.first_scheduled_time:
        ticks = f"{short(decision.first_scheduled_time)}..{ticks} x{decision.count}"
    return " ".join([decision.action, decision.reason, ticks, *([decision.job] if decision.job else [])])


@dataclass(frozen=True)
class Case:
    """Ticks in (floor, now] and what is expected of them."""

    newest: str | None
    now: str = "12:00"
    floor: str = "11:00"
    runs: tuple[ChildRun, ...] = ()
    spec: dict[str, Any] = field(default_factory=dict)
    held_until: str | None = None
    paused_until: str | None = None
    waited: TickDecision | None = None
    cron: str = "0 * * * *"
    through: str = "12:00"
    skipped: tuple[str, ...] = ()
    last_run: str | None = None
    starts: tuple[str, ...] = ()  # each tick, and the run that its run replaces
    missed_many: bool = False
    wake_at: str | None = "13:00"


def starts(tick: str, **expected: Any) -> Case:
    name = tick_name(tick)
    return Case(f"Run Scheduled {tick} {name}", last_run=tick, starts=(tick,), **expected)


def waits(tick: str, run: ChildRun, **expected: Any) -> Case:
    return Case(f"Wait ConcurrencyForbid {tick} {run.name}", **expected)


def check(case: Case) -> None:
    def instant(text: str | None) -> datetime | None:
        return at(text) if text else None

    cron = Cron.parse(case.cron)
    spec = schedule_spec(**case.spec)
    ticks = plan(
        cron,
        spec,
        metadata(),
        case.runs,
        floor=at(case.floor),
        held=Held(instant(case.held_until), instant(case.paused_until)),
        waited=case.waited,
        next_tick=None if spec.suspend else cron.next_tick(at(case.now)),
        now=at(case.now),
    )
    assert told(ticks.last) == case.newest
    assert [told(each) for each in ticks.skipped] == list(case.skipped)
    assert ticks.decided_through == at(case.through)
    assert tuple(" ".join(filter(None, (short(each.tick), each.replaces))) for each in ticks.starts) == case.starts
    assert (ticks.last_run.scheduled_time if ticks.last_run else None) == instant(case.last_run)
    assert ticks.missed_many is case.missed_many
    assert ticks.wake_at == instant(case.wake_at)
    assert all(each.time == at(case.now) for each in ticks.fates)
