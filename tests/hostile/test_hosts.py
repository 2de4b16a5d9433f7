"""Applications that bring their own OpenTelemetry: otelflow takes it as it is, and a fault in it never breaks a run."""

import contextlib
import logging

import pytest
from opentelemetry import baggage, context, trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import RandomIdGenerator, SpanLimits, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, Decision, ParentBased, Sampler, SamplingResult

from otelflow import Listener, add_listener, flow, remove_listener, task
from otelflow._core.process import losses
from otelflow._core.process.provider import use_provider


@task
def step(number):
    print("step", number)
    return number


@flow
def add(numbers=3):
    return sum(step(number) for number in range(numbers))


class Host:
    """A provider of the application, with an exporter in memory."""

    def __init__(self, *before, after=(), **options):
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider(shutdown_on_exit=False, **options)
        for processor in (*before, SimpleSpanProcessor(self.exporter), *after):
            self.provider.add_span_processor(processor)

    @property
    def spans(self):
        return self.exporter.get_finished_spans()

    def names(self):
        return [span.name for span in self.spans]


@contextlib.contextmanager
def hosted(*before, **options):
    host = Host(*before, **options)
    previous = use_provider(host.provider)
    lost = dict(losses.dropped)
    try:
        yield host
    finally:
        use_provider(previous)
        host.lost = {
            key: count - lost.get(key, 0) for key, count in losses.dropped.items() if count != lost.get(key, 0)
        }


class Stops(Listener):
    def __init__(self):
        self.heard = []

    def on_flow_stop(self, event):
        self.heard.append((event.event_data.flow_name, event.event_data.result))

    def on_task_stop(self, event):
        self.heard.append((event.event_data.task_name, event.event_data.result))


@pytest.fixture
def stops():
    listener = Stops()
    add_listener(listener)
    yield listener.heard
    remove_listener(listener)


ALL = [("step", "success")] * 3 + [("add", "success")]


# Samplers, ids, limits, resources


class ByName(Sampler):
    """Samples what *decide* says of its name and attributes."""

    def __init__(self, decide):
        self.decide = decide
        self.asked = []

    def should_sample(self, parent_context, trace_id, name, kind=None, attributes=None, links=None, trace_state=None):
        self.asked.append((name, dict(attributes or {})))
        return SamplingResult(self.decide(name), attributes)

    def get_description(self):
        return "by name"


def test_a_sampler_sees_names_and_attributes_and_its_decision_counts(stops):
    sampler = ByName(lambda name: Decision.DROP if name == "task step" else Decision.RECORD_AND_SAMPLE)
    with hosted(sampler=sampler) as host:
        assert add().execute().flow_return_value == 3

    assert host.names() == ["flow add"]
    assert sampler.asked[0][0] == "flow add"
    assert sampler.asked[1][1]["otelflow.task.name"] == "step"
    assert stops == ALL


def test_record_only_reaches_processors_and_no_exporter(stops):
    with hosted(sampler=ByName(lambda _: Decision.RECORD_ONLY)) as host:
        add().execute()

    assert host.names() == []
    assert stops == ALL


def test_listeners_hear_everything_when_nothing_is_sampled(stops):
    with hosted(sampler=ALWAYS_OFF) as host:
        assert add().execute().flow_return_value == 3

    assert host.names() == []
    assert stops == ALL


def test_an_id_generator_makes_the_ids():
    class Counting(RandomIdGenerator):
        def __init__(self):
            self.last = 0

        def generate_span_id(self):
            self.last += 1
            return self.last

        def generate_trace_id(self):
            return 0xABC

    with hosted(id_generator=Counting()) as host:
        add().execute()

    assert {span.context.trace_id for span in host.spans} == {0xABC}
    assert sorted(span.context.span_id for span in host.spans) == [1, 2, 3, 4]


