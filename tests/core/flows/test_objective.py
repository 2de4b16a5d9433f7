"""What an objective may promise, and how it says so."""

from datetime import timedelta

import pytest

from otelflow import Objective, flow
from otelflow.errors import ConfigurationError


@pytest.mark.parametrize(
    ("promises", "complaint"),
    [
        ({"success": 1.5}, "success=1.5 is no share"),
        ({"success": 1}, "success=1 is no share"),
        ({"success": 0}, "success=0 is no share"),
        ({"success": True}, "success=True is no share"),
        ({"success": "99%"}, "success='99%' is no share"),
        ({"success": float("nan")}, "success=nan is no share"),
        ({"every": "often"}, "every='often' is no length of time"),
        ({"every": 5}, "every=5 is no length of time"),
        ({"every": "0s"}, "every='0s' is no length of time"),
        ({"every": "90d"}, "every='90d' is no length of time"),
        ({"duration": "-5m"}, "duration='-5m' is no length of time"),
        ({"duration": "10 minutes"}, "duration='10 minutes' is no length of time"),
        ({"duration": timedelta(0)}, "is no length of time"),
        ({"success": 0.9, "runbook": ""}, "runbook must be a text"),
        ({}, "promise something"),
    ],
)
def test_an_objective_that_says_nothing_usable_is_one_error_with_the_cure(promises, complaint):
    with pytest.raises(ConfigurationError, match=r"^Objective: ") as error:
        Objective(**promises)

    assert complaint in str(error.value)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("10m", 600), ("1h30m", 5400), ("90s", 90), ("1d", 86400), ("2w", 1209600), ("1.5h", 5400), ("500ms", 0.5)],
)
def test_lengths_of_time_have_units(text, seconds):
    assert Objective(every=text).every == seconds
    assert Objective(every=timedelta(seconds=seconds)) == Objective(every=text)


def test_an_objective_that_is_none_is_refused_at_decoration():
    with pytest.raises(ConfigurationError, match="objective must be"):

        @flow(objective="99%")
        def never():
            pass


@pytest.mark.parametrize("buckets", [[], [0, 1], [2, 1], [float("nan")], [10**400], ["1"], [True]])
def test_buckets_that_are_no_rising_seconds_are_refused(buckets):
    with pytest.raises(ConfigurationError, match="must be up to 60 rising numbers of seconds"):
        flow(buckets=buckets)(len)
