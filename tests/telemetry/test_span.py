"""A span of a run is a span of the SDK in all that somebody can see of it."""

from importlib.metadata import version

import pytest

if version("opentelemetry-sdk") < "1.43":
    pytest.skip("an SDK before 1.43 makes its spans itself", allow_module_level=True)

import copy
import gc
import json
import os
import pickle
import threading
import weakref
from io import StringIO

from hypothesis import HealthCheck, given, settings
from opentelemetry import context, trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, Span, SpanLimits, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode

import otelflow
from otelflow import semconv
from otelflow._core.process import process
from otelflow._core.process import provider as core_provider
from otelflow._core.process.provider import TracerSpanMaker
from otelflow._telemetry.span import RunSpan
from otelflow._telemetry.span_maker import RunSpanMaker
from support import random_flows
from support.receivers import GrpcReceiver, OtlpReceiver

MAKERS = {"otelflow": RunSpanMaker, "sdk": TracerSpanMaker}
both = pytest.mark.parametrize("kind", MAKERS.values(), ids=MAKERS)


@settings(
    deadline=None, max_examples=120, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
@given(random_flows.programs)
def test_what_is_exported_of_any_flow_is_what_the_sdk_would_export(program):
    own, by_the_sdk = {}, {}
    for maker, result in (("otelflow", own), ("sdk", by_the_sdk)):
        process.reset()
        result.update(random_flows.exported(program, maker))

    assert own == by_the_sdk


@otelflow.task
def failing(this_task):
    trace.get_current_span().add_link(SpanContext(1, 2, True), {"why": "it came of it"})
    raise KeyError("nothing there")


@otelflow.flow
def rich(this_flow):
    print("a message")
    this_flow.add_flow_artifact(key="rows", data=[{"a": 1}], artifact_type="table")
    span = trace.get_current_span()
    span.set_attributes({"list": [1, 2], "mixed": [1, "a", None], "bytes": b"\xff", "nested": {"a": {"b": 1.5}}})
    tracer = trace.get_tracer("other", "2", tracer_provider=core_provider._chosen.override)
    with tracer.start_as_current_span("of another", kind=SpanKind.SERVER):
        pass
    with pytest.raises(KeyError):
        failing()
    return 7


def of_a_run(maker, provider, request_of):
    """Return what *request_of* tells that arrived of a rich flow, with *maker* as the setting ``span``."""
    process.reset()
    otelflow.configure(tracer_provider=provider, span=maker)
    rich().execute()
    provider.shutdown()
    return random_flows.decoded(request_of(), {})


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_a_receiver_of_otlp_gets_what_the_sdk_sends(protocol):
    from importlib import import_module

    exporters = import_module(f"opentelemetry.exporter.otlp.proto.{protocol}.trace_exporter")
    requests = {}
    for maker in MAKERS:
        with GrpcReceiver() if protocol == "grpc" else OtlpReceiver() as receiver:
            place = receiver.url if protocol == "grpc" else f"{receiver.url}/v1/traces"
            provider = TracerProvider(resource=Resource({"service.name": "shop"}), shutdown_on_exit=False)
            provider.add_span_processor(SimpleSpanProcessor(exporters.OTLPSpanExporter(endpoint=place)))

            def whole(receiver=receiver):
                first, *others = receiver.trace_requests
                for other in others:
                    first.MergeFrom(other)
                return first

            requests[maker] = of_a_run(maker, provider, whole)

    assert requests["otelflow"] == requests["sdk"]
    assert requests["otelflow"].count('"parentSpanId"') == 3


def test_the_console_prints_what_it_prints_of_the_sdk():
    printed = {}
    for maker in MAKERS:
        process.reset()
        stream = StringIO()
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(
            SimpleSpanProcessor(ConsoleSpanExporter(out=stream, formatter=lambda span: span.to_json(None) + "\n"))
        )
        otelflow.configure(tracer_provider=provider, span=maker)
        with pytest.raises(KeyError):
            failing()
        lines = [json.loads(line) for line in stream.getvalue().splitlines()]
        printed[maker] = [
            {key: list(value) if key in ("context", "attributes") else value for key, value in line.items()}
            for line in lines
        ]
        for line in printed[maker]:
            del line["start_time"], line["end_time"]
            for event in line["events"]:
                del event["timestamp"]

    assert printed["otelflow"] == printed["sdk"]
    assert [line["name"] for line in printed["sdk"]] == ["task failing"]


# One span


class Kept(SpanProcessor):
    """Keeps what processors are given."""

    def __init__(self):
        self.started, self.ending, self.ended = [], [], []

    def on_start(self, span, parent_context=None):
        self.started.append(span)

    def _on_ending(self, span):
        self.ending.append(span)

    def on_end(self, span):
        self.ended.append(span)


def begun(kind=RunSpanMaker, attributes=None, **options):
    """Return a span that has started, and the processor that is told of it."""
    provider = TracerProvider(shutdown_on_exit=False, **options)
    kept = Kept()
    provider.add_span_processor(kept)
    maker = kind(provider.get_tracer("otelflow", "1", "https://example.org/schema"))
    return maker.start("task", context.Context(), lambda: dict(attributes or {"a": "b"}), 1), kept


def test_it_is_a_span_of_the_sdk_and_of_the_api_and_can_be_read():
    span, kept = begun()
    span.end()

    assert type(span) is RunSpan
    assert all(isinstance(span, base) for base in (trace.Span, Span, ReadableSpan))
    assert kept.started == kept.ending == kept.ended == [span]
    assert weakref.ref(span)() is span
    assert repr(span) == f'RunSpan(name="task", context={span.context!r})'


@both
def test_its_old_names_are_there(kind):
    span, _ = begun(kind)
    with pytest.warns(DeprecationWarning, match="instrumentation_scope"):
        information = span.instrumentation_info

    assert (information.name, information.version) == ("otelflow", "1")
    assert span.context is span.get_span_context()


@both
def test_an_attribute_that_is_set_again_comes_last_and_no_other_is_lost(kind):
    span, _ = begun(kind, {"a": "1", "b": "2"})
    span.set_attribute("c", 3)
    span.set_attribute("a", 4)
    first = list(span.attributes.items())
    span.set_attribute("b", 5)
    span.end()
    span.set_attribute("d", 6)

    assert first == [("b", "2"), ("c", 3), ("a", 4)]
    assert list(span.attributes.items()) == [("c", 3), ("a", 4), ("b", 5)]


@both
def test_attributes_that_were_read_before_show_what_is_set_after(kind):
    span, _ = begun(kind)
    seen = span.attributes
    span.set_attribute("late", 1)

    assert dict(seen) == {"a": "b", "late": 1}
    with pytest.raises(TypeError):
        seen["a"] = 1


@both
def test_a_limit_that_is_reached_drops_the_oldest_and_counts(kind):
    span, _ = begun(kind, {"a": "1", "b": "2"}, span_limits=SpanLimits(max_span_attributes=3, max_events=1))
    for number, key in enumerate("cdeb"):
        span.set_attribute(key, number)
    for name in ("first", "second"):
        span.add_event(name)
    span.end()

    assert list(span.attributes) == ["d", "e", "b"]
    assert (span.dropped_attributes, span.dropped_events, span.dropped_links) == (3, 1, 0)
    assert [event.name for event in span.events] == ["second"]


@both
def test_an_event_keeps_what_it_was_given_and_can_be_copied(kind):
    span, _ = begun(kind)
    values = {"a": "b", "n": 1}
    span.add_event("plain", values, 5)
    span.add_event("empty")
    span.add_event("now", {})
    values["a"] = "changed"
    plain, empty, now = span.events
    copies = [copy.copy(plain), copy.deepcopy(plain)]

    assert isinstance(plain, Event)
    assert [(event.name, event.timestamp, dict(event.attributes)) for event in (plain, *copies)] == [
        ("plain", 5, {"a": "b", "n": 1})
    ] * 3
    assert type(plain.attributes) is type(empty.attributes) is type(now.attributes)
    assert (len(empty.attributes), len(now.attributes), plain.dropped_attributes) == (0, 0, 0)
    assert abs(now.timestamp - empty.timestamp) < 60 * 10**9
    with pytest.raises(TypeError):
        plain.attributes["a"] = "written"
    with pytest.raises(AttributeError, match="unknown"):
        assert plain.unknown


@both
@pytest.mark.parametrize(
    ("limits", "values"),
    [
        ({"max_event_attributes": 2}, {"b": "22222", "c": "33333"}),
        ({"max_attribute_length": 3}, {"a": "111", "b": "222", "c": "333"}),
        ({"max_event_attributes": 3}, {"a": "11111", "b": "22222", "c": "33333"}),
        ({"max_span_attributes": 1, "max_span_attribute_length": 3}, {"a": "11111", "b": "22222", "c": "33333"}),
    ],
    ids=str,
)
def test_an_event_has_limits_of_its_own(kind, limits, values):
    span, _ = begun(kind, span_limits=SpanLimits(**limits))
    span.add_event("event", {"a": "11111", "b": "22222", "c": "33333"})
    (event,) = span.events

    assert dict(event.attributes) == values
    assert event.dropped_attributes == 3 - len(values)


@both
@pytest.mark.parametrize("is_read_before", [True, False])
def test_nothing_can_be_written_into_the_attributes_of_a_span_that_has_ended(kind, is_read_before):
    span, _ = begun(kind)
    if is_read_before:
        assert span._attributes
    span.end()

    with pytest.raises(TypeError):
        span._attributes["a"] = "written"
    assert dict(span.attributes) == {"a": "b"}


@both
def test_a_link_that_is_added_later_is_there(kind):
    span, _ = begun(kind)
    before = tuple(span.links)
    linked = trace.SpanContext(1, 2, is_remote=True)
    span.add_link(linked, {"why": "it is so"})
    span.end()

    assert before == ()
    assert [(link.context, dict(link.attributes)) for link in span.links] == [(linked, {"why": "it is so"})]
    assert span.dropped_links == 0


@both
def test_an_event_has_only_keys_that_are_texts(kind):
    span, _ = begun(kind)
    for key in (7, "", None, b"k"):
        span.add_event("event", {key: "value", "a": "b"})

    assert {key for event in span.events for key in event.attributes} <= {"a", "7", "b'k'", "None"}
    assert all(type(key) is str for event in span.events for key in event.attributes)


@both
def test_a_processor_may_replace_what_is_exported(kind):
    exporter = InMemorySpanExporter()

    class Redacting(SimpleSpanProcessor):
        def on_end(self, span):
            span._attributes = dict.fromkeys(span.attributes, "redacted")
            span._events = []
            span._name = "renamed"
            span._resource = Resource({"service.name": "other"})
            span._kind = SpanKind.CLIENT
            span._status = Status(StatusCode.ERROR, "replaced")
            span._instrumentation_scope = None
            span._parent = SpanContext(1, 2, False)
            super().on_end(span)

    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(Redacting(exporter))
    span = kind(provider.get_tracer("x")).start("task", context.Context(), lambda: {"a": "b"}, 1)
    span.add_event("event")
    span.end()

    (span,) = exporter.get_finished_spans()
    document = json.loads(span.to_json())
    assert dict(span.attributes) == document["attributes"] == {"a": "redacted"}
    assert (span.events, span.name, span.kind) == ((), "renamed", SpanKind.CLIENT)
    assert span.resource.attributes["service.name"] == "other"
    assert (span.status.description, span.instrumentation_scope) == ("replaced", None)
    assert document["parent_id"] == "0x0000000000000002"


@both
@pytest.mark.parametrize("is_read", [True, False])
def test_what_exporters_get_can_be_copied(kind, is_read):
    span, kept = begun(kind)
    span.add_event("event", {"k": [1]}, 2)
    span.end(3)
    (exported,) = kept.ended
    if is_read:
        exported.to_json()
    shallow, deep = copy.copy(exported), copy.deepcopy(exported)
    shallow._attributes = {"a": "other"}

    assert dict(exported.attributes) == {"a": "b"}
    assert dict(shallow.attributes) == {"a": "other"}
    assert deep.to_json() == exported.to_json()
    assert (deep.context, deep.events[0].attributes["k"]) == (exported.context, (1,))


@both
def test_what_exporters_get_cannot_be_pickled(kind):
    span, kept = begun(kind)
    span.end()

    with pytest.raises(TypeError, match="pickle"):
        pickle.dumps(kept.ended[0])


@both
def test_a_with_block_ends_it_and_leaves_its_exception_to_the_run(kind):
    span, _ = begun(kind)
    with pytest.raises(ValueError, match="inside"), span:
        raise ValueError("inside")

    assert not span.is_recording()
    assert (span.events, span.status.status_code) == ((), StatusCode.UNSET)


RESULT, SPANS = semconv.RUN_RESULT, semconv.TELEMETRY_SPANS


@pytest.mark.parametrize(
    "attributes",
    [{}, {"a": "1"}, {"a": "1", "b": "2"}, {RESULT: "early", "b": "2"}, {SPANS: 5}, {"a": "1", "b": "2", "c": "3"}],
)
@pytest.mark.parametrize("made_spans", [None, 2])
@pytest.mark.parametrize("look", [lambda _: None, lambda span: span.attributes, lambda span: span.end(7)])
def test_an_end_with_a_result_is_to_set_it_and_to_end(attributes, made_spans, look):
    spans = []
    for kind in MAKERS.values():
        span, log = begun(kind, dict(attributes), span_limits=SpanLimits(max_span_attributes=3))
        look(span)
        if kind is RunSpanMaker:
            span.end_with("success", 9, made_spans)
        else:
            span.set_attribute(RESULT, "success")
            if made_spans is not None:
                span.set_attribute(SPANS, made_spans)
            span.end(9)
        spans.append([(ended.name, list(ended.attributes.items()), ended.end_time) for ended in log.ended])
        spans[-1] += [span.dropped_attributes, span.is_recording(), span.end_time]

    assert spans[0] == spans[1]


@both
def test_what_is_done_after_its_end_is_refused_and_logged(kind, caplog):
    span, kept = begun(kind)
    span.end(5)
    before = kept.ended[0].to_json()
    span.set_attribute("a", "late")
    span.set_attributes({"b": "late"})
    span.add_event("late")
    span.add_link(SpanContext(1, 2, False))
    span.set_status(StatusCode.ERROR, "late")
    span.update_name("late")
    span.record_exception(ValueError("late"))
    span.start(9)
    span.end(9)

    assert kept.ended[0].to_json() == before
    assert len(kept.ended) == 1
    assert [record.getMessage() for record in caplog.records] == [
        "Setting attribute on ended span.",
        "Setting attribute on ended span.",
        *["Tried calling _add_event on an ended span."],
        "Tried calling _add_link on an ended span.",
        "Tried calling set_status on an ended span.",
        "Tried calling update_name on an ended span.",
        "Tried calling _add_event on an ended span.",
        "Calling start() on a started span.",
        "Calling end() on an ended span.",
    ]


@both
def test_an_exporter_that_keeps_spans_keeps_no_more_than_the_span(kind):
    span, kept = begun(kind)
    above = weakref.ref(span)
    span.end()
    del span
    kept.started.clear()
    kept.ending.clear()
    kept.ended.clear()

    assert above() is None, "no ring that the garbage collector has to find"


def test_the_run_is_not_kept_with_its_span():
    provider = TracerProvider(shutdown_on_exit=False)
    kept = Kept()
    provider.add_span_processor(kept)
    otelflow.configure(tracer_provider=provider)

    class Large:
        pass

    @otelflow.task
    def takes(value):
        return None

    large = Large()
    reference = weakref.ref(large)
    takes(large)
    del large
    gc.collect()

    assert [span.name for span in kept.ended] == ["task takes"]
    assert reference() is None


# From several threads


def test_what_other_threads_write_while_it_ends_is_exported_or_refused():
    for _ in range(60):
        exported = []

        class Reading(SpanProcessor):
            def on_end(self, span, exported=exported):
                exported.append((span, dict(span.attributes), [event.name for event in span.events], span.name))

        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(Reading())
        span = RunSpanMaker(provider.get_tracer("x")).start("task", context.Context(), dict, 1)
        barrier = threading.Barrier(5)

        def write(number, span=span, barrier=barrier):
            barrier.wait(10)
            for turn in range(20):
                span.set_attribute(f"{number}.{turn}", turn)
                len(span.attributes)
                span.add_event(f"{number}.{turn}")
                span.update_name(f"{number}.{turn}")

        threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        barrier.wait(10)
        span.end()
        span.end()
        for thread in threads:
            thread.join(10)

        ((ended, attributes, events, name),) = exported
        assert dict(ended.attributes) == attributes
        assert [event.name for event in ended.events] == events
        assert ended.name == name


def test_nothing_is_lost_that_several_threads_write_and_read_first():
    for _ in range(100):
        span, _ = begun()
        barrier = threading.Barrier(4)

        def write(number, span=span, barrier=barrier):
            barrier.wait(10)
            if number % 2:
                assert len(span._events) + len(span.attributes) >= 0, "which makes what is made late"
            span.set_attribute(str(number), number)
            span.add_event(str(number))
            span.set_attribute(f"list {number}", [number])

        threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)

        assert set(span.attributes) == {"a", *"0123", *(f"list {number}" for number in range(4))}
        assert {event.name for event in span.events} == set("0123")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_span_that_was_open_at_a_fork_can_be_written_and_ended_in_both_processes():
    from support.programs import python

    done = python("""
import os
from opentelemetry import context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor
from otelflow._telemetry.span_maker import RunSpanMaker

provider = TracerProvider()
exporter = ConsoleSpanExporter(formatter=lambda span: f"{span.name} {dict(span.attributes)}\\n")
provider.add_span_processor(SimpleSpanProcessor(exporter))
span = RunSpanMaker(provider.get_tracer("x")).start("task", context.Context(), lambda: {"a": "b"}, 1)
child = os.fork()
span.set_attribute("place", "parent" if child else "child")
span.end()
if child:
    os.waitpid(child, 0)
""")

    assert sorted(done.stdout.splitlines()) == [
        "task {'a': 'b', 'place': 'child'}",
        "task {'a': 'b', 'place': 'parent'}",
    ], done.stderr
