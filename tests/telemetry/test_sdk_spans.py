"""Spans that are made faster are the SDK's in every respect, and the SDK makes them where it is another one."""

import inspect
import json
import os
import textwrap
from importlib.metadata import version

import pytest
from opentelemetry import context, trace
from opentelemetry.sdk import trace as sdk
from opentelemetry.sdk.trace import Span, SpanLimits, SpanProcessor, TracerProvider
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

# Older SDKs treat the flag for a random trace id in another way, or not at all.
needs_quick_spans = pytest.mark.skipif(
    version("opentelemetry-sdk") < "1.43", reason="an SDK before 1.43 makes its spans itself"
)


@pytest.fixture(autouse=True)
def _own_trial():
    """Each test makes the spans on trial anew."""
    sdk_spans._trial_tracer.cache_clear()
    yield
    sdk_spans._trial_tracer.cache_clear()


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


class Unnamed(Labelling):
    """Adds a text without a name, which the SDK leaves out."""

    def should_sample(self, parent_context, trace_id, name, kind=None, attributes=None, links=None, trace_state=None):
        return SamplingResult(Decision.RECORD_AND_SAMPLE, {**attributes, "": "no key"})


SAMPLERS = {
    "default": lambda: ParentBased(ALWAYS_ON),
    "all": lambda: ALWAYS_ON,
    "none": lambda: ALWAYS_OFF,
    "ratio": lambda: ParentBased(TraceIdRatioBased(0.5)),
    "other rule for local parents": lambda: ParentBased(ALWAYS_ON, local_parent_sampled=ALWAYS_OFF),
    "other rule for remote parents": lambda: ParentBased(ALWAYS_ON, remote_parent_sampled=ALWAYS_OFF),
    "adds attributes": Labelling,
    "adds a text without a name": Unnamed,
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
    spans = exporter.get_finished_spans()
    dropped = [(span.dropped_attributes, span.dropped_events, span.dropped_links) for span in spans]
    values = [repr(dict(span.attributes)) for span in spans]
    return [json.loads(span.to_json()) for span in spans], dropped, values, plain.get_span_context()


@pytest.mark.parametrize("limits", LIMITS.values(), ids=LIMITS)
@pytest.mark.parametrize("sampler", SAMPLERS.values(), ids=SAMPLERS)
@pytest.mark.parametrize("parent", REMOTE.values(), ids=REMOTE)
def test_what_is_exported_is_what_the_sdk_exports(parent, sampler, limits):
    quickly = made_by(quick, sampler, limits, parent)
    by_the_sdk = made_by(lambda tracer: tracer, sampler, limits, parent)

    assert quickly == by_the_sdk


@needs_quick_spans
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
    class Newer(sdk._Span):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            self._something_new = True

    monkeypatch.setattr(sdk, "_Span", Newer)
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("otelflow")

    maker = quick(tracer)

    assert maker is tracer


DIFFERENT = {
    "set_attribute": lambda span, key, value: None,
    "add_event": lambda span, name, attributes=None, timestamp=None: sdk_spans.SdkSpan.add_event(
        span, name, attributes, timestamp + 1_000
    ),
    "set_status": lambda span, status, description=None: None,
    "end": lambda span, end_time=None: sdk_spans.SdkSpan.end(span, end_time + 1_000),
    "start": lambda span, start_time=None, parent_context=None: sdk_spans.SdkSpan.start(
        span, start_time + 1_000, parent_context
    ),
}


@pytest.mark.parametrize("method", DIFFERENT)
def test_an_sdk_whose_spans_do_something_else_makes_its_spans_itself(monkeypatch, method):
    monkeypatch.setattr(sdk, "_Span", type("Newer", (sdk._Span,), {method: DIFFERENT[method]}))
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("otelflow")

    assert quick(tracer) is tracer


def test_an_sdk_that_gives_the_child_of_a_parent_other_flags_makes_its_spans_itself(monkeypatch):
    start_span = sdk.Tracer.start_span

    def start_random(tracer, name, context=None, **options):
        span = start_span(tracer, name, context, **options)
        own = span.get_span_context()
        if span.parent is not None:
            span._context = SpanContext(
                own.trace_id, own.span_id, False, TraceFlags(own.trace_flags | 2), own.trace_state
            )
        return span

    monkeypatch.setattr(sdk.Tracer, "start_span", start_random)
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("otelflow")

    maker = quick(tracer)

    assert maker is tracer


RENAMED = {
    "a method of the tracer": (sdk.Tracer, "_is_enabled", ["start_span"]),
    "a part that ends a span": (sdk._Span, "_record_end_metrics", ["__init__", "end"]),
}


def rename(monkeypatch, kind, name, methods):
    """Call the private *name* of *kind* otherwise, as another version of the SDK might, in all that uses it."""
    for method in methods:
        source = textwrap.dedent(inspect.getsource(getattr(kind, method))).replace(name, name + "_now")
        source = source.replace("super().__init__(", "ReadableSpan.__init__(self, ")
        namespace = {}
        exec(source, dict(vars(sdk)), namespace)
        monkeypatch.setattr(kind, method, namespace[method])
    if hasattr(kind, name):
        monkeypatch.setattr(kind, name + "_now", getattr(kind, name), raising=False)
        monkeypatch.delattr(kind, name)


@pytest.mark.parametrize(
    "is_renamed_first",
    [True, pytest.param(False, marks=needs_quick_spans)],
    ids=["before the first span", "later"],
)
@pytest.mark.parametrize(("kind", "name", "methods"), RENAMED.values(), ids=RENAMED)
def test_when_a_private_part_of_the_sdk_is_called_otherwise_every_span_arrives(
    monkeypatch, kind, name, methods, is_renamed_first
):
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("otelflow")
    options = {"record_exception": False, "set_status_on_exception": False}
    maker = None if is_renamed_first else quick(tracer)
    above = None if maker is None else maker.start_span("above", attributes={"a": "b"}, start_time=1, **options)
    rename(monkeypatch, kind, name, methods)
    maker = maker or quick(tracer)
    above = above or maker.start_span("above", attributes={"a": "b"}, start_time=1, **options)

    inside = trace.set_span_in_context(above)
    for number in range(3):
        span = maker.start_span(f"task {number}", inside, attributes={"a": "b"}, start_time=2, **options)
        span.add_event("said", {"k": "v"}, 3)
        span.set_status(Status(StatusCode.ERROR, "why"))
        span.end(4)
    above.end(5)

    spans = exporter.get_finished_spans()
    assert [span.name for span in spans] == ["task 0", "task 1", "task 2", "above"]
    assert [span.parent.span_id for span in spans[:3]] == [above.get_span_context().span_id] * 3
    assert [(span.start_time, span.end_time, span.status.description) for span in spans[:3]] == [(2, 4, "why")] * 3
    assert [[event.name for event in span.events] for span in spans] == [["said"]] * 3 + [[]]
    assert [dict(span.attributes) for span in spans] == [{"a": "b"}] * 4
    assert (type(maker) is QuickSpanMaker) is not is_renamed_first


@pytest.mark.parametrize("moment", ["on_start", "on_end"])
def test_a_processor_that_raises_what_a_missing_part_would_is_called_once(moment):
    calls = []

    class Broken(SpanProcessor):
        pass

    def fail(*_, **__):
        calls.append(moment)
        raise AttributeError("of the processor")

    setattr(Broken, moment, fail)
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(Broken())
    maker = quick(provider.get_tracer("otelflow"))

    with pytest.raises(AttributeError, match="of the processor"):
        maker.start_span(
            "task", attributes={}, start_time=1, record_exception=False, set_status_on_exception=False
        ).end(2)

    assert calls == [moment]


@needs_quick_spans
def test_a_tracer_of_somebody_else_stays_as_it_is():
    class Theirs:
        pass

    theirs = Theirs()

    assert quick(theirs) is theirs
    assert isinstance(quick(TracerProvider(shutdown_on_exit=False).get_tracer("otelflow")), QuickSpanMaker)


@needs_quick_spans
def test_a_new_provider_leaves_one_hook_for_forks_which_is_its_own(monkeypatch):
    hooks = []
    monkeypatch.setattr(os, "register_at_fork", lambda **hook: hooks.append(hook), raising=False)
    quick(TracerProvider(shutdown_on_exit=False).get_tracer("first"))
    hooks.clear()

    for name in ("second", "third"):
        quick(TracerProvider(shutdown_on_exit=False).get_tracer(name))

    assert len(hooks) == 2


@needs_quick_spans
def test_a_tracer_that_is_switched_off_makes_no_span_and_hands_the_context_on(monkeypatch):
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("otelflow")
    maker = quick(tracer)
    monkeypatch.setattr(sdk.Tracer, "_is_enabled", lambda _: False)
    above = SpanContext(5, 6, False, TraceFlags(1))
    options = {"attributes": {}, "start_time": 1, "record_exception": False, "set_status_on_exception": False}

    span = maker.start_span("task", trace.set_span_in_context(trace.NonRecordingSpan(above)), **options)

    assert not span.is_recording()
    assert span.get_span_context() == above


@needs_quick_spans
def test_a_sampler_that_raises_what_a_missing_part_would_is_asked_once():
    class Broken(Labelling):
        calls = 0

        def should_sample(self, *arguments, **options):
            self.calls += 1
            raise AttributeError("of the sampler")

    sampler = Broken()
    maker = quick(TracerProvider(sampler=sampler, shutdown_on_exit=False).get_tracer("otelflow"))

    with pytest.raises(AttributeError, match="of the sampler"):
        maker.start_span("task", attributes={}, start_time=1, record_exception=False, set_status_on_exception=False)

    assert sampler.calls == 1


@needs_quick_spans
def test_the_sdk_counts_these_spans_as_its_own(monkeypatch):
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("otelflow")
    makers, counted = (quick(tracer), tracer), []
    monkeypatch.setattr(
        tracer._tracer_metrics, "start_span", lambda *told: counted.append(told) or (lambda: counted.append("end"))
    )
    above = trace.set_span_in_context(trace.NonRecordingSpan(SpanContext(5, 6, False, TraceFlags(1))))
    options = {"attributes": {}, "start_time": 1, "record_exception": False, "set_status_on_exception": False}

    for maker in makers:
        maker.start_span("task", above, **options).end(2)

    assert len(counted) == 4
    assert counted[:2] == counted[2:]
