"""What a simulation tells: the things that happened, in order, with notes on clock changes and a summary."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import pairwise
from typing import Any

from retrain_operator.api.base import format_time
from retrain_operator.cron import Cron

_NO_TIME = timedelta(0)


class What(StrEnum):
    """What happened."""

    STARTED = "run started"
    COMPLETED = "run completed"
    FAILED = "run failed"
    SKIPPED = "run skipped"
    DELETED = "run deleted"  # before it finished, as by concurrencyPolicy Replace
    RETRIED = "run retried"
    CREATED = "run created"  # by something else than a tick or a retry
    TICK_SKIPPED = "tick skipped"
    WAITS = "tick waits"
    DECIDED = "tick decided"  # anything else that became of a tick, as by dryRun
    DOWN = "operator down"
    UP = "operator up"
    EVENT = "event"
    NOTE = "note"


ENDS = (What.COMPLETED, What.FAILED, What.SKIPPED, What.DELETED)


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened. Times are UTC; `tick` is the last of `count` ticks, `first_tick` the first of them."""

    at: datetime
    what: What
    job: str | None = None
    tick: datetime | None = None
    first_tick: datetime | None = None
    count: int = 1
    reason: str | None = None
    took_s: int | None = None
    text: str | None = None


@dataclass(frozen=True, slots=True)
class Story:
    """What happened to one schedule in [start, end)."""

    name: str
    cron: Cron
    start: datetime
    end: datetime
    ticks: tuple[datetime, ...]
    entries: tuple[Entry, ...] = field(repr=False)

    @property
    def timeline(self) -> list[Entry]:
        """Entries and notes in the order of time; a note stands before what it explains."""
        return sorted([*notes(self.cron, self.start, self.end, self.ticks), *self.entries], key=lambda entry: entry.at)

    def summary(self) -> dict[str, Any]:
        """Numbers, as JSON."""
        count = Counter(entry.what for entry in self.entries)
        skips: Counter[str] = Counter()
        for entry in self.entries:
            if entry.what is What.TICK_SKIPPED:
                skips[entry.reason or "?"] += entry.count
        starts = [entry for entry in self.entries if entry.what is What.STARTED]
        # A retry belongs to the tick of its root, and waits for its backoff.
        retries = {entry.job for entry in self.entries if entry.what is What.RETRIED}
        waits = [entry.at - entry.tick for entry in starts if entry.tick is not None and entry.job not in retries]
        hours = Counter(entry.at.astimezone(self.cron.zone).hour for entry in starts)
        busiest = min(hours, key=lambda hour: (-hours[hour], hour), default=None)
        unfinished = {entry.job for entry in starts} - {entry.job for entry in self.entries if entry.what in ENDS}
        runs = {"completed": count[What.COMPLETED], "failed": count[What.FAILED], "skipped": count[What.SKIPPED]}
        return {
            "ticks": len(self.ticks),
            "runs": runs | {"deleted": count[What.DELETED], "unfinished": len(unfinished)},
            "skips": dict(sorted(skips.items())),
            "retries": count[What.RETRIED],
            "trainingSeconds": sum(entry.took_s or 0 for entry in self.entries if entry.what in ENDS),
            "longestWaitSeconds": int(max(waits, default=_NO_TIME).total_seconds()),
            "busiestHour": None if busiest is None else {"hour": busiest, "starts": hours[busiest]},
        }

    def to_json(self) -> dict[str, Any]:
        return {
            "schedule": self.name,
            "from": format_time(self.start),
            "to": format_time(self.end),
            "timeline": [_entry_json(entry, self.cron) for entry in self.timeline],
            "summary": self.summary(),
        }


def _entry_json(entry: Entry, cron: Cron) -> dict[str, Any]:
    given = {
        "at": format_time(entry.at),
        "local": entry.at.astimezone(cron.zone).isoformat(),
        "what": entry.what.value,
        "job": entry.job,
        "tick": format_time(entry.tick) if entry.tick else None,
        "firstTick": format_time(entry.first_tick) if entry.first_tick else None,
        "count": entry.count if entry.count != 1 else None,
        "reason": entry.reason,
        "tookSeconds": entry.took_s,
        "text": entry.text,
    }
    return {name: value for name, value in given.items() if value is not None}


