"""Which expressions are read, what they mean, and how ticks are looked up. Clock changes have a file of their own."""

from datetime import UTC, datetime, timedelta, timezone
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrain_operator.cron import MACROS, Cron
from retrain_operator.errors import InvalidSpec


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def dates(cron: Cron, year_month: str, *, months: int = 1) -> list[int]:
    """Days of the month on which the schedule fires, from the first of `year_month` on."""
    start = at(f"{year_month}-01")
    end = start + timedelta(days=31 * months)
    ticks = cron.ticks_backward(end, start - timedelta(seconds=1))
    return sorted({tick.day for tick in ticks if (tick.year, tick.month) == (start.year, start.month)})


def first(cron: Cron, count: int, after: str = "2025-01-01") -> list[str]:
    ticks, moment = [], at(after) - timedelta(seconds=1)
    for _ in range(count):
        tick = cron.next_tick(moment)
        assert tick is not None
        ticks.append(tick.strftime("%m-%d %H:%M"))
        moment = tick
    return ticks


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        pytest.param("0 2 * * 0", ["01-05 02:00", "01-12 02:00"], id="five fields"),
        pytest.param("  0\t2  * * 0 ", ["01-05 02:00", "01-12 02:00"], id="any blanks between fields"),
        pytest.param("05 02 * * *", ["01-01 02:05", "01-02 02:05"], id="leading zeros"),
        pytest.param("0 2 * * 7", ["01-05 02:00", "01-12 02:00"], id="7 is Sunday"),
        pytest.param("0 2 * * 5-7", ["01-03 02:00", "01-04 02:00", "01-05 02:00", "01-10 02:00"], id="a range up to 7 ends on Sunday"),
        pytest.param("0 2 * * 1-7/3", ["01-02 02:00", "01-05 02:00", "01-06 02:00"], id="a stepped range up to 7"),
        pytest.param("0 2 * * 0-7", ["01-01 02:00", "01-02 02:00", "01-03 02:00", "01-04 02:00", "01-05 02:00"], id="0-7 is every day"),
        pytest.param("0 2 * * 7/2", ["01-05 02:00", "01-12 02:00"], id="a step from 7 finds nothing after it"),
        pytest.param("0 2 * * mOn,SAT", ["01-04 02:00", "01-06 02:00"], id="weekday names in any case"),
        pytest.param("0 2 * * Mon-Fri/2", ["01-01 02:00", "01-03 02:00", "01-06 02:00"], id="a range of names with a step"),
        pytest.param("0 0 1 feb,DEC *", ["02-01 00:00", "12-01 00:00"], id="month names in any case"),
        pytest.param("5-5 2 * * *", ["01-01 02:05", "01-02 02:05"], id="a range of one is one value"),
        pytest.param("40/10 2 * * *", ["01-01 02:40", "01-01 02:50", "01-02 02:40"], id="a step from a number runs to the end"),
        pytest.param("59/15 2 * * *", ["01-01 02:59", "01-02 02:59"], id="a step from the last value is that value"),
        pytest.param("*/90 2 * * *", ["01-01 02:00", "01-02 02:00"], id="a step longer than the field fires once, as in CronJob"),
        pytest.param("0,30,15-16 2 * * *", ["01-01 02:00", "01-01 02:15", "01-01 02:16", "01-01 02:30"], id="a list of values and ranges"),
        pytest.param("*,5 2 1 1 *", ["01-01 02:00", "01-01 02:01"], id="a star in a list is every value"),
        pytest.param("@yearly", ["01-01 00:00"], id="@yearly"),
        pytest.param("@annually", ["01-01 00:00"], id="@annually"),
        pytest.param("@monthly", ["01-01 00:00", "02-01 00:00"], id="@monthly"),
        pytest.param("@weekly", ["01-05 00:00", "01-12 00:00"], id="@weekly"),
        pytest.param(" @daily ", ["01-01 00:00", "01-02 00:00"], id="@daily"),
        pytest.param("@midnight", ["01-01 00:00", "01-02 00:00"], id="@midnight"),
        pytest.param("@hourly", ["01-01 00:00", "01-01 01:00"], id="@hourly"),
    ],
)
def test_accepted(expression: str, expected: list[str]) -> None:
    assert first(Cron.parse(expression), len(expected)) == expected


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        pytest.param("", ["0 fields", "write five", "0 2 * * 0"], id="empty"),
        pytest.param("   ", ["0 fields", "write five"], id="blank"),
        pytest.param("0 2 * *", ["4 fields", "write five"], id="four fields"),
        pytest.param("0 0 2 * * 0", ["6 fields", "no seconds"], id="seconds"),
        pytest.param("0 0 2 * * 0 2025", ["7 fields", "no year"], id="seconds and a year"),
        pytest.param("H 0 0 2 * * 0", ["7 fields", "no year"], id="H with too many fields"),
        pytest.param("TZ=Europe/London 0 2 * * 0", ["move it to spec.timeZone"], id="TZ="),
        pytest.param("CRON_TZ=Europe/London H 2 * * 0", ["move it to spec.timeZone"], id="CRON_TZ="),
        pytest.param("@reboot", ["@reboot", "@daily", "five fields"], id="@reboot"),
        pytest.param("@every 1h", ["@every 1h", "@hourly", "five fields"], id="@every"),
        pytest.param("@Daily", ["@Daily", "write one of", "@daily"], id="a macro in capitals"),
        pytest.param("R 2 * * *", ['minute "R"', "write H"], id="random R"),
        pytest.param("0 R(0-5) * * *", ['hour "R(0-5)"', "write H"], id="random R in a range"),
        pytest.param("0 2 * * fri-mon", ['day of week "fri-mon"', '"fri-SAT,SUN-mon"'], id="a range of days that wraps"),
        pytest.param("0 2 * * sat-sun", ['day of week "sat-sun"', '"sat-SAT,SUN-sun"'], id="SUN is the first day, so sat-sun wraps"),
        pytest.param("0 22-2 * * *", ['hour "22-2"', '"22-23,0-2"'], id="a range of hours that wraps"),
        pytest.param("0 2 * nov-feb *", ['month "nov-feb"', '"nov-DEC,JAN-feb"'], id="a range of months that wraps"),
        pytest.param("0 2 L * *", ['day of month "L"', "L, W and # are not supported"], id="L"),
        pytest.param("0 2 L-3 * *", ['day of month "L-3"', "L, W and # are not supported"], id="L with an offset"),
        pytest.param("0 2 15W * *", ['day of month "15W"', "write the days as numbers"], id="W"),
        pytest.param("0 2 * * friL", ['day of week "friL"', "write the days as numbers"], id="last weekday"),
        pytest.param("0 2 * * 2#1", ['day of week "2#1"', "write the days as numbers"], id="#"),
        pytest.param("0 2 ? * 0", ['day of month "?"', "write *"], id="?"),
        pytest.param("60 2 * * *", ['minute "60"', "from 0 to 59"], id="minute 60"),
        pytest.param("0 24 * * *", ['hour "24"', "from 0 to 23"], id="hour 24"),
        pytest.param("0 0 0 * *", ['day of month "0"', "from 1 to 31"], id="day 0"),
        pytest.param("0 0 1 13 *", ['month "13"', "from 1 to 12, or JAN to DEC"], id="month 13"),
        pytest.param("0 0 * * 8", ['day of week "8"', "from 0 to 7, or SUN to SAT"], id="weekday 8"),
        pytest.param("0 20-24 * * *", ['hour "20-24"', "from 0 to 23"], id="a range out of the field"),
        pytest.param("0 0 1 mon *", ['month "mon"', "JAN to DEC"], id="a weekday as month"),
        pytest.param("mon 0 * * *", ['minute "mon"', "from 0 to 59"], id="a name where only numbers are"),
        pytest.param("*/0 * * * *", ['minute "*/0"', "1 or more"], id="a step of 0"),
        pytest.param("H/0 * * * *", ['minute "H/0"', "1 or more"], id="a hashed step of 0"),
        pytest.param("0,,5 * * * *", ['minute ""', "write a number"], id="an empty item"),
        pytest.param("-5 * * * *", ['minute "-5"', "write a number"], id="a negative number"),
        pytest.param("*/x * * * *", ['minute "*/x"', "write a number"], id="a step that is no number"),
        pytest.param("1-2-3 * * * *", ['minute "1-2-3"', "write a number"], id="a range of three"),
        pytest.param("*-5 * * * *", ['minute "*-5"', "write a number"], id="a range from a star"),
        pytest.param("1.5 * * * *", ['minute "1.5"', "write a number"], id="a fraction"),
        pytest.param("٣ * * * *", ['minute "٣"', "write a number"], id="digits of another script"),
        pytest.param("h * * * *", ['minute "h"', "in capitals"], id="h"),
        pytest.param("0,H * * * *", ['minute "H"', "alone in its field"], id="H in a list"),
        pytest.param("H,0 * * * *", ['minute "H"', "alone in its field"], id="H at the head of a list"),
        pytest.param("H(0-60) * * * *", ['minute "H(0-60)"', "from 0 to 59"], id="H out of the field"),
        pytest.param("H(30-10) * * * *", ['minute "H(30-10)"', "lower number first"], id="H backwards"),
        pytest.param("H( * * * *", ['minute "H("', "H(a-b)"], id="H half written"),
        pytest.param("0 0 31 2 *", ["never fires", "day 31 does not exist in month 2", "write a day"], id="31 February"),
        pytest.param("0 0 30-31 FEB *", ["never fires", "day 30-31", "month FEB"], id="30 and 31 February"),
        pytest.param("0 0 31 4,6,9,11 *", ["never fires", "write a day"], id="day 31 of the short months"),
    ],
)
def test_refused(expression: str, says: list[str]) -> None:
    with pytest.raises(InvalidSpec) as refusal:
        Cron.parse(expression, seed="ml/churn")
    assert refusal.value.reason == "InvalidSpec"
    message = str(refusal.value)
    assert [part for part in says if part not in message] == [], message


