"""Programs that know nothing of otelflow, whose spans and log records wait in a spool because a variable says so."""

import importlib.metadata
import signal
import sys
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

import otelflow
from otelflow.errors import ConfigurationError
from otelflow_exporters._spool import by_name
from support.distributions import of_this_checkout, write_distribution
from support.programs import run, run_python, source_of
from support.receivers import OtlpReceiver

NAME = "otelflow_spool"
KILL, FLUSH = "os.kill(os.getpid(), signal.SIGKILL)", "trace.get_tracer_provider().force_flush()"
LIBRARY = """
    import os, signal
    from opentelemetry import trace

    def work():
        tracer = trace.get_tracer("library")
        with tracer.start_as_current_span("request"):
            for _ in range(50):
                with tracer.start_as_current_span("query"):
                    pass
            os.kill(os.getpid(), signal.SIGKILL)
    """
LOGS = """
    import os, signal
    from opentelemetry._logs import LogRecord, SeverityNumber, get_logger

    def work():
        for number in range(50):
            get_logger("library").emit(LogRecord(body=f"record {number}", severity_number=SeverityNumber.INFO))
        os.kill(os.getpid(), signal.SIGKILL)
    """
METRICS = """
    import os, signal
    from opentelemetry import metrics

    def work():
        meter = metrics.get_meter("library")
        orders = meter.create_counter("orders")
        sizes = meter.create_histogram("sizes")
        for round in range(3):
            orders.add(5, {"shop": "one"})
            sizes.record(7)
            metrics.get_meter_provider().force_flush(5_000)
        os.kill(os.getpid(), signal.SIGKILL)
    """
