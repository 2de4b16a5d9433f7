"""``otelflow ship`` as a person and a sidecar meet it."""

import contextlib
import signal
import socket
import subprocess
import sys
import time

import pytest
from opentelemetry.sdk.trace import TracerProvider

from otelflow_exporters.spool import SpoolSpanProcessor
from support.programs import clean_environment, run_python
from support.receivers import OtlpReceiver


@pytest.fixture
def receiver():
    with OtlpReceiver() as receiver:
        yield receiver


@pytest.fixture
def spool(tmp_path):
    return tmp_path / "spool"


def ship(*arguments, url="", **variables):
    return run_python("-m", "otelflow", "ship", *arguments, OTEL_EXPORTER_OTLP_ENDPOINT=url, **variables)


def writer_of(spool):
    """Return a tracer of a program that sends nothing itself, and what ends it."""
    processor = SpoolSpanProcessor(spool, is_shipped=False)
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(processor)
    return provider.get_tracer("program"), processor.shutdown


def test_once_sends_what_waits_and_ends(spool, receiver):
    tracer, end = writer_of(spool)
    for _ in range(1_100):
        tracer.start_span("waits").end()
    end()

    done = ship(spool, "--once", url=receiver.url)
    again = ship("--once", url=receiver.url, OTELFLOW_SPOOL_DIR=spool)

    assert (done.returncode, done.stderr) == (0, "otelflow: 1,100 spans sent\n")
    assert (again.returncode, again.stderr) == (0, "otelflow: 0 spans sent\n")
    assert len(receiver.spans) == 1_100


def test_what_the_exporter_over_grpc_left_is_sent_over_grpc(spool, grpc_receiver):
    tracer, end = writer_of(spool)
    tracer.start_span("waits").end()
    end()
    variables = {"OTEL_TRACES_EXPORTER": "otlp_proto_grpc", "OTEL_EXPORTER_OTLP_INSECURE": "true"}

    done = ship("--once", url=grpc_receiver.url.removeprefix("http://"), OTELFLOW_SPOOL_DIR=spool, **variables)

    assert (done.returncode, done.stderr) == (0, "otelflow: 1 span sent\n")
    assert [span.name for span in grpc_receiver.spans] == ["waits"]


def test_a_folder_that_is_not_there_is_told(spool):
    done = ship(spool, "--once", url="http://127.0.0.1:9")

    assert (done.returncode, done.stderr) == (0, f"otelflow: 0 spans sent; there is no spool {spool} yet\n")


def test_an_empty_folder_that_is_looked_at_before_the_program_writes_there_becomes_its_spool(spool, receiver):
    spool.mkdir()  # as a volume that two containers share

    early = ship(spool, "--once", url=receiver.url)
    tracer, end = writer_of(spool)
    tracer.start_span("waits").end()
    end()
    done = ship(spool, "--once", url=receiver.url)

    assert (early.returncode, early.stderr) == (0, "otelflow: 0 spans sent\n")
    assert (done.returncode, done.stderr) == (0, "otelflow: 1 span sent\n")


def test_once_fails_when_the_endpoint_takes_nothing_and_everything_stays(spool):
    tracer, end = writer_of(spool)
    tracer.start_span("waits").end()
    end()

    done = ship(spool, "--once", url="http://127.0.0.1:9")

    assert done.returncode == 1
    assert f"http://127.0.0.1:9/v1/traces (connection refused) does not take spans; they wait in {spool}" in done.stderr
    assert len(list(spool.glob("*.otlp"))) == 1


def test_once_asks_an_endpoint_that_does_not_answer_one_time_however_much_waits(spool):
    for name in ("first", "second", "third"):
        tracer, end = writer_of(spool)
        tracer.start_span(name).end()
        end()

    with socket.create_server(("127.0.0.1", 0), backlog=16) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        done = ship(spool, "--once", url=url, OTEL_EXPORTER_OTLP_TIMEOUT="0.5")
        silent.setblocking(False)
        connections = []
        with contextlib.suppress(BlockingIOError):
            while True:
                connections.append(silent.accept()[0])
    for connection in connections:
        connection.close()

    assert (done.returncode, len(connections)) == (1, 1), done.stderr
    assert f"{url}/v1/traces (timed out) does not take spans; they wait in {spool}" in done.stderr
    assert len(list(spool.glob("*.otlp"))) == 3


def test_it_follows_living_programs_until_it_is_told_to_end(spool, receiver):
    tracer, end = writer_of(spool)
    process = subprocess.Popen(
        [sys.executable, "-m", "otelflow", "ship", str(spool)],
        env=clean_environment(OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url),
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        for number in range(3):
            tracer.start_span(f"s{number}").end()
            deadline = time.monotonic() + 60
            while len(receiver.spans) <= number and time.monotonic() < deadline:
                time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=30)
    finally:
        process.kill()
    end()

    assert [span.name for span in receiver.spans] == ["s0", "s1", "s2"]
    first, last = errors.splitlines()
    assert first.startswith(f"otelflow: sending what comes into the spool {spool}, until Ctrl-C or SIGTERM")
    assert (process.returncode, last) == (0, "otelflow: 3 spans sent")


def test_what_is_missing_is_named(spool, tmp_path):
    without_folder = ship(url="http://127.0.0.1:9", OTELFLOW_SPOOL="memory")
    without_endpoint = ship(spool)
    (tmp_path / "file").write_text("mine")
    no_spool = ship(tmp_path, "--once", url="http://127.0.0.1:9")

    assert [done.returncode for done in (without_folder, without_endpoint, no_spool)] == [2, 2, 2]
    assert "OTELFLOW_SPOOL says that there is none" in without_folder.stderr
    assert "set OTEL_EXPORTER_OTLP_ENDPOINT" in without_endpoint.stderr
    assert "holds files of others; name a new or empty folder in OTELFLOW_SPOOL_DIR" in no_spool.stderr


def test_a_spool_that_was_made_for_another_endpoint_is_refused_before_anything_is_said(spool, receiver):
    tracer, end = writer_of(spool)
    tracer.start_span("waits").end()
    end()
    ship(spool, "--once", url="http://127.0.0.1:9")

    refused = ship(spool, "--once", url=receiver.url)

    assert refused.returncode == 2
    (line,) = refused.stderr.splitlines()
    assert line.startswith(f"otelflow: The spool {spool} was made for http://127.0.0.1:9, not for {receiver.url}: ")
    assert receiver.requests == []


def test_log_records_are_sent_as_spans_are(receiver, spool):
    receiver.status = 503
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url, "OTELFLOW_SPOOL_DIR": spool, "OTELFLOW_EVENTS": "both"}
    says = "lambda: print('said') or print('more')"
    waits = f"import otelflow; otelflow.configure(); otelflow.flow({says}, flow_name='f')().execute()"
    run_python("-c", waits, **variables, check=True)
    receiver.requests.clear()
    receiver.status = 200

    done = ship(spool, "--once", url=receiver.url)

    bodies = [record.body.string_value for record in receiver.log_records]
    assert (len(receiver.spans), bodies) == (1, ["said", "more"])
    assert done.stderr == "otelflow: 1 span sent, 2 log records sent\n"
    assert [path.name for path in spool.rglob("*.otlp")] == []


def test_without_a_folder_it_sends_what_waits_for_the_endpoint(receiver):
    receiver.status = 503
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url}
    waits = "import otelflow; otelflow.configure(); otelflow.flow(lambda: 1, flow_name='f')().execute()"
    run_python("-c", waits, **variables, check=True)
    receiver.status = 200

    done = ship("--once", url=receiver.url)

    assert done.stderr == "otelflow: 1 span sent\n"
