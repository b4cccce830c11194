"""What holds for every schedule, over random expressions and the zones with the oddest clocks.

Two oracles that share nothing with the search: croniter itself, on UTC, and a walk over every minute with a clock in hand.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

from croniter import croniter
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from retrain_operator.cron import Cron
from retrain_operator.errors import InvalidSpec

MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
ZONES = [
    "America/New_York",
    "Europe/London",
    "Europe/Dublin",  # winter time is the exception in its rules
    "Australia/Lord_Howe",  # half an hour
    "Antarctica/Troll",  # two hours
    "Antarctica/Casey",  # three hours, at odd times
    "Asia/Kolkata",
    "Asia/Beirut",  # at midnight
    "America/Santiago",  # at midnight
    "America/Havana",  # midnight is skipped and midnight is repeated
    "America/Nuuk",  # on Saturday evening
    "America/St_Johns",  # until 2011 at one minute past midnight
    "Africa/Casablanca",  # four changes a year, by the moon
    "Africa/Cairo",
    "Pacific/Apia",  # a date that was skipped
    "Pacific/Chatham",  # +12:45
]
picky = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])


@dataclass(frozen=True)
class Field:
    text: str
    values: frozenset[int]

    @property
    def is_open(self) -> bool:
        return self.text == "*"


@dataclass(frozen=True)
class Expression:
    """A cron text and, independent of any parser, what it means."""

    minute: Field
    hour: Field
    day: Field
    month: Field
    weekday: Field

    @property
    def text(self) -> str:
        return " ".join(field.text for field in (self.minute, self.hour, self.day, self.month, self.weekday))

    @property
    def is_fixed(self) -> bool:
        return not set("*/") & set(self.hour.text)

    def matches_date(self, day: date) -> bool:
        by_day, by_weekday = day.day in self.day.values, day.isoweekday() % 7 in self.weekday.values
        either = not self.day.is_open and not self.weekday.is_open
        return day.month in self.month.values and (by_day or by_weekday if either else by_day and by_weekday)

    def matches(self, wall: datetime) -> bool:
        return wall.minute in self.minute.values and wall.hour in self.hour.values and self.matches_date(wall.date())


@st.composite
def fields(draw: st.DrawFn, low: int, high: int) -> Field:
    kind = draw(st.sampled_from(["star", "step", "values", "range", "stepped range"]))
    numbers = st.integers(low, high)
    if kind == "star":
        return Field("*", frozenset(range(low, high + 1)))
    if kind == "values":
        values = draw(st.lists(numbers, min_size=1, max_size=3))
        return Field(",".join(map(str, values)), frozenset(values))
    step = draw(st.integers(2, high - low)) if kind != "range" else 1
    if kind == "step":
        return Field(f"*/{step}", frozenset(range(low, high + 1, step)))
    start, end = sorted(draw(st.lists(numbers, min_size=2, max_size=2, unique=True)))
    assume((start, end) != (low, high))  # croniter takes a whole field in numbers for a star in some places
    return Field(f"{start}-{end}" + (f"/{step}" if step > 1 else ""), frozenset(range(start, end + 1, step)))


expressions = st.builds(Expression, fields(0, 59), fields(0, 23), fields(1, 31), fields(1, 12), fields(0, 6))


def parse(expression: Expression, zone: str) -> Cron:
    try:
        return Cron.parse(expression.text, zone)
    except InvalidSpec:
        never = not any(expression.matches_date(date(2000, 1, 1) + n * DAY) for n in range(366))  # a leap year
        assert never, f"{expression.text} was refused and has a date"
    assume(False)
    raise AssertionError


@settings(picky, max_examples=250)
@given(expressions, st.datetimes(datetime(2001, 1, 1), datetime(2049, 1, 1)))  # noqa: DTZ001
def test_on_utc_equal_to_croniter(expression: Expression, start: datetime) -> None:
    start = start.replace(tzinfo=UTC)
    cron = parse(expression, "Etc/UTC")
    theirs, ours = croniter(expression.text, start, ret_type=datetime), start
    for _ in range(5):
        tick = cron.next_tick(ours)
        assert tick == theirs.get_next()
        ours = tick
    theirs = croniter(expression.text, start, ret_type=datetime)
    for tick in islice(cron.ticks_backward(start - timedelta(microseconds=1), datetime(1971, 1, 1, tzinfo=UTC)), 5):
        assert tick == theirs.get_prev()


@settings(picky, max_examples=100)
@given(expressions, st.sampled_from(ZONES), st.integers(2003, 2034))
def test_ten_years(expression: Expression, zone: str, year: int) -> None:
    per_day = len(expression.minute.values) * len(expression.hour.values)
    assume(per_day <= 8)  # denser ones are walked around clock changes, below
    cron = parse(expression, zone)
    after, until = datetime(year, 1, 1, tzinfo=UTC), datetime(year + 10, 1, 1, tzinfo=UTC)
    ticks = list(cron.ticks_backward(until, after))[::-1]

    assert all(earlier < later for earlier, later in pairwise(ticks)), "strictly increasing, so none repeats"
    assert not ticks or after < ticks[0] <= ticks[-1] <= until
    for earlier, later in islice(pairwise(ticks), 0, None, 1 + len(ticks) // 100):
        assert cron.next_tick(earlier) == later
        assert cron.latest_tick(after, later - timedelta(microseconds=1)) == earlier

    clock = ZoneInfo(zone)
    shown = Counter(tick.astimezone(clock).replace(tzinfo=None) for tick in ticks)
    if expression.is_fixed:
        assert max(shown.values(), default=1) == 1, "no wall time fires twice"
        due = [instant for instant in fixed_instants(expression, clock, after, until) if after < instant <= until]
        assert ticks == sorted(set(due)), "every time of day of every matching date fires, and nothing else does"
    else:
        assert all(expression.matches(wall) for wall in shown), "only what the clock shows"


def fixed_instants(expression: Expression, clock: ZoneInfo, after: datetime, until: datetime) -> Iterator[datetime]:
    """For each time of day of each matching date the first instant at which the clock shows it or has gone past it."""
    for n in range(-2, (until - after).days + 2):
        day = (after + n * DAY).date()
        if expression.matches_date(day):
            for hour in expression.hour.values:
                for minute in expression.minute.values:
                    wall = datetime(day.year, day.month, day.day, hour, minute, tzinfo=clock)
                    instant = wall.astimezone(UTC)
                    if instant.astimezone(clock).replace(tzinfo=None) != wall.replace(tzinfo=None):
                        while (instant - MINUTE).astimezone(clock).replace(tzinfo=None) > wall.replace(tzinfo=None):
                            instant -= MINUTE
                    yield instant


@cache
def clock_changes(zone: str) -> list[datetime]:
    """The UTC midnights before the clock changes of 2005 to 2030."""
    clock, start = ZoneInfo(zone), datetime(2005, 1, 1, tzinfo=UTC)
    midnights = [start + n * DAY for n in range(26 * 365)]
    return [a for a, b in pairwise(midnights) if a.astimezone(clock).utcoffset() != b.astimezone(clock).utcoffset()] or [start]


@cache
def walk(zone: str, start: datetime, minutes: int) -> list[tuple[datetime, datetime]]:
    """(instant, what the clock shows) for every minute."""
    clock = ZoneInfo(zone)
    return [(t, t.astimezone(clock).replace(tzinfo=None)) for t in (start + n * MINUTE for n in range(minutes))]


def ticks_of_a_walk(expression: Expression, minutes: list[tuple[datetime, datetime]]) -> Iterator[datetime]:
    if not expression.is_fixed:
        yield from (instant for instant, wall in minutes if expression.matches(wall))
        return
    furthest = minutes[0][1]
    for instant, wall in minutes[1:]:
        if wall > furthest:
            # One minute, or all those that the clock has just jumped over.
            reached = [furthest + n * MINUTE for n in range(1, (wall - furthest) // MINUTE + 1)]
            furthest = wall
            if any(expression.matches(passed) for passed in reached):
                yield instant


@settings(picky, max_examples=200)
@given(expressions, st.sampled_from(ZONES), st.data())
def test_around_a_clock_change_equal_to_a_walk_with_the_clock(expression: Expression, zone: str, data: st.DataObject) -> None:
    change = data.draw(st.sampled_from(clock_changes(zone)))
    open_dates = Expression(expression.minute, expression.hour, *data.draw(st.sampled_from(dates_around(expression))))
    cron = parse(open_dates, zone)
    start, days = change - 2 * DAY, 5
    minutes = walk(zone, start, days * 1440)
    after, until = start + DAY, minutes[-1][0]
    expected = [tick for tick in ticks_of_a_walk(open_dates, minutes) if tick > after]

    assert list(cron.ticks_backward(until, after)) == expected[::-1]
    moment = after
    for tick in expected[:200]:
        assert cron.next_tick(moment) == tick
        moment = tick


def dates_around(expression: Expression) -> list[tuple[Field, Field, Field]]:
    """The expression's own dates and, as those seldom meet a clock change, every date and one weekday each."""
    star_day, star_month = Field("*", frozenset(range(1, 32))), Field("*", frozenset(range(1, 13)))
    weekdays = [Field("*", frozenset(range(7))), *(Field(str(n), frozenset({n})) for n in range(7))]
    return [(expression.day, expression.month, expression.weekday), *((star_day, star_month, weekday) for weekday in weekdays)]
