"""How metrics get out: each way through real sockets, files and processes; trouble is one line, never a failure."""

import asyncio
import os
import re
import subprocess
import sys
import textwrap
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.parser import text_string_to_metric_families

from otelflow import flow
from otelflow._core import attributes
from otelflow.errors import ConfigurationError
from otelflow.telemetry import metrics
from otelflow.telemetry.ways import pull, push

PROGRAM = """
import logging, os, sys
from otelflow import flow, task
from otelflow.telemetry import metrics

logging.basicConfig(format="%(message)s")

@task(raise_on_error=False)
def charge(n):
    if n == 2:
        raise LookupError(n)

@flow
def order(count=3):
    for n in range(count):
        charge(n)

@flow
def fails():
    raise ValueError("bad")

@flow
def never():
    pass
"""

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def python(body, **environment):
    """Run PROGRAM and *body* in a fresh interpreter."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL", "PROMETHEUS"))}
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM + textwrap.dedent(body)],
        env={**clean, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def get(url, accept="*/*", context=None):
    opener = DIRECT
    if context is not None:
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )
    with opener.open(urllib.request.Request(url, headers={"Accept": accept}), timeout=10) as answer:
        return answer.headers["Content-Type"], answer.read().decode()


def samples(text):
    """Return {(name, labels): value} of what Prometheus would read."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(text, name, **labels):
    return samples(text).get((name, tuple(sorted(labels.items()))))


@pytest.fixture
def use():
    """Choose a way out for the time of the test."""
    chosen = []

    def choose(*arguments, **keywords):
        chosen.append(metrics.use(*arguments, **keywords))
        return chosen[-1]

    yield choose
    if metrics.in_use() is not None:
        metrics.in_use().shutdown()


@flow
def counted_flow():
    return 1


# Pull


def test_metrics_are_served_on_loopback_as_openmetrics_to_whoever_asks_for_it(use, spans):
    address = use("pull:0").address
    counted_flow().execute()

    plain_type, plain = get(address)
    open_type, openmetrics = get(address, OPENMETRICS)

    assert address.startswith("http://127.0.0.1:")
    assert plain_type.startswith("text/plain")
    assert open_type.startswith("application/openmetrics-text")
    assert value(plain, attributes.FLOW_RUNS, flow="counted_flow", result="success") == 1
    assert "# {trace_id=" in openmetrics
    assert "# {trace_id=" not in plain
    assert openmetrics.endswith("# EOF\n")


def test_a_port_in_use_is_one_warning_and_the_flow_goes_on(use, caplog):
    taken = use("pull:0")
    port = taken.address.rsplit(":", 1)[1].partition("/")[0]

    done = python(
        f"""
        from otelflow._core import ledger
        print(metrics.use('pull:{port}').address)
        order().execute()
        print(dict(ledger.dropped))
        """
    )

    assert done.returncode == 0
    assert done.stdout == "None\n{('metrics', 'not_served'): 1}\n"
    assert len(done.stderr.splitlines()) == 1
    assert f"No /metrics at 127.0.0.1:{port}" in done.stderr
    assert "OTELFLOW_METRICS=pull:HOST:PORT" in done.stderr


def test_metrics_are_served_over_tls(tmp_path):
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    request = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=127.0.0.1"]
    request += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(request, check=True, capture_output=True, timeout=60)
    body = f"""
        import ssl, urllib.request
        address = metrics.use('pull:0').address
        context = ssl.create_default_context(cafile={str(certificate)!r})
        secure = urllib.request.HTTPSHandler(context=context)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({{}}), secure)
        order().execute()
        with opener.open(address, timeout=10) as answer:
            print(address[:8], b'otelflow_flow_runs_total' in answer.read())
    """

    done = python(body, OTELFLOW_METRICS_CERTIFICATE=str(certificate), OTELFLOW_METRICS_KEY=str(key))

    assert done.returncode == 0, done.stderr
    assert done.stdout == "https:// True\n"


def test_half_a_certificate_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="metrics_certificate and metrics_key"):
        pull.Pull(CollectorRegistry(), "0", pull.Certificate(file=str(tmp_path)))
    with pytest.raises(ConfigurationError, match="cannot be read"):
        pull.Pull(CollectorRegistry(), "0", pull.Certificate(str(tmp_path / "no.pem"), str(tmp_path / "no.key")))


