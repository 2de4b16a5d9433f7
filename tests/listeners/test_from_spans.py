"""A listener on a provider hears of the spans of runs what the engine would have told it."""

import pytest
from opentelemetry.sdk.trace import SpanLimits
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON

from otelflow import Listener, add_listener, flow, task
from support.listeners import ENDS, RUN, Ear, job


@pytest.mark.parametrize(("sampler", "runs"), [(ALWAYS_OFF, 0), (ALWAYS_ON, 1)])
def test_on_a_provider_it_hears_recorded_runs_and_messages_when_the_span_ends(provided, sampler, runs):
    provider = provided(sampler=sampler)
    ear = Ear()
    provider.add_span_processor(ear)

    job().execute()

    assert ear.of(*ENDS) == RUN * runs
    assert ear.of("flow_message") == [("flow_message", "work", "working")] * runs
    assert len(ear.of("new_artifact")) == len(ear.of("new_result")) == runs


def test_on_a_provider_attempts_are_no_runs_and_what_is_said_in_them_is_heard(provided):
    provider = provided()
    ear = Ear()
    provider.add_span_processor(ear)
    left = ["again"]

    @task(retries=1)
    def tried():
        print("tried")
        if left:
            raise LookupError(left.pop())

    @flow(retries=1)
    def outer():
        tried()

    outer().execute()

    assert ear.of(*ENDS) == [
        ("flow_start", "outer", None),
        ("task_start", "tried", None),
        ("task_stop", "tried", "success"),
        ("flow_stop", "outer", "success"),
    ]
    assert ear.of("flow_message") == [("flow_message", "tried", "tried")] * 2


def test_on_a_provider_a_map_is_no_run_and_its_tasks_are(provided):
    provider = provided()
    ear = Ear()
    provider.add_span_processor(ear)

    @task
    def counted(number):
        return number

    @flow
    def mapping():
        return counted.map([1, 2]).result()

    mapping().execute()

    assert sorted(ear.of(*ENDS), key=str) == [
        ("flow_start", "mapping", None),
        ("flow_stop", "mapping", "success"),
        *[("task_start", "counted", None)] * 2,
        *[("task_stop", "counted", "success")] * 2,
    ]


def test_what_a_span_tells_is_what_the_engine_tells(provided):
    engine_driven, span_driven = [], []

    class Engine(Listener):
        def on_event(self, event):
            engine_driven.append(event)

    class Span(Listener):
        def on_event(self, event):
            span_driven.append(event)

    provided().add_span_processor(Span())
    add_listener(Engine())

    @task(raise_on_error=False)
    def fails():
        print("about to fail")
        raise ValueError("boom")

    flow(flow_name="job")(lambda: fails())().execute()

    def event_of(heard, kind):
        (event,) = [
            e for e in heard if e.event_type == kind and (kind != "flow_message" or e.event_data.log_level == 20)
        ]
        data = event.event_data
        plain = data._replace(error=None, duration=None, span_context=None, parent_run_id=None)
        return plain, data.span_context.trace_id, data.span_context.span_id

    for kind in ("flow_start", "task_start", "flow_message", "task_stop", "flow_stop"):
        assert event_of(span_driven, kind) == event_of(engine_driven, kind)
    stops = [next(e for e in heard if e.event_type == "task_stop") for heard in (engine_driven, span_driven)]
    assert abs(stops[0].event_data.duration - stops[1].event_data.duration) < 0.05
    assert isinstance(stops[0].event_data.error, ValueError)
    assert stops[1].event_data.error is None


def test_spans_of_others_are_not_runs(provided):
    provider = provided()
    ear = Ear()
    provider.add_span_processor(ear)

    with provider.get_tracer("somebody").start_as_current_span("task work"):
        pass

    assert ear.heard == []


def test_a_listener_on_a_host_with_few_events_hears_what_the_span_kept(provided):
    provider = provided(span_limits=SpanLimits(max_events=5))
    ear = Ear()
    provider.add_span_processor(ear)

    @flow
    def chatter(this_flow=None):
        for number in range(20):
            print(number)
        this_flow.add_flow_artifact(key="a", data=1)

    chatter().execute()

    assert [entry[2] for entry in ear.of("flow_message")] == ["16", "17", "18", "19"]
    assert len(ear.of("new_artifact")) == 1
