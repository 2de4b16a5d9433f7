"""What is counted besides runs and losses, with a bound on the names."""

from otelflow import semconv
from otelflow._core.process import process, tallies


def test_runs_are_counted_by_schedule_and_reason_and_a_series_may_begin_at_none():
    tallies.runs_missed("nightly", "late", 0)
    tallies.runs_missed("nightly", "overlap")
    tallies.runs_missed("nightly", "overlap", 2)

    assert tallies.missed_runs == {("nightly", "late"): 0, ("nightly", "overlap"): 3}


def test_waits_are_counted_and_added_up_by_limit():
    tallies.limit_passed("db", 0.5)
    tallies.limit_passed("db", 0.25)

    assert tallies.limit_waits == {"db": 2}
    assert tallies.limit_seconds == {"db": 0.75}


def test_of_very_many_names_the_rest_is_counted_together():
    for number in range(1_005):
        tallies.limit_passed(f"limit {number}", 1.0)
        tallies.runs_missed(f"schedule {number}", "late")
    tallies.limit_passed("limit 3", 1.0)

    assert tallies.limit_waits[semconv.OVERFLOW] == 5
    assert tallies.limit_seconds[semconv.OVERFLOW] == 5.0
    assert tallies.limit_waits["limit 3"] == 2
    assert tallies.missed_runs[semconv.OVERFLOW, "late"] == 5


def test_a_forked_child_counts_what_it_does_itself():
    tallies.limit_passed("db", 0.5)
    tallies.runs_missed("nightly", "late")
    process.begin_anew()

    assert (tallies.limit_waits, tallies.limit_seconds, tallies.missed_runs) == ({}, {}, {})
