"""When a schedule is due: intervals, and cron in time zones whose clocks change."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otelflow.errors import ConfigurationError
from otelflow.serve._times import CronTimes, Interval

BERLIN = ZoneInfo("Europe/Berlin")
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "America/St_Johns")


def moments(expression, start, count, zone=BERLIN):
    """Return the next *count* times in the zone's own words, with its distance from UTC in hours."""
    times = CronTimes(expression, zone)
    moment, shown = datetime.fromisoformat(start).timestamp(), []
    for _ in range(count):
        moment = times.after(moment)
        local = datetime.fromtimestamp(moment, zone)
        shown.append(f"{local:%m-%d %H:%M} +{local.utcoffset().seconds // 3_600}")
    return shown


def test_a_daily_time_is_the_same_on_the_wall_before_and_after_a_change_of_the_clocks():
    assert moments("0 3 * * *", "2026-03-28T12:00+01:00", 2) == ["03-29 03:00 +2", "03-30 03:00 +2"]
    assert moments("0 3 * * *", "2026-10-24T12:00+02:00", 2) == ["10-25 03:00 +1", "10-26 03:00 +1"]


def test_a_time_that_the_clock_leaves_out_comes_right_after_it_and_once():
    assert moments("30 2 * * *", "2026-03-28T12:00+01:00", 2) == ["03-29 03:00 +2", "03-30 02:30 +2"]
    assert moments("0,30 2 * * *", "2026-03-28T12:00+01:00", 2) == ["03-29 03:00 +2", "03-30 02:00 +2"]


def test_a_time_that_comes_twice_is_served_the_first_time_only():
    assert moments("30 2 * * *", "2026-10-24T12:00+02:00", 2) == ["10-25 02:30 +2", "10-26 02:30 +1"]


def test_from_within_the_second_hour_of_that_name_nothing_comes_that_has_passed():
    assert moments("30 2 * * *", "2026-10-25T02:10+01:00", 1) == ["10-26 02:30 +1"]


def test_what_comes_each_quarter_of_an_hour_goes_by_the_time_that_really_passes():
    autumn = moments("*/30 * * * *", "2026-10-25T01:59+02:00", 5)
    spring = moments("*/30 * * * *", "2026-03-29T01:29+01:00", 3)

    assert autumn == ["10-25 02:00 +2", "10-25 02:30 +2", "10-25 02:00 +1", "10-25 02:30 +1", "10-25 03:00 +1"]
    assert spring == ["03-29 01:30 +1", "03-29 03:00 +2", "03-29 03:30 +2"]


@given(
    st.sampled_from(ZONES),
    st.sampled_from(
        ("* * * * *", "*/7 * * * *", "15 * * * *", "30 2 * * *", "0 0 * * MON", "59 23 L * *", "5 1,2,3 * * *")
    ),
    st.datetimes(datetime(2024, 1, 1), datetime(2028, 1, 1)),  # noqa: DTZ001 in UTC, below
)
def test_each_time_is_later_than_the_one_before_and_none_is_left_out_by_where_one_begins(zone, expression, start):
    times = CronTimes(expression, ZoneInfo(zone))
    moment = start.replace(tzinfo=UTC).timestamp()
    first = times.after(moment)
    second = times.after(first)
    between = times.after((first + second) / 2)

    assert moment < first < second
    assert between == second


@pytest.mark.parametrize("expression", ["", "soon", "* * * *", "61 * * * *", "0 0 31 2 *", "* * * * * * *"])
def test_what_is_no_time_is_refused_with_an_example(expression):
    with pytest.raises(ConfigurationError, match=r"cannot be used .*such as '0 3"):
        CronTimes(expression, BERLIN)


def test_a_clock_that_was_set_forward_by_years_is_counted_up_to_a_bound():
    due = CronTimes("* * * * *", UTC).due(0.0, 1_000_000_000.0)

    assert due.number == 10_000
    assert 1_000_000_000.0 < due.following <= 1_000_000_060.0


@given(st.floats(0.1, 1e6), st.floats(0, 1e6), st.floats(0, 1e6))
def test_an_interval_does_not_drift_and_what_comes_next_lies_ahead(seconds, upcoming, past):
    due = Interval(seconds).due(upcoming, upcoming + past)

    assert due.number >= 1
    assert due.newest == pytest.approx(upcoming + (due.number - 1) * seconds)
    assert due.following == pytest.approx(upcoming + due.number * seconds)
    assert due.newest <= upcoming + past * (1 + 1e-9) + 1e-6
    assert due.following >= (upcoming + past) * (1 - 1e-9)


def test_before_its_time_nothing_is_due():
    assert Interval(10.0).due(20.0, 19.9) == (0, 0.0, 20.0)