@pytest.mark.parametrize(
    "zone",
    [
        pytest.param("Mars/Olympus", id="no such zone"),
        pytest.param("", id="empty"),
        pytest.param("europe/london", id="lower case"),
        pytest.param("America", id="a folder of zones"),
        pytest.param("Local", id="Go's name for the host's zone"),
        pytest.param("localtime", id="the host's zone"),
        pytest.param("right/Europe/London", id="a zone with leap seconds"),
        pytest.param("posix/Europe/London", id="a zone under another name"),
        pytest.param("../../etc/passwd", id="a path upwards"),
        pytest.param("/usr/share/zoneinfo/Europe/London", id="an absolute path"),
        pytest.param("zone.tab", id="a file that is no zone"),
        pytest.param("Europe/London\0", id="a NUL"),
        pytest.param("Z" * 5000, id="longer than a file name"),
    ],
)
def test_refused_zone(zone: str) -> None:
    with pytest.raises(InvalidSpec, match=r"is not an IANA time zone: write its name.*Europe/London"):
        Cron.parse("0 2 * * 0", zone)


@settings(max_examples=500)
@given(st.text(alphabet="0123456789*/,-HRLW#?@()=. \tjanfebsumo", max_size=30), st.text(max_size=12))
def test_anything_is_read_or_refused(expression: str, zone: str) -> None:
    for arguments in ((expression, "Etc/UTC"), ("0 2 * * 0", zone)):
        try:
            cron = Cron.parse(*arguments)
        except InvalidSpec:
            continue
        assert cron.next_tick(at("2025-01-01")) is not None


