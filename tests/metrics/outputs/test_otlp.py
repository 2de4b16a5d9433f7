"""The numbers are exported as OTLP."""

import os
import subprocess
import sys
import textwrap
import time

import pytest
from opentelemetry.sdk.metrics.export import MetricExportResult
from opentelemetry.sdk.resources import Resource

from otelflow import semconv
from otelflow._core.process import losses
from otelflow.metrics._counts import Aggregator
from otelflow.metrics._outputs import otlp
from otelflow_exporters._otlp.endpoint import ExportStatus
from support.metrics import PROGRAM, python, received, wait_for


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


@pytest.mark.parametrize(
    ("variable", "value", "warning"),
    [
        ("TEMPORALITY_PREFERENCE", "delta", "metrics=otlp is always cumulative, whatever OTEL_EXPORTER_OTLP_METRICS_"),
        ("TEMPORALITY_PREFERENCE", "LowMemory", "metrics=otlp is always cumulative"),
        ("TEMPORALITY_PREFERENCE", "CUMULATIVE", ""),
        ("DEFAULT_HISTOGRAM_AGGREGATION", "base2_exponential_bucket_histogram", "always explicit_bucket_histogram"),
        ("DEFAULT_HISTOGRAM_AGGREGATION", "explicit_bucket_histogram", ""),
    ],
)
def test_what_a_variable_cannot_change_is_one_warning(receiver, variable, value, warning):
    variables = {f"OTEL_EXPORTER_OTLP_METRICS_{variable}": value, "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url}

    done = python("metrics.use('otlp').flush(10)", **variables)

    assert done.stderr.count("metrics=otlp is always") == bool(warning)
    assert warning in done.stderr


@pytest.mark.parametrize("variable", [{"OTEL_SDK_DISABLED": "true"}, {"OTEL_METRICS_EXPORTER": "none"}])
def test_otlp_is_off_when_opentelemetry_is(variable, receiver):
    done = python("print(metrics.use('otlp'))", OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url, **variable)

    assert (done.stdout, done.stderr, receiver.requests) == ("None\n", "", [])


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


class Exporter:
    """An exporter that ends as it is told, with an answer of the endpoint."""

    def __init__(self, result, refused=False, rejected=0):
        self.result, self.refused, self.rejected = result, refused, rejected
        self.status = ExportStatus("http://collector:4318")

    def export(self, _metrics, timeout_millis):
        self.status.is_refused, self.status.rejected = self.refused, self.rejected
        return self.result

    def shutdown(self):
        pass


@pytest.fixture
def output(monkeypatch):
    """Make an output that exports with an exporter of the test's own."""

    outputs = []

    def output_of(exporter):
        monkeypatch.setattr(otlp, "_new_exporter", lambda: (exporter, exporter.status))
        outputs.append(otlp.OtlpOutput(Aggregator(), Resource({})))
        return outputs[-1]

    yield output_of
    for output in outputs:
        output.close(deliver=False)


@pytest.mark.parametrize(
    "exporter",
    [Exporter(MetricExportResult.FAILURE), Exporter(MetricExportResult.SUCCESS, refused=True)],
    ids=["the exporter says so", "only the answer says so"],
)
def test_numbers_that_were_refused_are_not_taken_for_delivered(output, exporter):
    with pytest.raises(ConnectionError, match="http://collector:4318"):
        output(exporter).deliver(time.monotonic() + 5)


def test_numbers_that_a_collector_threw_away_are_counted_as_lost(output, caplog):
    output(Exporter(MetricExportResult.SUCCESS, rejected=7)).deliver(time.monotonic() + 5)

    assert losses.dropped["metrics", "rejected"] == 7
    assert "delivered to http://collector:4318, which rejected some of them" in caplog.text
