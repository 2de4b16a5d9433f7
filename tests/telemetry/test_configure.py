"""configure(): where spans go, who is left alone, and which mistakes are named; many in a process of their own."""

import os
import socket
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from opentelemetry import trace
from opentelemetry.sdk import environment_variables
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import CollectorRegistry

import otelflow
from otelflow import configure, metrics
from otelflow._core.process import losses, process, provider
from otelflow._telemetry import configure as module
from otelflow._telemetry.configure import Telemetry
from otelflow.errors import ConfigurationError
from otelflow_exporters._store.reader import StoredTraces
from support.programs import python as run_source
from support.programs import run_python
from support.receivers import OtlpReceiver

PROGRAM = """
import otelflow
from otelflow import flow, task

@task
def double(n):
    return 2 * n

@flow
def work(count=3):
    return sum(double(n) for n in range(count))
"""


def python(body, **environment):
    """Run PROGRAM and *body* in a fresh interpreter without OTEL variables of the caller's."""
    return run_source(PROGRAM, body, **environment)


@pytest.fixture
def receiver():
    with OtlpReceiver() as receiver:
        yield receiver


def test_with_an_endpoint_every_span_arrives_before_the_process_ends(receiver):
    done = python(
        "otelflow.configure(service_name='shop'); work(5_000).execute()", OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url
    )

    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert len(receiver.spans) == 5_001
    assert len({span.trace_id for span in receiver.spans}) == 1


def test_an_uncaught_exception_loses_no_span(receiver):
    done = python(
        """
        otelflow.configure()

        @flow
        def bad():
            double(1)
            1 / 0

        bad().execute()
        """,
        OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url,
    )

    assert done.returncode == 1
    assert sorted(span.name for span in receiver.spans) == ["flow bad", "task double"]


def test_half_a_character_in_a_name_costs_no_span_of_its_batch(receiver):
    done = python(
        """
        from otelflow import Flow
        from otelflow._core.flows.task import Task

        bad = "half \\ud800"
        t = otelflow.configure()

        @task(task_name=bad, task_id=bad, capture_parameters=True, capture_return_value=True)
        def odd(*values, **named):
            return bad

        def target():
            odd(bad, **{bad: bad})
            Task(lambda: 1, task_name=bad, task_id=bad).execute__sync()
            Flow(flow_name=bad, flow_id=bad).set_flow_target(lambda: 1).execute()

        target.__qualname__ = bad
        for _ in range(2):
            Flow(flow_name=bad, flow_id=bad).set_flow_target(target).execute()
        work(5).execute()
        print(t.force_flush(), dict(t.dropped))
        """,
        OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url,
    )

    assert (done.stdout, done.stderr) == ("True {}\n", "")
    assert len(receiver.spans) == 2 * 4 + 6
    assert {span.name for span in receiver.spans if "half" in span.name} == {
        "flow half \\ud800",
        "task half \\ud800",
    }


def test_a_dead_endpoint_ends_in_seconds_with_one_line_on_stderr_and_the_flow_is_unharmed():
    done = python(
        """
        import time
        otelflow.configure()
        print(work(3_000).execute().flow_return_value)
        """,
        OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9",
    )

    assert done.returncode == 0
    assert done.stdout == "8997000\n"
    (line,) = done.stderr.splitlines()
    assert line.startswith("3,001 spans wait in the spool ")
    assert "for http://127.0.0.1:9/v1/traces (connection refused): the next process that uses it" in line


def test_nothing_is_sent_when_nothing_is_asked_for():
    done = python("t = otelflow.configure(); work().execute(); print(t.is_host, t.store_directory, t.force_flush())")

    assert (done.stdout, done.stderr) == ("False None True\n", "")


def test_an_exporter_is_found_by_its_name():
    done = python("otelflow.configure(); work(1).execute()", OTEL_TRACES_EXPORTER="console")

    assert '"name": "flow work"' in done.stdout


def test_a_sampler_named_by_the_standard_variable_samples():
    done = python(
        "otelflow.configure(); work(1).execute()", OTEL_TRACES_EXPORTER="console", OTEL_TRACES_SAMPLER="always_off"
    )

    assert (done.stdout, done.stderr) == ("", "")


def test_configuring_twice_is_configuring_once():
    done = python(
        """
        first = otelflow.configure()
        print(otelflow.configure() is first, len(first.provider._active_span_processor._span_processors))
        """,
        OTEL_TRACES_EXPORTER="console",
    )

    assert done.stdout == "True 1\n"


def test_a_second_call_says_once_what_it_ignores_and_why(tmp_path):
    done = python(
        f"""
        otelflow.configure(service_name='shop', store={str(tmp_path / "one")!r})
        for _ in range(2):
            otelflow.configure(service_name='till', store={str(tmp_path / "two")!r})
        """
    )

    assert done.returncode == 0
    assert done.stderr == (
        f"configure() ignores service_name='till' (it is 'shop') and store={tmp_path / 'two'} "
        f"(it is {tmp_path / 'one'}): an earlier call has settled that for the whole process; say it in the first one\n"
    )


