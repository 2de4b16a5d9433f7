"""How metrics get out: each way through real sockets, files and processes; trouble is one line, never a failure."""

import asyncio
import os
import re
import socket
import ssl
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
from opentelemetry.sdk.resources import Resource
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.parser import text_string_to_metric_families

from otelflow import flow, metrics, semconv
from otelflow.errors import ConfigurationError
from otelflow.metrics._counts import Aggregator
from otelflow.metrics._outputs import pull, push, textfile

PROGRAM = """
import logging, os, sys
from otelflow import flow, task
from otelflow import metrics

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
        env={**clean, "OTEL_SERVICE_NAME": "test", **environment},
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
    assert value(plain, semconv.FLOW_RUNS, flow="counted_flow", result="success") == 1
    assert "# {trace_id=" in openmetrics
    assert "# {trace_id=" not in plain
    assert openmetrics.endswith("# EOF\n")


def test_a_port_in_use_is_one_warning_and_the_flow_goes_on(use, caplog):
    taken = use("pull:0")
    port = taken.address.rsplit(":", 1)[1].partition("/")[0]

    done = python(
        f"""
        from otelflow._core.process import losses
        print(metrics.use('pull:{port}').address)
        order().execute()
        print(dict(losses.dropped))
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
        pull.Pull("127.0.0.1", 0, pull.Certificate(file=str(tmp_path))).open(Aggregator())
    with pytest.raises(ConfigurationError, match="cannot be read"):
        pull.Pull("127.0.0.1", 0, pull.Certificate(str(tmp_path / "no.pem"), str(tmp_path / "no.key"))).open(
            Aggregator()
        )


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
    choice = pull.Pull.from_place(where, Resource({}))

    assert (choice.host, choice.port) == place


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
    assert registry.get_sample_value(semconv.FLOW_RUNS, labels) == 1
    chosen.shutdown()
    assert registry.get_sample_value(semconv.FLOW_RUNS, labels) is None
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
    Counter(semconv.FLOW_RUNS, "", registry=registry)

    with pytest.raises(ConfigurationError, match=r"has a metric of that name already.*otelflow_flow_runs"):
        use(registry)


