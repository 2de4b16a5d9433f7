"""Programs that know nothing of otelflow, whose spans and log records wait in a spool because a variable says so."""

import importlib.metadata
import signal
import sys
import tomllib
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import pytest

import otelflow
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
CONFIG = """
file_format: "1.0"
tracer_provider:
  processors:
    - {kind}:
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
    group = importlib.metadata.entry_points(group="opentelemetry_logs_exporter")
    if NAME in group.names:
        return {}
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]
    folder = tmp_path_factory.mktemp("installed")
    metadata = folder / f"otelflow-{otelflow.__version__}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: otelflow\nVersion: {otelflow.__version__}\n")
    lines = []
    for name, entries in project["entry-points"].items():
        lines += [f"[{name}]", *(f"{entry} = {place}" for entry, place in entries.items())]
    (metadata / "entry_points.txt").write_text("\n".join(lines))
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