@pytest.mark.parametrize("macro", MACROS)
def test_macro_is_reported_as_its_five_fields(macro: str) -> None:
    assert Cron.parse(macro, "Europe/London").effective == f"{MACROS[macro]} Europe/London"


def test_effective_keeps_what_was_written() -> None:
    assert Cron.parse(" */15  2 * JAN mon-FRI ").effective == "*/15 2 * JAN mon-FRI Etc/UTC"


@pytest.mark.parametrize(
    ("expression", "effective"),
    [
        # Never change these: they are when users' schedules run.
        pytest.param("H H * * *", "10 23 * * * Etc/UTC", id="H is a number"),
        pytest.param("H 2 * * H", "10 2 * * 1 Etc/UTC", id="each field has its own number, wherever the others are"),
        pytest.param("H H H H *", "10 23 12 6 * Etc/UTC", id="day of month and month"),
        pytest.param("H(0-9) H(1-5) * * *", "0 5 * * * Etc/UTC", id="H(a-b) is a number from the range"),
        pytest.param("H/15 H/6 * * *", "10-59/15 5-23/6 * * * Etc/UTC", id="H/n starts in the first period"),
        pytest.param("0 0 H/10 * *", "0 0 8-31/10 * * Etc/UTC", id="H/n runs to the end of the month"),
        pytest.param("H(30-59)/10 * * * *", "30-59/10 * * * * Etc/UTC", id="H(a-b)/n stays in the range"),
        pytest.param("0 H/24 * * *", "0 23-23/24 * * * Etc/UTC", id="a step of the whole field is one value"),
        pytest.param("H H/1 H/1 * H/1", "10 * * * * Etc/UTC", id="H/1 is a star"),
    ],
)
def test_hash_is_resolved(expression: str, effective: str) -> None:
    assert Cron.parse(expression, seed="ml/churn").effective == effective