def test_another_choice_takes_the_place_of_the_first(use):
    first = use("pull:0")
    address = first.address
    second = use("pull:localhost:0")

    counted_flow().execute()

    assert value(get(second.address)[1], semconv.FLOW_RUNS, flow="counted_flow", result="success") == 1
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
    assert value(body.decode(), semconv.FLOW_RUNS, flow="counted_flow", result="success") == 1


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
            self.send_response(409 if server.refused and self.path.endswith(server.refused) else server.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.delay, server.status, server.refused, server.requests = 0, 200, "", requests
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
    assert value(of_flow, semconv.FLOW_RUNS, flow="order", result="success") == 1
    assert value(of_flow, semconv.TASK_RUNS, flow="order", task="charge", result="failure") == 1
    assert semconv.FLOW_LAST_RUN not in of_flow
    assert semconv.FLOW_RUNS_IN_PROGRESS not in of_flow
    last = value(
        groups["/metrics/job/billing/flow/order/result/success"],
        semconv.FLOW_LAST_RUN,
        flow="order",
        result="success",
    )
    assert time.time() - 60 < last <= time.time()


def test_a_failure_is_pushed_too_and_leaves_the_group_of_the_last_success_alone(receiver):
    done = python(f"metrics.use('push:{receiver.url}'); fails().execute()", OTEL_SERVICE_NAME="billing")

    groups = pushed(receiver)
    assert done.returncode == 1
    assert value(groups["/metrics/job/billing/flow/fails"], semconv.FLOW_RUNS, flow="fails", result="failure") == 1
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
    assert value(group, semconv.FLOW_RUNS, flow="endless", result="cancellation") == 1


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
        push.Push.from_place(where, Resource({}))


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
    assert points(first[semconv.FLOW_RUNS])[label].as_int == 0
    assert points(last[semconv.FLOW_RUNS])[label].as_int == 1
    assert last[semconv.FLOW_RUNS].sum.is_monotonic
    assert not last[semconv.FLOW_RUNS_IN_PROGRESS].sum.is_monotonic
    assert last[semconv.FLOW_LAST_RUN].WhichOneof("data") == "gauge"
    histogram = points(last[semconv.TASK_RUN_DURATION])[("flow", "order"), ("result", "success"), ("task", "charge")]
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
        program = "from otelflow import metrics; metrics.use('otlp')"
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
        ({"OTEL_METRICS_EXPORTER": "otlp,console"}, "name one exporter"),
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
    succeeded = value(file.read_text(), semconv.FLOW_LAST_RUN, flow="order", result="success", service="billing")
    python(body.format("fails"), OTEL_SERVICE_NAME="billing")

    text = file.read_text()
    assert succeeded
    assert value(text, semconv.FLOW_LAST_RUN, flow="order", result="success", service="billing") == succeeded
    assert value(text, semconv.FLOW_LAST_RUN, flow="fails", result="failure", service="billing")
    assert value(text, semconv.FLOW_RUNS, flow="fails", result="failure", service="billing") == 1
    assert semconv.FLOW_RUNS_IN_PROGRESS not in text
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
    flows = set(re.findall(rf'{semconv.FLOW_LAST_RUN}{{flow="(job .)"', file.read_text()))
    assert flows == {f"job {letter}" for letter in "abcdefgh"}


def test_a_file_that_was_none_is_replaced_with_one_warning(tmp_path):
    file = tmp_path / "jobs.prom"
    file.write_text("this {is no metrics\n")

    done = python(f"metrics.use('textfile:{file}'); order().execute()")

    assert "was no metrics file" in done.stderr
    assert semconv.FLOW_RUNS in file.read_text()


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
    assert value(text, semconv.FLOW_RUNS, flow="order", result="success") == 4
    assert value(text, semconv.TASK_RUNS, flow="order", task="charge", result="success") == 1 + 2 + 2 + 1
    assert value(text, semconv.TASK_RUNS, flow="order", task="charge", result="failure") == 1
    assert value(text, semconv.TASK_FAILURES, flow="order", task="charge", error_type="LookupError") == 1
    assert value(text, semconv.FLOW_RUN_DURATION + "_count", flow="order", result="success") == 4
    assert value(text, semconv.FLOW_RUN_DURATION + "_bucket", flow="order", result="success", le="+Inf") == 4
    assert value(text, semconv.FLOW_RUNS, flow="never", result="failure") == 0
    assert value(text, semconv.FLOW_RUNS_IN_PROGRESS, flow="stays_open") in (None, 0)
    assert value(text, semconv.FLOW_LAST_RUN, flow="order", result="success") > time.time() - 60


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
    assert value(second.stdout, semconv.FLOW_RUNS, flow="order", result="success") == 2
    assert value(second.stdout, semconv.FLOW_RUNS_IN_PROGRESS, flow="open_one") in (None, 0)


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

    assert value(done.stdout, semconv.FLOW_RUNS_IN_PROGRESS, flow="long") == 1
    assert re.search(rf'{semconv.FLOW_OLDEST_RUN}{{flow="long",pid="\d+"}} 1\.', done.stdout)


GUNICORN = """
from otelflow import flow, task
from otelflow import metrics

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
                and value(body, semconv.FLOW_RUNS, flow="request", result="success") == answered
                and body
            )
        )
    finally:
        server.terminate()
        server.wait(20)

    assert answered >= 80
    assert log.read_text().count("Booting worker") > 3
    assert value(text, semconv.TASK_RUNS, flow="request", task="answer", result="success") == answered
    assert value(text, semconv.FLOW_RUNS_IN_PROGRESS, flow="request") == 0


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
        value(pushed(receiver)["/metrics/job/host/flow/order"], semconv.FLOW_RUNS, flow="order", result="success") == 10
    )


def test_what_is_sent_is_not_traced_by_instrumentation_of_http():
    body = """
        from opentelemetry.instrumentation.utils import is_instrumentation_enabled
        from otelflow._core.process.worker import Courier

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


# What runs outside of any flow, and in forked children

OUTSIDE = {
    "a flow in a task": (
        """
        @task
        def wraps():
            never().execute()
        wraps()
    """,
        'flow="never",result="success"',
    ),
    "tasks alone": ("charge(1)", 'flow="",result="success"'),
    "a task after the flow": ("never().execute(); chosen.flush(5); charge(1)", 'flow="",result="success"'),
}


@pytest.mark.parametrize("what", OUTSIDE)
@pytest.mark.parametrize("way", ["push", "textfile"])
def test_what_runs_outside_of_any_flow_is_delivered(what, way, receiver, tmp_path):
    where = receiver.url if way == "push" else tmp_path / "jobs.prom"
    body, labels = OUTSIDE[what]

    done = python(f"chosen = metrics.use('{way}:{where}')\n" + textwrap.dedent(body))

    assert (done.returncode, done.stderr) == (0, "")
    text = "".join(pushed(receiver).values()) if way == "push" else where.read_text()
    counted = [line for line in text.splitlines() if "_runs_total" in line and line.endswith(" 1.0")]
    assert any(labels.partition(",")[0] in line and labels.partition(",")[2] in line for line in counted)


def test_a_flow_in_a_task_is_delivered_when_it_has_ended(receiver):
    body = f"""
        @task
        def wraps():
            never().execute()
            import time
            deadline = time.monotonic() + 10
            while metrics.in_use().output._pushed == {{}} and time.monotonic() < deadline:
                time.sleep(0.01)
            print(bool(metrics.in_use().output._pushed))
        metrics.use('push:{receiver.url}')
        wraps()
    """

    assert python(body).stdout == "True\n"


CHILD = """
    import multiprocessing, warnings
    warnings.simplefilter("ignore", DeprecationWarning)
    metrics.use({way!r})

    def work():
        fails().execute()

    @flow
    def forks():
        child = multiprocessing.get_context("fork").Process(target=work)
        child.start()
        child.join(30)

    order().execute()
    metrics.in_use().flush(10)
    forks().execute()
    os._exit(0) if {dies} else None
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("way", ["push", "textfile"])
def test_a_forked_child_brings_its_timestamps_and_leaves_the_counters_to_its_parent(way, receiver, tmp_path):
    where = receiver.url if way == "push" else tmp_path / "jobs.prom"

    done = python(CHILD.format(way=f"{way}:{where}", dies=True))

    texts = "".join(pushed(receiver).values()) if way == "push" else where.read_text()
    service = {} if way == "push" else {"service": "test"}
    assert done.returncode == 0, done.stderr
    assert value(texts, semconv.FLOW_RUNS, flow="order", result="success", **service) == 1
    if way == "push":
        assert "/metrics/job/test/flow/fails" not in pushed(receiver)
    else:
        assert value(texts, semconv.FLOW_RUNS, flow="fails", result="failure", **service) == 0
    assert value(texts, semconv.FLOW_LAST_RUN, flow="fails", result="failure", **service) > time.time() - 60
    assert value(texts, semconv.FLOW_LAST_RUN_DURATION, flow="fails", result="failure", **service) > 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_exports_by_otlp_while_it_runs_and_on_a_connection_of_its_own(receiver):
    body = """
        import signal, time, warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        chosen = metrics.use("otlp")
        chosen.flush(10)
        theirs = chosen.output._exporter
        child = os.fork()
        if child == 0:
            charge(1)  # no flow is needed
            time.sleep(60)
        import threading
        sys.stdin.readline()
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    """
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM + textwrap.dedent(body)],
        stdin=subprocess.PIPE,
        env={
            **os.environ,
            "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url,
            "OTEL_METRIC_EXPORT_INTERVAL": "200",
            "OTEL_SERVICE_NAME": f"forks-{os.getpid()}",
        },
        text=True,
    )

    def by_child():
        exports = [(resource, found.get(semconv.TASK_RUNS)) for resource, found in received(receiver)]
        return {
            resource["service.instance.id"]
            for resource, runs in exports
            if runs is not None and any(point.as_int for point in points(runs).values())
        }

    try:
        child = wait_for(by_child)
    finally:
        process.communicate("\n", timeout=30)
    parent = {resource["service.instance.id"] for resource, _ in received(receiver)} - child

    assert (len(child), len(parent)) == (1, 1)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_makes_an_exporter_of_its_own(receiver):
    body = """
        import warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        chosen = metrics.use("otlp")
        chosen.flush(10)
        before = chosen.output._exporter
        child = os.fork()
        if child == 0:
            print(chosen.flush(10), chosen.output._exporter is not before, flush=True)
            os._exit(0)
        os.waitpid(child, 0)
    """

    done = python(body, OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url)

    assert done.stdout == "True True\n", done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_tasks_outside_flows_are_shared_by_a_worker_while_it_runs(tmp_path):
    body = """
        import time, warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        metrics.use("multiprocess")
        child = os.fork()
        if child == 0:
            charge(1)
            time.sleep(30)
            os._exit(0)
        def shown():
            read = metrics.wsgi_app()({'REQUEST_METHOD': 'GET', 'PATH_INFO': '/'}, lambda *_: None)
            return 'task_runs_total{flow="",result="success",task="charge"} 1.0' in b''.join(read).decode()
        deadline = time.monotonic() + 20
        while not shown() and time.monotonic() < deadline:
            time.sleep(0.1)
        print(shown())
        os.kill(child, 9)
        os.waitpid(child, 0)
    """

    done = python(body, PROMETHEUS_MULTIPROC_DIR=str(tmp_path))

    assert done.stdout == "True\n", done.stderr


REUSED = """
    chosen = metrics.use('multiprocess')
    read = metrics.wsgi_app()({'REQUEST_METHOD': 'GET', 'PATH_INFO': '/'}, lambda *_: None)
    sys.stdout.write(b''.join(read).decode())
"""


def test_a_reused_pid_revives_no_open_run_of_the_dead_process(tmp_path):
    first = python(
        """
        chosen = metrics.use('multiprocess')

        @flow
        def open_one():
            chosen.flush(5)
            os._exit(9)

        open_one().execute()
        """,
        PROMETHEUS_MULTIPROC_DIR=str(tmp_path),
    )
    # As at the next start of a container, where the process has the same pid.
    rename = f"""
import os, pathlib
for file in pathlib.Path({str(tmp_path)!r}).glob("gauge_live*.db"):
    file.rename(file.with_name(file.name.rpartition("_")[0] + f"_{{os.getpid()}}.db"))
"""
    second = python(rename + textwrap.dedent(REUSED), PROMETHEUS_MULTIPROC_DIR=str(tmp_path))

    assert first.returncode == 9
    assert second.returncode == 0, second.stderr
    assert value(second.stdout, semconv.FLOW_RUNS_IN_PROGRESS, flow="open_one") in (None, 0)
    assert not re.search(rf'{semconv.FLOW_OLDEST_RUN}{{flow="open_one",pid="\d+"}} [1-9]', second.stdout)


def test_the_duration_that_workers_share_is_the_one_of_the_newest_run(tmp_path):
    def run(seconds):
        return python(
            f"""
            import time
            @flow
            def naps():
                time.sleep({seconds})
            metrics.use('multiprocess')
            naps().execute()
            read = metrics.wsgi_app()({{'REQUEST_METHOD': 'GET', 'PATH_INFO': '/'}}, lambda *_: None)
            sys.stdout.write(b''.join(read).decode())
            """,
            PROMETHEUS_MULTIPROC_DIR=str(tmp_path),
        ).stdout

    longer = value(run(0.3), semconv.FLOW_LAST_RUN_DURATION, flow="naps", result="success")
    shorter = value(run(0), semconv.FLOW_LAST_RUN_DURATION, flow="naps", result="success")

    assert 0 < shorter < longer


# Another choice


def scraped(chosen):
    return value(get(chosen.address)[1], semconv.FLOW_RUNS, flow="counted_flow", result="success")


def test_another_word_for_the_same_place_changes_nothing(use):
    first = use("pull:0")
    port = first.output.port
    again = use(f"PULL : 127.0.0.1:{port}")

    assert again.address == f"http://127.0.0.1:{port}/metrics"
    assert get(again.address)[1]
    assert use(f"pull:{port}") is again


def test_a_wider_address_takes_over_the_port(use, caplog):
    port = use("pull:0").output.port

    wider = use(f"pull:0.0.0.0:{port}")

    assert get(f"http://127.0.0.1:{port}/metrics")[1]
    assert wider.address == f"http://0.0.0.0:{port}/metrics"
    assert not caplog.records


def test_an_address_that_cannot_be_had_leaves_the_old_endpoint(use):
    first = use("pull:0")
    old = first.address

    assert use(f"pull:203.0.113.1:{first.output.port}").address == old
    assert get(old)[1]
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert use(f"pull:{taken.getsockname()[1]}").address == old
    assert get(old)[1]


def test_a_port_that_is_taken_leaves_a_registry_that_was_chosen_before(use):
    registry = CollectorRegistry()
    use(registry)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        use(f"pull:{taken.getsockname()[1]}")

    counted_flow().execute()

    labels = {"flow": "counted_flow", "result": "success"}
    assert registry.get_sample_value(semconv.FLOW_RUNS, labels) == 1


def test_who_shuts_down_a_choice_that_was_replaced_does_not_end_the_new_one(use, tmp_path):
    first = use(f"textfile:{tmp_path}/first.prom", resource=Resource({"service.name": "test"}))
    second = use(f"textfile:{tmp_path}/second.prom")

    first.shutdown()
    counted_flow().execute()

    assert metrics.in_use() is second
    assert second.aggregator.hooks.flow_ended is not None


def test_another_choice_goes_on_with_the_numbers_and_the_open_runs(use):
    use("registry")

    @flow
    def under_way():
        chosen = use("pull:0")
        return value(get(chosen.address)[1], semconv.FLOW_RUNS_IN_PROGRESS, flow="under_way")

    counted_flow().execute()
    in_progress = under_way().execute().flow_return_value

    assert in_progress == 1
    assert scraped(metrics.in_use()) == 1
    counted_flow().execute()
    assert scraped(use("pull:localhost:0")) == 2


def test_a_call_without_a_choice_leaves_the_one_that_was_given():
    body = """
        import otelflow
        from prometheus_client import CollectorRegistry
        registry = CollectorRegistry()
        otelflow.configure(metrics=registry)
        print(otelflow.configure().metrics.registry is registry)
        otelflow.configure(metrics="off")
        print(otelflow.configure().metrics)
    """

    done = python(body, OTELFLOW_METRICS="pull:0")

    assert (done.stdout, done.stderr) == ("True\nNone\n", "")


def test_a_certificate_and_a_number_of_series_that_come_later_take_effect(tmp_path):
    certificate, key = certified(tmp_path)
    body = f"""
        import otelflow
        first = otelflow.configure(metrics="pull:0")
        files = {{"metrics_certificate": {str(certificate)!r}, "metrics_key": {str(key)!r}}}
        second = otelflow.configure(**files, metrics_series=7)
        print(second.metrics.address.partition(":")[0], second.metrics.aggregator.limit)
        print(otelflow.configure().metrics is second.metrics)
    """

    assert python(body).stdout == "https 7\nTrue\n"


def certified(folder):
    certificate, key = folder / "cert.pem", folder / "key.pem"
    request = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=127.0.0.1"]
    request += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(request, check=True, capture_output=True, timeout=60)
    return certificate, key


def test_over_tls_a_silent_connection_keeps_nobody_waiting(tmp_path):
    certificate, key = certified(tmp_path)
    served = pull.Pull("127.0.0.1", 0, pull.Certificate(str(certificate), str(key))).open(Aggregator())
    served.start()
    context = ssl.create_default_context(cafile=str(certificate))
    with socket.create_connection(("127.0.0.1", served.port)):
        answered = get(served.address, context=context)
        ending = threading.Thread(target=served.close, daemon=True)
        ending.start()
        ending.join(30)

        assert answered[0].startswith("text/plain")
        assert not ending.is_alive()


def test_a_client_that_speaks_no_tls_is_not_worth_a_word(tmp_path, capfd):
    certificate, key = certified(tmp_path)
    served = pull.Pull("127.0.0.1", 0, pull.Certificate(str(certificate), str(key))).open(Aggregator())
    served.start()
    with socket.create_connection(("127.0.0.1", served.port)) as client:
        client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        client.settimeout(30)
        while client.recv(1000):
            pass  # an alert of TLS, until the server hangs up
    served.close()

    assert capfd.readouterr() == ("", "")


def test_a_file_that_is_no_certificate_is_named(tmp_path):
    bad = tmp_path / "bad.pem"
    bad.write_text("no pem")

    with pytest.raises(ConfigurationError, match=r"bad\.pem cannot be used .* give PEM files"):
        pull.Pull("127.0.0.1", 0, pull.Certificate(str(bad), str(bad))).open(Aggregator())


@pytest.mark.parametrize(
    ("where", "complaint"),
    [("²", "is no address"), ("-1", "is no address"), ("::1", "in brackets"), ("::1:8000", "in brackets")],
)
def test_a_place_that_is_none_is_refused_with_its_cure(where, complaint):
    with pytest.raises(ConfigurationError, match=complaint):
        pull.Pull.from_place(where, Resource({}))


def test_a_host_that_nobody_knows_is_a_warning_that_speaks_of_the_host(use, caplog):
    assert use("pull:no-such-host.invalid:0").address is None

    assert "choose a name or address of this machine" in caplog.text


def test_an_application_mounted_before_the_choice_shows_what_is_chosen_later(use):
    show = metrics.wsgi_app()
    counted_flow().execute()

    def body():
        return b"".join(show({"REQUEST_METHOD": "GET", "PATH_INFO": "/"}, lambda *_: None)).decode()

    before = value(body(), semconv.FLOW_RUNS, flow="counted_flow", result="success")
    use("pull:0")
    counted_flow().execute()
    after = value(body(), semconv.FLOW_RUNS, flow="counted_flow", result="success")
    query = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "QUERY_STRING": "name[]=" + semconv.FLOW_RUNS}
    restricted = b"".join(show(query, lambda *_: None)).decode()

    assert (before, after) == (1, 2)
    assert {name for name, _ in samples(restricted)} == {semconv.FLOW_RUNS}


def test_a_name_for_the_service_wins_over_the_one_of_a_host(receiver):
    body = f"""
        import otelflow
        from opentelemetry import trace
        from opentelemetry.sdk.trace import TracerProvider
        trace.set_tracer_provider(TracerProvider())
        otelflow.configure(service_name="mine", metrics='push:{receiver.url}')
        otelflow.configure()
        never().execute()
    """

    assert python(body).stderr == ""
    assert set(pushed(receiver)) >= {"/metrics/job/mine/flow/never"}
    assert all(path.startswith("/metrics/job/mine") for path in pushed(receiver))


@pytest.mark.parametrize("way", ["push", "textfile"])
def test_a_job_without_a_name_is_told_to_have_one(way, receiver, tmp_path):
    where = receiver.url if way == "push" else tmp_path
    done = python(f"metrics.use('{way}:{where}'); never().execute(); never().execute()", OTEL_SERVICE_NAME="")

    assert len(done.stderr.splitlines()) == 1
    assert "set OTEL_SERVICE_NAME" in done.stderr


@pytest.mark.parametrize("variable", [{"OTEL_SDK_DISABLED": "true"}, {"OTEL_METRICS_EXPORTER": "none"}])
def test_otlp_is_off_when_opentelemetry_is(variable, receiver):
    done = python("print(metrics.use('otlp'))", OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url, **variable)

    assert (done.stdout, done.stderr, receiver.requests) == ("None\n", "", [])


def test_a_message_names_the_variable_that_the_choice_came_from():
    done = python("metrics.use()", OTELFLOW_METRICS="push:ftp://x")

    assert "OTELFLOW_METRICS=push:ftp://x is no address" in done.stderr.splitlines()[-1]


# Groups and files of several


def test_a_group_that_the_gateway_refuses_keeps_no_other_from_arriving(receiver):
    receiver.refused = "/flow/fails"
    body = f"""
        from otelflow import Flow
        metrics.use('push:{receiver.url}')
        for name in ("a", "fails", "z"):
            Flow(flow_name=name).set_flow_target(lambda: 1).execute()
    """

    done = python(body)

    arrived = [path for path, _, _ in receiver.requests]
    assert "did not arrive" in done.stderr
    assert "fails" in done.stderr
    assert {"/metrics/job/test", "/metrics/job/test/flow/a", "/metrics/job/test/flow/z"} <= set(arrived)
    assert "/metrics/job/test/flow/z/result/success" in arrived


def test_timestamps_are_pushed_first(receiver):
    python(f"metrics.use('push:{receiver.url}'); never().execute()")

    assert next(path for path, _, _ in receiver.requests) == "/metrics/job/test/flow/never/result/success"


@pytest.mark.parametrize(("name", "path"), [(".", "flow@base64/Lg"), ("..", "flow@base64/Li4")])
def test_a_flow_called_by_a_dot_is_pushed_in_a_path_that_survives(name, path, receiver):
    python(
        f"from otelflow import Flow; metrics.use('push:{receiver.url}'); "
        f"Flow(flow_name={name!r}).set_flow_target(lambda: 1).execute()"
    )

    assert f"/metrics/job/test/{path}/result/success" in pushed(receiver)


def test_services_that_share_a_textfile_keep_what_is_theirs(tmp_path):
    file = tmp_path / "jobs.prom"
    for service in ("billing", "shipping", "billing"):
        python(f"metrics.use('textfile:{file}'); order().execute()", OTEL_SERVICE_NAME=service)

    text = file.read_text()
    ran = {
        labels
        for (name, labels), count in samples(text).items()
        if name in (semconv.FLOW_RUNS, semconv.FLOW_LAST_RUN) and count and ("flow", "order") in labels
    }
    assert {dict(labels)["service"] for labels in ran} == {"billing", "shipping"}
    assert value(text, semconv.FLOW_RUNS, flow="order", result="success", service="shipping") == 1
    assert text.count(f"# TYPE {semconv.FLOW_RUNS} ") == 1
    billing = value(text, semconv.FLOW_LAST_RUN, flow="order", result="success", service="billing")
    assert billing > value(text, semconv.FLOW_LAST_RUN, flow="order", result="success", service="shipping")


def test_no_two_services_have_the_same_file_in_a_folder(tmp_path):
    services = ["a/b", "a_b", "a b", "A%2Fb", "x" * 200, "x" * 201]
    files = {textfile.Textfile(str(tmp_path), service).file() for service in services}

    assert len(files) == len(services)
    for file in files:
        file.touch()
        assert file.parent == tmp_path


def test_the_lock_is_open_to_every_user_and_one_that_is_not_to_be_had_is_done_without(tmp_path):
    file = tmp_path / "jobs.prom"
    body = f"os.umask(0o077); metrics.use('textfile:{file}'); order().execute()"
    assert python(body).stderr == ""

    lock = tmp_path / "jobs.prom.lock"
    assert lock.stat().st_mode & 0o666 == 0o666

    lock.unlink()
    lock.symlink_to(tmp_path / "nowhere" / "lock")
    file.unlink()
    assert python(body).stderr == ""
    assert file.exists()
