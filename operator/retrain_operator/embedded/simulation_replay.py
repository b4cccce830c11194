"""What a simulation knows already: a quiet world that was met before, at another time, goes on as it did then.

The controller costs some milliseconds of CPU a run, and a year of an hourly schedule has 8,760 runs that are mostly alike. The operator
keeps nothing that is not in its objects, so a world in which nothing runs is its objects. They are written down here with every time
relative to the next instant at which something is due. Two worlds with the same text differ by a shift in time, and from equal ticks and
equal ends of runs follow equal stories, shifted. Only rules that look at a time of day would break this; there are none beside cron,
whose ticks are compared. The jitter of a retry is drawn from a UID, which is arbitrary here as it is on a cluster.

Times longer ago than `remembers_s` count by their order alone, and what the status tells of ticks that long ago does not count at all,
or no world would ever come back after a single failure.
"""

import json
import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from retrain_operator.api.base import format_time
from retrain_operator.cluster.protocol import SCHEDULES, Body
from retrain_operator.embedded.simulation_story import Entry, What

_UID = re.compile(r"00000000-0000-4000-8000-[0-9a-f]{12}")
_TOKEN = re.compile(r"<(T|N)(#?)(-?\d+)>")
_TOLD = re.compile(r'"<told (\d+)>"')


@dataclass(frozen=True, slots=True)
class Moment:
    """A quiet world. `template` is its objects without absolute times; `old` are the times that count by order only, ascending.

    told: old entries of the schedule's recentDecisions, as JSON. No rule reads them.
    due: when something is due next. settled_s: since when nothing happens, in seconds before `due`.
    """

    template: str
    old: tuple[int, ...]
    told: tuple[str, ...]
    due: datetime
    settled_s: int


@dataclass(frozen=True, slots=True)
class _Passage:
    """From one quiet moment to the next, as it was when the first one's `due` was at `due`; seconds count from there."""

    due: datetime
    ticks_s: tuple[int, ...]  # after `due`, up to the first that is not before the next `due`
    failures: tuple[bool, ...]  # of the runs that were started
    entries: tuple[Entry, ...]
    due_s: int
    settled_s: int
    template: str
    old: tuple[tuple[bool, int], ...]  # (True, index into the former `old`) or (False, seconds)
    told: tuple[int | str, ...]  # index into the former `told`, or an entry that has become old since


class Names:
    """Times as they stand in the objects of one schedule: RFC 3339, and minutes since 1970 in the names of runs."""

    def __init__(self, schedule: str) -> None:
        self._pattern = re.compile(rf"\b(\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\dZ)|(?<![a-z0-9.-]){re.escape(schedule)}-(\d{{7,9}})\b")
        self._schedule = schedule

    def moment(self, bodies: Sequence[Body], due: datetime, settled_s: int, remembers_s: int) -> Moment:
        base = int(due.timestamp())
        bodies, told = _without_what_was_told(bodies, format_time(datetime.fromtimestamp(base - remembers_s, UTC)))
        text = _without_identity(bodies)
        found = {_seconds(match) for match in self._pattern.finditer(text)}
        old = sorted(time for time in found if time < base - remembers_s)
        symbols = {time: f"#{index}" for index, time in enumerate(old)}

        def symbol(match: re.Match[str]) -> str:
            time = _seconds(match)
            return f"<{'T' if match[1] else 'N'}{symbols.get(time, time - base)}>"

        return Moment(self._pattern.sub(symbol, text), tuple(old), told, due, settled_s)

    def bodies(self, moment: Moment) -> list[Body]:
        """The objects of a moment, to be created in this order."""
        base = int(moment.due.timestamp())

        def value(match: re.Match[str]) -> str:
            time = moment.old[int(match[3])] if match[2] else base + int(match[3])
            return format_time(datetime.fromtimestamp(time, UTC)) if match[1] == "T" else f"{self._schedule}-{time // 60}"

        text = _TOLD.sub(lambda match: moment.told[int(match[1])], _TOKEN.sub(value, moment.template))
        found: list[Body] = json.loads(text)
        return found

    def later(self, text: str, by: timedelta) -> str:
        """The same with all times moved."""

        def value(match: re.Match[str]) -> str:
            time = datetime.fromtimestamp(_seconds(match), UTC) + by
            return format_time(time) if match[1] else f"{self._schedule}-{int(time.timestamp()) // 60}"

        return self._pattern.sub(value, text)

    def shifted(self, entry: Entry, by: timedelta) -> Entry:
        return Entry(
            at=entry.at + by,
            what=entry.what,
            job=entry.job and self.later(entry.job, by),
            tick=entry.tick and entry.tick + by,
            first_tick=entry.first_tick and entry.first_tick + by,
            count=entry.count,
            reason=entry.reason,
            took_s=entry.took_s,
        )