@pytest.mark.parametrize(
    ("where", "place"),
    [
        ("", ("127.0.0.1", 9464)),
        ("8000", ("127.0.0.1", 8000)),
        ("0.0.0.0:8000", ("0.0.0.0", 8000)),
        ("localhost", ("localhost", 9464)),
        ("[::1]:8000", ("::1", 8000)),
        ("[::1]", ("::1", 9464)),
    ],
)
def test_a_place_to_pull_from_is_host_and_port(where, place):
    assert pull._place(where) == place


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_does_not_hold_the_port_of_its_parent():
    body = """
        import socket, time, warnings
        warnings.simplefilter("ignore", DeprecationWarning)  # of os.fork() beside a thread: what this is about
        chosen = metrics.use('pull:0')
        port = int(chosen.address.rsplit(':', 1)[1].partition('/')[0])
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(writing)
            os.read(reading, 1)  # until the parent has looked
            os._exit(0)
        chosen.shutdown()
        time.sleep(0.2)
        again = metrics.use(f'pull:{port}')
        print(again.address is not None)
        os.close(writing)
        os.waitpid(child, 0)
    """

    done = python(body)

    assert done.returncode == 0, done.stderr
    assert done.stdout == "True\n", done.stderr


# Registries and applications


def test_a_given_registry_shows_the_metrics_beside_those_of_the_application(use):
    registry = CollectorRegistry()
    chosen = use(registry)

    counted_flow().execute()

    labels = {"flow": "counted_flow", "result": "success"}
    assert registry.get_sample_value(attributes.FLOW_RUNS, labels) == 1
    chosen.shutdown()
    assert registry.get_sample_value(attributes.FLOW_RUNS, labels) is None
    counted_flow().execute()  # is not counted any more, and does no harm


def test_registry_is_the_one_of_prometheus_client_and_the_same_choice_twice_is_one(use):
    done = python(
        """
        first, second = metrics.use('registry'), metrics.use('registry')
        order().execute()
        import prometheus_client
        print(first is second, prometheus_client.REGISTRY.get_sample_value(
            'otelflow_flow_runs_total', {'flow': 'order', 'result': 'success'}))
        """
    )

    assert (done.stdout, done.stderr) == ("True 1\n", "")


def test_a_registry_that_has_such_metrics_already_is_refused(use):
    registry = CollectorRegistry()
    Counter(attributes.FLOW_RUNS, "", registry=registry)

    with pytest.raises(ConfigurationError, match="shows otelflow's metrics already"):
        use(registry)


def test_another_choice_takes_the_place_of_the_first(use):
    first = use("pull:0")
    address = first.address
    second = use("pull:127.0.0.1:0")

    counted_flow().execute()

    assert value(get(second.address)[1], attributes.FLOW_RUNS, flow="counted_flow", result="success") == 1
    with pytest.raises(OSError, match="refused"):
        get(address)
    assert use("off") is None
    assert metrics.in_use() is None


def test_a_wsgi_application_can_mount_them(use):
    registry = CollectorRegistry()
    use(registry)
    counted_flow().execute()
    heads = []

    body = b"".join(
        metrics.wsgi_app()({"REQUEST_METHOD": "GET", "PATH_INFO": "/"}, lambda status, headers: heads.append(status))
    )

    assert heads == ["200 OK"]
    assert value(body.decode(), attributes.FLOW_RUNS, flow="counted_flow", result="success") == 1


def test_an_asgi_application_can_mount_them_without_any_choice(use):
    app = metrics.asgi_app()
    counted_flow().execute()
    sent = []

    async def ask():
        async def receive():
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message):
            sent.append(message)

        scope = {
            "type": "http",
            "method": "GET",
            "path": "/",
            "query_string": b"",
            "headers": [(b"accept", OPENMETRICS.encode())],
        }
        await app(scope, receive, send)

    asyncio.run(ask())

    assert sent[0]["status"] == 200
    assert b'otelflow_flow_runs_total{flow="counted_flow",result="success"} 1.0' in sent[1]["body"]


# A server that takes what is pushed