def test_limits_cut_what_they_cut_and_the_result_survives_them():
    limits = SpanLimits(max_span_attributes=4, max_events=2, max_attribute_length=20)

    @task
    def talk():
        for number in range(5):
            print("message number", number, "and more")
        raise ValueError("the end")

    with hosted(span_limits=limits) as host, pytest.raises(ValueError, match="the end"):
        talk()

    (span,) = host.spans
    assert span.attributes["otelflow.run.result"] == "failure"
    assert span.events[-1].name == "exception"
    assert len(span.events) == 2
    assert span.dropped_events == 4
    assert all(len(str(value)) <= 20 for value in span.attributes.values())


def test_the_resource_of_the_host_is_on_every_span():
    with hosted(resource=Resource.create({"service.name": "shop"})) as host:
        add().execute()

    assert {span.resource.attributes["service.name"] for span in host.spans} == {"shop"}


# Faults


class Broken:
    """Raises whatever is asked of it."""

    def __getattr__(self, name):
        raise RuntimeError(f"broken: {name}")


class BreaksOnStart(SpanProcessor):
    def on_start(self, span, parent_context=None):
        raise RuntimeError("broken on_start")


class BreaksOnEnd(SpanProcessor):
    def on_end(self, span):
        raise RuntimeError("broken on_end")


class BrokenSampler(Sampler):
    def should_sample(self, *_, **__):
        raise RuntimeError("broken sampler")

    def get_description(self):
        return "broken"


class BrokenIds(RandomIdGenerator):
    def generate_span_id(self):
        raise RuntimeError("broken ids")


@pytest.mark.parametrize(
    ("before", "options", "lost"),
    [
        ([BreaksOnStart()], {}, ("traces", "start_failed")),
        ([], {"sampler": BrokenSampler()}, ("traces", "start_failed")),
        ([], {"id_generator": BrokenIds()}, ("traces", "start_failed")),
        ([BreaksOnEnd()], {}, ("traces", "end_failed")),
    ],
    ids=["on_start", "sampler", "ids", "on_end"],
)
def test_a_host_that_raises_loses_spans_that_are_counted_and_breaks_nothing(stops, before, options, lost, capsys):
    with hosted(*before, **options) as host:
        done = add().execute()

    assert (done.flow_return_value, done.status) == (3, "success")
    assert host.names() == []
    assert host.lost == {lost: 4}
    assert stops == ALL
    assert [task.status for task in done.executed_tasks] == ["success"] * 3
    assert done.captured_logs()[-1] == "Flow return value: 3"
    assert capsys.readouterr().out == "step 0\nstep 1\nstep 2\n"
    assert not trace.get_current_span().get_span_context().is_valid


def test_the_users_own_exception_comes_out_of_a_host_that_raises():
    error = KeyError("mine")

    @task
    def fail():
        raise error

    for before, options in (([BreaksOnStart()], {}), ([BreaksOnEnd()], {}), ([], {"sampler": BrokenSampler()})):
        with hosted(*before, **options), pytest.raises(KeyError) as raised:
            fail()
        assert raised.value is error
        assert raised.value.__context__ is None


def test_a_span_that_raises_in_every_method_breaks_nothing(stops):
    class BrokenTracer:
        def start_span(self, *_, **__):
            return Broken()

    class BrokenProvider:
        def get_tracer(self, *_, **__):
            return BrokenTracer()

    previous = use_provider(BrokenProvider())
    try:
        assert add().execute().flow_return_value == 3
        assert list(counting()) == [0, 1]
    finally:
        use_provider(previous)


@task
def counting():
    yield 0
    yield 1


@pytest.mark.parametrize("provider", [Broken(), object()], ids=["raises", "has none"])
def test_a_provider_without_tracers_breaks_nothing(stops, provider):
    previous = use_provider(provider)
    try:
        assert add().execute().flow_return_value == 3
        assert list(counting()) == [0, 1]
    finally:
        use_provider(previous)

    assert stops[:4] == ALL


class RaisingHandler(logging.Handler):
    records = 0

    def emit(self, record):
        self.records += 1
        raise RuntimeError("broken logging")


def test_logging_that_raises_breaks_nothing_when_a_warning_is_to_be_said():
    handler = RaisingHandler()
    logger = logging.getLogger("otelflow")
    logger.addHandler(handler)
    try:
        losses.warn_once("test of a raising handler", "something")
    finally:
        logger.removeHandler(handler)

    assert handler.records == 1


# Providers that are no SDK


class ForeignSpan(trace.NonRecordingSpan):
    """A span as ddtrace and others make them: the API's interface and nothing more."""

    def __init__(self, spans, name, parent, attributes):
        super().__init__(trace.SpanContext(0x1234, len(spans) + 1, is_remote=False, trace_flags=trace.TraceFlags(1)))
        self.name, self.parent, self.attributes, self.events = name, parent, dict(attributes), []
        self.status, self.ended = None, False
        spans.append(self)

    def is_recording(self):
        return not self.ended

    def set_attribute(self, key, value):
        self.attributes[key] = value

    def add_event(self, name, attributes=None, timestamp=None):
        self.events.append(name)

    def set_status(self, status, description=None):
        self.status = status.status_code

    def end(self, end_time=None):
        assert not self.ended
        self.ended = True


class ForeignTracer(trace.Tracer):
    def __init__(self):
        self.spans = []

    def start_span(self, name, context=None, kind=trace.SpanKind.INTERNAL, attributes=None, links=None,
                   start_time=None, record_exception=True, set_status_on_exception=True):  # fmt: skip
        parent = trace.get_current_span(context).get_span_context()
        return ForeignSpan(self.spans, name, parent.span_id, attributes)

    def start_as_current_span(self, name, *_, **__):
        raise NotImplementedError


class ForeignProvider(trace.TracerProvider):
    def __init__(self):
        self.tracer = ForeignTracer()

    def get_tracer(
        self, instrumenting_module_name, instrumenting_library_version=None, schema_url=None, attributes=None
    ):
        return self.tracer


def test_a_provider_that_is_not_the_sdk_makes_the_spans():
    provider = ForeignProvider()
    previous = use_provider(provider)
    try:
        with pytest.raises(TypeError):
            add("x").execute()
        add(1).execute()
    finally:
        use_provider(previous)

    spans = provider.tracer.spans
    assert [(span.name, span.parent, span.ended) for span in spans] == [
        ("flow add", 0, True),
        ("flow add", 0, True),
        ("task step", 2, True),
    ]
    assert spans[0].status is trace.StatusCode.ERROR
    assert spans[0].events == ["exception"]
    assert spans[2].events == ["otelflow.message"]


# Parents and baggage


def remote(*, sampled):
    flags = trace.TraceFlags(trace.TraceFlags.SAMPLED if sampled else trace.TraceFlags.DEFAULT)
    above = trace.NonRecordingSpan(trace.SpanContext(0x77, 0x88, is_remote=True, trace_flags=flags))
    return trace.set_span_in_context(above)


@pytest.mark.parametrize("sampled", [True, False])
def test_a_remote_parent_decides_whether_its_part_is_recorded(stops, sampled):
    with hosted(sampler=ParentBased(ALWAYS_OFF)) as host:
        token = context.attach(remote(sampled=sampled))
        try:
            add().execute()
        finally:
            context.detach(token)

    assert stops == ALL
    assert {span.context.trace_id for span in host.spans} == ({0x77} if sampled else set())
    if sampled:
        assert host.spans[-1].parent.span_id == 0x88


def test_an_unsampled_parent_is_handed_on_as_it_is():
    @task
    def seen():
        return trace.get_current_span().get_span_context()

    with hosted(sampler=ParentBased(ALWAYS_OFF)):
        token = context.attach(remote(sampled=False))
        try:
            context_seen = seen()
        finally:
            context.detach(token)

    assert context_seen.trace_id == 0x77
    assert not context_seen.trace_flags.sampled


def test_baggage_reaches_the_body_and_stays_out_of_spans_and_callers():
    @task
    def speak():
        token = context.attach(baggage.set_baggage("inner", "secret"))
        assert token is not None  # and never detached
        return baggage.get_baggage("outer")

    with hosted() as host:
        token = context.attach(baggage.set_baggage("outer", "known"))
        try:
            assert speak() == "known"
            assert baggage.get_all() == {"outer": "known"}
        finally:
            context.detach(token)

    assert not any(
        "baggage" in key or "known" in str(value) for span in host.spans for key, value in span.attributes.items()
    )
    assert baggage.get_all() == {}


def test_spans_of_the_application_and_of_flows_are_one_tree():
    with hosted() as host:
        tracer = host.provider.get_tracer("app")

        @task
        def query():
            with tracer.start_as_current_span("SELECT"):
                step(1)

        with tracer.start_as_current_span("GET /"):
            query()

    by_id = {span.context.span_id: span.name for span in host.spans}
    assert {span.name: by_id.get(span.parent.span_id) if span.parent else None for span in host.spans} == {
        "GET /": None,
        "task query": "GET /",
        "SELECT": "task query",
        "task step": "SELECT",
    }


# In processes of their own


FLOW = """
from otelflow import flow, task

@task
def inner():
    print("inside")

@flow
def outer():
    inner()
    return trace.get_current_span().get_span_context().is_valid
"""


def test_a_provider_that_is_set_after_the_first_run_is_used_from_then_on(program):
    source = """
    print(outer().execute().flow_return_value)
    provide()
    print(outer().execute().flow_return_value)
    """
    program.run(FLOW, source)

    assert program.out.splitlines() == ["inside", "False", "inside", "True"]
    assert program.results() == [("task inner", "success"), ("flow outer", "success")]


def test_a_provider_that_is_set_in_the_middle_of_a_run_gets_what_begins_after(program):
    source = """
    @flow
    def late():
        inner()
        provide()
        inner()
    late().execute()
    """
    program.run(FLOW, source)

    assert program.results() == [("task inner", "success")]


def test_the_sdk_switched_off_by_its_variable_is_no_trouble(program):
    source = """
    import otelflow
    telemetry = otelflow.configure()
    print(outer().execute().flow_return_value, telemetry.is_host, telemetry.force_flush())
    """
    program.run(FLOW, source, env={"OTEL_SDK_DISABLED": "true"})

    assert program.out.splitlines() == ["inside", "False True True"]
    assert (program.err, program.spans) == ("", [])


def test_a_host_with_the_sdk_switched_off_is_no_trouble(program):
    program.run(FLOW, "provide()\nprint(outer().execute().flow_return_value)", env={"OTEL_SDK_DISABLED": "true"})

    assert program.out.splitlines() == ["inside", "False"]
    assert (program.err, program.spans) == ("", [])


def test_without_any_sdk_flows_run_and_listeners_hear(program):
    source = """
    import sys

    class NoSdk:
        def find_spec(self, name, path=None, target=None):
            if name.startswith("opentelemetry.sdk"):
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    sys.meta_path.insert(0, NoSdk())
    from otelflow import flow, flow_events, task

    @task
    def inner():
        print("inside")

    @flow
    def outer():
        inner()
        return 5

    heard = []
    flow_events.event_listeners.append(lambda event: heard.append(event.event_type.value))
    made = outer().execute()
    print(made.flow_return_value, made.captured_logs()[-1])
    print(" ".join(heard))
    import otelflow
    try:
        otelflow.configure()
    except ModuleNotFoundError as error:
        print(error)
    """
    program.run(source, prelude="")

    assert program.err == ""
    assert program.out.splitlines()[:2] == ["inside", "5 Flow return value: 5"]
    heard = program.out.splitlines()[2].split()
    assert [kind for kind in heard if kind != "flow_message"] == [
        "flow_start", "task_start", "task_stop", "new_result", "flow_stop",
    ]  # fmt: skip
    assert program.out.splitlines()[3].startswith("No module named 'opentelemetry.sdk")


def test_configure_leaves_the_hosts_provider_as_it_is(program):
    source = """
    import otelflow
    provider = provide()
    before = (provider.sampler, provider.resource, provider._active_span_processor._span_processors)
    telemetry = otelflow.configure(service_name="ours")
    after = (provider.sampler, provider.resource, provider._active_span_processor._span_processors)
    print(telemetry.is_host, telemetry.provider is provider is trace.get_tracer_provider(), before == after)
    outer().execute()
    telemetry.shutdown()
    outer().execute()
    """
    program.run(FLOW, source)

    assert program.out.splitlines()[0] == "True True True"
    assert len(program.results()) == 4
