import pytest
from opentelemetry import baggage, context, propagate, trace
from opentelemetry.propagators.textmap import TextMapPropagator

import otelflow
from otelflow import continue_trace, flow, trace_environment, trace_headers
from otelflow._core.process import losses

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{TRACE_ID}-00f067aa0ba902b7-01"


@flow(execute_on_call=True)
def send():
    return trace_headers()


def test_a_trace_goes_on_from_the_headers_of_a_caller_to_those_of_a_callee(spans):
    with continue_trace({"TraceParent": TRACEPARENT, "baggage": "who=ann"}):
        headers = send()

    span = spans.one("flow send")
    assert f"{span.context.trace_id:032x}" == TRACE_ID
    assert headers == {"traceparent": f"00-{TRACE_ID}-{span.context.span_id:016x}-01", "baggage": "who=ann"}
    assert not trace.get_current_span().get_span_context().is_valid
    assert baggage.get_all() == {}


TWO = {"traceparent": f"{TRACEPARENT}, {TRACEPARENT}", "tracestate": "shop=1"}
# The form of a later version may go on with whatever comes
TWO_OF_LATER = {"TraceParent": f"01{TRACEPARENT[2:]}-more,{TRACEPARENT}"}


@pytest.mark.parametrize("headers", [{}, {"traceparent": "00-nonsense"}, {"traceparent": ""}, TWO, TWO_OF_LATER])
def test_headers_that_say_nothing_begin_a_new_trace(spans, headers):
    with continue_trace(headers):
        send()

    assert spans.one("flow send").parent is None


class Several(dict):
    """Headers as those of a framework, in which a name may come more than once."""

    def items(self):
        return [(name, value) for name, values in super().items() for value in values]


def test_headers_of_a_framework_that_came_more_than_once_are_one(spans):
    other = TRACEPARENT.replace("4bf9", "5bf9")
    with continue_trace(Several(traceparent=[TRACEPARENT], TraceState=["a=1", "b=2"], baggage=["who=ann", "to=bob"])):
        headers = send()
    with continue_trace(Several(traceparent=[TRACEPARENT, other])):
        send()

    first, second = spans.spans
    assert (headers["tracestate"], headers["baggage"]) == ("a=1,b=2", "who=ann,to=bob")
    assert (f"{first.context.trace_id:032x}", second.parent) == (TRACE_ID, None)


def test_a_span_of_this_process_stays_the_parent(spans):
    @flow(execute_on_call=True)
    def outer():
        with continue_trace({"traceparent": TRACEPARENT}):
            send()

    outer()

    assert spans.tree() == [("flow outer", "success", [("flow send", "success", [])])]


class Broken(TextMapPropagator):
    fields = frozenset({"broken"})

    def extract(self, carrier, context=None, getter=None):
        raise ValueError("broken")

    def inject(self, carrier, context=None, setter=None):
        raise ValueError("broken")


def test_a_propagator_that_raises_costs_the_link_and_is_counted(spans):
    before = propagate.get_global_textmap()
    propagate.set_global_textmap(Broken())
    try:
        with continue_trace({"traceparent": TRACEPARENT}):
            headers = send()
    finally:
        propagate.set_global_textmap(before)

    assert headers == {}
    assert spans.one("flow send").parent is None
    assert losses.dropped["traces", "trace_broken"] == 2


def test_an_exception_inside_comes_out_and_nothing_stays_current():
    before = context.get_current()
    with pytest.raises(KeyError), continue_trace({"traceparent": TRACEPARENT}):
        raise KeyError

    assert context.get_current() == before


def test_it_asks_nothing_of_a_process_that_has_configured_nothing():
    assert trace_headers() == {}
    assert otelflow.force_flush(10) is True


def test_the_variables_for_a_child_say_what_the_headers_say(spans, monkeypatch):
    told = {}

    @flow(execute_on_call=True)
    def send_both():
        told.update(trace_environment())
        return trace_headers()

    with continue_trace({"traceparent": TRACEPARENT, "baggage": "who=ann"}):
        headers = send_both()

    assert told == {"TRACEPARENT": headers["traceparent"], "BAGGAGE": "who=ann"}
    assert trace_environment() == {}
