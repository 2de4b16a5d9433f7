import json
import re
import signal
import socket
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from support.receivers import serving


def traces(otelflow):
    return [json.loads(line) for line in otelflow("show", "--last", "99", "--json").out.splitlines()]


def spans_of(document):
    return [span for r in document["resourceSpans"] for s in r["scopeSpans"] for span in s["spans"]]


def attribute_of(span, key):
    return next(a["value"]["stringValue"] for a in span["attributes"] if a["key"] == key)


def result_of(span):
    return attribute_of(span, "otelflow.run.result")


def test_a_flow_of_a_file_runs_and_its_output_stays_untouched(otelflow):
    done = otelflow("run", "flows.py:ratio", "--param", "a=6")

    assert done.code == 0
    assert done.out == "dividing 6 by 2\n"
    assert re.fullmatch(r"otelflow: flow ratio: success in [\d.]+ \S+; trace [0-9a-f]{32} stored in \S+\n", done.err)
    (document,) = traces(otelflow)
    assert {(span["name"], result_of(span)) for span in spans_of(document)} == {
        ("flow ratio", "success"),
        ("task divide", "success"),
    }


@pytest.mark.parametrize(
    ("target", "parameters", "out"),
    [
        ("flows:ratio", ["a=6", "b=3"], "dividing 6 by 3\n"),
        ("flows.py:Doubled", ["number=4"], "8\n"),
        ("flows.py:ready", [], "42\n"),
        ("flows.py:desk.total", ["count=3"], "total 3\n"),
        ("flows.py:ready", ["number=5"], "10\n"),
        ("flows.py:steps", ["count=2"], "step 0\nstep 1\n"),
        ("flows.py:steps_async", ["count=2"], "step 0\nstep 1\n"),
        ("flows.py:wait_async", ["seconds=0"], "waiting\n"),
        (
            "flows.py:describe",
            ["size=LARGE", 'tags=["a", "b"]', 'order={"number": 7}'],
            "LARGE ['a', 'b'] Order(number=7) ['flows.py'] flows\n",
        ),
    ],
)
def test_every_kind_of_flow_runs_to_its_end_with_converted_parameters(otelflow, target, parameters, out):
    done = otelflow("run", target, *(part for one in parameters for part in ("-p", one)))

    assert (done.code, done.out) == (0, out), done.err
    assert "success" in done.err


def test_a_flow_in_a_package_may_import_its_neighbours(otelflow, tmp_path):
    package = tmp_path / "shop"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "prices.py").write_text("PRICE = 7\n")
    (package / "orders.py").write_text(
        "from otelflow import flow\nfrom .prices import PRICE\n\n@flow\ndef total():\n    print(PRICE)\n"
    )

    by_module = otelflow("run", "shop.orders:total", cwd=tmp_path)
    by_file = otelflow("run", "shop/orders.py:total", cwd=tmp_path)

    assert (by_module.code, by_module.out) == (0, "7\n")
    assert by_file.code == 2
    assert "name it as shop.orders, not by its path, in the folder that holds the package" in by_file.err


@pytest.mark.parametrize(
    ("target", "parameters", "code"),
    [
        ("flows.py:ratio", ["-p", "a=1", "-p", "b=0"], 1),
        ("flows.py:leave", ["-p", "code=0"], 0),
        ("flows.py:leave", ["-p", "code=7"], 7),
        ("flows.py:quiet_failure", [], 1),
    ],
)
def test_the_exit_code_is_the_flows(otelflow, target, parameters, code):
    assert otelflow("run", target, *parameters).code == code


def test_a_failure_is_one_line_that_says_what_and_where(otelflow, flows):
    done = otelflow("run", "flows.py:ratio", "-p", "a=1", "-p", "b=0")

    line = (flows / "flows.py").read_text().splitlines().index("    return a / b") + 1
    place = f"{flows / 'flows.py'}:{line}"
    assert done.lines[0] == f"otelflow: ratio failed: ZeroDivisionError: division by zero ({place})"
    assert len(done.lines) == 2
    assert "Traceback" not in done.err


