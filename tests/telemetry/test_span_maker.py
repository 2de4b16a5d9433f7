"""A span that is made here starts as the SDK's would: parents, samplers, ids, limits, metrics, processors."""

from importlib.metadata import version

import pytest

if version("opentelemetry-sdk") < "1.43":
    pytest.skip("an SDK before 1.43 makes its spans itself", allow_module_level=True)

import json

from opentelemetry import context, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import SpanLimits, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.id_generator import IdGenerator, RandomIdGenerator
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    Decision,
    ParentBased,
    ParentBasedTraceIdRatio,
    Sampler,
    SamplingResult,
    StaticSampler,
    TraceIdRatioBased,
)
from opentelemetry.trace import NonRecordingSpan, SpanContext, Status, StatusCode, TraceFlags, TraceState

from otelflow._core.process.provider import TracerSpanMaker
from otelflow._telemetry.id_generator import SystemIdGenerator
from otelflow._telemetry.span import DroppedSpan, RunSpan
from otelflow._telemetry.span_maker import RunSpanMaker

PARENTS = {
    "no parent": None,
    "local parent": SpanContext(5, 6, False, TraceFlags(1), TraceState([("vendor", "x")])),
    "local parent, random id": SpanContext(5, 6, False, TraceFlags(3)),
    "local parent that is not sampled": SpanContext(5, 6, False, TraceFlags(0)),
    "remote parent": SpanContext(5, 6, True, TraceFlags(1), TraceState([("vendor", "x")])),
    "remote parent that is not sampled": SpanContext(5, 6, True, TraceFlags(2)),
    "parent with flags of the future": SpanContext(5, 6, True, TraceFlags(0xFF)),
    "parent that is not valid": SpanContext(5, 0, True, TraceFlags(1), TraceState([("vendor", "x")])),
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
        return self.last << 56

    def is_trace_id_random(self):
        return True


class Labelling(Sampler):
    """Adds attributes and a trace state, as samplers may."""

    decision = Decision.RECORD_AND_SAMPLE

    def should_sample(self, parent_context, trace_id, name, kind=None, attributes=None, links=None, trace_state=None):
        more = {
            **attributes,
            "sampler.rate": 0.5,
            "sampler.words": ["a", "b"],
            "": "no key",
            "asked": f"{kind} {links}",
        }
        return SamplingResult(self.decision, more, TraceState([("sampled", "by-us")]))

    def get_description(self):
        return "Labelling"


class RecordOnly(Labelling):
    decision = Decision.RECORD_ONLY


class Dropping(Labelling):
    decision = Decision.DROP


class Subclass(ParentBased):
    """A sampler of the SDK that somebody has changed."""

    def should_sample(self, parent_context, trace_id, name, *arguments, **options):
        if name == "plain":
            return SamplingResult(Decision.DROP)
        return super().should_sample(parent_context, trace_id, name, *arguments, **options)


class HalfRatio(TraceIdRatioBased):
    """A sampler of the SDK that takes fewer than it says."""

    @property
    def bound(self):
        return super().bound // 2


SAMPLERS = {
    "default": lambda: ParentBased(ALWAYS_ON),
    "all": lambda: ALWAYS_ON,
    "none": lambda: ALWAYS_OFF,
    "all, by another object": lambda: StaticSampler(Decision.RECORD_AND_SAMPLE),
    "records only": lambda: StaticSampler(Decision.RECORD_ONLY),
    "ratio": lambda: ParentBased(TraceIdRatioBased(0.5)),
    "ratio of each": lambda: TraceIdRatioBased(101.5 / 256),
    "ratio of the environment": lambda: ParentBasedTraceIdRatio(0.1),
    "ratio of children": lambda: ParentBased(ALWAYS_ON, local_parent_sampled=TraceIdRatioBased(0.0)),
    "other rule for local parents": lambda: ParentBased(ALWAYS_ON, local_parent_sampled=ALWAYS_OFF),
    "other rule for parents that are not sampled": lambda: ParentBased(
        ALWAYS_OFF, local_parent_not_sampled=ALWAYS_ON, remote_parent_not_sampled=ALWAYS_ON
    ),
    "other rule for remote parents": lambda: ParentBased(ALWAYS_ON, remote_parent_sampled=ALWAYS_OFF),
    "by parent, in one by parent": lambda: ParentBased(ParentBased(ALWAYS_OFF)),
    "adds attributes": Labelling,
    "adds attributes to children": lambda: ParentBased(Labelling(), local_parent_sampled=Labelling()),
    "adds, and records only": RecordOnly,
    "adds, and drops": Dropping,
    "subclass of one that is known": lambda: Subclass(ALWAYS_ON),
    "subclass of a ratio": lambda: HalfRatio(0.79),
}
LIMITS = {
    "default": SpanLimits,
    "none": lambda: SpanLimits(*[SpanLimits.UNSET] * 8),
    "few attributes": lambda: SpanLimits(max_span_attributes=2),
    "as many as at the start": lambda: SpanLimits(max_span_attributes=3),
    "no attributes": lambda: SpanLimits(max_span_attributes=0),
    "short values": lambda: SpanLimits(max_span_attribute_length=3),
    "few events": lambda: SpanLimits(max_events=1, max_links=1),
    "no events": lambda: SpanLimits(max_events=0, max_links=0),
    "short values of events": lambda: SpanLimits(max_attribute_length=2, max_event_attributes=1),
}


def made_by(kind, sampler, limits, parent):
    """Return what is exported, what was dropped, and the ids, with a maker of *kind*."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(sampler=sampler(), id_generator=Counting(), span_limits=limits(), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    maker = kind(provider.get_tracer("otelflow", "1", "https://example.org/schema"))
    above = context.Context() if parent is None else trace.set_span_in_context(NonRecordingSpan(parent))
    plain = maker.start("plain", above, lambda: {"a": "one", "b": "two", "c": "three"}, 7)
    rich = maker.start("rich", trace.set_span_in_context(plain), lambda: {"text": "long text"}, 8)
    rich.set_attributes({"n": 1, "list": [1]})
    rich.set_attribute("more", "yes")
    rich.set_attribute("n", 2)
    rich.add_event("first", {"k": "value", "l": "value"}, 9)
    rich.add_event("second", {"k": "v"}, 10)
    rich.add_link(SpanContext(1, 2, True))
    rich.set_status(Status(StatusCode.ERROR, "why"))
    plain.set_attribute("d", "four")
    plain.end(11)
    rich.end(12)
    spans = exporter.get_finished_spans()
    dropped = [(span.dropped_attributes, span.dropped_events, span.dropped_links) for span in spans]
    values = [repr(dict(span.attributes)) for span in spans]
    exported = [json.loads(span.to_json()) for span in spans]
    return exported, dropped, values, plain.get_span_context(), rich.get_span_context()


@pytest.mark.parametrize("sampler", SAMPLERS.values(), ids=SAMPLERS)
@pytest.mark.parametrize("parent", PARENTS.values(), ids=PARENTS)
def test_what_is_exported_is_what_the_sdk_exports(parent, sampler):
    own, by_the_sdk = (
        {name: made_by(kind, sampler, limits, parent) for name, limits in LIMITS.items()}
        for kind in (RunSpanMaker, TracerSpanMaker)
    )

    assert own == by_the_sdk


def maker_of(**options):
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False, **options)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return RunSpanMaker(provider.get_tracer("otelflow")), exporter


@pytest.mark.parametrize("generator", [RandomIdGenerator, SystemIdGenerator])
@pytest.mark.parametrize("sampler", [ALWAYS_ON, ParentBased(ALWAYS_ON)])
def test_a_child_of_a_span_is_in_its_trace_with_an_id_of_its_own(sampler, generator):
    maker, exporter = maker_of(sampler=sampler, id_generator=generator())
    span = maker.start("0", context.Context(), dict, 0)
    for number in range(1, 4):
        span = maker.start(str(number), trace.set_span_in_context(span), dict, number)
        span.end(9)

    contexts = [span.context for span in exporter.get_finished_spans()]
    assert len({ids.span_id for ids in contexts}) == 3
    assert [type(ids) for ids in contexts] == [SpanContext] * 3
    assert {(ids.trace_id, ids.is_valid, ids.is_remote, ids.trace_flags) for ids in contexts} == {
        (span.get_span_context().trace_id, True, False, 3)
    }
    assert [span.parent for span in exporter.get_finished_spans()][1:] == contexts[:-1]


@pytest.mark.parametrize("sampler", [ALWAYS_OFF, ParentBased(ALWAYS_OFF), ParentBasedTraceIdRatio(0.0)])
def test_spans_that_are_not_sampled_have_ids_that_stay_when_somebody_reads_them(sampler):
    maker, exporter = maker_of(sampler=sampler, id_generator=SystemIdGenerator())
    attributes = []
    spans = [maker.start("0", context.Context(), lambda: attributes.append(1), 0)]
    for number in range(1, 4):
        above = trace.set_span_in_context(spans[-1])
        spans.append(maker.start(str(number), above, lambda: attributes.append(1), number))
    first, second = ([span.get_span_context() for span in spans] for _ in range(2))
    for span in spans:
        span.set_attribute("a", "b")
        span.end()

    assert first == second
    assert len({ids.span_id for ids in first}) == 4
    assert {(ids.trace_id, ids.is_valid, ids.trace_flags) for ids in first} == {(first[0].trace_id, True, 2)}
    assert {isinstance(span, NonRecordingSpan) and span.is_recording() for span in spans} == {False}
    assert attributes == [], "nobody wants them"
    assert exporter.get_finished_spans() == ()


def test_the_ids_of_a_span_that_is_not_sampled_are_the_same_for_all_threads():
    from concurrent.futures import ThreadPoolExecutor

    maker, _ = maker_of(sampler=ALWAYS_OFF)
    spans = [maker.start("dropped", context.Context(), dict, 0) for _ in range(300)]
    with ThreadPoolExecutor(8) as pool:
        read = list(pool.map(lambda span: [ids.get_span_context() for ids in spans], range(8)))

    assert all(ids == read[0] for ids in read)


def test_a_span_that_is_not_sampled_keeps_nothing_above_it_in_memory():
    import gc
    import weakref

    maker, _ = maker_of(sampler=ALWAYS_OFF)
    span = first = maker.start("0", context.Context(), dict, 0)
    first = weakref.ref(first)
    for number in range(1, 100):
        span = maker.start(str(number), trace.set_span_in_context(span), dict, number)
    gc.collect()

    assert first() is None
    assert span.get_span_context().is_valid


def test_a_maker_of_ids_that_may_count_them_is_asked_for_each_span():
    generator = Counting()
    maker, _ = maker_of(sampler=ALWAYS_OFF, id_generator=generator)
    span = maker.start("0", context.Context(), dict, 0)
    maker.start("1", trace.set_span_in_context(span), dict, 0)

    assert generator.last == 103


class Zero(Counting):
    """Gives spans ids that are not valid."""

    def generate_span_id(self):
        return 0


class ZeroLater(Counting):
    """Gives the second span an id that is not valid."""

    def generate_span_id(self):
        return super().generate_span_id() % 103


@pytest.mark.parametrize("generator", [Counting, Zero, ZeroLater])
def test_the_child_of_a_span_whose_ids_somebody_else_makes_is_as_the_sdk_has_it(generator):
    contexts = []
    for kind in (RunSpanMaker, TracerSpanMaker):
        provider = TracerProvider(id_generator=generator(), shutdown_on_exit=False)
        maker = kind(provider.get_tracer("x"))
        span = maker.start("0", context.Context(), dict, 0)
        child = maker.start("1", trace.set_span_in_context(span), dict, 0)
        contexts.append([span.get_span_context(), child.get_span_context(), child.parent])

    assert contexts[0] == contexts[1]
    assert contexts[0][1].is_valid is (generator is Counting)


def test_a_parent_that_is_not_valid_is_no_parent():
    zero, _ = maker_of(id_generator=Zero())
    above = trace.set_span_in_context(zero.start("above", context.Context(), dict, 0))
    maker, _ = maker_of(id_generator=SystemIdGenerator())
    span = maker.start("span", above, dict, 1)

    assert span.parent is None
    assert span.get_span_context().is_valid


def test_the_child_of_a_span_that_is_recorded_and_not_sampled_is_not_sampled():
    record_only = StaticSampler(Decision.RECORD_ONLY)
    maker, _ = maker_of(sampler=ParentBased(record_only), id_generator=SystemIdGenerator())
    span = maker.start("span", context.Context(), dict, 0)
    child = maker.start("child", trace.set_span_in_context(span), dict, 1)

    assert (type(span), type(child)) == (RunSpan, DroppedSpan)
    assert span.get_span_context().trace_id == child.get_span_context().trace_id


def test_a_maker_of_ids_is_asked_also_below_a_span_of_another_provider_that_is_not_sampled():
    known, _ = maker_of(sampler=ALWAYS_OFF, id_generator=SystemIdGenerator())
    above = trace.set_span_in_context(known.start("above", context.Context(), dict, 0))
    counting = Counting()
    maker, _ = maker_of(sampler=ALWAYS_OFF, id_generator=counting)
    span = maker.start("span", above, dict, 1)

    assert span.get_span_context().span_id == counting.last == 101


def test_the_child_of_a_span_of_another_provider_follows_the_rules_of_its_own():
    recording, _ = maker_of()
    dropping, _ = maker_of(sampler=ALWAYS_OFF)
    recorded = recording.start("recorded", context.Context(), dict, 0)
    dropped = dropping.start("dropped", trace.set_span_in_context(recorded), dict, 0)
    always, exporter = maker_of(sampler=ALWAYS_ON)
    always.start("below", trace.set_span_in_context(dropped), dict, 1).end(2)

    (span,) = exporter.get_finished_spans()
    assert span.parent == dropped.get_span_context()
    assert span.context.trace_id == recorded.get_span_context().trace_id
    assert type(dropped) is DroppedSpan


def test_a_sampler_that_is_exchanged_counts_from_the_next_span_on():
    maker, _ = maker_of(sampler=ALWAYS_ON)
    above = trace.set_span_in_context(maker.start("above", context.Context(), dict, 0))
    kinds = []
    for sampler in (ALWAYS_OFF, ALWAYS_ON, Dropping(), ParentBased(ALWAYS_OFF)):
        maker._tracer.sampler = sampler
        kinds.append(type(maker.start("span", above, dict, 1)))

    assert kinds == [DroppedSpan, RunSpan, NonRecordingSpan, RunSpan]


def test_a_tracer_that_is_switched_off_makes_no_span_and_hands_the_context_on():
    provider = TracerProvider(shutdown_on_exit=False)
    tracer = provider.get_tracer("otelflow")
    maker = RunSpanMaker(tracer)
    above = maker.start("above", context.Context(), dict, 1)
    from opentelemetry.sdk.trace import _disable_tracer_configurator

    provider._set_tracer_configurator(tracer_configurator=_disable_tracer_configurator)
    spans = [made.start("task", trace.set_span_in_context(above), dict, 1) for made in (maker, TracerSpanMaker(tracer))]

    assert [type(span) for span in spans] == [NonRecordingSpan] * 2
    assert [span.get_span_context() for span in spans] == [above.get_span_context()] * 2


@pytest.mark.parametrize("moment", ["on_start", "_on_ending", "on_end"])
def test_what_a_processor_raises_comes_out_and_it_is_called_once(moment):
    calls = []

    class Broken(SpanProcessor):
        pass

    def fail(*_, **__):
        calls.append(moment)
        raise AttributeError("of the processor")

    setattr(Broken, moment, fail)
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(Broken())
    maker = RunSpanMaker(provider.get_tracer("otelflow"))

    with pytest.raises(AttributeError, match="of the processor"):
        maker.start("task", None, dict, 1).end(2)

    assert calls == [moment]


def test_a_sampler_that_raises_is_asked_once():
    class Broken(Labelling):
        calls = 0

        def should_sample(self, *arguments, **options):
            self.calls += 1
            raise AttributeError("of the sampler")

    sampler = Broken()
    maker, _ = maker_of(sampler=sampler)

    with pytest.raises(AttributeError, match="of the sampler"):
        maker.start("task", None, dict, 1)

    assert sampler.calls == 1


@pytest.mark.parametrize("sampler", [ALWAYS_ON, ALWAYS_OFF, RecordOnly(), Dropping()])
def test_the_sdk_counts_these_spans_as_its_own(monkeypatch, sampler):
    monkeypatch.setenv("OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED", "true")
    counts = []
    for kind in (RunSpanMaker, TracerSpanMaker):
        reader = InMemoryMetricReader()
        meters = MeterProvider([reader], shutdown_on_exit=False)
        provider = TracerProvider(sampler, meter_provider=meters, shutdown_on_exit=False)
        maker = kind(provider.get_tracer("otelflow"))
        root = maker.start("root", context.Context(), dict, 1)
        child = maker.start("child", trace.set_span_in_context(root), dict, 1)
        remote = trace.set_span_in_context(NonRecordingSpan(SpanContext(5, 6, True, TraceFlags(1))))
        maker.start("below a remote one", remote, dict, 1)
        child.end(2)
        (resource,) = reader.get_metrics_data().resource_metrics
        counts.append(
            {
                (metric.name, *sorted(point.attributes.items())): point.value
                for scope in resource.scope_metrics
                for metric in scope.metrics
                for point in metric.data.data_points
            }
        )

    assert counts[0] == counts[1] != {}


def test_a_forked_child_has_the_resource_of_the_child():
    if not hasattr(TracerProvider, "_update_resource"):
        pytest.skip("this SDK leaves the resource as it is")
    provider = TracerProvider(shutdown_on_exit=False)
    maker = RunSpanMaker(provider.get_tracer("otelflow"))
    before = maker.start("before", context.Context(), dict, 1)
    provider._update_resource(provider.resource.merge(type(provider.resource)({"process.pid": 7})))
    after = maker.start("after", trace.set_span_in_context(before), dict, 1)

    assert before.resource.attributes.get("process.pid") != 7
    assert after.resource.attributes["process.pid"] == 7