def test_hash_that_steps_over_the_whole_field_fires_once() -> None:
    assert first(Cron.parse("0 H/24 * * *", seed="ml/churn"), 2) == ["01-01 23:00", "01-02 23:00"]


def test_hash_spreads_over_the_whole_day() -> None:
    times = {Cron.parse("H H * * *", seed=f"ml/schedule-{i}").times for i in range(10_000)}
    assert len(times) > 1400  # of 1,440


def test_hashed_day_of_month_exists_in_every_month() -> None:
    for i in range(300):
        for expression in ("0 0 H * *", "0 0 H/31 * *"):
            (day,) = dates(Cron.parse(expression, seed=f"ml/schedule-{i}"), "2025-02")
            assert 1 <= day <= 28


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        # June 2025 begins on a Sunday.
        pytest.param("0 2 13 * *", [13], id="day of month alone"),
        pytest.param("0 2 * * FRI", [6, 13, 20, 27], id="day of week alone"),
        pytest.param("0 2 10 * FRI", [6, 10, 13, 20, 27], id="both restricted: either is enough"),
        pytest.param("0 2 31 * FRI", [6, 13, 20, 27], id="both restricted: a day that the month lacks does no harm"),
        pytest.param("0 2 */10 * FRI", [1, 6, 11, 13, 20, 21, 27], id="a stepped day of month is restricted"),
        pytest.param("0 2 5 * */3", [1, 4, 5, 7, 8, 11, 14, 15, 18, 21, 22, 25, 28, 29], id="a stepped day of week is restricted"),
        pytest.param("0 2 */1 * FRI", [6, 13, 20, 27], id="a step of 1 is a star"),
        pytest.param("0 2 10 * */1", [10], id="a step of 1 is a star in the day of week"),
        pytest.param("0 2 *,10 * FRI", [6, 13, 20, 27], id="a list with a star is a star"),
        pytest.param("0 2 1-31 * FRI", list(range(1, 31)), id="all days in numbers are restricted: every day"),
        pytest.param("0 2 10 * 0-6", list(range(1, 31)), id="all weekdays in numbers are restricted: every day"),
        pytest.param("0 2 */15 * 0-6", list(range(1, 31)), id="a step and all weekdays: every day"),
        pytest.param("0 2 H/1 * FRI", [6, 13, 20, 27], id="a hashed step of 1 is a star"),
        pytest.param("0 2 10 7 FRI", [], id="another month"),
    ],
)
def test_day_rule(expression: str, expected: list[int]) -> None:
    assert dates(Cron.parse(expression), "2025-06") == expected


def test_impossible_day_of_month_is_fine_beside_a_day_of_week() -> None:
    assert dates(Cron.parse("0 0 31 2 MON"), "2025-02") == [3, 10, 17, 24]