@pytest.fixture
def receiver():
    """A real HTTP server on loopback that keeps what it gets, and waits before it answers if told to."""
    requests = []

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self):
            self.take()

        def do_POST(self):
            self.take()

        def take(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            requests.append((self.path, body, dict(self.headers)))
            time.sleep(server.delay)
            self.send_response(server.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.delay, server.status, server.requests = 0, 200, requests
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join(5)


def pushed(receiver):
    """Return the last that was pushed to each group."""
    return {path: body.decode() for path, body, _ in receiver.requests}


def test_a_run_is_pushed_in_groups_that_name_the_job_and_the_flow_and_no_run(receiver):
    done = python(f"metrics.use('push:{receiver.url}'); order().execute()", OTEL_SERVICE_NAME="billing")

    groups = pushed(receiver)
    assert (done.returncode, done.stderr) == (0, "")
    assert set(groups) == {
        "/metrics/job/billing",
        "/metrics/job/billing/flow/order",
        "/metrics/job/billing/flow/order/result/success",
    }
    of_flow = groups["/metrics/job/billing/flow/order"]
    assert value(of_flow, attributes.FLOW_RUNS, flow="order", result="success") == 1
    assert value(of_flow, attributes.TASK_RUNS, flow="order", task="charge", result="failure") == 1
    assert attributes.FLOW_LAST_RUN not in of_flow
    assert attributes.FLOW_RUNS_IN_PROGRESS not in of_flow
    last = value(
        groups["/metrics/job/billing/flow/order/result/success"],
        attributes.FLOW_LAST_RUN,
        flow="order",
        result="success",
    )
    assert time.time() - 60 < last <= time.time()


def test_a_failure_is_pushed_too_and_leaves_the_group_of_the_last_success_alone(receiver):
    done = python(f"metrics.use('push:{receiver.url}'); fails().execute()", OTEL_SERVICE_NAME="billing")

    groups = pushed(receiver)
    assert done.returncode == 1
    assert value(groups["/metrics/job/billing/flow/fails"], attributes.FLOW_RUNS, flow="fails", result="failure") == 1
    assert "/metrics/job/billing/flow/fails/result/failure" in groups
    assert not any("success" in group for group in groups)


def test_a_run_that_the_exit_cuts_short_is_pushed_as_cancelled(receiver):
    body = f"""
        import threading, time
        metrics.use('push:{receiver.url}')

        @flow
        def endless():
            time.sleep(60)

        threading.Thread(target=endless().execute, daemon=True).start()
        time.sleep(0.2)
    """

    done = python(body, OTEL_SERVICE_NAME="billing")

    assert done.returncode == 0, done.stderr
    group = pushed(receiver)["/metrics/job/billing/flow/endless"]
    assert value(group, attributes.FLOW_RUNS, flow="endless", result="cancellation") == 1


def test_a_password_for_the_gateway_goes_into_a_header_and_not_into_a_warning(receiver):
    address = receiver.url.replace("http://", "http://me:s3cret@")
    receiver.status = 500

    done = python(f"metrics.use('push:{address}'); order().execute()")

    assert {headers["Authorization"] for _, _, headers in receiver.requests} == {"Basic bWU6czNjcmV0"}
    assert "s3cret" not in done.stderr
    assert "did not arrive" in done.stderr


@pytest.mark.parametrize("way", ["push:http://127.0.0.1:9", "otlp"])
def test_nobody_at_the_other_end_is_one_warning_and_the_process_ends_in_time(way):
    body = f"""
        logging.getLogger("opentelemetry").disabled = True
        logging.getLogger("opentelemetry.exporter.otlp.proto.http.metric_exporter").disabled = True
        metrics.use({way!r})
        order().execute()
        order().execute()
        print('done')
    """
    began = time.monotonic()

    done = python(body, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9")

    assert time.monotonic() - began < 20
    assert (done.returncode, done.stdout) == (0, "done\n")
    assert [line for line in done.stderr.splitlines() if "did not arrive" in line] == done.stderr.splitlines()
    assert len(done.stderr.splitlines()) == 1


def test_a_gateway_that_does_not_answer_keeps_no_flow_waiting(receiver):
    receiver.delay = 30
    body = f"""
        import time
        metrics.use('push:{receiver.url}')
        began = time.monotonic()
        order().execute()
        print(time.monotonic() - began < 1)
    """
    began = time.monotonic()

    done = python(body)

    assert time.monotonic() - began < 20
    assert (done.returncode, done.stdout) == (0, "True\n")
    assert "did not arrive" in done.stderr or "no time left" in done.stderr


@pytest.mark.parametrize(
    "where", ["ftp://host", "http://", "http://host:0", "http://a b", "http://[", "http://host:99999"]
)
def test_an_address_that_is_none_is_refused(where):
    with pytest.raises(ConfigurationError, match="is no address of a Pushgateway"):
        push._gateway(where)


# OTLP


def received(receiver):
    """Return every export as (resource attributes, {name: metric})."""
    exports = []
    for path, body, _ in receiver.requests:
        assert path == "/v1/metrics"
        for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
            attributes_ = {one.key: one.value.string_value for one in resource.resource.attributes}
            exports.append((attributes_, {one.name: one for scope in resource.scope_metrics for one in scope.metrics}))
    return exports


def points(metric):
    kind = metric.WhichOneof("data")
    return {
        tuple(sorted((one.key, one.value.string_value) for one in point.attributes)): point
        for point in getattr(metric, kind).data_points
    }


def test_otlp_has_the_same_names_and_numbers_and_the_first_export_is_zeros(receiver):
    body = """
        from opentelemetry import trace
        from opentelemetry.sdk.trace import TracerProvider
        trace.set_tracer_provider(TracerProvider())
        chosen = metrics.use('otlp')
        print(chosen.flush(10))
        order().execute()
    """

    done = python(body, OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url, OTEL_SERVICE_NAME="billing")

    exports = received(receiver)
    assert (done.returncode, done.stdout, done.stderr) == (0, "True\n", "")
    first, last = exports[0][1], exports[-1][1]
    label = (("flow", "order"), ("result", "success"))
    assert points(first[attributes.FLOW_RUNS])[label].as_int == 0
    assert points(last[attributes.FLOW_RUNS])[label].as_int == 1
    assert last[attributes.FLOW_RUNS].sum.is_monotonic
    assert not last[attributes.FLOW_RUNS_IN_PROGRESS].sum.is_monotonic
    assert last[attributes.FLOW_LAST_RUN].WhichOneof("data") == "gauge"
    histogram = points(last[attributes.TASK_RUN_DURATION])[("flow", "order"), ("result", "success"), ("task", "charge")]
    assert (histogram.count, sum(histogram.bucket_counts)) == (2, 2)
    assert len(histogram.exemplars[0].trace_id) == 16
    assert exports[-1][0]["service.name"] == "billing"


def test_the_next_process_takes_over_the_instance_and_no_two_have_one_at_once(receiver):
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url, "OTEL_SERVICE_NAME": f"nightly-{os.getpid()}"}

    def run(body):
        return python(body, **environment)

    run("metrics.use('otlp')")
    run("metrics.use('otlp')")
    one_after_the_other = {resource["service.instance.id"] for resource, _ in received(receiver)}
    receiver.requests.clear()
    body = """
        import subprocess
        metrics.use('otlp').flush(10)
        program = "from otelflow.telemetry import metrics; metrics.use('otlp')"
        subprocess.run([sys.executable, '-c', program], check=True, timeout=30)
    """
    run(body)
    side_by_side = {resource["service.instance.id"] for resource, _ in received(receiver)}

    assert len(one_after_the_other) == 1
    assert len(side_by_side) == 2
    assert one_after_the_other < side_by_side


def test_an_instance_id_that_somebody_chose_stays(receiver):
    python(
        "metrics.use('otlp')",
        OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url,
        OTEL_RESOURCE_ATTRIBUTES="service.instance.id=mine",
    )

    assert {resource["service.instance.id"] for resource, _ in received(receiver)} == {"mine"}


@pytest.mark.parametrize(
    ("environment", "complaint"),
    [
        ({"OTEL_METRICS_EXPORTER": "otpl"}, "OTEL_METRICS_EXPORTER: nothing is registered as 'otpl'"),
        ({"OTEL_METRICS_EXPORTER": "none"}, "name one exporter"),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "carrier-pigeon"}, "OTEL_EXPORTER_OTLP_PROTOCOL=carrier-pigeon"),
        ({"OTEL_METRIC_EXPORT_INTERVAL": "soon"}, "OTEL_METRIC_EXPORT_INTERVAL must be"),
    ],
)
def test_a_variable_that_says_nothing_usable_is_named(environment, complaint):
    done = python("metrics.use('otlp')", **environment)

    assert complaint in done.stderr.splitlines()[-1]


