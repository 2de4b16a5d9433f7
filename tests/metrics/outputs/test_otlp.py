"""The numbers are exported as OTLP."""

import gc
import os
import subprocess
import sys
import textwrap
import time
import weakref
from types import SimpleNamespace

import pytest
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricExportResult
from opentelemetry.sdk.resources import Resource

from otelflow import semconv
from otelflow._core.process import losses, settings
from otelflow._core.process.instance import instance_id
from otelflow._version import __version__
from otelflow.errors import ConfigurationError
from otelflow.metrics._counts import Aggregator, Distribution, Exemplar, Series, Snapshot
from otelflow.metrics._outputs import otlp
from otelflow.metrics._outputs.otlp import to_otlp
from otelflow_exporters._otlp.endpoint import CURE, ExportStatus
from support.metrics import PROGRAM, python, received, wait_for
from support.receivers import OtlpReceiver


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


@pytest.mark.parametrize("name", ["OTLP", " otlp ", "Otlp,None", "OTLP_proto_http"])
def test_what_the_specification_names_is_known_in_any_case(receiver, name):
    done = python(
        "from otelflow import metrics\nmetrics.use('otlp')\nprint('used')",
        OTEL_METRICS_EXPORTER=name,
        OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url,
    )

    assert (done.returncode, done.stdout) == (0, "used\n"), done.stderr
    assert receiver.requests


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

    done = python(body, OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url, OTELFLOW_SPOOL="off")

    assert done.stdout == "True True\n", done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_the_ledger_of_a_forked_child_tells_of_its_own_deliveries(receiver):
    body = """
        import warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        chosen = metrics.use("otlp")
        for _ in range(3):
            chosen.flush(10)
        before = chosen.output.account
        child = os.fork()
        if child == 0:
            account = chosen.output.account
            print(before.total >= 3, account.total, account.delivered, flush=True)
            os._exit(0)
        os.waitpid(child, 0)
    """

    done = python(body, OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url, OTELFLOW_SPOOL="off")

    assert done.stdout == "True 0 0\n", done.stderr


def test_the_last_numbers_wait_for_the_next_process_where_the_endpoint_takes_none():
    body = """
        import otelflow
        telemetry = otelflow.configure(service_name="shop", metrics="otlp")
        {}
        telemetry.shutdown()
        account = telemetry.metrics.output.account
        print(account.total == account.delivered + account.waiting, account.waiting > 0, account.lost)
    """

    with OtlpReceiver() as receiver:
        receiver.status = 503
        first = python(body.format("order(1).execute()"), OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url)
        receiver.status = 200
        receiver.requests.clear()
        second = python(body.format(""), OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url)

    assert (first.stdout, second.stdout) == ("True True 0\n", "True False 0\n"), first.stderr + second.stderr
    runs = [metric for metric in receiver.metrics if metric.name == semconv.FLOW_RUNS]
    assert max(point.as_int for metric in runs for point in metric.sum.data_points) == 1


class Exporter:
    """An exporter that ends as it is told, with an answer of the endpoint."""

    def __init__(self, result=MetricExportResult.SUCCESS, endpoint="http://collector:4318", **answer):
        self.result, self.answer = result, answer
        self.status = ExportStatus(endpoint)
        self.exports, self.timeouts, self.ends = [], [], 0

    def export(self, metrics, timeout_millis):
        self.exports.append(metrics)
        self.timeouts.append(timeout_millis)
        for name, value in self.answer.items():
            setattr(self.status, name, value)
        return self.result

    def shutdown(self):
        self.ends += 1


@pytest.fixture
def output(monkeypatch):
    """Make an output that exports with an exporter of the test's own."""

    outputs = []
    settings.configure(spool="off")

    def output_of(*exporters, resource=None):
        following = iter(exporters)

        def new_exporter(signal, name):
            assert (signal, name) == ("metrics", "otlp")
            exporter = next(following)
            return exporter, exporter.status

        monkeypatch.setattr(otlp, "new_exporter", new_exporter)
        outputs.append(otlp.OtlpOutput(Aggregator(), resource or Resource({})))
        return outputs[-1]

    yield output_of
    for output in outputs:
        output.close(deliver=False)


