"""What the tests of metrics share: a program with flows, a gateway, and how to read what Prometheus would read."""

import subprocess
import time
import urllib.request

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from otelflow import semconv
from otelflow.metrics._collector import AggregatorCollector
from support import programs

PROGRAM = """
import logging, os, sys
from otelflow import flow, task
from otelflow import metrics

logging.basicConfig(format="%(message)s")
# What charge() keeps inside is said, too; here only what is said of the metrics matters.
logging.getLogger("otelflow").addFilter(lambda record: "stays inside" not in record.getMessage())

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

def scrape():
    body = metrics.wsgi_app()({"REQUEST_METHOD": "GET", "PATH_INFO": "/"}, lambda *_: None)
    return b"".join(body).decode()
"""

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
_DIRECT = urllib.request.ProxyHandler({})


class Counted:
    """An aggregator and what prometheus-client shows of it."""

    def __init__(self, aggregator):
        self.aggregator = aggregator
        self.registry = CollectorRegistry()
        self.registry.register(AggregatorCollector(aggregator))

    def value(self, name, **labels):
        return self.registry.get_sample_value(name, labels)

    def runs(self, flow, task=None):
        """Return how many runs ended with each result, without the zeros."""
        name, labels = semconv.FLOW_RUNS, {"flow": flow}
        if task is not None:
            name, labels = semconv.TASK_RUNS, {"flow": flow, "task": task}
        counts = {result: self.value(name, **labels, result=result) for result in semconv.RESULTS}
        return {result: count for result, count in counts.items() if count}

    def text(self):
        return generate_latest(self.registry).decode()


def python(*parts, **environment):
    """Run PROGRAM and *parts* in a fresh interpreter."""
    return programs.python(PROGRAM, *parts, **{"OTEL_SERVICE_NAME": "test", **environment})


def get(url, accept="*/*", context=None):
    """Return the type and the body of what is served at *url*."""
    opener = urllib.request.build_opener(_DIRECT, *([urllib.request.HTTPSHandler(context=context)] if context else []))
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
    """Return the value of one series of *text*, or None."""
    return samples(text).get((name, tuple(sorted(labels.items()))))


def pushed(receiver):
    """Return the last that was pushed to each group."""
    return {request.path: request.body.decode() for request in receiver.requests}


def received(receiver):
    """Return every export of metrics as (resource attributes, {name: metric})."""
    exports = []
    for path, body, _ in receiver.requests:
        assert path == "/v1/metrics"
        for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
            attributes = {pair.key: pair.value.string_value for pair in resource.resource.attributes}
            exports.append(
                (attributes, {metric.name: metric for scope in resource.scope_metrics for metric in scope.metrics})
            )
    return exports


def wait_for(look, seconds=20):
    """Return the first true value of *look*."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            result = look()
        except OSError:
            result = None
        if result:
            return result
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.1)


def certified(folder):
    """Return a certificate for 127.0.0.1 and its key, two files in *folder*."""
    certificate, key = folder / "cert.pem", folder / "key.pem"
    request = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=127.0.0.1"]
    request += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(request, check=True, capture_output=True, timeout=60)
    return certificate, key