@pytest.mark.parametrize(
    ("after", "until", "expected"),
    [
        pytest.param("2025-06-18T00:00", "2025-06-18T02:00", "2025-06-18T02:00", id="a tick at the end is in"),
        pytest.param("2025-06-18T02:00", "2025-06-18T23:00", None, id="a tick at the start is out"),
        pytest.param("2025-06-18T01:59:59.999999", "2025-06-18T02:00:00", "2025-06-18T02:00", id="a microsecond before is before"),
        pytest.param("2025-06-17T02:00:00.000001", "2025-06-18T01:59:59.999999", None, id="no tick between"),
        pytest.param("1990-01-01", "2025-06-18T01:00", "2025-06-17T02:00", id="the latest of many years"),
        pytest.param("2025-06-18T03:00", "2025-06-18T02:00", None, id="an empty range"),
    ],
)
def test_latest_tick(after: str, until: str, expected: str | None) -> None:
    assert Cron.parse("0 2 * * *").latest_tick(at(after), at(until)) == (at(expected) if expected else None)


@pytest.mark.parametrize(
    ("expression", "after", "expected"),
    [
        pytest.param("0 2 * * *", "2025-06-18T02:00", "2025-06-19T02:00", id="a tick at the start is out"),
        pytest.param("0 2 * * *", "2025-06-18T01:59:59.999999", "2025-06-18T02:00", id="a microsecond before"),
        pytest.param("0 0 29 2 *", "2024-02-29T00:00", "2028-02-29T00:00", id="29 February, four years later"),
        pytest.param("0 0 29 2 *", "2096-02-29T00:00", "2104-02-29T00:00", id="29 February, eight years later as 2100 has none"),
        pytest.param("59 23 31 12 *", "2025-12-31T23:59", "2026-12-31T23:59", id="over the end of the year"),
    ],
)
def test_next_tick(expression: str, after: str, expected: str) -> None:
    assert Cron.parse(expression).next_tick(at(after)) == at(expected)


def test_leap_day_backward_over_2100() -> None:
    assert Cron.parse("0 0 29 2 *").latest_tick(at("2000-01-01"), at("2103-12-31")) == at("2096-02-29")


def test_a_stepped_hour_of_a_date_that_was_skipped_waits_for_the_next_year() -> None:
    cron = Cron.parse("0 0/24 30 12 *", "Pacific/Apia")  # Samoa had no 30 December 2011
    assert cron.next_tick(at("2011-12-01")) == at("2012-12-29T10:00")


def test_ticks_backward_is_lazy_and_ends_at_after() -> None:
    cron = Cron.parse("* * * * *")
    ticks = cron.ticks_backward(at("2025-06-18T00:01:30"), at("1971-01-01"))
    assert list(islice(ticks, 3)) == [at("2025-06-18T00:01"), at("2025-06-18T00:00"), at("2025-06-17T23:59")]
    assert list(cron.ticks_backward(at("2025-06-18T00:02"), at("2025-06-18"))) == [at("2025-06-18T00:02"), at("2025-06-18T00:01")]


def test_moments_may_come_in_any_zone_and_ticks_are_utc() -> None:
    plus_two = timezone(timedelta(hours=2))
    tick = Cron.parse("0 2 * * *").next_tick(datetime(2025, 6, 18, 3, 59, tzinfo=plus_two))
    assert tick == at("2025-06-18T02:00")
    assert tick.tzinfo is UTC


def test_naive_moments_are_refused() -> None:
    cron, naive, aware = Cron.parse("0 2 * * *"), datetime(2025, 6, 18), at("2025-06-18")  # noqa: DTZ001
    with pytest.raises(ValueError, match="is naive"):
        cron.next_tick(naive)
    with pytest.raises(ValueError, match="is naive"):
        cron.latest_tick(naive, aware)
    with pytest.raises(ValueError, match="is naive"):
        cron.ticks_backward(naive, aware)


def test_equal_text_is_parsed_once() -> None:
    assert Cron.parse("@daily", "Europe/London") is Cron.parse("0 0 * * *", "Europe/London", "ml/churn")