@pytest.mark.parametrize(
    "exporter",
    [Exporter(MetricExportResult.FAILURE), Exporter(MetricExportResult.SUCCESS, is_refused=True)],
    ids=["the exporter says so", "only the answer says so"],
)
def test_numbers_that_were_refused_are_not_taken_for_delivered(output, exporter):
    with pytest.raises(ConnectionError, match="http://collector:4318"):
        output(exporter).deliver(time.monotonic() + 5)


def test_numbers_that_a_collector_threw_away_are_counted_as_lost(output, caplog):
    output(Exporter(MetricExportResult.SUCCESS, rejected=7)).deliver(time.monotonic() + 5)

    assert losses.dropped["metrics", "rejected"] == 7
    assert "delivered to http://collector:4318, which rejected some of them" in caplog.text


def soon():
    return time.monotonic() + 5


@pytest.mark.parametrize(
    ("exporter", "reason"),
    [
        (
            Exporter(MetricExportResult.FAILURE, reason="HTTP 503"),
            f"http://collector:4318 (HTTP 503); {CURE}",
        ),
        (Exporter(MetricExportResult.FAILURE, endpoint=""), "it does not say why"),
    ],
)
def test_numbers_that_did_not_arrive_say_where_and_why(output, exporter, reason):
    with pytest.raises(ConnectionError) as error:
        output(exporter).deliver(soon())

    assert str(error.value) == reason


@pytest.mark.parametrize(("message", "words"), [("too old", "too old"), ("", "it does not say why")])
def test_numbers_that_were_thrown_away_say_why_once_and_count_each_time(output, caplog, message, words):
    delivering = output(Exporter(rejected=7, message=message))

    for _ in range(2):
        delivering.deliver(soon())

    assert caplog.messages == [
        f"Metrics over Exporter were delivered to http://collector:4318, which rejected some of them ({words})"
    ]
    assert losses.dropped == {("metrics", "rejected"): 14}


def test_an_answer_counts_for_its_own_export(output, caplog):
    exporter = Exporter(rejected=7)
    delivering = output(exporter)
    delivering.deliver(soon())

    exporter.answer = {}
    delivering.deliver(soon())

    assert losses.dropped == {("metrics", "rejected"): 7}


@pytest.mark.parametrize(("deadline", "millis"), [(105.0, 5_000), (99.0, 1)])
def test_the_exporter_has_the_time_that_is_left(output, monkeypatch, deadline, millis):
    exporter = Exporter()
    monkeypatch.setattr(otlp, "clock", SimpleNamespace(monotonic=lambda: 100.0, time_ns=time.time_ns))

    output(exporter).deliver(deadline)

    assert exporter.timeouts == [millis]


def test_the_resource_has_the_id_that_was_chosen_or_that_of_this_process(output):
    exporter = Exporter()
    for resource in (
        {"service.name": "shop", "service.instance.id": "mine"},
        {"service.name": "shop", "odd": "\ud800"},
    ):
        output(exporter, resource=Resource(resource)).deliver(soon())

    chosen, own = [dict(metrics.resource_metrics[0].resource.attributes) for metrics in exporter.exports]
    assert chosen["service.instance.id"] == "mine"
    assert own == {"service.name": "shop", "odd": "\\ud800", "service.instance.id": instance_id("shop")}


def test_an_output_that_ends_exports_the_last_numbers_and_ends_its_exporter_once(output):
    exporters = [Exporter(), Exporter()]
    last = output(*exporters)
    last.close()
    last.close()
    assert [(len(exporter.exports), exporter.ends) for exporter in exporters] == [(1, 1), (0, 0)]

    output(exporters[1]).close(deliver=False)
    assert [(len(exporter.exports), exporter.ends) for exporter in exporters] == [(1, 1), (0, 1)]