def test_a_second_call_that_says_the_same_or_nothing_is_no_reason_to_warn(tmp_path):
    done = python(
        f"""
        for _ in range(2):
            otelflow.configure(service_name='shop', store={str(tmp_path / "one")!r})
        otelflow.configure()
        otelflow.configure(store=True)
        """
    )

    assert (done.returncode, done.stderr) == (0, "")


HOST = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
host = TracerProvider()
trace.set_tracer_provider(host)
"""


def test_a_hosts_provider_stays_as_it_was(receiver, tmp_path):
    done = python(
        HOST
        + f"""
class Count(otelflow.Listener):
    heard = 0
    def on_task_stop(self, event):
        self.heard += 1

count = Count()
t = otelflow.configure(listeners=[count], store={str(tmp_path)!r})
work().execute()
print(t.is_host, trace.get_tracer_provider() is host, host._active_span_processor._span_processors, count.heard)
""",
        OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url,
    )

    assert (done.stdout, done.stderr) == ("True True () 3\n", "")
    assert receiver.spans == []
    assert list(tmp_path.iterdir()) == []


def test_a_provider_that_is_given_makes_the_spans_without_becoming_the_global_one():
    done = python(
        """
        from opentelemetry import trace
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor

        mine = TracerProvider()
        mine.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter(formatter=lambda span: span.name + ' ')))
        otelflow.configure(tracer_provider=mine)
        work(1).execute()
        print(type(trace.get_tracer_provider()).__name__)
        """
    )

    assert (done.stdout, done.stderr) == ("task double flow work ProxyTracerProvider\n", "")


@pytest.mark.parametrize(
    ("variable", "value"), [("OTEL_SDK_DISABLED", "true"), ("OTEL_CONFIG_FILE", "there/is/none.yaml")]
)
def test_it_steps_back_when_the_environment_says_that_somebody_else_configures(variable, value, receiver):
    done = python(
        "print(otelflow.configure().is_host, work().execute().status)",
        **{variable: value, "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url},
    )

    assert (done.stdout, done.stderr) == ("True success\n", "")
    assert receiver.spans == []


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        (
            {"OTEL_TRACES_EXPORTER": "otelflow_tre"},
            "OTEL_TRACES_EXPORTER: nothing is registered as 'otelflow_tre'; did you mean",
        ),
        ({"OTEL_TRACES_SAMPLER": "sometimes"}, "OTEL_TRACES_SAMPLER: nothing is registered as 'sometimes'; known: "),
        ({"OTEL_PYTHON_ID_GENERATOR": "dice"}, "OTEL_PYTHON_ID_GENERATOR: nothing is registered as 'dice'"),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "collector"},
            "OTEL_EXPORTER_OTLP_ENDPOINT=collector is no endpoint: give an address",
        ),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://h:1", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"},
            "OTEL_EXPORTER_OTLP_PROTOCOL=http/json is not supported; known: grpc, http/protobuf",
        ),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://h:1", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "x"},
            "OTEL_BSP_MAX_EXPORT_BATCH_SIZE must be",
        ),
        (
            {"OTELFLOW_EVENTS": "spam"},
            "OTELFLOW_EVENTS: events must be one of span, log, both, not 'spam'; did you mean 'span'?",
        ),
        (
            {"OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "abc"},
            "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT must be a non-negative integer",
        ),
        (
            {"OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "-1"},
            "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT must be a non-negative integer",
        ),
        (
            {"OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": "x"},
            "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT must be a non-negative integer",
        ),
        pytest.param(
            {
                "OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT": "many",
                "OTELFLOW_EVENTS": "log",
                "OTEL_LOGS_EXPORTER": "console",
            },
            "OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT must be a non-negative integer but got many",
            marks=pytest.mark.skipif(
                not hasattr(environment_variables, "OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT"),
                reason="an SDK before 1.44 does not read it",
            ),
        ),
        (
            {"OTEL_PYTHON_TRACER_PROVIDER": "bogus"},
            "OTEL_PYTHON_TRACER_PROVIDER: nothing is registered as 'bogus'; known: ",
        ),
        (
            {"OTEL_PYTHON_LOGGER_PROVIDER": "bogus", "OTELFLOW_EVENTS": "log", "OTEL_LOGS_EXPORTER": "console"},
            "OTEL_PYTHON_LOGGER_PROVIDER: nothing is registered as 'bogus'; known: ",
        ),
        (
            {"OTEL_PYTHON_METER_PROVIDER": "bogus"},
            "OTEL_PYTHON_METER_PROVIDER: nothing is registered as 'bogus'; known: ",
        ),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://h:1", "OTEL_EXPORTER_OTLP_TIMEOUT": "abc"},
            "OTEL_EXPORTER_OTLP_TIMEOUT=abc is no time: give seconds above 0, such as 2",
        ),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://h:1", "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT": "-1"},
            "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT=-1 is no time",
        ),
        (
            {"OTELFLOW_METRICS": "otlp", "OTEL_EXPORTER_OTLP_METRICS_TIMEOUT": "soon"},
            "OTEL_EXPORTER_OTLP_METRICS_TIMEOUT=soon is no time",
        ),
    ],
)
def test_a_variable_that_says_nothing_usable_is_named_with_the_cure(environment, message):
    done = python("otelflow.configure()", **environment)

    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"otelflow.errors.ConfigurationError: {message}")


@pytest.mark.parametrize("kind", ["TRACER", "METER", "LOGGER"])
def test_an_empty_variable_is_as_one_that_is_not_set(kind):
    variables = {
        f"OTEL_PYTHON_{kind}_PROVIDER": "",
        "OTEL_LOGS_EXPORTER": "console",
        "OTEL_TRACES_EXPORTER": "otelflow_tree",
        "OTELFLOW_EVENTS": "log",
    }
    done = python(
        f"import os; otelflow.configure(); work().execute(); print([os.environ['OTEL_PYTHON_{kind}_PROVIDER']])",
        **variables,
    )

    assert done.returncode == 0, done.stderr
    assert "['']" in done.stdout.splitlines()
    assert "flow work" in done.stderr


def test_a_variable_of_somebody_else_is_one_warning_and_no_error():
    done = python(
        "otelflow.configure(); work().execute(); otelflow.configure()",
        OTELFLOW_SERVICE_HOST="10.0.0.7",  # as Kubernetes sets it for a Service called otelflow
        OTELFLOW_EVENT="both",
    )

    assert done.returncode == 0
    assert done.stderr.splitlines() == [
        "OTELFLOW_SERVICE_HOST is not a variable of otelflow (ignored)",
        "OTELFLOW_EVENT is not a variable of otelflow; did you mean 'OTELFLOW_EVENTS'? (ignored)",
    ]


def test_an_unknown_setting_is_named():
    done = python("otelflow.configure(value_limits=3)")

    assert "configure() has no keyword 'value_limits'; did you mean 'value_limit'?" in done.stderr


@pytest.mark.parametrize(
    ("store", "variable", "place"),
    [
        ("'of'", "of", "configure(): store"),
        ("None", "of", "OTELFLOW_STORE"),
        ("True", "", "pyproject.toml: store"),
        ("pathlib.Path('of')", "", ""),
    ],
)
def test_a_store_that_is_no_folder_is_named_by_the_place_that_says_so(tmp_path, store, variable, place):
    (tmp_path / "pyproject.toml").write_text('[tool.otelflow]\nstore = "of"\n')
    (tmp_path / "program.py").write_text(f"import otelflow, pathlib\notelflow.configure(store={store})\n")
    done = run_python(tmp_path / "program.py", cwd=tmp_path, OTELFLOW_STORE=variable)

    assert (f"{place}='of': is 'off' meant?" in done.stderr) is bool(place), done.stderr
    assert (done.returncode == 0) is not bool(place)


@pytest.mark.parametrize(
    ("keyword", "message"),
    [
        ("service_nam='x'", "configure() has no keyword 'service_nam'; did you mean 'service_name'?"),
        ("service_name=5", "configure(): service_name must be a text, not 5"),
        ("store=5", "configure(): store must be True, False or a folder, not 5"),
    ],
)
def test_a_wrong_keyword_is_named(keyword, message):
    done = python(f"otelflow.configure({keyword})")

    assert done.stderr.splitlines()[-1] == f"otelflow.errors.ConfigurationError: {message}"


def test_the_errors_are_there_without_importing_their_module():
    done = python("print(otelflow.errors.ConfigurationError is not None)")

    assert (done.stdout, done.stderr) == ("True\n", "")


def test_a_store_that_is_asked_for_holds_the_whole_run(tmp_path):
    done = python(
        f"""
        t = otelflow.configure(store={str(tmp_path / "store")!r})
        work(100).execute()
        print(t.store_directory)
        """
    )
    assert (done.stdout, done.stderr) == (f"{tmp_path / 'store'}\n", "")
    assert [trace.span_count for trace in StoredTraces(tmp_path / "store").summaries()] == [101]


def test_a_store_that_is_switched_off_by_its_variable_stays_off(tmp_path):
    done = python("print(otelflow.configure(store=True).store_directory)", OTELFLOW_STORE="off", HOME=str(tmp_path))

    assert (done.stdout, done.stderr) == ("None\n", "")


def test_events_as_log_records_go_where_the_logs_exporter_says():
    done = python(
        """
        otelflow.configure(events='log')

        @flow
        def talk():
            print('hello')

        talk().execute()
        """,
        OTEL_LOGS_EXPORTER="console",
    )

    assert '"body": "hello"' in done.stdout


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("all_signals()", ""),
        ("all_signals()", "telemetry.shutdown()"),
        ("child = multiprocessing.get_context('fork').Process(target=all_signals); child.start(); child.join()", ""),
    ],
    ids=["exit", "shutdown", "child of multiprocessing"],
)
@pytest.mark.parametrize("spool", ["auto", "off"])
def test_a_collector_that_never_answers_is_waited_for_once_and_not_for_each_signal(start, end, spool):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        done = python(
            f"""
            import atexit, multiprocessing, time
            from otelflow._core.process import losses
            atexit.register(lambda: print(time.monotonic(), sorted(signal for signal, _ in losses.dropped)))
            def all_signals():
                telemetry = otelflow.configure(events="both", metrics="otlp", service_name="x")
                work().execute()
                print(time.monotonic(), flush=True)
                {end}
            {start}
            """,
            OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{silent.getsockname()[1]}",
            OTEL_EXPORTER_OTLP_TIMEOUT="30",
            OTELFLOW_SPOOL=spool,
        )

    assert done.returncode == 0, done.stderr
    began, ended = done.stdout.splitlines()
    seconds, signals = ended.split(" ", 1)
    least, most = (0, 3) if spool == "auto" else (3, 8)
    assert least < float(seconds) - float(began) < most
    assert signals == ("[]" if spool == "auto" or "child" in start else "['logs', 'metrics', 'traces']")
    assert (spool == "auto") == ("wait in the spool" in done.stderr)


def test_what_opentelemetry_knows_is_had_by_name_where_nothing_is_registered(tmp_path):
    """As in an application that was frozen without the metadata of its packages."""
    source = """
    import importlib.metadata, otelflow
    from otelflow._core.process import entry_points
    import otelflow._telemetry.configure
    nothing = importlib.metadata.EntryPoints()
    entry_points.entry_points = lambda **_: nothing
    @otelflow.flow
    def body(): ...
    otelflow.configure()
    body().execute()
    for group, names in entry_points._BY_NAME.items():
        for name in names:
            entry_points.load(group, name.upper(), "X")
    print("all")
    """
    done = run_source(source, OTEL_TRACES_EXPORTER="Console,otelflow_tree", OTEL_TRACES_SAMPLER=" Always_On ")

    assert done.returncode == 0, done.stderr
    assert '"name": "flow body"' in done.stdout
    assert done.stdout.startswith("all")


def test_without_a_home_nothing_is_stored_and_everything_runs(tmp_path):
    source = """
    import pathlib, otelflow
    def home(_):
        raise RuntimeError("no home")
    pathlib.Path.home = classmethod(home)
    telemetry = otelflow.configure(store=True)
    print(telemetry.store_directory)
    """
    done = run_source(source, XDG_STATE_HOME="", OTELFLOW_STORE="")

    assert done.stdout == "None\n", done.stderr
    assert "Nothing is stored: This user has no home directory" in done.stderr


def test_without_a_thread_everything_is_set_up_and_delivered():
    source = """
    import threading, otelflow
    def refuse(thread):
        raise RuntimeError("can't start new thread")
    threading.Thread.start = refuse
    otelflow.configure()
    @otelflow.flow
    def body(): ...
    for _ in range(10):
        body().execute()
    """
    done = run_source(source, OTEL_TRACES_EXPORTER="console", OTEL_SERVICE_NAME="shop")

    assert done.stdout.count('"name": "flow body"') == 10, done.stderr
    assert '"service.name": "shop"' in done.stdout


# In this process


@pytest.fixture
def fresh(monkeypatch, tmp_path):
    """Nothing is configured, and OpenTelemetry has no provider; so it is again afterwards."""
    for name in [name for name in os.environ if name.startswith("OTEL")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(module._configured, "provider", None)
    process.reset()
    yield monkeypatch
    telemetry = module._configured.telemetry
    if telemetry is not None:
        telemetry.shutdown()


def test_a_program_without_a_provider_gets_one_and_the_same_at_each_call(fresh):
    first = configure(service_name="shop")
    second = configure()

    assert second is first
    assert not first.is_host
    assert trace.get_tracer_provider() is first.provider
    assert first.provider.resource.attributes["service.name"] == "shop"
    assert (first.store_directory, first.store_processor, first.metrics, first.logs) == (None, None, None, None)


def test_after_its_end_another_one_makes_the_spans(fresh):
    first = configure()
    first.shutdown()

    second = configure()

    assert second is not first
    assert trace.get_tracer_provider() is first.provider, "OpenTelemetry's global provider is set once"
    assert provider._chosen.override is second.provider
    first.shutdown()
    assert configure() is second, "the end of an earlier one ends no later one"


def test_an_application_that_has_a_provider_keeps_it(fresh, caplog):
    caplog.set_level("INFO", "otelflow")
    theirs, exporter = TracerProvider(shutdown_on_exit=False), InMemorySpanExporter()
    theirs.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(theirs)

    telemetry = configure(service_name="shop", store=True)
    telemetry.shutdown()

    assert (telemetry.is_host, telemetry.provider) == (True, theirs)
    assert "service.name" in theirs.resource.attributes
    assert telemetry.store_directory is None
    assert caplog.messages == [
        "The application configures OpenTelemetry itself; otelflow leaves that as it is",
        "The application's tracer provider is left as it is; add a StoreSpanExporter to it yourself",
    ]
    theirs.get_tracer("test").start_span("after the end of ours").end()
    assert [span.name for span in exporter.get_finished_spans()] == ["after the end of ours"]


def test_the_provider_of_an_application_is_looked_at_once(fresh):
    trace.set_tracer_provider(TracerProvider(shutdown_on_exit=False))

    assert configure() is configure()


def test_a_provider_that_is_named_and_not_there_is_one_error(fresh):
    fresh.setenv("OTEL_PYTHON_TRACER_PROVIDER", "theirs")

    with pytest.raises(ConfigurationError, match="OTEL_PYTHON_TRACER_PROVIDER"):
        configure()


@pytest.mark.parametrize(("variable", "value"), [("OTEL_SDK_DISABLED", " TRUE "), ("OTEL_CONFIG_FILE", "otel.yaml")])
def test_what_the_environment_says_is_looked_at_again_as_long_as_nobody_has_a_provider(fresh, variable, value):
    fresh.setenv(variable, value)
    stepped_back = configure()
    fresh.delenv(variable)

    telemetry = configure()

    assert (stepped_back.is_host, telemetry.is_host) == (True, False)


def test_a_provider_that_is_given_makes_the_spans_at_each_call(fresh):
    theirs, others = (TracerProvider(shutdown_on_exit=False) for _ in range(2))

    first, second = configure(tracer_provider=theirs), configure(tracer_provider=others)

    assert (first.provider, second.provider) == (theirs, others)
    assert second.is_host
    assert provider._chosen.override is others


STORES = {
    "by an argument": (True, "", "state/otelflow/traces"),
    "in a folder": ("kept", "", "kept"),
    "by its variable": (None, "of the variable", "of the variable"),
    "not": (None, "", None),
    "in spite of its variable": (False, "of the variable", None),
    "switched off": (True, "off", None),
    "switched off by a number": (True, "0", None),
    "switched off by the argument": ("off", "", None),
    "switched on by the variable": (None, "ON", "state/otelflow/traces"),
    "switched on by a number": (None, "1", "state/otelflow/traces"),
    "switched on by the argument": ("on", "", "state/otelflow/traces"),
    "switched on twice": (True, "on", "state/otelflow/traces"),
    "where the variable says": (True, "of the variable", "of the variable"),
}


@pytest.mark.parametrize(("argument", "variable", "folder"), STORES.values(), ids=STORES)
def test_runs_are_stored_where_they_are_asked_to_be(fresh, tmp_path, argument, variable, folder):
    fresh.chdir(tmp_path)
    if variable:
        fresh.setenv("OTELFLOW_STORE", variable)
    process.reset()
    keepers = []
    fresh.setattr(module.artifacts, "keep_payloads", keepers.append)

    telemetry = configure(store=argument)

    assert telemetry.store_directory == (None if folder is None else tmp_path / folder)
    assert len(keepers) == (folder is not None)
    if folder is not None:
        assert telemetry.store_processor.worker._interval == 1.0
        telemetry.provider.get_tracer("test").start_span("kept").end()
        assert telemetry.force_flush()
        assert [summary.name for summary in StoredTraces(tmp_path / folder).summaries()] == ["kept"]


def test_a_store_may_be_asked_for_later(fresh, tmp_path):
    first = configure()

    assert configure(store=tmp_path / "later") is first
    assert first.store_directory == tmp_path / "later"


def test_a_home_that_is_not_there_costs_the_store_and_nothing_else(fresh, caplog):
    def nowhere():
        raise RuntimeError

    fresh.delenv("XDG_STATE_HOME")
    fresh.setattr(Path, "home", nowhere)

    telemetry = configure(store=True)

    assert telemetry.store_directory is None
    assert caplog.messages[0].startswith("Nothing is stored: This user has no home directory for the store")


IGNORED = [
    ({"service_name": "bank"}, "service_name='bank' (it is 'shop')"),
    ({"store": "other"}, "store=other (it is {0}/kept)"),
    ({"store": False}, "store=False (it is {0}/kept)"),
    ({"service_name": "bank", "store": "other"}, "service_name='bank' (it is 'shop') and store=other (it is {0}/kept)"),
    ({"service_name": "shop", "store": "kept"}, None),
    ({"store": "./kept/../kept"}, None),
    ({"store": True}, None),
    ({}, None),
]


@pytest.mark.parametrize(("arguments", "words"), IGNORED)
def test_a_later_call_says_what_it_cannot_change(fresh, tmp_path, caplog, arguments, words):
    fresh.chdir(tmp_path)
    configure(service_name="shop", store="kept")

    configure(**arguments)
    configure(**arguments)

    settled = "an earlier call has settled that for the whole process; say it in the first one"
    expected = [] if words is None else [f"configure() ignores {words.format(tmp_path)}: {settled}"]
    assert caplog.messages == expected


def test_metrics_go_by_the_name_of_the_service_also_beside_a_host(fresh):
    used = []
    fresh.setattr("otelflow.metrics.use", lambda choice, *, resource: used.append((choice, resource)))
    host = TracerProvider(resource=Resource({"service.name": "host", "team": "blue"}), shutdown_on_exit=False)

    configure(tracer_provider=host, metrics="pull")
    configure(tracer_provider=host, metrics="push", service_name="shop")
    configure(tracer_provider=trace.NoOpTracerProvider(), metrics="otlp")

    assert [choice for choice, _ in used] == ["pull", "push", "otlp"]
    names = [resource.attributes["service.name"] for _, resource in used]
    assert names == ["host", "shop", "shop"], "a name that was given stays"
    assert [resource.attributes.get("team") for _, resource in used] == ["blue", "blue", None]


def test_what_counts_the_runs_stays_when_spans_are_made_by_another_provider(fresh):
    hosts = [TracerProvider(shutdown_on_exit=False) for _ in range(2)]
    first = configure(tracer_provider=hosts[0], metrics=CollectorRegistry(), service_name="shop")

    again = configure(tracer_provider=hosts[0])
    other = configure(tracer_provider=hosts[1])

    assert again is first
    assert (other.metrics, other.service_name) == (first.metrics, "shop")
    assert other.metrics is metrics.in_use() is not None


def test_metrics_stay_in_use_and_are_chosen_by_the_setting(fresh):
    registry = CollectorRegistry()
    first = configure(metrics=registry, service_name="shop")

    assert first.metrics.registry is registry
    assert configure().metrics is first.metrics
    assert first.service_name == "shop"
    assert metrics.in_use() is first.metrics
    first.shutdown()
    assert metrics.in_use() is None


def test_metrics_are_counted_when_the_setting_says_so(fresh):
    assert configure().metrics is None
    fresh.setenv("OTELFLOW_METRICS", "pull:0")
    process.reset()

    assert configure().metrics.address.startswith("http://127.0.0.1:")


def test_events_as_log_records_have_a_provider_of_the_same_resource(fresh):
    resources = []
    fresh.setattr("otelflow._telemetry.logs.use_logs", lambda resource: resources.append(resource) or "logs")

    assert configure(events="span").logs is None
    telemetry = configure(events="both")

    assert telemetry.logs == "logs"
    assert resources == [telemetry.provider.resource]
    telemetry.logs = None


def test_listeners_hear_of_every_run(fresh):
    heard = []

    class Hearing(otelflow.Listener):
        def on_flow_start(self, event):
            heard.append(event)

    configure(tracer_provider=TracerProvider(shutdown_on_exit=False), listeners=[Hearing()])
    otelflow.flow(lambda: 1)().execute()

    assert len(heard) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"service_nam": "x"}, "configure() has no keyword 'service_nam'; did you mean 'service_name'?"),
        ({"service_name": 7}, "configure(): service_name must be a text, not 7"),
        ({"store": 7}, "configure(): store must be True, False or a folder, not 7"),
    ],
)
def test_an_argument_that_says_nothing_usable_is_named(fresh, arguments, message):
    with pytest.raises(ConfigurationError) as error:
        configure(**arguments)

    assert str(error.value) == message
    assert module._configured.telemetry is None


class Target:
    """Something that delivers: keeps what it was told."""

    def __init__(self, clock, arrived=True, seconds=1):
        self.clock, self.arrived, self.seconds = clock, arrived, seconds
        self.flushes, self.ends = [], 0

    def flush(self, time):
        self.flushes.append(time)
        self.clock.now += self.seconds
        return self.arrived

    force_flush = flush
    output = SimpleNamespace(account=None)

    def shutdown(self):
        self.ends += 1


@pytest.fixture
def targets(monkeypatch):
    """Telemetry whose parts are the test's own, on a clock of its own."""
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(module, "clock", SimpleNamespace(monotonic=lambda: clock.now))
    telemetry = Telemetry(Target(clock), is_host=True)
    telemetry.store_processor, telemetry.logs, telemetry.metrics = Target(clock), Target(clock), Target(clock)
    return telemetry


def parts(telemetry):
    return telemetry.store_processor, telemetry.provider, telemetry.logs, telemetry.metrics


def test_a_flush_asks_the_store_first_and_each_has_the_time_that_is_left(targets):
    assert targets.force_flush(3_000) is True

    assert [part.flushes for part in parts(targets)] == [[3_000], [2_000], [1_000], [0.001]]
    assert targets.force_flush() is True
    assert [part.flushes[1] for part in parts(targets)] == [30_000, 29_000, 28_000, 27.0]


@pytest.mark.parametrize("late", range(4))
def test_a_flush_arrived_if_every_part_did_and_asks_all_of_them(targets, late):
    parts(targets)[late].arrived = False

    assert targets.force_flush() is False
    assert [len(part.flushes) for part in parts(targets)] == [1] * 4


@pytest.mark.parametrize("raising", range(3))
def test_a_provider_that_raises_at_a_flush_costs_the_program_and_the_others_nothing(targets, raising, caplog):
    def broken(_timeout_millis):
        raise ZeroDivisionError("of the host")

    parts(targets)[raising].force_flush = broken

    assert targets.force_flush() is False
    assert [len(part.flushes) for part in parts(targets)] == [number != raising for number in range(4)]
    assert "of the host" in caplog.text


def test_a_flush_of_what_there_is_has_arrived():
    assert Telemetry(trace.NoOpTracerProvider(), is_host=True).force_flush() is True


