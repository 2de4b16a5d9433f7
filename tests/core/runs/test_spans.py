"""What stands on the span of a run, and TRACEPARENT as the parent of the first flow of a process."""

import contextvars
import threading
import time
from importlib.metadata import version
from unittest.mock import Mock

import pytest
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import INVALID_SPAN, NonRecordingSpan, SpanContext

from otelflow import flow, task
from otelflow._core.process import losses
from otelflow._core.process import provider as core_spans
from otelflow._core.runs import spans as run_spans
from otelflow._core.runs.endings import SUCCESS
from otelflow._core.runs.engine import close_run
from support.flows import leaf, opened
from support.programs import python

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_the_attributes_of_flows_and_tasks_are_these_and_no_others(spans):
    """The one place that says all of them: a new attribute is added here, and breaks no other test."""

    @task
    def charge():
        raise ValueError("no money")

    @flow
    def order():
        leaf()
        charge()

    run = order()
    with pytest.raises(ValueError, match="no money"):
        run.execute()

    first, second = run.executed_tasks
    of_the_flow = {"otelflow.flow.name": "order", "otelflow.flow.run.id": run.flow_id}
    place = f"{__name__}.{test_the_attributes_of_flows_and_tasks_are_these_and_no_others.__name__}.<locals>"
    failed = {"otelflow.run.result": "failure", "error.type": "ValueError"}
    assert dict(spans.one("flow order").attributes) == {
        **of_the_flow,
        **failed,
        "code.function.name": f"{place}.order",
        "otelflow.flow.tasks.failed": 1,
        "otelflow.flow.failed_in": "task charge",
        "otelflow.telemetry.spans": 3,
    }
    assert dict(spans.one("task charge").attributes) == {
        **of_the_flow,
        **failed,
        "code.function.name": f"{place}.charge",
        "otelflow.task.name": "charge",
        "otelflow.task.run.id": second.task_id,
    }
    assert dict(spans.one("task leaf").attributes) == {
        **of_the_flow,
        "code.function.name": "support.flows.leaf",
        "otelflow.run.result": "success",
        "otelflow.task.name": "leaf",
        "otelflow.task.run.id": first.task_id,
    }


def telemetry_on(span):
    return {key: value for key, value in span.attributes.items() if key.startswith("otelflow.telemetry.")}


