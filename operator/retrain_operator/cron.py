"""When a schedule fires: five cron fields in a time zone, read strictly and searched in either direction.

Pure: no clock, and no I/O but the time zone database. A tick is an aware UTC datetime.

Reading. A strict gate (`_gate`) admits what CronJob and people agree on, and hands croniter plain numbers to expand.
`H` is resolved here and not by croniter, which shifts one CRC for all fields: `H H * * *` would then share 240 of the
1,440 times of day, and a new croniter version could move every user's schedule.

Searching. A zone's timeline is cut where its clock first reaches each midnight. Between two cuts lie one or more
stretches of constant UTC offset; inside a stretch, wall time to instant is one subtraction. Dates that cannot match
are skipped by month, so the search costs the same after an outage of a minute or of a year. Two rules meet DST:

- fixed hours (`30 2 * * *`): a wall time fires when the clock first reaches or passes it. That is once a day: inside a
  spring gap the first instant after it, in a repeated hour the first time round;
- wildcard or stepped hours (`*/15 * * * *`): every instant whose wall clock matches. A repeated hour fires twice, a
  skipped one not at all, so that the real interval between ticks stays what it was.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import NamedTuple, Self
from zoneinfo import ZoneInfo

MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EPOCH_ORDINAL = EPOCH.toordinal()
DAY_S = 86_400
SEARCH_HORIZON_S = 30 * 366 * DAY_S  # 29 February stays away for eight years around 2100; the rest is margin
LONGEST_MONTHS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
LAST_HASHED_DAY = 28  # `H` as day of the month must exist in every month, or a monthly run would skip some
HOST_ZONES = ("right/", "posix/", "localtime", "posixrules")  # files beside the zones: leap seconds, the host's own


class _Field(NamedTuple):
    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()  # names[0] stands for `low`


MINUTE, HOUR, DAY_OF_MONTH, MONTH, DAY_OF_WEEK = range(5)
FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day-of-month", 1, 31),
    _Field("month", 1, 12, ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")),
    _Field("day-of-week", 0, 7, ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")),  # 7 is Sunday too
)
_VALUE = "[0-9]{1,4}|[A-Za-z]{3}"
_TERM = re.compile(rf"(?:\*|({_VALUE})(?:-({_VALUE}))?)(?:/([0-9]{{1,4}}))?")
_HASH = re.compile(r"H(?:\(([0-9]{1,2})-([0-9]{1,2})\))?(?:/([0-9]{1,4}))?")
_QUARTZ = re.compile(r".*#.*|L|LW|L-[0-9]+|[0-9]{1,2}[LW]|[A-Za-z]{3}L", re.IGNORECASE)
_RANDOM = re.compile(r"R(\(.*\))?(/.*)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Cron:
    """A schedule that is valid and fires at some time. Make one with `Cron.parse`."""

    effective: str  # what runs, for status: macros and `H` resolved, then the zone: `17 2 * * 0 Europe/London`
    zone: ZoneInfo
    follows_real_time: bool  # wildcard or stepped hours; otherwise each time of day fires once a day
    months: frozenset[int]
    days_of_month: frozenset[int]
    days_of_week: frozenset[int]  # 0 is Sunday
    either_day: bool  # both day fields are restricted: one of them is enough
    times: tuple[int, ...]  # wall times of a matching date in seconds after midnight, ascending

    @classmethod
    def parse(cls, expression: str, time_zone: str = "Etc/UTC", seed: str = "") -> Self:
        """The schedule that `expression` means in the IANA zone `time_zone`; equal ones are parsed once.

        `seed` is what `H` hashes: "namespace/name". Raises InvalidSpec.
        """
        fields = MACROS.get(expression.strip(), expression).split()
        if any(text.startswith("H") for text in fields):
            _check_shape(fields)
            fields = [_resolve_hash(text, i, seed) if text[0] == "H" else text for i, text in enumerate(fields)]
        return _compile(cls, " ".join(fields), time_zone)

    def latest_tick(self, after: datetime, until: datetime) -> datetime | None:
        """Latest tick in (after, until], UTC; None if there is none. Looks back from `until`, however old `after` is."""
        return next(self.ticks_backward(until, after), None)

    def next_tick(self, after: datetime) -> datetime | None:
        """First tick later than `after`, UTC; None if there is none within about 30 years."""
        start = _to_seconds(after)
        return next(map(_to_moment, self._instants(start, start + SEARCH_HORIZON_S, newest_first=False)), None)

    def ticks_backward(self, until: datetime, after: datetime) -> Iterator[datetime]:
        """Ticks in (after, until], UTC, newest first, each found when it is asked for."""
        return map(_to_moment, self._instants(_to_seconds(after), _to_seconds(until), newest_first=True))

    def _instants(self, after: int, until: int, *, newest_first: bool) -> Iterator[int]:
        """Ticks in (after, until] in epoch seconds, in strict order."""
        # The clock may have reached tomorrow's midnight, and then been put back to today.
        first, last = _local_ordinal(self.zone, after), _local_ordinal(self.zone, until) + 1
        latest = None
        for ordinal in self._days_to_visit(first, last, newest_first=newest_first):
            runs = self._runs(ordinal)
            for base, times in reversed(runs) if newest_first else runs:
                due = times[bisect_right(times, after - base) : bisect_right(times, until - base)]
                for time in reversed(due) if newest_first else due:
                    # Wall times in a gap share one instant, also across midnight where a whole day was skipped.
                    if base + time != latest:
                        latest = base + time
                        yield latest

    def _days_to_visit(self, first: int, last: int, *, newest_first: bool) -> Iterator[int]:
        """Ordinals, in order, of the days that can hold a tick: the matching dates.

        With real-time hours the day after each as well: a clock put back from 00:01 to 23:01 shows the old date again.
        """
        visited = None
        for ordinal in self._matching_dates(first - 1, last, newest_first=newest_first):
            around = (ordinal, ordinal + 1) if self.follows_real_time else (ordinal,)
            for day in reversed(around) if newest_first else around:
                if day != visited:
                    visited = day
                    yield day

    def _matching_dates(self, first: int, last: int, *, newest_first: bool) -> Iterator[int]:
        start, end = date.fromordinal(first), date.fromordinal(last)
        months = range(start.year * 12 + start.month - 1, end.year * 12 + end.month)
        for index in reversed(months) if newest_first else months:
            year, month = index // 12, index % 12 + 1
            if month in self.months:
                days = _matching_days(year, month, self.days_of_month, self.days_of_week, self.either_day)
                yield from (day for day in (reversed(days) if newest_first else days) if first <= day <= last)

    def _matches(self, ordinal: int) -> bool:
        day = date.fromordinal(ordinal)
        return day.month in self.months and ordinal in _matching_days(
            day.year, day.month, self.days_of_month, self.days_of_week, self.either_day
        )

    def _runs(self, ordinal: int) -> list[tuple[int, Sequence[int]]]:
        """The day's ticks as (base, times): each tick is base + time, in epoch seconds, ascending over the whole list."""
        day, midnight = _day(self.zone, ordinal), _midnight(ordinal)
        if self.follows_real_time:
            runs: list[tuple[int, Sequence[int]]] = []
            for start, end, offset in day.stretches:
                for shown in range((start + offset) // DAY_S, (end + offset - 1) // DAY_S + 1):
                    if self._matches(shown + EPOCH_ORDINAL):
                        base = shown * DAY_S - offset
                        times = self.times[bisect_left(self.times, start - base) : bisect_left(self.times, end - base)]
                        runs.append((base, times))
            return runs
        if day.end - day.start == DAY_S and len(day.stretches) == 1 and day.start + day.stretches[0][2] == midnight:
            return [(day.start, self.times)]
        return [(0, [day.reaches(midnight + time) for time in self.times])]


class _Day(NamedTuple):
    """From where a zone's clock first reaches a midnight to where it first reaches the next; epoch seconds."""

    start: int
    end: int
    stretches: tuple[tuple[int, int, int], ...]  # (start, end, UTC offset); none for a date that was skipped

    def reaches(self, wall: int) -> int:
        """The instant at which the clock first shows `wall` or later; `wall` in seconds as if it were UTC."""
        for start, end, offset in self.stretches:
            if wall - offset < end:
                return max(start, wall - offset)
        return self.end


@lru_cache(maxsize=4096)
def _day(zone: ZoneInfo, ordinal: int) -> _Day:
    start, end = _reaches_midnight(zone, ordinal), _reaches_midnight(zone, ordinal + 1)
    stretches = []
    at = start
    while at < end:
        offset, stop = _offset_at(zone, at), end
        if _offset_at(zone, end - 1) != offset:
            stop = _first_instant(at, end, lambda instant, old=offset: _offset_at(zone, instant) != old)
        stretches.append((at, stop, offset))
        at = stop
    return _Day(start, end, tuple(stretches))
