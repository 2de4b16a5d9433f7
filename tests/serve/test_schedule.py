"""What a user says of a schedule, and what is said of a mistake in it."""

from datetime import timedelta

import pytest
import tzlocal

from otelflow import Flow, flow
from otelflow.errors import ConfigurationError, NotCallable
from otelflow.serve import Schedule


@flow
def nightly(day: str = "today"):
    return day


class Doubled(Flow):
    def main(self, number: int = 1):
        return 2 * number


MISTAKES = {
    "no time": ({}, "say when, with every='10m' or with cron='0 3 .*, not both"),
    "two times": ({"every": "1h", "cron": "0 3 * * *"}, "not both"),
    "no length": ({"every": "often"}, "every='often' is no length of time"),
    "a number": ({"every": 10}, "every=10 is no length of time .* give a number with a unit"),
    "too short": ({"every": "1ms"}, "from 100ms to 366d"),
    "back in time": ({"every": timedelta(seconds=-1)}, "is no length of time"),
    "no cron": ({"cron": "at three"}, "cron='at three' cannot be used"),
    "cron of a number": ({"cron": 3}, "cron must be a text such as"),
    "a zone of an interval": ({"every": "1h", "timezone": "UTC"}, "timezone= is for cron="),
    "no zone": (
        {"cron": "0 3 * * *", "timezone": "Europe/Berln"},
        "no timezone 'Europe/Berln'; did you mean 'Europe/Berlin'",
    ),
    "a path as a zone": ({"cron": "0 3 * * *", "timezone": "/etc/passwd"}, "no timezone '/etc/passwd'"),
    "no such parameter": (
        {"every": "1h", "parameters": {"dya": "monday"}},
        "the flow has no parameter 'dya'; did you mean 'day'",
    ),
    "no overlap": ({"every": "1h", "overlap": "maybe"}, "overlap must be one of refuse, queue, allow, not 'maybe'"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_names_the_culprit_and_the_cure(case):
    keywords, words = MISTAKES[case]

    with pytest.raises(ConfigurationError, match=words):
        Schedule(nightly, **keywords)


def test_what_is_no_flow_is_refused():
    with pytest.raises(NotCallable, match="Schedule needs a function or method to run"):
        Schedule(42, every="1h")


def test_a_flow_is_made_anew_for_each_run_with_its_parameters():
    schedule = Schedule(nightly, every="1h", parameters={"day": "monday"})
    first, second = schedule.make(), schedule.make()

    assert first is not second
    assert first.execute().flow_return_value == second.execute().flow_return_value == "monday"


def test_a_class_is_made_and_set_up_for_each_run():
    schedule = Schedule(Doubled, every="1h", parameters={"number": 21})

    assert schedule.name == "Doubled"
    assert [schedule.make().execute().flow_return_value for _ in range(2)] == [42, 42]


def test_a_flow_that_is_set_up_is_used_again_and_runs_beside_nobody():
    ready = Flow().setup(lambda: 42)

    assert Schedule(ready, every="1h").make() is ready
    with pytest.raises(ConfigurationError, match="cannot run beside itself"):
        Schedule(ready, every="1h", overlap="allow")
    ready.execute()


def test_without_a_zone_it_is_that_of_the_machine(monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    tzlocal.reload_localzone()  # it remembers
    here = Schedule(nightly, cron="0 3 * * *").times
    there = Schedule(nightly, cron="0 3 * * *", timezone="Asia/Kolkata").times

    monkeypatch.undo()
    tzlocal.reload_localzone()
    assert here.after(1_000_000_000.0) == there.after(1_000_000_000.0)
