from functools import partial
from types import SimpleNamespace

import pytest
from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.propagators.textmap import TextMapPropagator, default_getter

from otelflow import task
from otelflow.errors import ConfigurationError
from otelflow.integrations.aws_lambda import flow_handler
from support.servers import PARENT_ID, TRACE_ID, TRACEPARENT

CONTEXT = SimpleNamespace(aws_request_id="8476a536-e9f4-11e8-9739-2dfe598c3fcd")


@task
def price(fruit):
    return {"apple": 0.5}[fruit]


@flow_handler
def charge(event, context):
    return price(event["fruit"])


@pytest.mark.parametrize(
    "event",
    [
        {"headers": {"Traceparent": TRACEPARENT}},
        {"multiValueHeaders": {"Traceparent": [TRACEPARENT], "accept": ["a", "b"]}},
        {"Records": [{"messageAttributes": {"traceparent": {"stringValue": TRACEPARENT, "dataType": "String"}}}]},
        {"Records": [{"Sns": {"MessageAttributes": {"traceparent": {"Type": "String", "Value": TRACEPARENT}}}}]},
    ],
    ids=["http", "load balancer", "sqs", "sns"],
)
def test_an_invocation_is_a_flow_in_the_trace_of_its_event(spans, event):
    assert charge({"fruit": "apple", **event}, CONTEXT) == 0.5

    assert spans.tree() == [("flow charge", "success", [("task price", "success", [])])]
    span = spans.one("flow charge")
    assert (f"{span.context.trace_id:032x}", f"{span.parent.span_id:016x}") == (TRACE_ID, PARENT_ID)
    assert span.attributes["otelflow.job.id"] == CONTEXT.aws_request_id


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"headers": None, "Records": None},
        {"headers": [], "Records": [3], "multiValueHeaders": {"traceparent": 3}},
        {"headers": {"traceparent": TRACEPARENT}, "multiValueHeaders": {"traceparent": [TRACEPARENT, TRACEPARENT]}},
        {"Records": [{"messageAttributes": {"traceparent": 3}}]},
        {"Records": [{"messageAttributes": {"traceparent": {"stringValue": TRACEPARENT}}}] * 2},
    ],
)
def test_an_event_that_names_no_parent_or_several_begins_a_trace(spans, event):
    charge({"fruit": "apple", **event}, None)

    assert spans.one("flow charge").parent is None


def test_an_event_need_not_be_a_mapping(spans):
    assert flow_handler(lambda event, _: event)([1, 2], None) == [1, 2]


class Adapter:
    def __call__(self, event, context):
        return event["fruit"]


@pytest.mark.parametrize(("handler", "name"), [(Adapter(), "Adapter"), (partial(charge), "partial")])
def test_a_handler_may_be_any_object_that_is_called_as_one(spans, handler, name):
    assert flow_handler(handler)({"fruit": "apple"}, None) in ("apple", 0.5)

    assert spans.named(f"flow {name}")


@pytest.mark.parametrize("flush_millis", ["2000", None, True, -1, float("nan"), 10**30])
def test_a_time_that_is_none_is_refused_where_the_handler_is_decorated(flush_millis):
    with pytest.raises(ConfigurationError, match="flow_handler: flush_millis must be a number of milliseconds"):
        flow_handler(charge, flush_millis=flush_millis)


@pytest.mark.parametrize(
    ("left", "millis"),
    [(60_000, 2_000), (1_500, 1_300), (100, 0), ("soon", 2_000), (None, 2_000)],
    ids=["enough", "little", "none", "no number", "no such method"],
)
def test_the_answer_waits_for_delivery_no_longer_than_the_invocation_may_take(spans, monkeypatch, left, millis):
    waits = []
    monkeypatch.setattr("otelflow.integrations.aws_lambda.force_flush", waits.append)
    context = CONTEXT if left is None else SimpleNamespace(get_remaining_time_in_millis=lambda: left)

    assert charge({"fruit": "apple"}, context) == 0.5

    assert waits == [millis]


def test_an_exception_comes_out_as_it_was_and_is_delivered_before(program):
    program.run("""
        from otelflow.integrations.aws_lambda import flow_handler

        provide()

        @flow_handler
        def charge(event, context):
            raise KeyError("kiwi")

        try:
            charge({}, None)
        except KeyError:
            os._exit(3)  # frozen, as it were
    """)

    assert (program.code, program.results()) == (3, [("flow charge", "failure")])


class XRay(TextMapPropagator):
    """Reads as that of AWS does: by its own spelling, and by the getter alone."""

    fields = frozenset({"X-Amzn-Trace-Id"})

    def extract(self, carrier, context=None, getter=default_getter):
        parts = dict(part.split("=") for part in (getter.get(carrier, "X-Amzn-Trace-Id") or [""])[0].split(";") if part)
        if "Parent" not in parts:
            return context or Context()
        span_context = trace.SpanContext(
            int(parts["Root"].replace("-", "")[1:], 16),
            int(parts["Parent"], 16),
            is_remote=True,
            trace_flags=trace.TraceFlags(1),
        )
        return trace.set_span_in_context(trace.NonRecordingSpan(span_context), context)

    def inject(self, carrier, context=None, setter=None):
        """Write nothing."""


@pytest.fixture
def x_ray():
    before = propagate.get_global_textmap()
    propagate.set_global_textmap(XRay())
    yield f"Root=1-{TRACE_ID[:8]}-{TRACE_ID[8:]};Parent={PARENT_ID};Sampled=1"
    propagate.set_global_textmap(before)


@pytest.mark.parametrize(
    "event", [{}, {"headers": {"X-Amzn-Trace-Id": "Root=1-67891233-abcdef012345678912345678"}}], ids=["none", "gateway"]
)
def test_the_variable_of_x_ray_is_read_where_its_propagator_is_and_wins(spans, monkeypatch, x_ray, event):
    monkeypatch.setenv("_X_AMZN_TRACE_ID", x_ray)

    charge({"fruit": "apple", **event}, CONTEXT)

    assert f"{spans.one('flow charge').context.trace_id:032x}" == TRACE_ID


def test_the_header_of_x_ray_is_found_by_the_spelling_of_its_propagator(spans, x_ray):
    charge({"fruit": "apple", "headers": {"x-amzn-trace-id": x_ray}}, CONTEXT)

    assert f"{spans.one('flow charge').parent.span_id:016x}" == PARENT_ID