# Textfile


def test_a_textfile_is_replaced_whole_and_keeps_when_other_processes_succeeded(tmp_path):
    file = tmp_path / "jobs.prom"
    body = f"metrics.use('textfile:{file}'); {{}}().execute()"

    python(body.format("order"), OTEL_SERVICE_NAME="billing")
    succeeded = value(file.read_text(), attributes.FLOW_LAST_RUN, flow="order", result="success", service="billing")
    python(body.format("fails"), OTEL_SERVICE_NAME="billing")

    text = file.read_text()
    assert succeeded
    assert value(text, attributes.FLOW_LAST_RUN, flow="order", result="success", service="billing") == succeeded
    assert value(text, attributes.FLOW_LAST_RUN, flow="fails", result="failure", service="billing")
    assert value(text, attributes.FLOW_RUNS, flow="fails", result="failure", service="billing") == 1
    assert attributes.FLOW_RUNS_IN_PROGRESS not in text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["jobs.prom", "jobs.prom.lock"]
    assert file.stat().st_mode & 0o777 == 0o644


def test_processes_that_write_one_textfile_at_once_lose_no_timestamp(tmp_path):
    file = tmp_path / "jobs.prom"

    def run(number):
        return python(
            f"""
            from otelflow import Flow
            metrics.use('textfile:{file}')
            Flow(flow_name='job {chr(97 + number)}').set_flow_target(lambda: 1).execute()
            """
        )

    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(run, range(8)))

    assert [one.stderr for one in done] == [""] * 8
    flows = set(re.findall(rf'{attributes.FLOW_LAST_RUN}{{flow="(job .)"', file.read_text()))
    assert flows == {f"job {letter}" for letter in "abcdefgh"}


