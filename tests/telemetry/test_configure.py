"""configure(): where spans go, who is left alone, and which mistakes are named; each case in a process of its own."""

import os
import socket
import subprocess
import sys
import textwrap
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk import environment_variables

from otelflow_exporters._store.reader import StoredTraces
from support.programs import python as run_source

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
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL", "TRACE"))}
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM + textwrap.dedent(body)],
        env={**clean, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def receiver():
    """A real OTLP/HTTP endpoint on loopback that keeps the spans it gets."""
    spans = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            request = ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["Content-Length"])))
            for resource in request.resource_spans:
                spans.extend(span for scope in resource.scope_spans for span in scope.spans)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    server.spans = spans
    server.url = f"http://127.0.0.1:{server.server_port}"
    yield server
    server.shutdown()
    server.server_close()
    thread.join(5)


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
    assert "could not deliver to http://127.0.0.1:9 (connection refused): spans are lost; " in done.stderr


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
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://h:1", "OTEL_BSP_MAX_QUEUE_SIZE": "x"},
            "OTEL_BSP_MAX_QUEUE_SIZE must be",
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
def test_a_collector_that_never_answers_is_waited_for_once_and_not_for_each_signal(start, end):
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
        )

    assert done.returncode == 0, done.stderr
    began, ended = done.stdout.splitlines()
    seconds, signals = ended.split(" ", 1)
    assert 3 < float(seconds) - float(began) < 8
    assert signals == ("[]" if "child" in start else "['logs', 'metrics', 'traces']")


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