@pytest.mark.parametrize("deliver", [True, False])
def test_an_output_that_ends_leaves_nothing_in_a_spool_in_memory(receiver, monkeypatch, deliver):
    settings.configure(spool="memory")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
    ending = otlp.OtlpOutput(Aggregator(), Resource({}))
    ending.close(deliver=deliver)
    before = [request.path for request in receiver.requests]
    ending.deliver(soon())

    assert before == ["/v1/metrics"] * deliver
    assert (ending.account.waiting, ending.account.dropped) == (0, {"after_shutdown": 1})


@pytest.fixture
def waiting(receiver, monkeypatch, tmp_path):
    """Make an output whose numbers wait in a spool."""
    outputs = []
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)

    def waiting(**chosen):
        settings.configure(**{"spool": "on", "spool_dir": str(tmp_path / "spool"), **chosen})
        outputs.append(otlp.OtlpOutput(Aggregator(), Resource({})))
        return outputs[-1]

    yield waiting
    for output in outputs:
        output.close(deliver=False)


def test_a_flush_waits_until_what_lies_in_the_spool_has_arrived(waiting, receiver, tmp_path):
    output = waiting()
    has_arrived = output.flush(20)

    assert has_arrived is True
    assert [request.path for request in receiver.requests] == ["/v1/metrics"]
    assert (output.account.total, output.account.delivered) == (1, 1)
    assert (tmp_path / "spool" / "metrics").is_dir()


def test_a_flush_says_that_what_lies_in_the_spool_has_not_arrived(waiting, receiver):
    receiver.status = 503
    output = waiting()
    has_arrived = output.flush(0.5)

    assert has_arrived is False
    assert (output.account.delivered, output.account.waiting) == (0, 1)


def test_a_flush_has_the_time_that_it_was_given_and_no_more(waiting, monkeypatch):
    output, seconds = waiting(), []
    times = iter([100.0, 103.0])
    monkeypatch.setattr(otlp, "clock", SimpleNamespace(monotonic=lambda: next(times)))
    monkeypatch.setattr(otlp.WorkerOutput, "flush", lambda *_: True)
    monkeypatch.setattr(output._spool, "force_flush", lambda millis: seconds.append(millis) or True)

    assert output.flush(5) is True
    assert seconds == [2_000]


def test_a_flush_without_a_spool_says_whether_the_numbers_arrived(output):
    exporters = [Exporter(), Exporter(MetricExportResult.FAILURE)]

    assert [output(exporter).flush(20) for exporter in exporters] == [True, False]


def test_what_is_delivered_is_sent_soon_without_a_flush(waiting, receiver):
    waiting().deliver(soon())

    wait_for(lambda: receiver.requests)


def test_the_end_of_the_process_delivers_once_and_not_twice(waiting, receiver, monkeypatch):
    output = waiting()
    monkeypatch.setattr(otlp.shutdown, "is_ending", lambda: True)
    output.deliver(soon())
    before = output.account.total
    output.close()

    assert (before, output.account.total) == (0, 1)


def test_without_a_home_the_numbers_wait_in_memory(waiting, receiver, monkeypatch):
    def homeless(*_):
        raise ConfigurationError("there is no home")

    monkeypatch.setattr(otlp, "spool_directory", homeless)

    assert waiting().flush(20)
    assert [request.path for request in receiver.requests] == ["/v1/metrics"]


@pytest.mark.parametrize(("spool", "words"), [("off", "over Exporter"), ("on", "in a spool")])
def test_a_warning_says_by_which_way_the_numbers_do_not_arrive(waiting, output, spool, words):
    made = output(Exporter()) if spool == "off" else waiting()

    assert made.worker._target.endswith(words)


def test_an_output_that_has_ended_connects_again_for_what_comes_later(output):
    exporters = [Exporter(), Exporter()]
    delivering = output(*exporters)
    delivering.close(deliver=False)

    delivering.deliver(soon())

    assert [len(exporter.exports) for exporter in exporters] == [0, 1]