def test_an_end_ends_everything_but_the_provider_of_a_host(fresh, targets):
    module._configured.telemetry = targets
    targets.shutdown()
    assert [part.ends for part in parts(targets)] == [0, 0, 1, 1]
    assert module._configured.telemetry is None

    own = configure()
    ended = []
    fresh.setattr(own.provider, "shutdown", lambda: ended.append(own.provider))
    own.shutdown()
    assert ended == [own.provider]


@pytest.mark.parametrize("raising", [2, 3])
def test_what_raises_at_an_end_costs_the_program_and_the_others_nothing(targets, raising, caplog):
    ends = parts(targets)[raising].shutdown = Ends()

    targets.shutdown()
    assert ends == [True]
    assert [part.ends for part in parts(targets)][5 - raising] == 1
    assert "of the host" in caplog.text


class Ends(list):
    """An end that raises, and remembers that it was called."""

    def __call__(self):
        self.append(True)
        raise ZeroDivisionError("of the host")


def test_a_processor_of_the_program_s_that_raises_at_its_end_keeps_no_other_from_ending(fresh, caplog):
    class Processor(SpanProcessor):
        def __init__(self, shutdown):
            self.shutdown = shutdown

    telemetry = configure(store=False)
    ends = [Ends(), Ends(), Ends()]
    for end in ends:
        telemetry.provider.add_span_processor(Processor(end))

    telemetry.shutdown()
    assert ends == [[True]] * 3
    assert caplog.text.count("A span processor of the application cannot end: of the host") == 1