def test_a_file_that_was_none_is_replaced_with_one_warning(tmp_path):
    file = tmp_path / "jobs.prom"
    file.write_text("this {is no metrics\n")

    done = python(f"metrics.use('textfile:{file}'); order().execute()")

    assert "was no metrics file" in done.stderr
    assert attributes.FLOW_RUNS in file.read_text()


def test_a_disk_that_takes_nothing_is_one_warning(tmp_path):
    folder = tmp_path / "gone"
    folder.mkdir()
    body = f"metrics.use('textfile:{folder}/jobs.prom'); os.rmdir({str(folder)!r}); order().execute(); print('done')"

    done = python(body)

    assert (done.returncode, done.stdout) == (0, "done\n")
    assert len(done.stderr.splitlines()) == 1
    assert "did not arrive" in done.stderr


# Several processes

WORKERS = """
    import json, multiprocessing, time, warnings
    warnings.simplefilter("ignore", DeprecationWarning)
    chosen = metrics.use('multiprocess')

    def work(count, stays):
        order(count).execute()
        chosen.flush(5)
        if stays:
            @flow
            def stays_open():
                chosen.flush(5)
                os._exit(9)  # as a worker that is killed in the middle of a run
            stays_open().execute()

    context = multiprocessing.get_context('fork')
    children = [context.Process(target=work, args=(number + 1, number == 2)) for number in range(3)]
    for child in children: child.start()
    for child in children: child.join(20)
    order(1).execute()
    body = b''.join(metrics.wsgi_app()({'REQUEST_METHOD': 'GET', 'PATH_INFO': '/'}, lambda *_: None))
    sys.stdout.write(body.decode())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_forked_workers_are_added_up_and_a_dead_one_leaves_no_open_run(tmp_path):
    done = python(WORKERS, PROMETHEUS_MULTIPROC_DIR=str(tmp_path))

    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    text = done.stdout
    assert value(text, attributes.FLOW_RUNS, flow="order", result="success") == 4
    assert value(text, attributes.TASK_RUNS, flow="order", task="charge", result="success") == 1 + 2 + 2 + 1
    assert value(text, attributes.TASK_RUNS, flow="order", task="charge", result="failure") == 1
    assert value(text, attributes.TASK_FAILURES, flow="order", task="charge", error_type="LookupError") == 1
    assert value(text, attributes.FLOW_RUN_DURATION + "_count", flow="order", result="success") == 4
    assert value(text, attributes.FLOW_RUN_DURATION + "_bucket", flow="order", result="success", le="+Inf") == 4
    assert value(text, attributes.FLOW_RUNS, flow="never", result="failure") == 0
    assert value(text, attributes.FLOW_RUNS_IN_PROGRESS, flow="stays_open") in (None, 0)
    assert value(text, attributes.FLOW_LAST_RUN, flow="order", result="success") > time.time() - 60


def test_counters_of_earlier_processes_stay_and_their_open_runs_do_not(tmp_path):
    first = python(
        """
        chosen = metrics.use('multiprocess')

        @flow
        def open_one():
            chosen.flush(5)
            os._exit(9)

        order().execute()
        open_one().execute()
        """,
        PROMETHEUS_MULTIPROC_DIR=str(tmp_path),
    )
    assert any(path.name.startswith("gauge_livesum") for path in tmp_path.iterdir())

    second = python(
        """
        metrics.use('multiprocess')
        order().execute()
        read = metrics.wsgi_app()({'REQUEST_METHOD': 'GET', 'PATH_INFO': '/'}, lambda *_: None)
        sys.stdout.write(b''.join(read).decode())
        """,
        PROMETHEUS_MULTIPROC_DIR=str(tmp_path),
    )

    assert first.returncode == 9
    assert value(second.stdout, attributes.FLOW_RUNS, flow="order", result="success") == 2
    assert value(second.stdout, attributes.FLOW_RUNS_IN_PROGRESS, flow="open_one") in (None, 0)


def test_a_long_flow_is_seen_in_progress_while_it_runs(tmp_path):
    body = """
        @flow
        def long():
            read = metrics.wsgi_app()({'REQUEST_METHOD': 'GET', 'PATH_INFO': '/'}, lambda *_: None)
            sys.stdout.write(b''.join(read).decode())
        metrics.use('multiprocess')
        long().execute()
    """

    done = python(body, PROMETHEUS_MULTIPROC_DIR=str(tmp_path))

    assert value(done.stdout, attributes.FLOW_RUNS_IN_PROGRESS, flow="long") == 1
    assert re.search(rf'{attributes.FLOW_OLDEST_RUN}{{flow="long",pid="\d+"}} 1\.', done.stdout)


GUNICORN = """
from otelflow import flow, task
from otelflow.telemetry import metrics

