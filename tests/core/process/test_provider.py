"""Which provider makes the spans, and runs without one."""

import subprocess
import sys
import threading

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

import otelflow
from otelflow import flow, metrics, semconv, task
from otelflow._core.process import losses, process, provider, shutdown
from otelflow._core.runs.current import current_run
from support.flows import leaf


def test_runs_need_nobody_who_makes_spans():
    error = KeyError("still mine")

    @task
    def breaks():
        raise error

    @flow
    def bare():
        assert leaf() == 1
        return breaks()

    run = bare()
    with pytest.raises(KeyError) as raised:
        run.execute()

    assert raised.value is error
    assert (run.status, run.flow_error) == ("failure", error)
    assert [task.status for task in run.executed_tasks] == ["success", "failure"]
    assert current_run() is None


def test_an_sdk_without_a_private_name_that_is_imported_makes_the_spans_itself():
    body = """
import opentelemetry.sdk.trace as sdk
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor
from otelflow import configure, flow

# As if a newer SDK called its spans otherwise: its own tracer has the new name.
source = pathlib.Path(sdk.__file__).read_text().replace("_Span(", "_Renamed(")
exec(compile(source, sdk.__file__, "exec"), vars(sdk))
del sdk._Span
assert hasattr(sdk, "_Renamed")

telemetry = configure()
exporter = ConsoleSpanExporter(formatter=lambda span: span.name + "\\n")
telemetry.provider.add_span_processor(SimpleSpanProcessor(exporter))


@flow
def works():
    return 1


works().execute()
print(dict(telemetry.dropped))
"""
    done = subprocess.run(
        [sys.executable, "-c", f"import pathlib\n{body}"], capture_output=True, text=True, timeout=60, check=False
    )

    assert done.stdout == "flow works\n{}\n", done.stderr


class Foreign:
    """A provider of somebody else's making, which is its own tracer."""

    def __init__(self):
        self.asked = []

    def get_tracer(self, *scope):
        self.asked.append(scope)
        return self


def test_the_provider_that_was_given_makes_the_spans_until_it_is_taken_back(monkeypatch):
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    first, second = Foreign(), Foreign()
    previous = [provider.use_provider(first)]
    makers = [provider.span_maker(), provider.span_maker()]
    previous.append(provider.use_provider(second))
    makers.append(provider.span_maker())
    previous.append(provider.use_provider(None))
    makers.append(provider.span_maker())

    assert previous == [None, first, second]
    assert makers[0] is makers[1]
    assert [maker and maker.tracer for maker in makers] == [first, first, second, None]
    assert first.asked == second.asked == [("otelflow", otelflow.__version__, semconv.SCHEMA_URL)]


def test_a_provider_that_a_host_sets_late_makes_the_spans_from_then_on(monkeypatch):
    asked = []
    get = trace.get_tracer_provider
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: asked.append(1) or get())
    host = Foreign()
    before = [provider.span_maker() for _ in range(3)]
    asked_before = len(asked)
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", host)

    assert before == [None] * 3
    assert asked_before == 1, "while there is none, the API would look into the environment each time"
    assert provider.span_maker().tracer is host


def test_open_runs_end_before_what_each_new_provider_has_registered(monkeypatch):
    calls = []
    monkeypatch.setattr(shutdown, "end_open_runs_at_exit", lambda: calls.append(1))
    for _ in range(2):
        provider.use_provider(Foreign())
        provider.span_maker()
        provider.span_maker()

    assert len(calls) == 2


def test_only_spans_of_the_sdk_are_made_here(monkeypatch):
    sdk_spans = pytest.importorskip("otelflow._telemetry.sdk_spans", exc_type=ImportError)
    own = object()
    monkeypatch.setattr(sdk_spans, "span_maker", lambda tracer: own)
    foreign = Foreign()
    provider.use_provider(TracerProvider(shutdown_on_exit=False))
    of_the_sdk = provider.span_maker()
    provider.use_provider(foreign)

    assert of_the_sdk is own
    assert provider.span_maker().tracer is foreign


class Locked(Foreign):
    """Asks for its lock as the SDK does, and is interrupted while it holds it."""

    def __init__(self, interrupt):
        super().__init__()
        self.lock = threading.Lock()
        self.interrupt = interrupt

    def get_tracer(self, *scope):
        assert self.lock.acquire(timeout=0), "the thread would wait for itself"
        try:
            self.interrupt()
            return super().get_tracer(*scope)
        finally:
            self.lock.release()


@pytest.mark.parametrize("interrupt", [provider.span_maker, provider.prepare])
def test_a_run_that_interrupts_the_first_one_while_it_asks_for_a_tracer_waits_for_nothing(caplog, interrupt):
    makers = []
    host = Locked(lambda: makers.append(interrupt()))
    provider.use_provider(host)
    first = provider.span_maker()

    assert makers == [None]
    assert first.tracer is host
    assert provider.span_maker() is first
    lost = interrupt is provider.span_maker
    assert [record.getMessage() for record in caplog.records] == [provider.START_INSIDE] * lost
    assert losses.dropped == ({("traces", "start_failed"): 1} if lost else {})


def test_a_run_of_another_thread_asks_while_the_first_one_does():
    makers = []

    class Slow(Foreign):
        def get_tracer(self, *scope):
            if not self.asked:
                self.asked.append(scope)
                thread = threading.Thread(target=lambda: makers.append(provider.span_maker()))
                thread.start()
                thread.join(10)
            return super().get_tracer(*scope)

    host = Slow()
    provider.use_provider(host)
    provider.span_maker()

    assert [maker.tracer for maker in makers] == [host]


