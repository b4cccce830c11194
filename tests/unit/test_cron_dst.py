"""Clock changes, zone by zone. Every expected instant is UTC and was written down from the zone's rules, not computed.

Fixed hours fire once per matching day: in a gap at the first instant after it, in a repeated hour at the first. Wildcard and stepped
hours follow real time: every instant whose wall clock matches, nothing extra at a gap.
"""

from datetime import UTC, datetime, timedelta

import pytest

from retrain_operator.cron import Cron

NEW_YORK, LONDON, LORD_HOWE = "America/New_York", "Europe/London", "Australia/Lord_Howe"
KOLKATA, SANTIAGO, APIA, ST_JOHNS, TORONTO = "Asia/Kolkata", "America/Santiago", "Pacific/Apia", "America/St_Johns", "America/Toronto"


def at(text: str) -> datetime:
    """`2025-03-09 07:00` or, shorter, `03-09 07:00` of 2025, in UTC."""
    return datetime.fromisoformat(text if text[4] == "-" else f"2025-{text}").replace(tzinfo=UTC)


def every(minutes: int, first: str, last: str) -> list[str]:
    """The instants from `first` to `last`, both included: a steady beat in real time."""
    count = (at(last) - at(first)) // timedelta(minutes=minutes)
    return [(at(first) + n * timedelta(minutes=minutes)).strftime("%Y-%m-%d %H:%M") for n in range(count + 1)]