metrics.use("multiprocess")
show = metrics.wsgi_app()

@task
def answer():
    return b"ok"

@flow
def request():
    return answer()

def app(environ, start_response):
    if environ["PATH_INFO"] == "/metrics":
        return show(environ, start_response)
    body = request().execute().flow_return_value
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""


@pytest.mark.parametrize("preload", [False, True], ids=["forked first", "loaded first"])
def test_gunicorn_shows_one_count_for_all_of_its_workers_also_those_that_it_has_replaced(tmp_path, preload):
    pytest.importorskip("gunicorn", reason="gunicorn is not installed")
    (tmp_path / "served.py").write_text(GUNICORN)
    files = tmp_path / "numbers"
    files.mkdir()
    socket_file = tmp_path / "bound"
    command = [
        *(sys.executable, "-m", "gunicorn", "served:app", "--workers", "3", "--bind", "127.0.0.1:0"),
        *("--max-requests", "20", "--chdir", str(tmp_path), "--log-level", "info"),
        *(["--preload"] if preload else []),
    ]
    log = socket_file.with_suffix(".log")
    with log.open("w") as sink:
        server = subprocess.Popen(command, stderr=sink, env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(files)})
    try:
        url = wait_for(lambda: re.search(r"http://127\.0\.0\.1:\d+", log.read_text()))[0]
        answered = sum(call(url) for _ in range(90))
        text = wait_for(
            lambda: (
                (body := get(url + "/metrics")[1])
                and value(body, attributes.FLOW_RUNS, flow="request", result="success") == answered
                and body
            )
        )
    finally:
        server.terminate()
        server.wait(20)

    assert answered >= 80
    assert log.read_text().count("Booting worker") > 3
    assert value(text, attributes.TASK_RUNS, flow="request", task="answer", result="success") == answered
    assert value(text, attributes.FLOW_RUNS_IN_PROGRESS, flow="request") == 0


def call(url):
    try:
        return get(url + "/")[1] == "ok"
    except OSError:  # the worker was just being replaced
        return False


def wait_for(look, seconds=20):
    deadline = time.monotonic() + seconds
    while True:
        try:
            seen = look()
        except OSError:
            seen = None
        if seen:
            return seen
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.1)


# What is wrong is said before anything runs