def test_what_was_lost_is_told_at_that_moment(fresh):
    telemetry = Telemetry(trace.NoOpTracerProvider(), is_host=True)
    losses.lost("traces", "queue_full", 3)

    before = telemetry.dropped
    losses.lost("traces", "queue_full", 3)

    assert (before, telemetry.dropped) == ({("traces", "queue_full"): 3}, {("traces", "queue_full"): 6})


def test_variables_in_quotes_are_told_by_their_names_and_not_their_values():
    done = python(
        "otelflow.configure()",
        OTEL_EXPORTER_OTLP_HEADERS='"api-key=hunter2"',
        OTEL_RESOURCE_ATTRIBUTES="'team=red'",
        OTEL_SDK_DISABLED='"true"',
    )

    told = [line.split()[0] for line in done.stderr.splitlines() if "stands in quotes, which are a part of" in line]
    assert told == ["OTEL_EXPORTER_OTLP_HEADERS", "OTEL_RESOURCE_ATTRIBUTES", "OTEL_SDK_DISABLED"]
    assert "hunter2" not in done.stderr


@pytest.mark.parametrize(("value", "count"), [("yes", 1), ("TRUE", 0), ("", 0)])
def test_a_value_that_does_not_disable_though_it_seems_to_is_told(value, count):
    done = python("otelflow.configure()", OTEL_SDK_DISABLED=value)

    assert done.stderr.count("counts as false: only true disables") == count


def test_what_waits_is_delivered_whoever_has_set_up_the_delivery(tmp_path, program):
    exported = program.run("""
        import otelflow
        from otelflow import flow

        provide()
        flow(lambda: None)().execute()
        before = os.path.exists(os.environ["SPANS"])
        print(before, otelflow.force_flush(5_000), os.path.exists(os.environ["SPANS"]))
        telemetry = otelflow.configure(store="store")
        print(otelflow.force_flush(5_000))
    """)

    assert exported.out == "False True True\nTrue\n"


def test_a_provider_that_cannot_deliver_is_said_and_breaks_nothing(monkeypatch):
    broken = SimpleNamespace(force_flush=lambda _: 1 / 0, get_tracer=None)
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: broken)

    assert otelflow.force_flush(10) is False


CYCLES = """
import gc, os, threading
from multiprocessing import util
from opentelemetry.sdk.trace import TracerProvider
from otelflow._core.process import forks, process
from otelflow._core.runs import observers
from otelflow_exporters._otlp import encoder

def cycle():
    telemetry = otelflow.configure(**{options!r})
    work(3).execute()
    telemetry.shutdown()

def cycle_of_the_sdk():
    provider = TracerProvider(shutdown_on_exit=False)
    provider.get_tracer("program").start_span("span").end()
    provider.shutdown()

def left():
    for thread in threading.enumerate():  # one may be about to end
        if thread is not threading.current_thread():
            thread.join(20)
    gc.collect()
    registers = (forks._owners, forks._locks, util._afterfork_registry, util._finalizer_registry, process._pieces)
    files = os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else []
    return [len(register) for register in (*registers, observers.observed.observers, threading.enumerate(), files)]

def growth(cycle):
    for _ in range(3):  # what is made once
        cycle()
    encoder._surroundings.clear()  # kept by their number, not for ever
    gc.collect()
    before = len(gc.get_objects())
    for _ in range(10):
        cycle()
    encoder._surroundings.clear()
    gc.collect()
    return len(gc.get_objects()) - before

for _ in range(3):
    cycle()
before = left()
own = growth(cycle)
print(left() == before or (before, left()), own - growth(cycle_of_the_sdk) < 50 or own)
"""


@pytest.mark.parametrize(
    "options",
    [{"store": True}, {"spool_dir": True}, {"spool": "memory"}, {"events": "both", "capture_loggers": ["root"]}],
    ids=["store", "spool", "memory", "logs"],
)
def test_what_is_shut_down_leaves_nothing_behind_that_the_sdk_does_not(options, receiver, tmp_path):
    places = {key: str(tmp_path / "place") if value is True else value for key, value in options.items()}
    endpoint = {} if "store" in options else {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url}
    done = python(CYCLES.replace("{options!r}", repr(places)), **endpoint)

    assert (done.returncode, done.stdout) == (0, "True True\n"), done.stderr


@pytest.mark.parametrize("variables", [{}, {"OTELFLOW_SPOOL": "memory"}, {"OTELFLOW_SPAN": "sdk"}])
def test_the_first_run_imports_nothing_any_more(variables, receiver):
    # In a signal handler that has interrupted an import, another one may wait for ever.
    body = """
        import sys
        otelflow.configure()
        before = set(sys.modules)
        work(3).execute()
        print(sorted(name for name in set(sys.modules) - before if name.startswith("otelflow")))
    """
    done = python(body, OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url, **variables)

    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr


def test_the_first_run_asks_the_sdk_for_nothing_any_more():
    # In a signal handler that has interrupted somebody who asks, it would wait for ever.
    body = """
        from opentelemetry.sdk.trace import TracerProvider
        asked = []
        get_tracer = TracerProvider.get_tracer
        TracerProvider.get_tracer = lambda *scope, **more: asked.append(1) or get_tracer(*scope, **more)
        otelflow.configure({arguments})
        before = len(asked)
        work(3).execute()
        print(before > 0, len(asked) - before)
    """
    done = [python(body.replace("{arguments}", text)) for text in ("", "tracer_provider=TracerProvider()")]

    assert [(each.returncode, each.stdout) for each in done] == [(0, "True 0\n")] * 2, done[0].stderr