def notes(cron: Cron, start: datetime, end: datetime, ticks: Sequence[datetime]) -> Iterator[Entry]:
    """Each change of the zone's UTC offset in [start, end), and what it does to the ticks around it."""
    by_day: dict[object, list[datetime]] = {}
    for tick in ticks:
        by_day.setdefault(tick.astimezone(cron.zone).date(), []).append(tick)
    for change in _offset_changes(cron, start, end):
        after = change.astimezone(cron.zone)
        before = (change - timedelta(seconds=1)).astimezone(cron.zone)
        was, now = before.utcoffset() or _NO_TIME, after.utcoffset() or _NO_TIME
        moved = "forward" if now > was else "back"
        text = f"clocks go {moved} {_minutes(abs(now - was))}: {before:%Z} to {after:%Z}"
        yield Entry(change, What.NOTE, text=text)
        near = by_day.get(after.date(), [])
        if now > was:
            yield from _of_gap(cron, change, change + was, change + now, near)
        else:
            yield from _of_repeat(cron, change, change + now, change + was, near)


def _of_gap(cron: Cron, change: datetime, first: datetime, last: datetime, near: Sequence[datetime]) -> Iterator[Entry]:
    """`first` and `last` (excluded) are what the clock does not show, written as if it were UTC."""
    lost = [wall for wall in _walls(cron, first, last) if near]
    if not lost:
        return
    shown = ", ".join(f"{wall:%H:%M}" for wall in lost[:3]) + (", …" if len(lost) > 3 else "")
    verb = "does" if len(lost) == 1 else "do"
    missing = f"{shown} {verb} not exist on this day"
    if cron.follows_real_time:
        yield Entry(change, What.NOTE, text=f"{missing}: no tick, the interval stays as it was")
    elif change in near:
        yield Entry(change, What.NOTE, text=f"{missing}: runs at {change.astimezone(cron.zone):%H:%M}")


def _of_repeat(cron: Cron, change: datetime, first: datetime, last: datetime, near: Sequence[datetime]) -> Iterator[Entry]:
    """From `first` to `last` (excluded), written as if UTC, is what the clock shows twice; the second time begins at the change."""
    repeated = [wall for wall in _walls(cron, first, last) if near]
    if not repeated:
        return
    shown = ", ".join(f"{wall:%H:%M}" for wall in repeated[:3]) + (", …" if len(repeated) > 3 else "")
    verb = "happens" if len(repeated) == 1 else "happen"
    which = "both times" if cron.follows_real_time else "at the first"
    at = change - (last - repeated[0])  # the first time that the clock shows it
    if at in near:
        yield Entry(at, What.NOTE, text=f"{shown} {verb} twice: runs {which}")


def _walls(cron: Cron, first: datetime, last: datetime) -> list[datetime]:
    """The schedule's times of day in [first, last), as if UTC."""
    midnight = first.replace(hour=0, minute=0, second=0)
    days = (midnight, midnight + timedelta(days=1))
    return [wall for day in days for time in cron.times if first <= (wall := day + timedelta(seconds=time)) < last]


def _offset_changes(cron: Cron, start: datetime, end: datetime) -> Iterator[datetime]:
    """First instants of a new UTC offset."""
    days = (end - start).days + 1
    instants = [*(start + timedelta(days=day) for day in range(days)), end]
    for low, high in pairwise(instants):
        offset = low.astimezone(cron.zone).utcoffset()
        if high.astimezone(cron.zone).utcoffset() == offset:
            continue
        while high - low > timedelta(seconds=1):
            middle = (low + (high - low) / 2).replace(microsecond=0)
            low, high = (middle, high) if middle.astimezone(cron.zone).utcoffset() == offset else (low, middle)
        if high < end:
            yield high.astimezone(UTC)


def _minutes(length: timedelta) -> str:
    minutes = int(length.total_seconds()) // 60
    return f"{minutes // 60} h" if minutes % 60 == 0 else f"{minutes} min"
