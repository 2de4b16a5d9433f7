"""Which maker makes the spans of an SDK: ours after a trial, and the SDK's tracer where anything is another way."""

import logging
import os
import random
import re
from importlib.metadata import version

import pytest
from opentelemetry import trace
from opentelemetry.sdk import trace as sdk
from opentelemetry.sdk.trace import TracerProvider, sampling
from opentelemetry.trace import SpanContext, TraceFlags

from otelflow._core.process.provider import TracerSpanMaker
from otelflow.errors import ConfigurationError
from support.programs import python

# An older SDK does not have what is imported, and makes its spans itself.
IS_OLD = version("opentelemetry-sdk") < "1.43"
pytestmark = pytest.mark.skipif(IS_OLD, reason="an SDK before 1.43 makes its spans itself")
if not IS_OLD:
    from otelflow._telemetry import sdk_spans
    from otelflow._telemetry.sdk_spans import span_maker
    from otelflow._telemetry.span import RunSpan
    from otelflow._telemetry.span_maker import RunSpanMaker


@pytest.fixture(autouse=True)
def _own_trial():
    """Each test makes the spans on trial anew."""
    sdk_spans._trial.cache_clear()
    yield
    sdk_spans._trial.cache_clear()


@pytest.fixture
def tracer():
    return TracerProvider(shutdown_on_exit=False).get_tracer("otelflow")


def test_spans_of_the_sdk_that_is_installed_are_made_here(tracer):
    assert type(span_maker(tracer)) is RunSpanMaker


def test_a_tracer_of_somebody_else_makes_its_spans_itself(tracer):
    class Theirs(sdk.Tracer):
        pass

    tracer.__class__ = Theirs
    maker = span_maker(tracer)

    assert type(maker) is TracerSpanMaker
    assert maker.tracer is tracer


def test_an_sdk_with_other_private_parts_makes_its_spans_itself(monkeypatch, tracer, caplog):
    class Newer(sdk._Span):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            self._something_new = True

    monkeypatch.setattr(sdk, "_Span", Newer)
    with caplog.at_level(logging.DEBUG, "otelflow"):
        maker = span_maker(tracer)

    assert type(maker) is TracerSpanMaker
    assert [record.levelname for record in caplog.records] == ["DEBUG"]
    assert "makes the spans itself" in caplog.text


DIFFERENT = {
    "set_attribute": lambda span, key, value: sdk.Span.set_attribute(span, key, f"{value}"),
    "set_attributes": lambda span, values: None,
    "add_event": lambda span, name, attributes=None, timestamp=None: sdk.Span.add_event(span, name, {}, timestamp),
    "add_link": lambda span, context, attributes=None: None,
    "set_status": lambda span, status, description=None: None,
    "update_name": lambda span, name: None,
    "end": lambda span, end_time=None: sdk.Span.end(span, end_time + 1_000),
    "is_recording": lambda span: True,
    "start": lambda span, start_time=None, parent_context=None: sdk.Span.start(
        span, start_time + 1_000, parent_context
    ),
}


@pytest.mark.parametrize("method", DIFFERENT)
def test_an_sdk_whose_spans_do_something_else_makes_its_spans_itself(monkeypatch, tracer, method):
    monkeypatch.setattr(sdk, "_Span", type("Newer", (sdk._Span,), {method: DIFFERENT[method]}))

    assert type(span_maker(tracer)) is TracerSpanMaker


def test_an_sdk_that_gives_the_child_of_a_parent_other_flags_makes_its_spans_itself(monkeypatch, tracer):
    start_span = sdk.Tracer.start_span

    def start_random(tracer, name, context=None, **options):
        span = start_span(tracer, name, context, **options)
        own = span.get_span_context()
        if getattr(span, "parent", None) is not None:
            flags = TraceFlags(own.trace_flags ^ TraceFlags.RANDOM_TRACE_ID)
            span._context = SpanContext(own.trace_id, own.span_id, False, flags, own.trace_state)
        return span

    monkeypatch.setattr(sdk.Tracer, "start_span", start_random)

    assert type(span_maker(tracer)) is TracerSpanMaker


@pytest.mark.parametrize("kind", [sampling.ParentBased, sampling.TraceIdRatioBased, sampling.StaticSampler])
def test_an_sdk_whose_samplers_decide_otherwise_makes_its_spans_itself(monkeypatch, tracer, kind):
    result = sampling.SamplingResult(sampling.Decision.RECORD_ONLY)
    monkeypatch.setattr(kind, "should_sample", lambda *arguments, **options: result)

    assert type(span_maker(tracer)) is TracerSpanMaker