def test_a_child_leaves_the_exporter_of_its_parent_alone_and_connects_by_itself(output):
    exporters = [Exporter(), Exporter()]
    delivering = output(*exporters)
    parents = weakref.ref(exporters[0])
    delivering.begin_anew()
    delivering.begin_anew()

    delivering.deliver(soon())
    delivering.close(deliver=False)

    assert [(len(exporter.exports), exporter.ends) for exporter in exporters] == [(0, 0), (1, 1)]
    exporters.clear()
    gc.collect()
    assert parents() is not None, "its end would be sent on the connection of the parent"


def test_zeros_are_exported_before_anything_runs_and_a_run_wakes_nobody(output):
    exporter = Exporter()
    delivering = output(exporter)

    assert delivering.start()

    wait_for(lambda: exporter.exports)
    hooks = delivering.aggregator.hooks
    assert (hooks.series_added, hooks.flow_ended) == (delivering.worker.start, None)


@pytest.mark.parametrize(("value", "seconds"), [(None, 60), ("250", 0.25)])
def test_it_exports_as_often_as_the_variable_says(output, monkeypatch, value, seconds):
    if value is not None:
        monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", value)

    assert output(Exporter()).worker._interval == seconds


def test_an_output_that_is_switched_off_is_none_and_says_which_variable_did_it(monkeypatch, caplog):
    caplog.set_level("INFO", "otelflow")
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", " None ")

    assert otlp.Otlp.from_place("", Resource({})) is None
    assert caplog.messages == ["metrics=otlp exports nothing: OTEL_METRICS_EXPORTER=none"]


def test_each_number_becomes_a_point_with_its_labels_times_and_exemplar(monkeypatch):
    flow_series, distribution = Series("order", None, (1.0, 5.0)), Distribution((1.0, 5.0))
    distribution.counts, distribution.total = [2, 1, 0], 6.5
    distribution.last_time, distribution.last_duration = 1_700_000_009.5, 4.5
    distribution.exemplars = {1: Exemplar(trace_id=11, span_id=22, value=4.5, time=1_700_000_009.0)}
    flow_series.durations = {"success": distribution}
    snapshot = Snapshot(
        [flow_series], [], {"order": [1_700_000_001.0]}, {("traces", "queue_full"): 3}, {}, 1_700_000_000.5
    )
    monkeypatch.setattr(otlp, "clock", SimpleNamespace(time_ns=lambda: 1_700_000_010_000_000_000))
    resource = Resource({"service.name": "shop"})

    data = to_otlp(snapshot, resource)

    (of_resource,) = data.resource_metrics
    (of_scope,) = of_resource.scope_metrics
    assert of_resource.resource is resource
    assert (of_scope.scope.name, of_scope.scope.version) == (semconv.SCOPE, __version__)
    assert of_scope.schema_url == of_scope.scope.schema_url == semconv.SCHEMA_URL
    metrics = {metric.name: metric for metric in of_scope.metrics}
    assert semconv.TASK_RUNS not in metrics
    assert semconv.LISTENER_ERRORS not in metrics
    assert metrics[semconv.FLOW_RUNS].description == "Runs of flows that ended."

    for metric in metrics.values():
        for point in metric.data.data_points:
            assert point.start_time_unix_nano == 1_700_000_000_500_000_000
            assert point.time_unix_nano == 1_700_000_010_000_000_000
    runs, lost = metrics[semconv.FLOW_RUNS].data, metrics[semconv.TELEMETRY_DROPPED].data
    of_results = {point.attributes["result"]: point for point in runs.data_points}
    assert (of_results["success"].value, type(of_results["success"].value)) == (3, int)
    assert {result: point.value for result, point in of_results.items() if result != "success"} == dict.fromkeys(
        set(semconv.RESULTS) - {"success"}, 0
    )
    assert [(dict(point.attributes), point.value) for point in lost.data_points] == [
        ({"signal": "traces", "reason": "queue_full"}, 3)
    ]
    (exemplar,) = of_results["success"].exemplars
    assert (exemplar.trace_id, exemplar.span_id, exemplar.value) == (11, 22, 4.5)
    assert (exemplar.time_unix_nano, exemplar.filtered_attributes) == (1_700_000_009_000_000_000, {})
    assert not of_results["failure"].exemplars
    (duration,) = metrics[semconv.FLOW_RUN_DURATION].data.data_points
    assert (duration.count, duration.sum, duration.bucket_counts) == (3, 6.5, [2, 1, 0])
    assert (duration.explicit_bounds, duration.attributes) == ((1.0, 5.0), {"flow": "order", "result": "success"})
    assert [exemplar.span_id for exemplar in duration.exemplars] == [22]
    (last,) = metrics[semconv.FLOW_LAST_RUN].data.data_points
    assert last.value == 1_700_000_009.5
    (running,) = metrics[semconv.FLOW_RUNS_IN_PROGRESS].data.data_points
    assert (running.value, type(running.value)) == (1, int)
    kinds = {name: type(metric.data).__name__ for name, metric in metrics.items()}
    assert kinds[semconv.FLOW_RUN_DURATION] == "Histogram"
    assert (kinds[semconv.FLOW_LAST_RUN], kinds[semconv.FLOW_RUNS]) == ("Gauge", "Sum")
    assert runs.is_monotonic
    assert not metrics[semconv.FLOW_RUNS_IN_PROGRESS].data.is_monotonic
    for name in (semconv.FLOW_RUNS, semconv.FLOW_RUNS_IN_PROGRESS, semconv.FLOW_RUN_DURATION):
        assert metrics[name].data.aggregation_temporality == AggregationTemporality.CUMULATIVE