@pytest.mark.parametrize(
    ("wanted", "complaint"),
    [
        ("pul", "did you mean 'pull'"),
        ("prometheus", "is no way out"),
        ("registry:x", "takes no place"),
        ("pull:host:port", "is no address"),
        ("pull:70000", "is no address"),
        ("pull:http://127.0.0.1:8000/metrics", "is no address"),
        ("push:ftp://x", "is no address of a Pushgateway"),
        ("textfile", "names no file"),
        ("textfile:/tmp/metrics.txt", "names no file"),
        ("textfile:/no/such/folder/metrics.prom", "create it first"),
        ("multiprocess", "PROMETHEUS_MULTIPROC_DIR"),
        (7, "must be a text"),
    ],
)
def test_a_choice_that_does_not_exist_is_one_error_with_the_cure(wanted, complaint, use):
    with pytest.raises(ConfigurationError, match=complaint):
        use(wanted)

    assert metrics.in_use() is None


def test_a_bad_choice_leaves_the_good_one_in_use(use):
    good = use("pull:0")

    with pytest.raises(ConfigurationError):
        use("push:ftp://x")

    assert metrics.in_use() is good
    assert get(good.address)[1]


def test_files_of_multiprocess_that_prometheus_client_does_not_use_are_refused(tmp_path):
    body = f"""
        import prometheus_client
        os.environ['PROMETHEUS_MULTIPROC_DIR'] = {str(tmp_path)!r}
        metrics.use('multiprocess')
    """

    done = python(body)

    assert "before prometheus_client is imported" in done.stderr.splitlines()[-1]


def test_the_environment_chooses(receiver):
    done = python("metrics.use(); order().execute()", OTELFLOW_METRICS=f"push:{receiver.url}")

    assert done.returncode == 0, done.stderr
    assert len(receiver.requests) == 3


def test_configure_takes_the_choice_and_its_telemetry_flushes_and_ends_it():
    body = """
        import otelflow
        telemetry = otelflow.configure(metrics='pull:0', service_name='billing')
        again = otelflow.configure()
        order().execute()
        print(telemetry.metrics.address is not None, again.metrics is telemetry.metrics, telemetry.force_flush())
        telemetry.shutdown()
        print(metrics.in_use())
    """

    done = python(body)

    assert (done.stdout, done.stderr) == ("True True True\nNone\n", "")


def test_configure_names_the_variable_that_is_wrong():
    done = python("import otelflow; otelflow.configure()", OTELFLOW_METRICS="prometeus")

    assert done.returncode == 1
    assert "OTELFLOW_METRICS=prometeus is no way out for metrics" in done.stderr.splitlines()[-1]


def test_a_program_that_wants_no_metrics_does_not_load_prometheus_client():
    body = """
        import subprocess
        program = "import sys, otelflow; otelflow.configure(); print('prometheus_client' in sys.modules)"
        print(subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30).stdout)
    """

    assert python(body).stdout.split() == ["False"]


def test_with_a_provider_of_the_application_every_run_counts(receiver):
    body = f"""
        import otelflow
        from opentelemetry import trace
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
        resource = Resource.create({{"service.name": "host"}})
        trace.set_tracer_provider(TracerProvider(resource=resource, sampler=ALWAYS_OFF))
        telemetry = otelflow.configure(metrics='push:{receiver.url}')
        for _ in range(10):
            order().execute()
        print(telemetry.is_host)
    """

    done = python(body)

    assert (done.stdout, done.stderr) == ("True\n", "")
    assert (
        value(pushed(receiver)["/metrics/job/host/flow/order"], attributes.FLOW_RUNS, flow="order", result="success")
        == 10
    )


def test_what_is_sent_is_not_traced_by_instrumentation_of_http():
    body = """
        from opentelemetry.instrumentation.utils import is_instrumentation_enabled
        from otelflow.telemetry.ways.courier import Courier

        seen = []
        courier = Courier(lambda deadline: seen.append(is_instrumentation_enabled()), "of the test")
        courier.wake()
        print(courier.flush(10), set(seen), is_instrumentation_enabled())
    """

    pytest.importorskip("opentelemetry.instrumentation", reason="no instrumentation is installed")

    assert python(body).stdout == "True {False} True\n"


def test_what_did_not_arrive_is_tried_again_at_the_end(receiver):
    receiver.status = 503
    body = f"""
        chosen = metrics.use('push:{receiver.url}')
        order().execute()
        print(chosen.flush(10), flush=True)
        sys.stdin.readline()
    """
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM + textwrap.dedent(body)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "False\n"
    receiver.status = 200
    receiver.requests.clear()

    process.communicate("\n", timeout=30)

    assert any(path.endswith("/flow/order/result/success") for path in pushed(receiver))