def test_a_traceback_that_is_asked_for_shows_the_users_frames_only(otelflow):
    done = otelflow("run", "flows.py:ratio", "-p", "a=1", "-p", "b=0", "--traceback")

    assert re.findall(r'File ".*?([\w.]+)", line \d+, in (\w+)', done.err) == [
        ("flows.py", "ratio"),
        ("flows.py", "divide"),
    ]


@pytest.mark.parametrize("environment", [{}, {"OTELFLOW_STORE": "off"}], ids=["stored", "not stored"])
def test_the_tree_comes_on_stderr_with_and_without_a_store(otelflow, environment):
    done = otelflow("run", "flows.py:ratio", "-p", "a=6", "--tree", **environment)

    assert done.out == "dividing 6 by 2\n"
    assert "✓ flow ratio" in done.err
    assert "├─ ✓ task divide" in done.err
    assert "└╴ = result flow-return-value: 3.0" in done.err
    assert "· dividing 6 by 2" in done.err


# CPython runs the handler of a signal that comes in the moment before a wait begins when that wait is over.
_MOMENT = 0.3
ENDING = [(signal.SIGTERM, 143), (signal.SIGINT, 130)]
ENDING += [(signal.SIGHUP, 129)] if hasattr(signal, "SIGHUP") else []


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("target", ["wait", "wait_async"])
@pytest.mark.parametrize(("number", "code"), ENDING)
def test_a_flow_that_is_interrupted_ends_truthfully(otelflow, flows, store, environment_of, target, number, code):
    with subprocess.Popen(
        [sys.executable, "-m", "otelflow", "run", f"flows.py:{target}"],
        cwd=flows,
        env=environment_of(store),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "waiting\n"
        time.sleep(_MOMENT)
        process.send_signal(number)
        _, err = process.communicate(timeout=20)

    assert process.returncode == code
    assert f"{target} was interrupted" in err
    assert "Traceback" not in err
    (document,) = traces(otelflow)
    assert [result_of(span) for span in spans_of(document)] == ["cancellation"]
    # A loop is interrupted by its own handler, which knows only Ctrl-C.
    is_plain = number == signal.SIGINT or target == "wait_async"
    kind = "KeyboardInterrupt" if is_plain else "otelflow.errors.Terminated"
    assert [attribute_of(span, "error.type") for span in spans_of(document)] == [kind]


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize(("number", "code"), ENDING)
def test_a_signal_while_telemetry_is_sent_costs_no_stored_trace(otelflow, flows, store, environment_of, number, code):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(30)
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with subprocess.Popen(
            [sys.executable, "-m", "otelflow", "run", "flows.py:ratio", "-p", "a=6"],
            cwd=flows,
            env=environment_of(store, OTEL_EXPORTER_OTLP_ENDPOINT=endpoint, OTEL_BSP_EXPORT_TIMEOUT="100"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            connection, _ = silent.accept()
            with connection:
                process.send_signal(number)
                _, err = process.communicate(timeout=20)

    assert process.returncode == code
    assert "after the flow's end, while telemetry was delivered" in err
    assert "flow ratio: success in" in err
    assert "sent to" not in err
    assert "Traceback" not in err
    (document,) = traces(otelflow)
    assert len(spans_of(document)) == 2


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="signals of POSIX")
def test_a_hangup_that_nohup_ignores_stays_ignored(flows, store, environment_of):
    with subprocess.Popen(
        ["nohup", sys.executable, "-m", "otelflow", "run", "flows.py:wait", "-p", "seconds=0.5"],
        cwd=flows,
        env=environment_of(store),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "waiting\n"
        time.sleep(_MOMENT)
        process.send_signal(signal.SIGHUP)
        _, err = process.communicate(timeout=20)

    assert process.returncode == 0
    assert "flow wait: success" in err


def dead_endpoint():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}"


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_without_a_spool_an_endpoint_that_does_not_answer_is_one_line_and_costs_seconds_only(otelflow, protocol):
    began = time.monotonic()
    done = otelflow(
        *("run", "flows.py:ratio", "-p", "a=6"),
        OTEL_EXPORTER_OTLP_ENDPOINT=dead_endpoint(),
        OTEL_EXPORTER_OTLP_PROTOCOL=protocol,
        OTELFLOW_SPOOL="off",
    )

    assert time.monotonic() - began < 15
    assert (done.code, done.out) == (0, "dividing 6 by 2\n")
    warning, report, ledger = done.lines
    assert "could not deliver" in warning
    assert "telemetry was lost: 2 export_failed" in report
    assert ledger == "otelflow: traces to OTLPSpanExporter: 2 made, 0 delivered, 2 lost (2 export_failed)", (
        "said here, and not again at the end of the process"
    )
    assert "sent to" not in report


def test_what_waits_in_a_spool_is_not_called_sent(otelflow, tmp_path):
    done = otelflow(
        *("run", "flows.py:ratio", "-p", "a=6"),
        OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9",
        OTELFLOW_SPOOL_DIR=str(tmp_path / "spool"),
    )

    assert done.code == 0
    report, ledger, waiting = done.lines
    assert ledger == "otelflow: traces to the spool: 2 made, 0 delivered, 2 waiting"
    assert report.endswith(f" and waiting in {tmp_path / 'spool'} for http://127.0.0.1:9")
    assert waiting.startswith(
        f"otelflow: 2 spans wait in the spool {tmp_path / 'spool'} for http://127.0.0.1:9/v1/traces"
    )
    assert len(spans_of(traces(otelflow)[0])) == 2


@pytest.mark.parametrize(
    "variables", [{"OTELFLOW_METRICS": "otlp"}, {"OTELFLOW_EVENTS": "both"}, {"OTELFLOW_METRICS": "push:127.0.0.1:9"}]
)
def test_a_trace_that_has_arrived_is_called_sent_though_metrics_and_log_records_have_not(otelflow, variables):
    class TracesAlone(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200 if self.path == "/v1/traces" else 404)
            self.send_header("Content-Length", "0")
            self.end_headers()

    with serving(TracesAlone) as server:
        done = otelflow("run", "flows.py:ratio", "-p", "a=6", OTEL_EXPORTER_OTLP_ENDPOINT=server.url, **variables)

    report = next(line for line in done.lines if "flow ratio: success" in line)
    assert f" and sent to {server.url}" in report
    assert " 0 delivered, " in done.err


@pytest.mark.parametrize("exporter", ["none", "console"])
def test_what_no_exporter_sends_is_not_called_sent(otelflow, exporter):
    done = otelflow(
        *("run", "flows.py:ratio", "-p", "a=6"),
        OTEL_EXPORTER_OTLP_ENDPOINT=dead_endpoint(),
        OTEL_TRACES_EXPORTER=exporter,
    )

    assert done.code == 0
    assert re.search(r" stored in \S+$", done.lines[-1])
    assert "sent to" not in done.err


def test_what_waits_for_the_usual_endpoint_is_said_to_do_so(otelflow, tmp_path):
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", 4318)) == 0:
            pytest.skip("something of this machine answers on port 4318")

    done = otelflow(
        *("run", "flows.py:ratio", "-p", "a=6"),
        OTEL_TRACES_EXPORTER="otlp",
        OTELFLOW_SPOOL_DIR=str(tmp_path / "spool"),
        OTELFLOW_STORE="off",
    )

    assert f" waiting in {tmp_path / 'spool'} for http://localhost:4318\n" in done.err


def test_the_report_names_the_address_of_the_trace(otelflow):
    done = otelflow(
        *("run", "flows.py:ratio", "-p", "a=6"), OTELFLOW_TRACE_URL="http://localhost:16686/trace/{trace_id}"
    )

    (trace_id,) = (spans_of(trace)[0]["traceId"] for trace in traces(otelflow))
    assert done.err.endswith(f" (http://localhost:16686/trace/{trace_id})\n")


def test_an_address_without_a_place_for_the_trace_is_refused(otelflow):
    done = otelflow("run", "flows.py:ratio", "-p", "a=6", OTELFLOW_TRACE_URL="http://localhost:16686/")

    assert done.code == 2
    assert done.err == (
        "otelflow: OTELFLOW_TRACE_URL: trace_url must hold {trace_id}, "
        "as http://localhost:16686/trace/{trace_id} does, not 'http://localhost:16686/'\n"
    )


def test_lost_telemetry_is_exit_code_3_when_asked_but_a_failed_flow_stays_failed(otelflow):
    strict = ("run", "flows.py:ratio", "--strict-telemetry", "-p", "a=6")
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": dead_endpoint(), "OTELFLOW_SPOOL": "off"}

    assert otelflow(*strict, **variables).code == 3
    assert otelflow(*strict, "-p", "b=0", **variables).code == 1
    assert otelflow(*strict).code == 0


def test_what_waits_in_a_spool_is_not_lost(otelflow):
    done = otelflow(
        *("run", "flows.py:ratio", "--strict-telemetry", "-p", "a=6"), OTEL_EXPORTER_OTLP_ENDPOINT=dead_endpoint()
    )

    assert done.code == 0
    assert "2 spans wait in the spool" in done.err


def test_a_program_that_configures_itself_is_not_warned_of_what_the_command_line_would_say(otelflow, tmp_path):
    (tmp_path / "named.py").write_text(
        "import otelflow\notelflow.configure(service_name='shop')\n@otelflow.flow\ndef work():\n    return 1\n"
    )

    done = otelflow("run", str(tmp_path / "named.py") + ":work")

    assert done.code == 0
    assert "ignores" not in done.err
    assert '"shop"' in otelflow("show", "--last", "1", "--json").out


@pytest.mark.parametrize("command", [("run", "flows.py:ratio", "-p", "a=6"), ("demo",)])
def test_a_limit_that_is_no_number_is_one_line(otelflow, command):
    done = otelflow(*command, OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT="abc")

    assert done.code == 2
    assert done.err == "otelflow: OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT must be a non-negative integer but got abc\n"


def test_metrics_that_nobody_can_read_are_lost_telemetry(otelflow):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        done = otelflow(
            *("run", "flows.py:ratio", "--strict-telemetry", "-p", "a=6"), OTELFLOW_METRICS=f"pull:127.0.0.1:{port}"
        )

    assert done.code == 3
    assert "telemetry was lost: 1 not_served" in done.err


def test_a_store_that_takes_nothing_does_not_fail_the_flow(otelflow, tmp_path):
    (tmp_path / "file").write_text("not a folder")

    done = otelflow("run", "flows.py:ratio", "-p", "a=6", "--tree", OTELFLOW_STORE=str(tmp_path / "file"))

    assert (done.code, done.out) == (0, "dividing 6 by 2\n")
    assert "✓ flow ratio" in done.err, "it is drawn from memory"
    assert "is not stored; telemetry was lost: 2 export_failed" in done.err
    assert "Traceback" not in done.err


def test_a_program_with_a_provider_of_its_own_keeps_it(otelflow, tmp_path):
    (tmp_path / "host.py").write_text(
        "from opentelemetry import trace\n"
        "from opentelemetry.sdk.trace import TracerProvider\n"
        "from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor\n"
        "from otelflow import flow\n"
        "provider = TracerProvider()\n"
        "provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter()))\n"
        "trace.set_tracer_provider(provider)\n"
        "@flow\ndef hosted(): pass\n"
    )

    done = otelflow("run", "host.py:hosted", "--tree", cwd=tmp_path)

    assert done.code == 0
    assert json.loads(done.out)["name"] == "flow hosted"
    assert "goes where the program's own OpenTelemetry set-up sends it" in done.err


def test_the_service_is_called_like_the_file_unless_the_user_names_it(otelflow):
    otelflow("run", "flows.py:ratio", "-p", "a=6")
    otelflow("run", "flows.py:ratio", "-p", "a=6", OTEL_SERVICE_NAME="shop")

    resources = [resource for document in traces(otelflow) for resource in document["resourceSpans"]]
    names = [
        a["value"]["stringValue"] for r in resources for a in r["resource"]["attributes"] if a["key"] == "service.name"
    ]
    assert names == ["flows", "shop"]


def test_a_trace_that_is_not_sampled_is_said_to_be_so(otelflow):
    done = otelflow("run", "flows.py:ratio", "-p", "a=6", "--tree", OTEL_TRACES_SAMPLER="always_off")

    assert done.code == 0
    assert done.lines[-1].endswith("its trace was not sampled")


def test_a_secret_in_the_error_of_a_flow_is_not_shown(otelflow, tmp_path):
    program = tmp_path / "leaky.py"
    program.write_text(
        "from otelflow import flow\n\n@flow\ndef leak():\n    raise RuntimeError('password=hunter2secret')\n"
    )

    done = otelflow("run", f"{program}:leak")

    assert "failed: RuntimeError: password=[redacted]" in done.err
    assert "hunter2secret" not in done.out + done.err


def test_a_secret_in_the_error_of_a_program_that_does_not_import_is_not_shown(otelflow, tmp_path):
    program = tmp_path / "leaky.py"
    program.write_text("raise RuntimeError('password=hunter2secret')\n")

    done = otelflow("run", f"{program}:leak")

    assert "leaky.py does not import: RuntimeError: password=[redacted]" in done.err
    assert "hunter2secret" not in done.out + done.err


LOGGING = """
import logging
from otelflow import flow, task

logger = logging.getLogger("shop.orders")

@task
def load(number):
    logger.info("loading %d", number)

@flow
def nightly():
    load(7)
    logger.warning("one is missing")
    logger.debug("too fine")
"""


def test_what_a_flow_logs_is_recorded_from_info_on_and_shown_as_ever(otelflow, flows):
    (flows / "logging_flow.py").write_text(LOGGING)

    done = otelflow("run", "logging_flow.py")

    shown = otelflow("show").out
    assert done.lines[0] == "one is missing"
    assert "loading" not in done.err
    assert re.search(r"· loading 7\n", shown)
    assert re.search(r"· WARNING one is missing\n", shown)
    assert "too fine" not in shown


@pytest.mark.parametrize("word", ["off", "none"])
def test_what_is_logged_is_not_recorded_when_that_is_switched_off(otelflow, flows, word):
    (flows / "logging_flow.py").write_text(LOGGING)

    done = otelflow("run", "logging_flow.py", OTELFLOW_CAPTURE_LOGGERS=word)

    assert done.lines[0] == "one is missing"
    assert "missing" not in otelflow("show").out


@pytest.mark.parametrize("annotation", ["Database", "Database | None", "'Database'", "typing.Optional[Database]"])
def test_what_a_flow_injects_by_type_needs_no_param(otelflow, tmp_path, annotation):
    (tmp_path / "shop.py").write_text(INJECTING.format(future="", annotation=annotation))

    run = otelflow("run", f"{tmp_path}/shop.py:Shop", "-p", "name=x")

    assert run.code == 0, run.err
    assert run.out == "x rows\n"


@pytest.mark.parametrize("annotation", ["str", "Readable"])
def test_what_nothing_injects_is_missing_before_the_flow_runs(otelflow, tmp_path, annotation):
    future = "from __future__ import annotations"
    (tmp_path / "shop.py").write_text(INJECTING.format(future=future, annotation=annotation))

    run = otelflow("run", f"{tmp_path}/shop.py:Shop", "-p", "name=x")

    assert "The flow needs by_type: give --param by_type=" in run.err
    assert "Traceback" not in run.err


INJECTING = """
{future}
import typing
from otelflow import Flow

class Database:
    rows = "rows"

class Readable(typing.Protocol):
    rows: str

class Shop(Flow):
    def main(self, name: str, by_type: {annotation}):
        print(name, by_type.rows)

    def task_dependencies(self):
        return dict(database=Database(), text="no name")
"""


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="no folder here that nobody can make")
def test_where_no_spool_can_be_made_spans_are_said_to_wait_in_memory(otelflow):
    nowhere = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "XDG_STATE_HOME": "/proc/none"}

    run = otelflow("run", "flows.py:ratio", "-p", "a=6", **nowhere)

    assert "waiting in memory for http://127.0.0.1:9" in run.err


def test_a_misspelt_variable_of_opentelemetry_is_told_and_another_s_is_not(otelflow, flows):
    done = otelflow(
        *("run", "flows.py:ratio", "-p", "a=1", "-p", "b=2"),
        OTEL_SERVICE_NAM="shop",
        OTEL_DOTNET_AUTO_HOME="/opt",
        OTEL_EXPORTER_OTLP_ENDPIONT="http://127.0.0.1:9",
    )

    assert done.code == 0
    assert re.findall(r"nothing reads (\w+); did you mean '(\w+)'", done.err) == [
        ("OTEL_EXPORTER_OTLP_ENDPIONT", "OTEL_EXPORTER_OTLP_ENDPOINT"),
        ("OTEL_SERVICE_NAM", "OTEL_SERVICE_NAME"),
    ]