def test_a_provider_that_does_not_heed_its_limit_is_not_waited_for():
    class Provider(trace.NoOpTracerProvider):
        def force_flush(self, timeout_millis):
            return is_over.wait(60)

    is_over = threading.Event()
    began = time.monotonic()
    try:
        assert Telemetry(Provider(), is_host=True).force_flush(10) is False
    finally:
        is_over.set()
    assert time.monotonic() - began < 30


@pytest.mark.parametrize("is_configured", [True, False], ids=["configured", "not configured"])
@pytest.mark.parametrize(
    "timeout", ["5", None, [1], True, float("nan"), float("inf"), 10**400, 1e300, -1], ids=lambda value: f"{value}"[:9]
)
def test_what_is_no_time_is_one_error_of_what_delivers(timeout, is_configured):
    calls = [otelflow.force_flush]
    if is_configured:
        telemetry = otelflow.configure(tracer_provider=TracerProvider(shutdown_on_exit=False), metrics="none")
        calls.append(telemetry.force_flush)
    for call in calls:
        if timeout in (10**400, 1e300, -1):
            assert call(timeout) is True
        else:
            with pytest.raises(ConfigurationError, match=r"^force_flush\(\) waits for a number of milliseconds, not "):
                call(timeout)


def test_what_is_no_time_is_one_error_of_metrics_too(tmp_path):
    metrics = otelflow.metrics.use(f"textfile:{tmp_path}/otelflow.prom")

    with pytest.raises(ConfigurationError, match=r"^flush\(\) waits for a number of seconds, not '5'"):
        metrics.flush("5")
    assert metrics.flush(1e300) is True
