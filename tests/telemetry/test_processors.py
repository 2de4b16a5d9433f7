"""Which processors are told of a span, in which order, and when."""

from importlib.metadata import version

import pytest

if version("opentelemetry-sdk") < "1.43":
    pytest.skip("an SDK before 1.43 makes its spans itself", allow_module_level=True)

from opentelemetry import context
from opentelemetry.sdk.trace import (
    ConcurrentMultiSpanProcessor,
    SpanProcessor,
    SynchronousMultiSpanProcessor,
    TracerProvider,
)
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otelflow._core.process.provider import TracerSpanMaker
from otelflow._telemetry.span_maker import RunSpanMaker

both = pytest.mark.parametrize("kind", [RunSpanMaker, TracerSpanMaker])


class Noting(SpanProcessor):
    def __init__(self, name, log):
        self.name = name
        self.log = log

    def on_start(self, span, parent_context=None):
        self.log.append((self.name, "on_start", parent_context, span.is_recording()))

    def _on_ending(self, span):
        self.log.append((self.name, "_on_ending", span.is_recording(), span.end_time))

    def on_end(self, span):
        self.log.append((self.name, "on_end", span.name, span.end_time))


class Ends(SpanProcessor):
    def __init__(self, log):
        self.log = log

    def on_end(self, span):
        self.log.append(("ends", span.name))


ABOVE = context.Context({"some": "thing"})


@both
def test_each_processor_is_told_in_its_turn_also_one_that_comes_late(kind):
    log = []
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(Noting("first", log))
    provider.add_span_processor(Ends(log))
    provider.add_span_processor(SimpleSpanProcessor(InMemorySpanExporter()))
    maker = kind(provider.get_tracer("x"))
    span = maker.start("task", ABOVE, dict, 1)
    provider.add_span_processor(Noting("late", log))
    span.end(2)
    maker.start("next", None, dict, 3)

    assert log == [
        ("first", "on_start", ABOVE, True),
        ("first", "_on_ending", False, 2),
        ("late", "_on_ending", False, 2),
        ("first", "on_end", "task", 2),
        ("ends", "task"),
        ("late", "on_end", "task", 2),
        ("first", "on_start", None, True),
        ("late", "on_start", None, True),
    ]


@both
def test_a_processor_of_processors_tells_its_own(kind):
    log = []
    of_processors = ConcurrentMultiSpanProcessor()
    provider = TracerProvider(active_span_processor=of_processors, shutdown_on_exit=False)
    provider.add_span_processor(Noting("only", log))
    kind(provider.get_tracer("x")).start("task", ABOVE, dict, 1).end(2)
    of_processors._executor.shutdown()

    assert log == [
        ("only", "on_start", ABOVE, True),
        ("only", "_on_ending", False, 2),
        ("only", "on_end", "task", 2),
    ]


@both
@pytest.mark.parametrize("processor", [SimpleSpanProcessor, BatchSpanProcessor])
def test_a_processor_of_the_sdk_that_somebody_has_changed_is_told(kind, processor):
    log = []

    class Changed(processor):
        def on_start(self, span, parent_context=None):
            log.append("class")

    changed, patched = Changed(InMemorySpanExporter()), processor(InMemorySpanExporter())
    patched.on_start = lambda span, parent_context=None: log.append("object")
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(changed)
    provider.add_span_processor(patched)
    kind(provider.get_tracer("x")).start("task", ABOVE, dict, 1)
    provider.shutdown()

    assert log == ["class", "object"]


@both
def test_a_processor_that_is_no_subclass_is_told_as_far_as_it_listens(kind):
    log = []

    class Duck:
        on_start = Noting.on_start
        _on_ending = Noting._on_ending
        on_end = Noting.on_end
        name, log = "duck", []

    duck = Duck()
    duck.log = log
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(duck)
    kind(provider.get_tracer("x")).start("task", ABOVE, dict, 1).end(2)

    assert [line[1] for line in log] == ["on_start", "_on_ending", "on_end"]


@both
def test_what_replaces_on_end_later_is_told(kind):
    log = []
    processor = SimpleSpanProcessor(InMemorySpanExporter())
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(processor)
    maker = kind(provider.get_tracer("x"))
    maker.start("first", ABOVE, dict, 1).end(2)
    processor.on_end = lambda span: log.append(span.name)
    maker.start("second", ABOVE, dict, 1).end(2)

    assert log == ["second"]


@both
def test_a_processor_of_processors_that_somebody_has_made_decides_what_they_hear(kind):
    log = []

    class Choosing(SynchronousMultiSpanProcessor):
        def on_end(self, span):
            if span.name != "secret":
                super().on_end(span)

    provider = TracerProvider(active_span_processor=Choosing(), shutdown_on_exit=False)
    provider.add_span_processor(Ends(log))
    maker = kind(provider.get_tracer("x"))
    for name in ("secret", "public"):
        maker.start(name, ABOVE, dict, 1).end(2)

    assert log == [("ends", "public")]


@both
def test_a_processor_that_comes_before_a_span_starts_is_told_of_its_start(kind):
    log = []
    provider = TracerProvider(shutdown_on_exit=False)
    maker = kind(provider.get_tracer("x"))
    maker.start("before", ABOVE, dict, 1).end(2)
    provider.add_span_processor(Noting("late", log))
    maker.start("after", ABOVE, dict, 1)

    assert log == [("late", "on_start", ABOVE, True)]