RENAMED = (
    "_is_enabled",
    "self._span_limits",
    "_instrumentation_scope",
    "self._tracer_metrics",
    "NoOpTracerMetrics",
    "_span_processors",
    "_on_ending",
    "_Span",
    "_root",
    "_local_parent_sampled",
    "_remote_parent_not_sampled",
    "_start_time",
    "_end_time",
    "_attributes",
    "_events",
    "_status",
    "_dict",
    "_immutable",
    "_context",
    "_resource",
    "ParentBasedTraceIdRatio",
    "SynchronousMultiSpanProcessor",
    "RandomIdGenerator",
)


@pytest.mark.parametrize("name", RENAMED)
def test_when_a_private_part_of_the_sdk_is_called_otherwise_every_span_arrives(name):
    """As if another version of OpenTelemetry had another name for it, everywhere."""
    program = f"""
import re
from importlib.machinery import SourceFileLoader

get_code, renamed = SourceFileLoader.get_code, set()


def get_renamed(loader, module):
    if not module.startswith("opentelemetry."):
        return get_code(loader, module)
    source = loader.get_data(loader.path).decode()
    new = re.sub(r"(?<![\\w]){re.escape(name)}\\b", "{name}_now", source)
    if new != source:
        renamed.add(module)
    return compile(new, loader.path, "exec")


SourceFileLoader.get_code = get_renamed
import opentelemetry.sdk.trace as sdk
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry import trace
import otelflow

exporter = InMemorySpanExporter()
provider = sdk.TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
telemetry = otelflow.configure(tracer_provider=provider)
kinds = []


@otelflow.task
def inner(this_flow):
    kinds.append(type(trace.get_current_span()).__name__)


@otelflow.flow
def outer():
    inner()


outer().execute()
print([(span.name, span.attributes["otelflow.run.result"]) for span in exporter.get_finished_spans()])
assert renamed
print(kinds[0], dict(telemetry.dropped))
"""
    done = python(program)

    first, last = done.stdout.splitlines() or ("", done.stderr)
    assert first == "[('task inner', 'success'), ('flow outer', 'success')]"
    assert last in ("_Span {}", "_Span_now {}")


def test_a_new_provider_leaves_no_hook_for_forks_but_its_own(monkeypatch, tracer):
    span_maker(tracer)
    hooks = []
    monkeypatch.setattr(os, "register_at_fork", lambda **hook: hooks.append(hook), raising=False)
    tracers = [TracerProvider(shutdown_on_exit=False).get_tracer(name) for name in ("second", "third")]
    own = len(hooks)

    for later in tracers:
        span_maker(later)

    assert len(hooks) == own


def test_a_trial_draws_nothing_from_the_randomness_of_the_program(tracer):
    random.seed(42)
    before = random.getstate()
    span_maker(tracer)

    assert random.getstate() == before


def test_a_trial_says_nothing_and_tells_nobody(tracer, caplog, monkeypatch):
    asked = []
    monkeypatch.setattr(tracer, "sampler", asked)
    monkeypatch.setattr(tracer, "id_generator", asked)

    with caplog.at_level(logging.DEBUG):
        maker = span_maker(tracer)

    assert type(maker) is RunSpanMaker
    assert caplog.records == []


@pytest.mark.parametrize(("choice", "kind"), [("sdk", sdk._Span), ("otelflow", None)])
def test_the_setting_span_says_who_makes_the_spans(monkeypatch, choice, kind):
    from otelflow import task, testing

    monkeypatch.setenv("OTELFLOW_SPAN", choice)

    @task
    def own():
        return type(trace.get_current_span())

    with testing.flow_trace():
        made = own()

    assert made is (kind or RunSpan)


def test_configure_changes_who_makes_the_spans_of_a_provider_that_is_in_use():
    import otelflow
    from otelflow import task

    @task
    def own():
        return type(trace.get_current_span())

    host = TracerProvider(shutdown_on_exit=False)
    kinds = []
    for choice in ("otelflow", "sdk", "otelflow"):
        otelflow.configure(tracer_provider=host, span=choice)
        kinds.append(own())

    assert kinds == [RunSpan, sdk._Span, RunSpan]


def test_a_maker_that_nobody_knows_is_refused():
    import otelflow

    with pytest.raises(ConfigurationError, match="span must be one of otelflow, sdk, not 'skd'; did you mean 'sdk'"):
        otelflow.configure(span="skd")