# 9 March 2025: the clock goes from 02:00 EST to 03:00 EDT at 07:00 UTC.
NEW_YORK_SPRING = [
    pytest.param("30 2 * * *", ["03-08 07:30", "03-09 07:00", "03-10 06:30"], id="fixed in the gap: first instant after it"),
    pytest.param("0 2 * * *", ["03-08 07:00", "03-09 07:00", "03-10 06:00"], id="fixed at the start of the gap: first instant after it"),
    pytest.param("0 3 * * *", ["03-08 08:00", "03-09 07:00", "03-10 07:00"], id="fixed at the end of the gap"),
    pytest.param("59 1 * * *", ["03-08 06:59", "03-09 06:59", "03-10 05:59"], id="fixed just before the gap"),
    pytest.param("*/20 2 9 3 *", ["03-09 07:00"], id="fixed hour, all of its minutes in the gap: one tick"),
    pytest.param("0,30 2,3 9 3 *", ["03-09 07:00", "03-09 07:30"], id="fixed, in and after the gap: one instant is one tick"),
    pytest.param("30 2 9 3 *", ["03-09 07:00"], id="fixed on that date alone"),
    pytest.param("30 2 * * 0", ["03-09 07:00"], id="fixed on that weekday alone"),
    pytest.param("30 0-3 9 3 *", ["03-09 05:30", "03-09 06:30", "03-09 07:00", "03-09 07:30"], id="a range of hours is fixed"),
    pytest.param(
        "0 */2 9 3 *", ["03-09 05:00", *every(120, "03-09 08:00", "03-10 02:00")], id="stepped: the hour in the gap does not fire"
    ),
    pytest.param("30 2/3 9 3 *", every(180, "03-09 09:30", "03-10 03:30"), id="stepped from the hour in the gap"),
    pytest.param("30 * 9 3 *", every(60, "03-09 05:30", "03-10 03:30"), id="wildcard: 23 ticks, an hour apart"),
]
# 2 November 2025: the clock goes from 02:00 EDT back to 01:00 EST at 06:00 UTC.
NEW_YORK_AUTUMN = [
    pytest.param("30 1 * * *", ["11-01 05:30", "11-02 05:30", "11-03 06:30"], id="fixed in the repeated hour: the first time round"),
    pytest.param("0 1 * * *", ["11-01 05:00", "11-02 05:00", "11-03 06:00"], id="fixed at the start of the repeated hour"),
    pytest.param("0 2 * * *", ["11-01 06:00", "11-02 07:00", "11-03 07:00"], id="fixed at the end of the repeated hour"),
    pytest.param("*/20 1 2 11 *", ["11-02 05:00", "11-02 05:20", "11-02 05:40"], id="fixed hour, every 20 minutes: the first time round"),
    pytest.param("30 0-2 2 11 *", ["11-02 04:30", "11-02 05:30", "11-02 07:30"], id="a range of hours is fixed"),
    pytest.param("0 1-5/2 2 11 *", ["11-02 05:00", "11-02 06:00", "11-02 08:00", "11-02 10:00"], id="stepped: the repeated hour twice"),
    pytest.param("0 */12 2 11 *", ["11-02 04:00", "11-02 17:00"], id="stepped over other hours: once each"),
    pytest.param("30 * 2 11 *", every(60, "11-02 04:30", "11-03 04:30"), id="wildcard: 25 ticks, an hour apart"),
]
# 30 March 2025: from 01:00 GMT to 02:00 BST at 01:00 UTC.
LONDON_SPRING = [
    pytest.param("30 1 * * *", ["03-29 01:30", "03-30 01:00", "03-31 00:30"], id="fixed in the gap: first instant after it"),
    pytest.param("0 1,2 30 3 *", ["03-30 01:00"], id="fixed at both ends of the gap: one tick"),
    pytest.param("0 1/6 30 3 *", ["03-30 06:00", "03-30 12:00", "03-30 18:00"], id="stepped: the hour in the gap does not fire"),
    pytest.param("15 * 30 3 *", every(60, "03-30 00:15", "03-30 22:15"), id="wildcard: 23 ticks, an hour apart"),
]
# 26 October 2025: from 02:00 BST back to 01:00 GMT at 01:00 UTC.
LONDON_AUTUMN = [
    pytest.param("30 1 * * *", ["10-25 00:30", "10-26 00:30", "10-27 01:30"], id="fixed in the repeated hour: the first time round"),
    pytest.param("0 2 * * *", ["10-25 01:00", "10-26 02:00", "10-27 02:00"], id="fixed at the end of the repeated hour"),
    pytest.param(
        "0 1/6 26 10 *", ["10-26 00:00", "10-26 01:00", "10-26 07:00", "10-26 13:00", "10-26 19:00"], id="stepped: the repeated hour twice"
    ),
    pytest.param("15 * 26 10 *", every(60, "10-25 23:15", "10-26 23:15"), id="wildcard: 25 ticks, an hour apart"),
]
# 5 October 2025: from 02:00 +10:30 to 02:30 +11 at 15:30 UTC the day before. The gap is half an hour.
LORD_HOWE_SPRING = [
    pytest.param("15 2 * * *", ["10-03 15:45", "10-04 15:30", "10-05 15:15"], id="fixed in the half-hour gap: first instant after it"),
    pytest.param("45 2 * * *", ["10-03 16:15", "10-04 15:45", "10-05 15:45"], id="fixed in the same hour after the gap"),
    pytest.param("0,15,30 2 5 10 *", ["10-04 15:30"], id="fixed, in and at the end of the gap: one tick"),
    pytest.param("0 0-6/2 5 10 *", ["10-04 13:30", "10-04 17:00", "10-04 19:00"], id="stepped: the hour in the gap does not fire"),
    pytest.param("45 0-6/2 5 10 *", ["10-04 14:15", "10-04 15:45", "10-04 17:45", "10-04 19:45"], id="stepped: the rest of that hour does"),
    pytest.param("15 0/1 5 10 *", ["10-04 13:45", "10-04 14:45", *every(60, "10-04 16:15", "10-05 12:15")], id="stepped by 1: no 02:15"),
    pytest.param("*/15 * 5 10 *", every(15, "10-04 13:30", "10-05 12:45"), id="wildcard: every quarter of an hour goes on"),
]
# 6 April 2025: from 02:00 +11 back to 01:30 +10:30 at 15:00 UTC the day before. Half an hour is repeated.
LORD_HOWE_AUTUMN = [
    pytest.param("45 1 * * *", ["04-04 14:45", "04-05 14:45", "04-06 15:15"], id="fixed in the repeated half-hour: the first time round"),
    pytest.param("15 1 * * *", ["04-04 14:15", "04-05 14:15", "04-06 14:45"], id="fixed in the same hour before the repeated half"),
    pytest.param("0 2 * * *", ["04-04 15:00", "04-05 15:30", "04-06 15:30"], id="fixed at the end of the repeated half-hour"),
    pytest.param(
        "45 1/6 6 4 *",
        ["04-05 14:45", "04-05 15:15", "04-05 21:15", "04-06 03:15", "04-06 09:15"],
        id="stepped: the repeated half-hour twice",
    ),
    pytest.param("15 1/6 6 4 *", ["04-05 14:15", "04-05 20:45", "04-06 02:45", "04-06 08:45"], id="stepped: the other half once"),
    pytest.param(
        "45 * 6 4 *", ["04-05 13:45", "04-05 14:45", *every(60, "04-05 15:15", "04-06 13:15")], id="wildcard: the repeated half-hour twice"
    ),
]
# No clock changes: +5:30 all year, shown over the nights on which others change.
KOLKATA_MARCH = [
    pytest.param("30 2 * * *", ["03-07 21:00", "03-08 21:00", "03-09 21:00"], id="fixed: always the same instant of the day"),
    pytest.param("0 */6 9 3 *", ["03-08 18:30", "03-09 00:30", "03-09 06:30", "03-09 12:30"], id="stepped: every six hours"),
    pytest.param("0 * 9 3 *", every(60, "03-08 18:30", "03-09 17:30"), id="wildcard: 24 ticks"),
]
KOLKATA_NOVEMBER = [
    pytest.param("30 1 * * *", ["10-31 20:00", "11-01 20:00", "11-02 20:00"], id="fixed: always the same instant of the day"),
    pytest.param("0 */6 2 11 *", ["11-01 18:30", "11-02 00:30", "11-02 06:30", "11-02 12:30"], id="stepped: every six hours"),
    pytest.param("0 * 2 11 *", every(60, "11-01 18:30", "11-02 17:30"), id="wildcard: 24 ticks"),
]
# 7 September 2025: from midnight -04 to 01:00 -03 at 04:00 UTC. The date has no 00:00.
SANTIAGO_SPRING = [
    pytest.param("0 0 * * *", ["09-06 04:00", "09-07 04:00", "09-08 03:00"], id="fixed at the midnight that is skipped"),
    pytest.param("30 0 * * *", ["09-06 04:30", "09-07 04:00", "09-08 03:30"], id="fixed in the gap: first instant after it"),
    pytest.param("59 23 * * *", ["09-06 03:59", "09-07 03:59", "09-08 02:59"], id="fixed just before the gap"),
    pytest.param("0 0 * * SUN", ["09-07 04:00"], id="fixed: the gap belongs to Sunday"),
    pytest.param("0 */6 7 9 *", ["09-07 09:00", "09-07 15:00", "09-07 21:00"], id="stepped: the midnight that is skipped does not fire"),
    pytest.param("0 23/24 6 9 *", ["09-07 03:00"], id="stepped: the last hour before the gap"),
    pytest.param("30 * 7 9 *", every(60, "09-07 04:30", "09-08 02:30"), id="wildcard: 23 ticks, an hour apart"),
]
# 6 April 2025: from midnight -03 back to 23:00 -04 of 5 April at 03:00 UTC. Saturday's last hour is repeated.
SANTIAGO_AUTUMN = [
    pytest.param("30 23 * * *", ["04-05 02:30", "04-06 02:30", "04-07 03:30"], id="fixed in the repeated hour: the first time round"),
    pytest.param("0 0 * * *", ["04-05 03:00", "04-06 04:00", "04-07 04:00"], id="fixed at midnight: only the midnight that begins a date"),
    pytest.param("0 23 * * SAT", ["04-06 02:00"], id="fixed on Saturday's repeated hour"),
    pytest.param(
        "30 5/6 5 4 *", ["04-05 08:30", "04-05 14:30", "04-05 20:30", "04-06 02:30", "04-06 03:30"], id="stepped: the repeated hour twice"
    ),
    pytest.param("0 */6 6 4 *", ["04-06 04:00", "04-06 10:00", "04-06 16:00", "04-06 22:00"], id="stepped: midnight once"),
    pytest.param("30 * 5 4 *", every(60, "04-05 03:30", "04-06 03:30"), id="wildcard: 25 ticks on Saturday"),
    pytest.param("30 * 6 4 *", every(60, "04-06 04:30", "04-07 03:30"), id="wildcard: 24 ticks on Sunday"),
]
# Samoa skipped 30 December 2011: at 10:00 UTC of that day, midnight -10 became midnight +14 of the 31st.
APIA_SKIPPED_DAY = [
    pytest.param(
        "0 2 * * *",
        ["2011-12-29 12:00", "2011-12-30 10:00", "2011-12-30 12:00", "2011-12-31 12:00"],
        id="fixed on the date that was skipped: first instant after it",
    ),
    pytest.param(
        "0 0 * * *", ["2011-12-29 10:00", "2011-12-30 10:00", "2011-12-31 10:00"], id="fixed at two midnights that are one instant"
    ),
    pytest.param("0 2 * * FRI", ["2011-12-30 10:00"], id="fixed on a Friday that was skipped"),
    pytest.param("0 */2 * * FRI", [], id="stepped on a Friday that was skipped"),
    pytest.param(
        "0 */12 * * *",
        ["2011-12-29 10:00", "2011-12-29 22:00", "2011-12-30 10:00", "2011-12-30 22:00", "2011-12-31 10:00"],
        id="stepped: twelve hours apart",
    ),
]
# Newfoundland, 7 November 2010: from 00:01 -02:30 back to 23:01 -03:30 of 6 November at 02:31 UTC. A minute of Sunday, then Saturday again.
ST_JOHNS_AUTUMN = [
    pytest.param("30 23 6 11 *", ["2010-11-07 02:00"], id="fixed in the repeated hour: the first time round"),
    pytest.param("0 0 7 11 *", ["2010-11-07 02:30"], id="fixed at the midnight that is repeated: the first"),
    pytest.param("1,30 0 7 11 *", ["2010-11-07 03:31", "2010-11-07 04:00"], id="fixed after the repeated hour"),
    pytest.param(
        "0,30 22/1 6 11 *",
        ["2010-11-07 00:30", "2010-11-07 01:00", "2010-11-07 01:30", "2010-11-07 02:00", "2010-11-07 03:00"],
        id="stepped: Saturday goes on after Sunday has begun",
    ),
    pytest.param(
        "0,30 0-1/1 7 11 *",
        ["2010-11-07 02:30", "2010-11-07 03:30", "2010-11-07 04:00", "2010-11-07 04:30", "2010-11-07 05:00"],
        id="stepped: Sunday's midnight twice",
    ),
    pytest.param("0,30 * 6,7 11 *", every(30, "2010-11-06 02:30", "2010-11-08 03:00"), id="wildcard: half an hour apart through both"),
]
# Toronto, 30 March 1919: from 23:30 EST to 00:30 EDT of the 31st at 04:30 UTC. Midnight lies inside the gap.
TORONTO_SPRING = [
    pytest.param("45 23 * * *", ["1919-03-30 04:45", "1919-03-31 04:30", "1919-04-01 03:45"], id="fixed in the gap, before midnight"),
    pytest.param("0 0 * * *", ["1919-03-30 05:00", "1919-03-31 04:30", "1919-04-01 04:00"], id="fixed at the midnight inside the gap"),
    pytest.param("45 0 * * *", ["1919-03-30 05:45", "1919-03-31 04:45", "1919-04-01 04:45"], id="fixed after the gap"),
    pytest.param("0,45 23/24 30 3 *", ["1919-03-31 04:00"], id="stepped: the last date ends half an hour early"),
    pytest.param("15 * 31 3 *", every(60, "1919-03-31 05:15", "1919-04-01 03:15"), id="wildcard: the new date begins at 00:30"),
]

