"""What becomes of each time: it starts, waits, or is missed and counted."""

from collections import Counter, deque
from datetime import UTC

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from otelflow.serve._plan import MOST_RUNS, Plan
from otelflow.serve._times import CronTimes, Interval

EVERY = 10.0


def test_an_interval_starts_at_once_and_then_at_each_of_its_times():
    plan = Plan(Interval(EVERY), "refuse", 0.0)

    assert [plan.look(now, 0).starts for now in (0.0, 5.0, 10.0, 20.5, 29.9, 30.0)] == [
        [0.0],
        [],
        [10.0],
        [20.0],
        [],
        [30.0],
    ]


def test_of_times_that_passed_while_nobody_looked_the_newest_runs_and_the_others_are_missed():
    plan = Plan(Interval(EVERY), "refuse", 0.0)
    plan.look(0.0, 0)

    decision = plan.look(47.0, 0)

    assert decision.starts == [40.0]
    assert decision.missed == {"late": 3}


@pytest.mark.parametrize(
    ("overlap", "starts", "missed"), [("refuse", [], {"overlap": 1}), ("queue", [], {}), ("allow", [10.0], {})]
)
def test_a_run_whose_predecessor_goes_on_is_refused_queued_or_allowed(overlap, starts, missed):
    plan = Plan(Interval(EVERY), overlap, 0.0)
    plan.look(0.0, 0)

    decision = plan.look(10.0, 1)

    assert (decision.starts, decision.missed) == (starts, missed)
    assert plan.look(12.0, 0).starts == ([10.0] if overlap == "queue" else [])


def test_what_waits_when_the_serving_ends_is_counted():
    plan = Plan(Interval(EVERY), "queue", 0.0)
    plan.look(0.0, 0)
    plan.look(10.0, 1)
    plan.look(20.0, 1)

    assert plan.stop() == {"stopped": 2}
    assert plan.stop() == {}


def test_a_clock_that_is_set_back_a_little_serves_no_time_twice():
    plan = Plan(CronTimes("*/5 * * * *", UTC), "refuse", 1_000.0)
    assert plan.look(1_200.0, 0).starts == [1_200.0]

    assert plan.look(700.0, 0).starts == []
    assert plan.look(900.0, 0).starts == []
    assert plan.upcoming == 1_500.0


def test_a_clock_that_was_wrong_by_years_is_believed_when_it_is_right_again():
    plan = Plan(CronTimes("*/5 * * * *", UTC), "refuse", 1_000_000_000.0)
    plan.look(1_000_000_200.0, 0)

    assert plan.look(1_000.0, 0).starts == []
    assert plan.upcoming == 1_200.0


class Serving(RuleBasedStateMachine):
    """A plan is driven by a clock and by runs that end, and is compared with a simple model of it."""

    @initialize(overlap=st.sampled_from(("refuse", "queue", "allow")))
    def begin(self, overlap):
        self.overlap, self.now, self.running = overlap, 0.0, 0
        self.plan = Plan(Interval(EVERY), overlap, self.now)
        self.started, self.missed = [], Counter()
        self.model_waiting, self.model_started, self.model_missed, self.seen = deque(), [], 0, -1

    @rule(seconds=st.sampled_from((0.0, 1.0, 5.0, 9.9, 10.0, 25.0, 1_234.5)))
    def time_passes(self, seconds):
        self.now += seconds

    @rule()
    def a_run_ends(self):
        self.running = max(0, self.running - 1)

    @rule()
    def it_looks(self):
        newest = int(self.now // EVERY)
        if newest > self.seen:
            self.model_missed += newest - self.seen - 1
            self.seen = newest
            if self.overlap == "queue" and len(self.model_waiting) < MOST_RUNS:
                self.model_waiting.append(newest * EVERY)
            elif self.running < {"allow": MOST_RUNS, "refuse": 1, "queue": 0}[self.overlap]:
                self.model_started.append(newest * EVERY)
            else:
                self.model_missed += 1
        if self.model_waiting and not self.running:
            self.model_started.append(self.model_waiting.popleft())

        decision = self.plan.look(self.now, self.running)
        self.started += decision.starts
        self.missed += decision.missed
        self.running += len(decision.starts)

    @invariant()
    def it_did_what_the_model_did(self):
        if not hasattr(self, "plan"):
            return
        assert self.started == self.model_started
        assert self.missed.total() == self.model_missed
        assert self.overlap == "allow" or self.running <= 1
        assert self.started == sorted(set(self.started))

    def teardown(self):
        """Each time that came has started, was missed, or waited until the end."""
        if hasattr(self, "plan"):
            assert len(self.started) + self.missed.total() + self.plan.stop().total() == self.seen + 1


TestServing = Serving.TestCase
TestServing.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