CONFIG = """
file_format: "1.0"
tracer_provider:
  processors:
    - {kind}:
        exporter:
          otelflow_spool:
            directory: {directory}
"""
METRICS_CONFIG = """
file_format: "1.0"
meter_provider:
  readers:
    - periodic:
        exporter:
          otelflow_spool:
            directory: {directory}
"""
CONFIGURED = """
    import os
    from opentelemetry.configuration import configure_sdk, load_config_file

    configure_sdk(load_config_file(os.environ["OTEL_CONFIG_FILE"]))
    """


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Variables with which a program finds what ``pyproject.toml`` registers, also where that was installed before."""
    groups = of_this_checkout()
    if all(NAME in importlib.metadata.entry_points(group=group).names for group in groups if NAME in groups[group]):
        return {}
    folder = tmp_path_factory.mktemp("installed")
    write_distribution(folder, "otelflow", otelflow.__version__, **groups)
    return {"PYTHONPATH": folder}


@pytest.fixture
def receiver():
    """An endpoint that takes nothing yet."""
    with OtlpReceiver() as receiver:
        receiver.status = 503
        yield receiver


@pytest.fixture
def variables(installed, receiver, tmp_path):
    """What a program is told: the endpoint and the spool, nothing else."""
    return {
        **installed,
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTELFLOW_SPOOL_DIR": tmp_path / "spool",
    }


def instrumented(tmp_path, *parts, **variables):
    """Run a program with ``opentelemetry-instrument``, of which only what a variable names is exported."""
    path = tmp_path / "app.py"
    path.write_text(source_of(*parts, "work()"))
    exporters = {f"OTEL_{signal_name}_EXPORTER": "none" for signal_name in ("TRACES", "METRICS", "LOGS")}
    command = Path(sys.executable).with_name("opentelemetry-instrument")
    return run(command, sys.executable, path, cwd=tmp_path, **{**exporters, **variables})


def ship(receiver, variables):
    receiver.requests.clear()
    receiver.status = 200
    return run_python("-m", "otelflow", "ship", "--once", **variables)


def test_what_has_ended_before_a_kill_is_delivered_and_what_was_open_is_told(tmp_path, receiver, variables):
    killed = instrumented(tmp_path, LIBRARY, OTEL_TRACES_EXPORTER=NAME, **variables)
    shipped = ship(receiver, variables)

    assert (killed.returncode, killed.stderr) == (-signal.SIGKILL, "")
    assert Counter(span.name for span in receiver.spans) == {"query": 50, "request": 1}
    (lost,) = [span for span in receiver.spans if span.name == "request"]
    assert lost.status.message == "the process was lost"
    assert (shipped.returncode, shipped.stderr) == (0, "otelflow: 51 spans sent\n")


def test_the_next_program_delivers_it_too_and_each_span_once(tmp_path, receiver, variables):
    instrumented(tmp_path, LIBRARY, OTEL_TRACES_EXPORTER=NAME, **variables)
    receiver.requests.clear()
    receiver.status = 200
    done = instrumented(tmp_path, LIBRARY.replace(KILL, FLUSH), OTEL_TRACES_EXPORTER=NAME, **variables)

    assert (done.returncode, done.stderr) == (0, "")
    assert Counter(span.name for span in receiver.spans) == {"query": 100, "request": 2}


def test_log_records_are_delivered_likewise(tmp_path, receiver, variables):
    killed = instrumented(tmp_path, LOGS, OTEL_LOGS_EXPORTER=NAME, **variables)
    ship(receiver, variables)

    assert (killed.returncode, killed.stderr) == (-signal.SIGKILL, "")
    bodies = [record.body.string_value for record in receiver.log_records]
    assert bodies == [f"record {number}" for number in range(50)]


def orders_in(receiver):
    """Return what each report says of the orders, and in which temporality."""
    orders = [metric.sum for metric in receiver.metrics if metric.name == "orders"]
    return [(total.data_points[0].as_int, total.aggregation_temporality) for total in orders]


@pytest.mark.parametrize(
    ("preference", "orders"),
    [("", [(5, 2), (10, 2), (15, 2)]), ("Delta", [(5, 1), (5, 1), (5, 1)]), ("lowmemory", [(5, 1)] * 3)],
)
def test_reports_of_metrics_are_delivered_likewise(tmp_path, receiver, variables, preference, orders):
    preferred = {"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": preference} if preference else {}
    killed = instrumented(tmp_path, METRICS, OTEL_METRICS_EXPORTER=NAME, **variables, **preferred)
    shipped = ship(receiver, variables)

    assert (killed.returncode, killed.stderr) == (-signal.SIGKILL, "")
    assert orders_in(receiver) == orders
    assert (shipped.returncode, shipped.stderr) == (0, "otelflow: 0 spans sent, 3 metrics reports sent\n")


def test_metrics_and_spans_of_one_program_wait_side_by_side(tmp_path, receiver, variables):
    receiver.status = 200
    exporters = {"OTEL_TRACES_EXPORTER": NAME, "OTEL_METRICS_EXPORTER": NAME}
    library = METRICS.replace(KILL, "trace.get_tracer('library').start_span('query').end()")
    done = instrumented(tmp_path, "from opentelemetry import trace", library, **exporters, **variables)

    assert (done.returncode, done.stderr) == (0, "")
    assert [span.name for span in receiver.spans] == ["query"]
    assert orders_in(receiver)[:3] == [(5, 2), (10, 2), (15, 2)]
    assert list((tmp_path / "spool").rglob("*.otlp")) == []


@pytest.mark.parametrize(
    ("variable", "mistake"),
    [
        ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "detla"),
        ("OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION", "base2"),
    ],
)
def test_a_preference_that_is_none_is_said_with_its_variable(monkeypatch, tmp_path, variable, mistake):
    monkeypatch.setenv(variable, mistake)

    with pytest.raises(ConfigurationError, match=f"{variable}={mistake} is not supported"):
        by_name.SpoolMetricExporter(str(tmp_path))


def test_histograms_may_have_buckets_that_grow(monkeypatch, tmp_path, receiver):
    receiver.status = 200
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION", "base2_exponential_bucket_histogram")
    exporter = by_name.SpoolMetricExporter(str(tmp_path / "spool"))
    provider = MeterProvider([PeriodicExportingMetricReader(exporter)], shutdown_on_exit=False)
    provider.get_meter("library").create_histogram("sizes").record(7)
    provider.shutdown()
    exporter.shutdown()

    (sizes,) = receiver.metrics
    assert sizes.exponential_histogram.data_points[0].count == 1


@pytest.mark.parametrize(
    ("signal_name", "library", "sent"),
    [("METER", METRICS, "3 metrics reports sent"), ("LOGGER", LOGS, "50 log records sent")],
)
def test_a_program_that_nobody_instruments_has_the_other_signals_likewise(
    tmp_path, receiver, variables, signal_name, library, sent
):
    (tmp_path / "app.py").write_text(source_of(library, "work()"))
    killed = run_python(tmp_path / "app.py", **{f"OTEL_PYTHON_{signal_name}_PROVIDER": NAME}, **variables)
    shipped = ship(receiver, variables)

    assert (killed.returncode, killed.stderr) == (-signal.SIGKILL, "")
    assert shipped.stderr == f"otelflow: 0 spans sent, {sent}\n"


@pytest.mark.skipif(find_spec("opentelemetry.configuration") is None, reason="an older SDK has no such files")
def test_a_configuration_file_names_it_for_metrics(tmp_path, receiver, variables):
    path = tmp_path / "otel.yaml"
    path.write_text(METRICS_CONFIG.format(directory=tmp_path / "other"))
    (tmp_path / "app.py").write_text(source_of(METRICS, CONFIGURED, "work()"))
    run_python(tmp_path / "app.py", OTEL_CONFIG_FILE=path, **variables)
    ship(receiver, {**variables, "OTELFLOW_SPOOL_DIR": tmp_path / "other"})

    assert orders_in(receiver) == [(5, 2), (10, 2), (15, 2)]


def test_a_program_that_nobody_instruments_has_a_provider_with_a_spool_by_a_variable(tmp_path, receiver, variables):
    path = tmp_path / "app.py"
    path.write_text(source_of(LIBRARY, "work()"))
    killed = run_python(path, OTEL_PYTHON_TRACER_PROVIDER=NAME, **variables)
    ship(receiver, variables)

    assert (killed.returncode, killed.stderr) == (-signal.SIGKILL, "")
    assert Counter(span.name for span in receiver.spans) == {"query": 50, "request": 1}


@pytest.mark.skipif(find_spec("opentelemetry.configuration") is None, reason="an older SDK has no such files")
@pytest.mark.parametrize(("kind", "is_warned"), [("simple", False), ("batch", True)])
def test_a_configuration_file_names_it(tmp_path, receiver, variables, kind, is_warned):
    path = tmp_path / "otel.yaml"
    path.write_text(CONFIG.format(kind=kind, directory=tmp_path / "other"))
    library = LIBRARY.replace(KILL, FLUSH) if is_warned else LIBRARY
    (tmp_path / "app.py").write_text(source_of(library, CONFIGURED, "work()"))
    done = run_python(tmp_path / "app.py", OTEL_CONFIG_FILE=path, **variables)
    ship(receiver, {**variables, "OTELFLOW_SPOOL_DIR": tmp_path / "other"})

    assert ("stands behind a queue (batch)" in done.stderr) is is_warned
    assert Counter(span.name for span in receiver.spans)["query"] == 50


def test_in_a_program_that_configures_otelflow_it_is_the_spool_that_is_there_anyway(tmp_path, receiver, variables):
    receiver.status = 200
    path = tmp_path / "app.py"
    path.write_text(
        source_of(
            """
            import otelflow

            telemetry = otelflow.configure()

            @otelflow.flow
            def nightly():
                pass

            nightly().execute()
            otelflow.force_flush(60_000)
            print(*[(account.destination, account.delivered) for account in telemetry.ledger])
            """
        )
    )
    done = run_python(path, OTEL_TRACES_EXPORTER=f"otlp,{NAME}", OTEL_LOGS_EXPORTER=NAME, **variables)

    assert (done.stdout, done.stderr) == ("('SpoolSpanProcessor', 1)\n", "")
    assert [span.name for span in receiver.spans] == ["flow nightly"]


def test_where_opentelemetry_is_set_up_twice_each_span_waits_once(tmp_path, receiver, variables):
    receiver.status = 200
    program = """
        import sys
        from opentelemetry import trace
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from otelflow_exporters._spool.by_name import SpoolSpanExporter

        trace.set_tracer_provider(TracerProvider())
        for provider in (trace.get_tracer_provider(), TracerProvider()):
            provider.add_span_processor(BatchSpanProcessor(SpoolSpanExporter()))
        trace.get_tracer("library").start_span("once").end()
        trace.get_tracer_provider().shutdown()
        """

    done = run_python("-c", source_of(program), **variables)

    assert done.returncode == 0, done.stderr
    assert [span.name for span in receiver.spans] == ["once"]


def test_all_signals_of_a_program_that_nobody_has_configured_end_in_one_time(tmp_path, receiver, variables):
    receiver.delay = 30  # it is silent
    program = """
        import atexit, time
        from otelflow._core.process import shutdown

        atexit.register(lambda: print(shutdown.is_ending()))  # the last one of all
        from opentelemetry import _logs, metrics, trace
        from opentelemetry.sdk._configuration import _initialize_components

        _initialize_components()
        with trace.get_tracer("library").start_as_current_span("once"):
            metrics.get_meter("library").create_counter("orders").add(1)
        """
    names = {f"OTEL_{signal}_EXPORTER": NAME for signal in ("TRACES", "METRICS", "LOGS")}

    done = run_python("-c", source_of(program), **names, **variables)

    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr
