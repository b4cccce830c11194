"""When a schedule fires: five cron fields in a time zone, read strictly and searched in either direction.

Pure: no clock, and no I/O but the time zone database. A tick is an aware UTC datetime.

Reading. A strict gate admits what CronJob and people agree on; croniter expands the plain numbers that it leaves. `H` is resolved here:
croniter shifts one CRC for all fields, so `H H * * *` would use 240 of the 1,440 times of day, and could move with a new version of it.

Searching. A zone's timeline is cut where its clock first reaches each midnight. Between two cuts lie one or more stretches of constant
UTC offset; inside a stretch, wall time to instant is one subtraction. Dates that cannot match are skipped by month. Two rules meet DST:
- fixed hours (`30 2 * * *`): a wall time fires when the clock first reaches or passes it. That is once a day: inside a spring gap at
  the first instant after it, in a repeated hour the first time round;
- wildcard or stepped hours (`*/15 * * * *`): every instant whose wall clock matches. A repeated hour fires twice, a skipped one not at
  all, so that the real interval between ticks stays what it was.
"""

import re
from bisect import bisect_left, bisect_right
from calendar import monthrange
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from hashlib import sha256
from typing import NamedTuple
from zoneinfo import ZoneInfo

from croniter import croniter

from retrain_operator.errors import InvalidSpec

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
DAY_S = 86_400
THURSDAY = 4  # the weekday of the epoch
FORWARD, BACKWARD = 1, -1
Stretch = tuple[int, int, int]  # start, end, UTC offset: between two midnights, or changes of the offset
SEARCH_HORIZON_S = 30 * 366 * DAY_S  # 29 February stays away for eight years around 2100; the rest is margin
NOT_ZONES = ("right/", "posix/", "posixrules", "localtime")  # files beside the zones: leap seconds, the host's own zone


class _Field(NamedTuple):
    name: str
    low: int
    high: int
    high_written: int  # 7 is Sunday as well
    high_hashed: int  # a hashed day must exist in every month, or a monthly run would skip some
    names: tuple[str, ...] = ()  # names[0] stands for `low`


FIELDS = (
    _Field("minute", 0, 59, 59, 59),
    _Field("hour", 0, 23, 23, 23),
    _Field("day of month", 1, 31, 31, 28),
    _Field("month", 1, 12, 12, 12, ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")),
    _Field("day of week", 0, 6, 7, 6, ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")),
)
VALUE, STEP = "[0-9]{1,4}|[A-Za-z]{3}", "[0-9]{0,3}[1-9][0-9]{0,3}"
TERM = re.compile(rf"(?:\*|({VALUE})(?:-({VALUE}))?)(?:/({STEP}))?")
HASH = re.compile(rf"H(?:\(({VALUE})-({VALUE})\))?(?:/({STEP}))?")
REMEDIES = (  # for terms that other crons know; the first pattern that fits
    (r"\?", "write * instead of ?"),
    (r".*/0+", "a step is 1 or more: write /1 or higher"),
    (r"R.*", "a random R would move with every restart: write H, which stays the same for this schedule"),
    (r"H.*", "write H, H(a-b), H/n or H(a-b)/n, in capitals and alone in its field"),
    (r".*#.*|L.*|.*[LW]", "L, W and # are not supported: write the days as numbers or weekdays"),
    (r".*", "write a number, a range a-b, a list a,b, a step */n, or *"),
)


@dataclass(frozen=True, slots=True)
class Cron:
    """A schedule that is valid and fires at some time. Made by `Cron.parse`."""

    effective: str  # what runs, for status: macros and `H` resolved, then the zone: `17 2 * * 0 Europe/London`
    zone: ZoneInfo
    follows_real_time: bool  # wildcard or stepped hours; otherwise each time of day fires once a day
    months: frozenset[int]
    days_of_month: frozenset[int]
    days_of_week: frozenset[int]  # 0 is Sunday
    either_day: bool  # both day fields are restricted: one of them is enough
    times: tuple[int, ...]  # wall times of a matching date in seconds after midnight, ascending

    @staticmethod
    def never() -> "Cron":
        """Of a schedule without one: no ticks."""
        return _NEVER

    @staticmethod
    def parse(expression: str, time_zone: str = "Etc/UTC", seed: str = "") -> "Cron":
        """What `expression` means in the IANA zone `time_zone`; `H` hashes `seed`, "namespace/name". Raises InvalidSpec."""
        fields = MACROS.get(expression.strip(), expression).split()
        if any(text.startswith("H") for text in fields):
            _check_shape(fields)
            fields = [_resolve_hash(text, field, seed) for text, field in zip(fields, FIELDS, strict=True)]
        return _compile(" ".join(fields), time_zone)

    def latest_tick(self, after: datetime, until: datetime) -> datetime | None:
        """Latest tick in (after, until], UTC, or None. Looks back from `until`: a long outage costs nothing extra."""
        return next(self.ticks_backward(until, after), None)

    def next_tick(self, after: datetime) -> datetime | None:
        """First tick later than `after`, UTC; None if there is none within 30 years."""
        start = _to_seconds(after)
        return next(map(_to_moment, self._instants(start, start + SEARCH_HORIZON_S, FORWARD)), None)

    def ticks_backward(self, until: datetime, after: datetime) -> Iterator[datetime]:
        """Ticks in (after, until], UTC, newest first, each found when it is asked for."""
        return map(_to_moment, self._instants(_to_seconds(after), _to_seconds(until), BACKWARD))

    def _instants(self, after: int, until: int, direction: int) -> Iterator[int]:
        """Ticks in (after, until], epoch seconds, in strict order."""
        previous = None
        for day in self._days_to_visit(after, until, direction):
            for base, times in self._runs(day)[::direction]:
                for time in times[bisect_right(times, after - base) : bisect_right(times, until - base)][::direction]:
                    # All wall times of a gap share one instant; of a skipped date, with the next day's midnight too.
                    if base + time != previous:
                        previous = base + time
                        yield previous

    def _days_to_visit(self, after: int, until: int, direction: int) -> Iterator[int]:
        """Days, in order, that can hold a tick in (after, until]: those that match, with real-time hours also the day after each."""
        # A clock put back from 00:01 to 23:01 shows the old date again after it reached the new one's midnight.
        reach = 1 if self.follows_real_time else 0
        first, last = _clock(self.zone, after) // DAY_S, _clock(self.zone, until) // DAY_S + 1
        start, end = _to_moment((first - reach) * DAY_S), _to_moment(last * DAY_S)
        visited = None
        for month in range(start.year * 12 + start.month - 1, end.year * 12 + end.month)[::direction]:
            for matching in self._matching_days(month // 12, month % 12 + 1)[::direction]:
                for day in range(matching, matching + reach + 1)[::direction]:
                    if day != visited and first <= day <= last:
                        visited = day
                        yield day

    def _matching_days(self, year: int, month: int) -> tuple[int, ...]:
        return _days(year, month, self.days_of_month, self.days_of_week, self.either_day) if month in self.months else ()

    def _runs(self, day: int) -> list[tuple[int, Sequence[int]]]:
        """The day's ticks as (base, times), ascending: base + time is a tick in epoch seconds."""
        stretches, end_of_day = _stretches(self.zone, day)
        if not self.follows_real_time:
            return [(0, [_reaches(stretches, day * DAY_S + time, end_of_day) for time in self.times])]
        runs: list[tuple[int, Sequence[int]]] = []
        for start, end, offset in stretches:
            for shown in range((start + offset) // DAY_S, (end + offset - 1) // DAY_S + 1):
                shown_date = _to_moment(shown * DAY_S)
                if shown in self._matching_days(shown_date.year, shown_date.month):
                    base = shown * DAY_S - offset
                    inside = slice(bisect_left(self.times, start - base), bisect_left(self.times, end - base))
                    runs.append((base, self.times[inside]))
        return runs


_NEVER = Cron("", ZoneInfo("Etc/UTC"), False, frozenset(), frozenset(), frozenset(), False, ())


@lru_cache(maxsize=4096)  # by the text with `H` resolved, so that parsing at every reconcile costs next to nothing
def _compile(expression: str, time_zone: str) -> Cron:
    fields = expression.split()
    _check_shape(fields)
    plain = [",".join(_gate(term, field) for term in text.split(",")) for text, field in zip(fields, FIELDS, strict=True)]
    minutes, hours, days_of_month, months, days_of_week = (
        frozenset(range(field.low, field.high + 1)) if "*" in values else frozenset(map(int, values))
        for values, field in zip(croniter.expand(" ".join(plain))[0], FIELDS, strict=True)
    )
    # A day is open with `*` and `*/1`, also inside a list, and restricted with `*/2` and `1-31`: as in CronJob. Year 2000 has a leap day.
    any_day_of_month, any_day_of_week = ("*" in plain[i].split(",") for i in (2, 4))
    if any_day_of_week and min(days_of_month) > max(monthrange(2000, month)[1] for month in months):
        problem = f"never fires: day {fields[2]} does not exist in month {fields[3]}"
        raise InvalidSpec(f'schedule "{expression}" {problem}; write a day that the month has, e.g. 28')
    return Cron(
        effective=f"{expression} {time_zone}",
        zone=_zone(time_zone),
        follows_real_time="*" in fields[1] or "/" in fields[1],
        months=months,
        days_of_month=days_of_month,
        days_of_week=days_of_week,
        either_day=not any_day_of_month and not any_day_of_week,
        times=tuple(hour * 3600 + minute * 60 for hour in sorted(hours) for minute in sorted(minutes)),
    )


def _zone(name: str) -> ZoneInfo:
    try:
        if name.startswith(NOT_ZONES):
            raise KeyError(name)
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:  # unknown; not a plain name; a folder
        remedy = "write its name, capitals included, e.g. Europe/London or Etc/UTC"
        raise InvalidSpec(f'timeZone "{name}" is not an IANA time zone: {remedy}') from error


def _check_shape(fields: Sequence[str]) -> None:
    expression, example = " ".join(fields), 'e.g. "0 2 * * 0" for Sundays at 02:00'
    if "TZ=" in expression:
        raise InvalidSpec(f'schedule "{expression}" names a time zone: move it to spec.timeZone')
    if expression.startswith("@"):
        raise InvalidSpec(f'schedule "{expression}" is unknown: write one of {" ".join(MACROS)}, or five fields, {example}')
    if len(fields) != len(FIELDS):
        five = f"five, minute hour day-of-month month day-of-week (no seconds, no year), {example}"
        raise InvalidSpec(f'schedule "{expression}" has {len(fields)} fields: write {five}')


def _gate(term: str, field: _Field) -> str:
    """One item of a field's list, in numbers and without what croniter reads differently: `5-5` is every value to it."""
    match = TERM.fullmatch(term)
    if match is None:
        remedy = next(remedy for pattern, remedy in REMEDIES if re.fullmatch(pattern, term, re.IGNORECASE | re.DOTALL))
        raise InvalidSpec(f'schedule: {field.name} "{term}" is not accepted: {remedy}')
    start, end, step = match[1], match[2], int(match[3] or 1)
    if start is None:
        return "*" if step == 1 else f"*/{step}"
    low = _number(start, term, field)
    high = _number(end, term, field) if end else max(low, field.high) if match[3] else low  # 10/5 is 10-59/5
    if low > high:
        top, bottom = (field.names[-1], field.names[0]) if field.names else (field.high, field.low)
        raise InvalidSpec(f'schedule: {field.name} "{term}" runs backwards: split it in two, "{start}-{top},{bottom}-{end}"')
    return str(low) if low == high else f"{low}-{high}/{step}"


def _number(value: str, term: str, field: _Field) -> int:
    if value.upper() in field.names:
        return field.low + field.names.index(value.upper())
    if value.isdigit() and field.low <= int(value) <= field.high_written:
        return int(value)
    numbers = f"numbers from {field.low} to {field.high_written}" + (f", or {field.names[0]} to {field.names[-1]}" if field.names else "")
    raise InvalidSpec(f'schedule: {field.name} "{term}" is out of range: write {numbers}')


def _resolve_hash(text: str, field: _Field, seed: str) -> str:
    """`H` as a number, `H/n` as a stepped range that starts in its first period; any other field as it is."""
    match = HASH.fullmatch(text)
    if match is None:
        return text
    start, end, step = match[1], match[2], match[3] and int(match[3])
    if start is None and step == 1:
        return "*"  # and not `0-59/1`, which would restrict a day field
    low = field.low if start is None else _number(start, text, field)
    high = field.high if end is None else _number(end, text, field)
    if low > high:
        raise InvalidSpec(f'schedule: {field.name} "{text}" runs backwards: write the lower number first')
    draw_to = min(high if start else field.high_hashed, low + step - 1 if step else high)
    digest = sha256(f"{field.name} of {seed}".encode()).digest()  # one for each field: minute and hour are independent
    drawn = low + int.from_bytes(digest[:8]) % (draw_to - low + 1)
    return f"{drawn}-{high}/{step}" if step else str(drawn)


# The timeline. A day is a number: 0 is 1970-01-01. A wall time is what a clock shows, in epoch seconds as if it showed UTC.


@lru_cache(maxsize=4096)
def _days(year: int, month: int, days_of_month: frozenset[int], days_of_week: frozenset[int], either_day: bool) -> tuple[int, ...]:
    """The matching days of a month."""
    day_before = (date(year, month, 1) - EPOCH.date()).days - 1
    enough = any if either_day else all
    of_month = range(1, monthrange(year, month)[1] + 1)
    return tuple(day_before + n for n in of_month if enough((n in days_of_month, (day_before + n + THURSDAY) % 7 in days_of_week)))


@lru_cache(maxsize=4096)  # shared by all schedules of a zone, which mostly ask for the same few days
def _stretches(zone: ZoneInfo, day: int) -> tuple[tuple[Stretch, ...], int]:
    """The stretches of a day in a zone, ascending, and the day's end. A date that was skipped has none."""
    at, end_of_day = _reaches_midnight(zone, day), _reaches_midnight(zone, day + 1)
    stretches: list[Stretch] = []
    while at < end_of_day:
        offset, end = _clock(zone, at) - at, end_of_day
        if _clock(zone, end - 1) - (end - 1) != offset:
            end = at + bisect_left(range(at, end), True, key=lambda t: _clock(zone, t) - t != offset)
        stretches.append((at, end, offset))
        at = end
    return tuple(stretches), end_of_day


def _reaches(stretches: tuple[Stretch, ...], wall: int, end_of_day: int) -> int:
    """The instant at which the day's clock first shows `wall` or later."""
    return next((max(start, wall - offset) for start, end, offset in stretches if wall - offset < end), end_of_day)


def _reaches_midnight(zone: ZoneInfo, day: int) -> int:
    midnight = _to_moment(day * DAY_S).replace(tzinfo=zone)  # fold=0: the first, where the clock shows it twice
    instant = _to_seconds(midnight)
    if _clock(zone, instant) == day * DAY_S:
        return instant
    gap = range(_to_seconds(midnight.replace(fold=1)), instant)  # midnight is skipped, somewhere in here
    return gap.start + bisect_left(gap, day * DAY_S, key=lambda at: _clock(zone, at))


def _clock(zone: ZoneInfo, instant: int) -> int:
    return _to_seconds(datetime.fromtimestamp(instant, zone).replace(tzinfo=UTC))


def _to_seconds(moment: datetime) -> int:
    if moment.tzinfo is None:
        raise ValueError(f"{moment} is naive: pass an aware datetime")
    return (moment - EPOCH) // timedelta(seconds=1)  # ticks are whole seconds: both ends of (after, until] may be floored


def _to_moment(instant: int) -> datetime:
    return datetime.fromtimestamp(instant, UTC)