CHANGES = [
    # zone, after, until, rows: ticks in (after, until]
    (NEW_YORK, "03-08 05:00", "03-10 12:00", NEW_YORK_SPRING),
    (NEW_YORK, "11-01 04:00", "11-03 12:00", NEW_YORK_AUTUMN),
    (LONDON, "03-29 00:00", "03-31 12:00", LONDON_SPRING),
    (LONDON, "10-25 00:00", "10-27 12:00", LONDON_AUTUMN),
    (LORD_HOWE, "10-03 14:00", "10-05 20:00", LORD_HOWE_SPRING),
    (LORD_HOWE, "04-04 14:00", "04-06 20:00", LORD_HOWE_AUTUMN),
    (KOLKATA, "03-07 19:00", "03-09 22:00", KOLKATA_MARCH),
    (KOLKATA, "10-31 19:00", "11-02 22:00", KOLKATA_NOVEMBER),
    (SANTIAGO, "09-06 00:00", "09-08 12:00", SANTIAGO_SPRING),
    (SANTIAGO, "04-05 00:00", "04-07 12:00", SANTIAGO_AUTUMN),
    (APIA, "2011-12-29 00:00", "2011-12-31 20:00", APIA_SKIPPED_DAY),
    (ST_JOHNS, "2010-11-05 04:00", "2010-11-09 12:00", ST_JOHNS_AUTUMN),
    (TORONTO, "1919-03-30 04:10", "1919-04-01 05:00", TORONTO_SPRING),
]