def test_seconds_are_exported_with_their_fraction_and_counts_are_whole():
    waits = Snapshot([], [], {}, {}, {}, 1_700_000_000.5, limit_waits={"db": 2}, limit_seconds={"db": 0.3})

    encoded = encode_metrics(to_otlp(waits, Resource({})))

    metrics = {metric.name: metric for metric in encoded.resource_metrics[0].scope_metrics[0].metrics}
    (seconds,) = metrics[semconv.LIMIT_WAIT].sum.data_points
    (count,) = metrics[semconv.LIMIT_PASSES].sum.data_points
    assert (seconds.as_double, seconds.WhichOneof("value")) == (0.3, "as_double")
    assert (count.as_int, count.WhichOneof("value")) == (2, "as_int")


@pytest.fixture
def variables(monkeypatch):
    """The environment says nothing of metrics yet."""
    for name in [name for name in os.environ if name.startswith("OTEL")]:
        monkeypatch.delenv(name)
    return monkeypatch


def test_the_exporter_is_otlp_unless_the_variable_names_another(variables):
    names = [otlp._exporter_name()]
    variables.setenv("OTEL_METRICS_EXPORTER", " console ")
    names.append(otlp._exporter_name())

    assert names == ["otlp", "console"]
    variables.setenv("OTEL_METRICS_EXPORTER", "otlp,console")
    with pytest.raises(ConfigurationError, match="OTEL_METRICS_EXPORTER=otlp,console: name one exporter, such as otlp"):
        otlp._exporter_name()


def test_what_a_variable_cannot_change_is_said_once_with_the_cure(variables, caplog):
    preference = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE"
    for value in ("Cumulative", "delta", "delta"):
        variables.setenv(preference, value)
        otlp._exporter_name()

    cure = "the Collector's cumulativetodelta converts"
    assert caplog.messages == [f"metrics=otlp is always cumulative, whatever {preference}=delta says; {cure}"]


def test_a_choice_opens_an_output_for_its_resource(variables):
    choice = otlp.Otlp.from_place("", Resource({"service.name": "shop"}))

    opened = choice.open(Aggregator())

    assert choice == otlp.Otlp(Resource({"service.name": "shop"}))
    assert opened._resource.attributes["service.name"] == "shop"
    opened.close(deliver=False)
