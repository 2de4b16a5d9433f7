import json

import pytest
from opentelemetry import context, trace
from opentelemetry.sdk.trace import Span, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    Decision,
    ParentBased,
    Sampler,
    SamplingResult,
    TraceIdRatioBased,
)
from opentelemetry.trace import SpanContext, Status, StatusCode, TraceFlags, TraceState

from otelflow._telemetry import sdk_spans
from otelflow._telemetry.sdk_spans import QuickSpan, QuickSpanMaker, quick

REMOTE = {
    "no parent": None,
    "local parent": SpanContext(5, 6, False, TraceFlags(1), TraceState([("vendor", "x")])),
    "local parent, random id": SpanContext(5, 6, False, TraceFlags(3)),
    "local parent that is not sampled": SpanContext(5, 6, False, TraceFlags(0)),
    "remote parent": SpanContext(5, 6, True, TraceFlags(1), TraceState([("vendor", "x")])),
    "remote parent that is not sampled": SpanContext(5, 6, True, TraceFlags(2)),
}


class Counting(IdGenerator):
    """Gives both makers the same ids."""

    def __init__(self):
        self.last = 100

    def generate_span_id(self):
        self.last += 1
        return self.last

    def generate_trace_id(self):
        self.last += 1
        return self.last

    def is_trace_id_random(self):
        return True


class Labelling(Sampler):
    """Adds attributes and a trace state, as samplers may."""

    def should_sample(self, parent_context, trace_id, name, kind=None, attributes=None, links=None, trace_state=None):
        more = {**attributes, "sampler.rate": 0.5, "sampler.words": ["a", "b"], "": "no key"}
        return SamplingResult(Decision.RECORD_AND_SAMPLE, more, TraceState([("sampled", "by-us")]))

    def get_description(self):
        return "Labelling"


SAMPLERS = {
    "default": lambda: ParentBased(ALWAYS_ON),
    "all": lambda: ALWAYS_ON,
    "none": lambda: ALWAYS_OFF,
    "ratio": lambda: ParentBased(TraceIdRatioBased(0.5)),
    "other rule for local parents": lambda: ParentBased(ALWAYS_ON, local_parent_sampled=ALWAYS_OFF),
    "adds attributes": Labelling,
}
LIMITS = {
    "default": SpanLimits,
    "few attributes": lambda: SpanLimits(max_span_attributes=2),
    "no attributes": lambda: SpanLimits(max_span_attributes=0),
    "short values": lambda: SpanLimits(max_span_attribute_length=3),
    "few events": lambda: SpanLimits(max_events=1, max_links=1),
}


def made_by(choose, sampler, limits, parent):
    """Return what is exported, what was dropped, and the first context, with the maker that *choose* makes."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(sampler=sampler(), id_generator=Counting(), span_limits=limits(), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    maker = choose(provider.get_tracer("otelflow", "1", "https://example.org/schema"))
    above = context.Context() if parent is None else trace.set_span_in_context(trace.NonRecordingSpan(parent))
    options = {"record_exception": False, "set_status_on_exception": False}
    plain = maker.start_span("plain", above, attributes={"a": "one", "b": "two", "c": "three"}, start_time=7, **options)
    rich = maker.start_span(
        "rich", above, attributes={"text": "long text", "n": 1, "list": [1]}, start_time=8, **options
    )
    rich.set_attribute("more", "yes")
    rich.add_event("first", {"k": "v"}, 9)
    rich.add_event("second", {"k": "v"}, 10)
    rich.add_link(SpanContext(1, 2, True))
    rich.set_status(Status(StatusCode.ERROR, "why"))
    plain.end(11)
    rich.end(12)
    rich.set_attribute("late", "is refused")
    rich.add_event("late")
    dropped = [(one.dropped_attributes, one.dropped_events, one.dropped_links) for one in exporter.get_finished_spans()]
    return [json.loads(one.to_json()) for one in exporter.get_finished_spans()], dropped, plain.get_span_context()


@pytest.mark.parametrize("limits", LIMITS.values(), ids=LIMITS)
@pytest.mark.parametrize("sampler", SAMPLERS.values(), ids=SAMPLERS)
@pytest.mark.parametrize("parent", REMOTE.values(), ids=REMOTE)
def test_what_is_exported_is_what_the_sdk_exports(parent, sampler, limits):
    quickly = made_by(quick, sampler, limits, parent)
    by_the_sdk = made_by(lambda tracer: tracer, sampler, limits, parent)

    assert quickly == by_the_sdk


def test_processors_see_a_span_of_the_sdk_and_may_write_on_it():
    seen = []

    class Writing(SimpleSpanProcessor):
        def on_start(self, span, parent_context=None):
            seen.append((isinstance(span, Span), dict(span.attributes), span.events, parent_context))
            span.set_attribute("written", "at the start")

    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(Writing(exporter))
    above = context.Context({"some": "thing"})

    maker = quick(provider.get_tracer("otelflow"))
    span = maker.start_span(
        "task", above, attributes={"a": "b"}, start_time=1, record_exception=False, set_status_on_exception=False
    )
    span.end(2)

    assert isinstance(span, QuickSpan)
    assert seen == [(True, {"a": "b"}, (), above)]
    assert dict(exporter.get_finished_spans()[0].attributes) == {"a": "b", "written": "at the start"}


def test_an_sdk_with_other_private_parts_makes_its_spans_itself(monkeypatch):
    class Newer(sdk_spans.SdkSpan):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            self._something_new = True

    monkeypatch.setattr(sdk_spans, "SdkSpan", Newer)
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("otelflow")

    maker = quick(tracer)

    assert maker is tracer


def test_a_tracer_of_somebody_else_stays_as_it_is():
    class Theirs:
        pass

    theirs = Theirs()

    assert quick(theirs) is theirs
    assert isinstance(quick(TracerProvider(shutdown_on_exit=False).get_tracer("otelflow")), QuickSpanMaker)