@pytest.mark.parametrize(
    ("zone", "after", "until", "expression", "expected"),
    [
        pytest.param(zone, after, until, *row.values, id=f"{zone} {at(until):%B %Y}, {row.id}")
        for zone, after, until, rows in CHANGES
        for row in rows
    ],
)
def test_clock_change(zone: str, after: str, until: str, expression: str, expected: list[str]) -> None:
    cron = Cron.parse(expression, zone)
    ticks = [at(text) for text in expected]
    assert list(cron.ticks_backward(at(until), at(after))) == ticks[::-1]
    moment = at(after)
    for tick in ticks:
        assert cron.next_tick(moment) == tick
        moment = tick
    following = cron.next_tick(moment)
    assert following is not None
    assert following > at(until)


@pytest.mark.parametrize(
    ("zone", "expression", "now", "expected"),
    [
        pytest.param(NEW_YORK, "30 1 * * *", "11-02 05:29", "11-01 05:30", id="before the repeated hour's first 01:30"),
        pytest.param(NEW_YORK, "30 1 * * *", "11-02 05:30", "11-02 05:30", id="at the first 01:30"),
        pytest.param(NEW_YORK, "30 1 * * *", "11-02 06:30", "11-02 05:30", id="at the second 01:30: still the first"),
        pytest.param(NEW_YORK, "30 2 * * *", "03-09 06:59", "03-08 07:30", id="just before the gap"),
        pytest.param(NEW_YORK, "30 2 * * *", "03-09 07:00", "03-09 07:00", id="at the first instant after the gap"),
        pytest.param(ST_JOHNS, "0 0 * * *", "2010-11-07 03:00", "2010-11-07 02:30", id="on Saturday again, after Sunday's midnight"),
        pytest.param(ST_JOHNS, "*/30 * * * *", "2010-11-07 03:00", "2010-11-07 03:00", id="on Saturday again, in real time"),
    ],
)
def test_latest_tick_at_a_clock_change(zone: str, expression: str, now: str, expected: str) -> None:
    assert Cron.parse(expression, zone).latest_tick(at("2009-01-01 00:00"), at(now)) == at(expected)


def test_next_tick_on_the_first_of_a_month_may_fall_on_the_last_again() -> None:
    # Newfoundland, 1 November 2009: at 02:31 UTC from 00:01 back to 23:01 of 31 October.
    assert Cron.parse("30 * 31 10 *", ST_JOHNS).next_tick(at("2009-11-01 02:30")) == at("2009-11-01 03:00")