def test_a_provider_that_refuses_its_tracer_loses_nothing_before_the_first_run():
    class Refusing:
        def get_tracer(self, *_):
            raise KeyError("no tracer")

    provider.use_provider(Refusing())
    provider.prepare()
    before = dict(losses.dropped)

    assert provider.span_maker() is None
    assert (before, losses.dropped) == ({}, {("traces", "start_failed"): 1})


def test_the_first_flow_of_a_process_is_to_come_until_it_has_come(spans):
    is_to_come = [provider.first_flow.is_to_come]
    flow(leaf)().execute()
    is_to_come.append(provider.first_flow.is_to_come)
    process.reset()

    assert is_to_come == [True, False]
    assert provider.first_flow.is_to_come


@pytest.mark.parametrize(("is_at_end", "message"), [(True, provider.START_TOO_LATE), (False, provider.START_FAILED)])
def test_a_run_without_a_span_says_whether_it_came_too_late(monkeypatch, caplog, is_at_end, message):
    def refuse(_):
        raise ImportError("no module can be imported")

    losses.warn_once("before", "What logs is there by now")
    caplog.clear()
    with monkeypatch.context() as changed:
        changed.setattr(provider, "_maker_of", refuse)
        if is_at_end:
            changed.setattr(sys, "meta_path", None)
        maker = provider.span_maker()

    assert maker is None
    assert [record.getMessage() for record in caplog.records] == [message]
    assert losses.dropped == {("traces", "start_failed"): 1}


@pytest.mark.parametrize(
    ("variables", "names"),
    [
        ({"OTELFLOW_STORE": "on"}, "OTELFLOW_STORE"),
        (
            {"OTELFLOW_METRICS": "push", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"},
            "OTELFLOW_METRICS and OTEL_EXPORTER_OTLP_ENDPOINT",
        ),
        ({"OTEL_TRACES_EXPORTER": "otelflow_tree"}, "OTEL_TRACES_EXPORTER"),
        ({"OTELFLOW_STORE": "Off", "OTELFLOW_METRICS": ""}, ""),
        ({"OTELFLOW_STORE": "on", "OTEL_SDK_DISABLED": "true"}, ""),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_TRACES_EXPORTER": "none"}, ""),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, ""),
    ],
)
def test_a_run_without_configure_says_once_which_variables_nobody_has_read(monkeypatch, caplog, variables, names):
    for name in ("OTELFLOW_STORE", "OTELFLOW_METRICS", "OTEL_TRACES_EXPORTER", "OTEL_EXPORTER_OTLP_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    leaf()
    leaf()

    assert [record.getMessage() for record in caplog.records] == ([provider.NOT_CONFIGURED % names] if names else [])


def test_a_program_that_sets_up_its_metrics_alone_is_not_told_of_configure(monkeypatch, caplog):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    metrics.use("registry")

    leaf()

    assert caplog.records == []


def test_what_configure_has_read_is_not_called_unread(monkeypatch, caplog):
    monkeypatch.setenv("OTELFLOW_METRICS", "registry")
    otelflow.configure()

    leaf()

    assert caplog.records == []


def test_a_host_provider_needs_no_configure(monkeypatch, caplog):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    provider.use_provider(TracerProvider())

    leaf()

    assert caplog.records == []


class TimeIsUp(Exception):
    """What the time limit of a job throws into its thread, by the name of its base."""


TimeIsUp.__name__ = "SoftTimeLimitExceeded"


def test_the_time_limit_of_a_job_ends_the_job_also_while_a_tracer_is_asked_for():
    class Slow:
        def get_tracer(self, *_):
            raise TimeIsUp

    provider.use_provider(Slow())

    with pytest.raises(TimeIsUp):
        provider.prepare()


def test_the_time_limit_of_a_job_ends_the_job_also_while_the_sdk_is_looked_at(monkeypatch):
    sdk_spans = pytest.importorskip("otelflow._telemetry.sdk_spans", exc_type=ImportError)

    def slow(tracer):
        raise TimeIsUp

    monkeypatch.setattr(sdk_spans, "span_maker", slow)
    provider.use_provider(TracerProvider(shutdown_on_exit=False))

    with pytest.raises(TimeIsUp):
        provider.prepare()


def test_an_sdk_that_cannot_be_looked_at_makes_the_spans_itself(monkeypatch):
    sdk_spans = pytest.importorskip("otelflow._telemetry.sdk_spans", exc_type=ImportError)

    def unknown(tracer):
        raise AttributeError("no attribute _Span")

    monkeypatch.setattr(sdk_spans, "span_maker", unknown)
    provider.use_provider(TracerProvider(shutdown_on_exit=False))

    assert type(provider.span_maker()) is provider.TracerSpanMaker
    assert losses.dropped == {}


def test_every_run_has_a_span_of_the_host_s_global_provider(monkeypatch):
    host = Foreign()
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", host)

    assert [provider.span_maker().tracer for _ in range(3)] == [host] * 3
    assert len(host.asked) == 1


def test_the_provider_is_asked_again_when_a_setting_may_have_changed():
    host = Foreign()
    provider.use_provider(host)
    provider.span_maker()
    provider.choose_anew()
    provider.span_maker()

    assert len(host.asked) == 2


def test_what_makes_the_spans_is_ready_before_the_first_run():
    host = Foreign()
    provider.use_provider(host)
    provider.prepare()

    assert len(host.asked) == 1


def test_a_span_that_is_used_as_a_context_writes_nothing_of_its_own_about_an_exception():
    maker = provider.TracerSpanMaker(TracerProvider(shutdown_on_exit=False).get_tracer("test"))
    span = maker.start("name", None, dict, 1)
    with pytest.raises(KeyError), span:
        raise KeyError

    assert (list(span.events), span.status.status_code.name) == ([], "UNSET")
