"""What a worker counts is told once, and counted by who is told."""

from otelflow._core.process import losses, tallies
from otelflow.runners import _tallies


def test_what_was_counted_is_told_once():
    _tallies.new_counts()
    losses.lost("traces", "queue_full", 2)
    losses.listener_failed_elsewhere("hook", 3)
    tallies.limit_passed("db", 0.5)

    counts = _tallies.new_counts()
    assert counts.dropped == {("traces", "queue_full"): 2}
    assert counts.listener_errors == {"hook": 3}
    assert counts.limit_waits == {"db": 1}
    assert counts.limit_seconds == {"db": 0.5}
    assert _tallies.new_counts() == ({}, {}, {}, {})


def test_what_is_told_is_added():
    tallies.limit_passed("db", 1.0)

    _tallies.count(_tallies.Counts({("traces", "queue_full"): 2}, {"hook": 3}, {"db": 4}, {"db": 0.5}))

    assert losses.dropped["traces", "queue_full"] == 2
    assert losses.listener_errors["hook"] == 3
    assert (tallies.limit_waits["db"], tallies.limit_seconds["db"]) == (5, 1.5)