class Memory:
    """Passages by the moment that they begin with."""

    def __init__(self, names: Names, ticks: Sequence[int]) -> None:
        """`ticks` in epoch seconds, ascending, through the first one after the end."""
        self._names = names
        self._ticks = ticks
        self._passages: dict[str, list[_Passage]] = {}

    def learn(self, start: Moment, end: Moment, entries: Sequence[Entry], failures: Sequence[bool]) -> None:
        if any(entry.what is What.EVENT for entry in entries):
            return  # its text may tell of times
        base, due_s = int(start.due.timestamp()), int((end.due - start.due).total_seconds())
        known = {time: index for index, time in enumerate(start.old)}
        known_told = {text: index for index, text in enumerate(start.told)}
        passage = _Passage(
            due=start.due,
            ticks_s=self._ticks_after(base, due_s),
            failures=tuple(failures),
            entries=tuple(entries),
            due_s=due_s,
            settled_s=end.settled_s,
            template=end.template,
            old=tuple((True, known[time]) if time in known else (False, time - base) for time in end.old),
            told=tuple(known_told.get(text, text) for text in end.told),
        )
        self._passages.setdefault(start.template, []).append(passage)

    def recall(self, moment: Moment, until: datetime, failures: Callable[[int], Sequence[bool]]) -> tuple[Moment, list[Entry], int] | None:
        """The next quiet moment before `until`, what happened before it, and how many of the coming `failures` it took."""
        base = int(moment.due.timestamp())
        for passage in self._passages.get(moment.template, ()):
            due = moment.due + timedelta(seconds=passage.due_s)
            used = len(passage.failures)
            if due < until and tuple(failures(used)) == passage.failures and self._ticks_after(base, passage.due_s) == passage.ticks_s:
                old = tuple(moment.old[value] if is_known else base + value for is_known, value in passage.old)
                entries = [self._names.shifted(entry, moment.due - passage.due) for entry in passage.entries]
                told = tuple(
                    moment.told[each] if isinstance(each, int) else self._names.later(each, moment.due - passage.due)
                    for each in passage.told
                )
                return Moment(passage.template, old, told, due, passage.settled_s), entries, used
        return None

    def _ticks_after(self, base: int, due_s: int) -> tuple[int, ...]:
        first = bisect_right(self._ticks, base)
        last = bisect_left(self._ticks, base + due_s, lo=first) + 1
        return tuple(tick - base for tick in self._ticks[first:last])


def _seconds(match: re.Match[str]) -> int:
    return int(datetime.fromisoformat(match[1]).timestamp()) if match[1] else int(match[2]) * 60


def _without_what_was_told(bodies: Sequence[Body], until: str) -> tuple[list[Body], tuple[str, ...]]:
    """Without the decisions before `until` that the schedule lists, and these."""
    told: list[str] = []

    def without(decision: Body) -> Any:
        if decision["time"] >= until:
            return decision
        told.append(json.dumps(decision, sort_keys=True))
        return f"<told {len(told) - 1}>"

    rest = []
    for body in bodies:
        if body["kind"] == SCHEDULES.kind and "recentDecisions" in body["status"]:
            body = {**body, "status": body["status"] | {"recentDecisions": [*map(without, body["status"]["recentDecisions"])]}}
        rest.append(body)
    return rest, tuple(told)


def _without_identity(bodies: Sequence[Body]) -> str:
    """JSON without versions, and with the UIDs that the objects get when they are created in this order in an empty store."""
    kept = [{**body, "metadata": {name: value for name, value in body["metadata"].items() if name != "resourceVersion"}} for body in bodies]
    uids = {body["metadata"]["uid"]: _uid(serial) for serial, body in enumerate(bodies, start=1)}

    def renamed(match: re.Match[str]) -> str:
        # Of something that is gone: some UID that nothing will have.
        return uids.setdefault(match[0], _uid(10**12 + len(uids)))

    return _UID.sub(renamed, json.dumps(kept, sort_keys=True))


def _uid(serial: int) -> str:
    return f"00000000-0000-4000-8000-{serial:012x}"