def test_an_outermost_run_says_how_many_spans_it_made_and_what_its_process_lost_meanwhile(spans):
    @flow
    def inner():
        leaf()
        losses.lost("traces", "queue_full", 2)
        losses.lost("logs", "shutdown")

    @flow
    def outer():
        threads = [threading.Thread(target=contextvars.copy_context().run, args=(many,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        inner().execute()

    def many():
        for _ in range(50):
            leaf()

    losses.lost("traces", "queue_full", 5)
    outer().execute()
    leaf()

    assert telemetry_on(spans.one("flow outer")) == {
        "otelflow.telemetry.spans": 203,
        "otelflow.telemetry.dropped.traces.queue_full": 2,
        "otelflow.telemetry.dropped.logs.shutdown": 1,
    }
    assert telemetry_on(spans.one("flow inner")) == {}
    assert [telemetry_on(span) for span in spans.named("task leaf")] == [{}] * 201 + [{"otelflow.telemetry.spans": 1}]


def test_a_task_in_a_block_of_a_flow_is_an_outermost_run(spans):
    with flow(leaf)():
        leaf()

    assert telemetry_on(spans.one("task leaf")) == {"otelflow.telemetry.spans": 1}


@pytest.fixture
def first_flow(monkeypatch):
    """As if no flow had run in this process yet."""
    monkeypatch.setattr(core_spans.first_flow, "is_to_come", True)
    return monkeypatch


def test_traceparent_is_the_parent_of_the_first_flow_only(spans, first_flow):
    first_flow.setenv("TRACEPARENT", PARENT)
    first_flow.setenv("TRACESTATE", "vendor=1")
    leaf()
    flow(leaf)().execute()
    flow(leaf)().execute()

    first, second = spans.named("flow leaf")
    assert f"{first.context.trace_id:032x}" == "0af7651916cd43dd8448eb211c80319c"
    assert f"{first.parent.span_id:016x}" == "b7ad6b7169203331"
    assert first.context.trace_state == {"vendor": "1"}
    assert second.parent is None
    assert second.context.trace_id != first.context.trace_id
    assert spans.spans[0].parent is None, "a task outside a flow has no part in it"


@pytest.mark.parametrize("text", ["nonsense", "00-0-0-01", "00-" + "0" * 32 + "-" + "0" * 16 + "-01"])
def test_a_malformed_traceparent_is_one_warning_and_a_new_trace(spans, first_flow, warnings_said, text):
    first_flow.setenv("TRACEPARENT", text)
    flow(leaf)().execute()
    flow(leaf)().execute()

    assert [span.parent for span in spans.named("flow leaf")] == [None, None]
    messages = [record.getMessage() for record in warnings_said.records]
    assert len(messages) == 1
    assert "TRACEPARENT" in messages[0]
    assert text in messages[0]


def test_a_current_span_comes_before_traceparent(spans, first_flow):
    first_flow.setenv("TRACEPARENT", PARENT)
    host = TracerProvider(shutdown_on_exit=False).get_tracer("host")
    with host.start_as_current_span("request") as request:
        flow(leaf)().execute()

    assert spans.one("flow leaf").parent.span_id == request.get_span_context().span_id


READS_ITS_PARENT = """
from opentelemetry.sdk.trace import TracerProvider
from otelflow import flow
from opentelemetry import trace
trace.set_tracer_provider(TracerProvider())

@flow
def first():
    return trace.get_current_span().parent
"""


@pytest.mark.parametrize(
    ("propagators", "is_child"),
    [
        pytest.param(
            *("", True),
            marks=pytest.mark.skipif(
                version("opentelemetry-api") < "1.43",
                reason="an older API reads an empty value as a name",
            ),
        ),
        ("tracecontext", True),
        ("baggage,tracecontext", True),
        ("none", False),
        ("baggage", False),
    ],
)
def test_the_environment_is_read_with_the_propagators_that_it_names(propagators, is_child):
    done = python(
        READS_ITS_PARENT,
        "print(first().execute().flow_return_value is not None)",
        OTEL_PROPAGATORS=propagators,
        TRACEPARENT=PARENT,
    )

    assert (done.stdout, done.stderr) == (f"{is_child}\n", "")


def test_any_propagator_finds_in_the_environment_what_it_looks_for():
    source = """
    from opentelemetry.propagate import set_global_textmap
    from opentelemetry.propagators.textmap import TextMapPropagator, default_getter
    from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

    class Plain(TextMapPropagator):
        fields = {"x-plain-span"}
        def extract(self, carrier, context=None, getter=default_getter):
            number = int(getter.get(carrier, "X-Plain-Span")[0])
            return set_span_in_context(NonRecordingSpan(SpanContext(7, number, True, TraceFlags(1))), context)
        def inject(self, *_, **__):
            pass

    set_global_textmap(Plain())
    print(first().execute().flow_return_value.span_id)
    """
    done = python(READS_ITS_PARENT, source, OTEL_PROPAGATORS="tracecontext", X_PLAIN_SPAN="42")

    assert (done.stdout, done.stderr) == ("42\n", "")


def test_propagators_that_do_not_exist_are_one_warning_and_a_new_trace():
    done = python(
        READS_ITS_PARENT,
        "print([first().execute().flow_return_value for _ in range(2)])",
        options=(),
        OTEL_PROPAGATORS="smoke_signals",
        TRACEPARENT=PARENT,
    )

    assert done.stdout == "[None, None]\n"
    assert done.stderr.count("OTEL_PROPAGATORS cannot be used") == 1


def test_a_span_does_not_end_before_it_began_when_the_clock_goes_back(spans, monkeypatch):
    began = time.time_ns()
    with monkeypatch.context() as clock:
        flow(
            lambda: clock.setattr("otelflow._core.process.clock.time_ns", lambda: began - 3_600 * 10**9),
            flow_name="order",
        )().execute()

    span = spans.one("flow order")
    assert began <= span.start_time <= span.end_time < began + 60 * 10**9


def test_nothing_on_a_span_is_later_than_its_end(spans):
    @task(retries=1, raise_on_error=False)
    def fails():
        print("before")
        raise ValueError("never")

    @flow
    def returns():
        fails()
        return 3

    returns().execute()

    events = [(span, event) for span in spans.spans for event in span.events]
    assert {"otelflow.message", "exception", "otelflow.result"} <= {event.name for _, event in events}
    assert [(span.name, event.name) for span, event in events if event.timestamp > span.end_time] == []


def test_a_span_lasts_as_long_as_its_run(spans):
    run = flow(leaf)().execute()

    span = spans.one("flow leaf")
    assert span.end_time - span.start_time == round(run.duration * 10**9) > 0
    long = opened()
    long.clock -= 2.5
    close_run(long, SUCCESS)
    assert long.ended_ns == long.started_ns + round(long.duration * 10**9) >= long.started_ns + 2_500_000_000


class Foreign:
    """Spans of somebody else's making: a provider and its tracer in one."""

    def __init__(self, start=None):
        self.start = start or (lambda: INVALID_SPAN)
        self.keywords = {}

    def get_tracer(self, *_):
        return self

    def start_span(self, name, context=None, **keywords):
        self.keywords = keywords
        return self.start()


def test_a_tracer_is_asked_for_a_span_on_which_nobody_else_records_exceptions():
    foreign = Foreign()
    core_spans.use_provider(foreign)
    before = time.time_ns()
    leaf()

    started = foreign.keywords.pop("start_time")
    attributes = foreign.keywords.pop("attributes")
    assert before <= started <= time.time_ns()
    assert attributes["otelflow.task.name"] == "leaf"
    assert foreign.keywords == {"record_exception": False, "set_status_on_exception": False}


def raises(*_, **__):
    raise RuntimeError("a foreign fault")


class Broken(SpanProcessor):
    on_end = raises


def test_a_span_that_cannot_be_started_is_counted_and_said_and_the_run_goes_on(warnings_said):
    core_spans.use_provider(Foreign(raises))

    assert leaf() == 1
    assert losses.dropped == {("traces", "start_failed"): 1}
    assert warnings_said.messages == ["A span could not be started; the run goes on without it"]


def test_a_processor_that_raises_when_a_span_ends_is_counted_and_said_and_the_value_comes_out(warnings_said):
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(Broken())
    core_spans.use_provider(provider)

    assert leaf() == 1
    assert losses.dropped == {("traces", "end_failed"): 1}
    assert warnings_said.messages == ["A span processor raised when a span ended; the run goes on"]


def test_a_span_that_does_not_tell_its_ids_is_said_once(warnings_said):
    class Mute(NonRecordingSpan):
        get_span_context = raises

    context = SpanContext(1, 2, is_remote=False)
    ids = [
        run_spans.context_of(span) for span in (INVALID_SPAN, NonRecordingSpan(context), Mute(context), Mute(context))
    ]

    assert ids == [None, context, None, None]
    assert warnings_said.messages == ["A span does not tell its ids; the run goes on"]


def test_nothing_more_is_written_on_a_span_that_was_given_up_and_its_ids_stay(spans):
    run = opened()
    span = run.span
    run_spans.give_up(run)
    close_run(run, SUCCESS)

    assert run.span.get_span_context() == span.get_span_context()
    assert span.is_recording()
    assert "otelflow.run.result" not in span.attributes


def test_an_exception_counts_as_recorded_where_it_was_remembered_itself():
    run, error = opened(), ValueError()
    before = run_spans.is_recorded(run, error)
    run.recorded = {id(error): error}
    after = run_spans.is_recorded(run, error), run_spans.is_recorded(run, KeyError())
    close_run(run, SUCCESS)

    assert (before, after) == (False, (True, False))


@pytest.mark.parametrize("step", [-1_000.0, -1e9])
def test_a_span_does_not_end_before_it_began_when_every_clock_goes_back(spans, monkeypatch, step):
    """As in a test that freezes time, which patches all of them."""
    real = time.perf_counter

    with monkeypatch.context() as clocks:
        run = flow(
            lambda: clocks.setattr("otelflow._core.process.clock.perf_counter", lambda: real() + step),
            flow_name="order",
        )().execute()

    span = spans.one("flow order")
    assert span.end_time == span.start_time
    assert (run.duration, run.ended_ns) == (0, run.started_ns)


def test_a_flow_that_fails_after_a_task_that_it_has_caught_names_nobody_and_loses_nothing(spans):
    @task
    def fails():
        raise ValueError("caught")

    @flow
    def catches():
        error = None
        try:
            fails()
        except ValueError as caught:
            error = caught
        assert error is not None
        raise KeyError("own")

    with pytest.raises(KeyError):
        catches().execute()

    span = spans.one("flow catches")
    assert "otelflow.flow.failed_in" not in span.attributes
    assert span.status.description == "'own'"
    assert [event.attributes["exception.type"] for event in span.events] == ["KeyError"]
    assert not losses.dropped


def test_who_raised_what_came_out_is_found_through_causes_contexts_and_groups():
    run, error = opened(), ValueError("found")
    nobody = run_spans.origin(run, error)
    run.recorded = {id(error): (error, "task a")}

    def caused(cause, context=None):
        outer = KeyError("outer")
        outer.__cause__, outer.__context__ = cause, context
        return outer

    chains = [error, caused(error), caused(None, error), ExceptionGroup("g", [KeyError(), caused(error)]), KeyError()]
    found = [run_spans.origin(run, chain) for chain in chains]
    close_run(run, SUCCESS)

    assert nobody is None
    assert found == ["task a"] * 4 + [None]


def test_of_a_very_long_chain_a_part_is_searched():
    run, error = opened(), ValueError("deep")
    run.recorded = {id(error): (error, "task a")}

    def chain(length):
        outer = error
        for _ in range(length):
            inner, outer = outer, KeyError()
            outer.__cause__ = inner
        return outer

    found = [run_spans.origin(run, chain(length)) for length in (10, 10_000)]
    close_run(run, SUCCESS)

    assert found == ["task a", None]


def test_a_note_stands_on_the_span_if_there_is_one_that_takes_it(spans, warnings_said):
    run = opened()
    run_spans.note(run, "wait", 1.5)
    run_spans.give_up(run)
    run_spans.note(run, "late", 2.5)
    span_with_note = run.span
    close_run(run, SUCCESS)

    class Refuses(NonRecordingSpan):
        set_attribute = raises

    other = opened()
    held, other.span = other.span, Refuses(SpanContext(1, 2, is_remote=False))
    run_spans.note(other, "wait", 1.5)
    other.span = held
    close_run(other, SUCCESS)

    assert not span_with_note.is_recording()
    assert warnings_said.messages == ["A span does not take an attribute; the run goes on"]


@pytest.fixture
def unended(monkeypatch):
    """A run with this *processor* that is closed, but for its span: the stack was full."""

    def make(processor):
        host = TracerProvider(shutdown_on_exit=False)
        host.add_span_processor(processor)
        core_spans.use_provider(host)
        run = opened()
        with monkeypatch.context() as full:
            full.setattr(run_spans, "end", Mock(side_effect=RecursionError))
            close_run(run, SUCCESS)
        return run

    return make


def test_a_span_that_a_full_stack_has_kept_open_ends_when_there_is_room(unended):
    exporter = InMemorySpanExporter()
    run = unended(SimpleSpanProcessor(exporter))

    before = exporter.get_finished_spans()
    run_spans.end_unended()

    (span,) = exporter.get_finished_spans()
    assert (before, losses.dropped) == ((), {})
    assert dict(span.attributes)["otelflow.run.result"] == "success"
    assert span.end_time == run.ended_ns


def test_a_processor_that_raises_then_is_counted_and_does_not_reach_the_program(unended, caplog):
    unended(Broken())

    run_spans.end_unended()

    assert losses.dropped == {("traces", "end_failed"): 1}
    assert caplog.messages == ["A span processor raised when a span ended; the run goes on"]
    assert run_spans.unended.chain is None
