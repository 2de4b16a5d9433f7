"""What holds for every output that delivers on a thread of its own."""

import os
import subprocess
import sys
import textwrap
import threading
import time
import traceback
from pathlib import Path
from types import SimpleNamespace

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from prometheus_client import generate_latest

import otelflow
from otelflow import metrics, semconv
from otelflow._core.process import losses, shutdown
from otelflow._core.process.ledger import Account
from otelflow._core.process.settings_table import SETTINGS
from otelflow._core.runs import observers
from otelflow.errors import ConfigurationError
from otelflow.metrics._counts import Aggregator, Hooks
from otelflow.metrics._outputs import OUTPUTS, metrics_worker
from otelflow.metrics._outputs.output import Output, WorkerOutput, service_of, warn_of_unnamed
from support.ledger import expect
from support.metrics import PROGRAM, pushed, python, value, wait_for


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

    done = python(body, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9", OTELFLOW_SPOOL="off")

    assert time.monotonic() - began < 20
    assert (done.returncode, done.stdout) == (0, "done\n")
    (line,) = done.stderr.splitlines()
    assert "did not arrive" in line


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


def test_what_is_sent_is_not_traced_by_instrumentation_of_http():
    body = """
        from opentelemetry.instrumentation.utils import is_instrumentation_enabled
        from otelflow.metrics._counts import Aggregator
        from otelflow.metrics._outputs.output import WorkerOutput

        seen = []

        class Looks(WorkerOutput):
            def deliver(self, deadline):
                seen.append(is_instrumentation_enabled())

        output = Looks(Aggregator(), "of the test")
        print(output.flush(10), set(seen), is_instrumentation_enabled())
    """

    pytest.importorskip("opentelemetry.instrumentation", reason="no instrumentation is installed")

    assert python(body).stdout == "True {False} True\n"


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


@pytest.mark.parametrize("way", ["push", "textfile"])
def test_a_job_without_a_name_is_told_to_have_one(way, receiver, tmp_path):
    where = receiver.url if way == "push" else tmp_path
    done = python(f"metrics.use('{way}:{where}'); never().execute(); never().execute()", OTEL_SERVICE_NAME="")

    assert len(done.stderr.splitlines()) == 1
    assert "set OTEL_SERVICE_NAME" in done.stderr


def test_every_output_is_told_wherever_people_read_of_them():
    texts = {
        "head of otelflow.metrics": metrics.__doc__,
        "setting": SETTINGS["metrics"].meaning,
        "docs/metrics.md": (Path(__file__).parents[3] / "docs/metrics.md").read_text(),
    }

    assert [(word, name) for name, text in texts.items() for word in OUTPUTS if word not in text] == []


@pytest.mark.parametrize(
    "choice",
    [
        "push:http://deploy:s3cr3t pass@gateway",
        "push:deploy:s3cr3t@gate way:9091",
        "push:ftp://deploy:s3cr3t'\"<>@gateway",
        "push:http://deploy:s3cr3t/x@gateway:port",
        "pull:http://deploy:s3cr3t@gateway",
        "pull:deploy:s3cr3t@::1",
        "textfile:http://deploy:s3cr3t @gateway/x.prom",
        "textfile:http://deploy:s3cr3t@gateway",
        "pusch:http://deploy:s3cr3t-that-is-longer-than-a-message-shows-of-a-setting@gateway",
        "otlp:http://deploy:s3cr3t-that-is-longer-than-a-message-shows-of-a-setting@gateway",
        ["push:http://deploy:s3cr3t-that-is-longer-than-a-message-shows-of-a-setting@gateway"],
    ],
)
@pytest.mark.parametrize("source", ["argument", "variable"])
def test_no_error_of_a_refused_choice_shows_its_password(choice, source, monkeypatch):
    if source == "variable":
        monkeypatch.setenv("OTELFLOW_METRICS", str(choice))

    with pytest.raises(ConfigurationError) as caught:
        otelflow.configure(metrics=choice if source == "argument" else None, tracer_provider=TracerProvider())

    assert "s3cr3t" not in str(caught.value)
    assert "s3cr3t" not in traceback.format_exception(caught.value)[-1]


# An output of the test, in this process


class Kept(WorkerOutput):
    """Keeps how many runs it was told of each time; raises *error* if there is one."""

    def __init__(self, aggregator, **options):
        super().__init__(aggregator, "for the test", **options)
        self.counts, self.deadlines, self.error = [], [], None

    def deliver(self, deadline):
        if self.error is not None:
            raise self.error
        self.deadlines.append(deadline)
        self.counts.append(self.aggregator.run_count)


@pytest.fixture
def kept():
    """Make an output and count with it."""
    outputs = []

    def make(**options):
        aggregator = Aggregator()
        observers.add_observer(aggregator)
        outputs.append(Kept(aggregator, **options))
        return outputs[-1]

    yield make
    for output in outputs:
        observers.remove_observer(output.aggregator)
        output.close(deliver=False)


@otelflow.task
def step():
    return 1


@otelflow.flow
def job(inner=0):
    step()
    if inner:
        job(inner - 1).execute()


def test_numbers_are_delivered_when_an_outermost_flow_has_ended(kept):
    output = kept()
    assert output.start()

    step()
    assert output.worker.thread is None
    job(inner=2).execute()
    wait_for(lambda: output.counts)

    assert output.counts[-1] == 7


def test_an_output_that_ends_delivers_the_last_numbers_and_hears_of_no_run_any_more(kept):
    output = kept()
    output.start()
    step()

    output.close()
    job().execute()

    assert output.counts == [1]
    assert output.aggregator.hooks == Hooks()


def test_an_output_that_is_thrown_away_delivers_nothing(kept):
    output = kept()
    output.start()
    step()

    output.close(deliver=False)

    assert output.counts == []


def test_an_output_that_ends_leaves_the_one_that_has_taken_its_place_alone(kept):
    output = kept()
    output.start()
    hooks = Hooks(flow_ended=lambda: None)
    output.aggregator.hooks = hooks

    output.close()

    assert output.aggregator.hooks is hooks


def test_what_was_delivered_already_is_not_delivered_again_at_the_end(kept):
    output = kept()
    output.start()
    step()
    assert output.flush(20)

    output.close()

    assert output.counts == [1]


def test_with_an_interval_the_last_numbers_are_delivered_also_when_they_are_the_same(kept):
    output = kept(interval=60)
    assert output.flush(20)

    output.close()

    assert output.counts == [0, 0]


def test_numbers_that_did_not_arrive_are_counted_said_once_and_delivered_at_the_end(kept, caplog):
    output = kept()
    output.error = OSError("no")

    assert [output.flush(20), output.flush(20)] == [False, False]
    assert caplog.messages == ["Metrics for the test did not arrive (OSError: no); the flow goes on"]
    assert losses.dropped["metrics", "export_failed"] == 2

    output.error = None
    output.close()
    assert output.counts == [0]


def test_what_has_no_time_left_at_the_end_is_lost_and_said(kept, caplog):
    output, release = kept(), threading.Event()
    output.worker._deliver = lambda deadline: release.wait(20)
    output.worker.wake()
    output.worker.shutdown_timeout = 0.05

    output.close()

    release.set()
    assert losses.dropped == {("metrics", "export_failed"): 1}
    assert caplog.messages == ["Metrics for the test had no time left to arrive; the flow goes on"]


def test_only_news_is_delivered_soon_unless_there_is_an_interval(kept):
    for options, looks in (({}, [1, 1, 2]), ({"interval": 60}, [1, 2, 3])):
        output = kept(**options)
        output.flush(20)
        seen = [len(output.counts)]
        output.worker.deliver_soon()
        with output.worker.changed:
            assert output.worker.changed.wait_for(lambda worker=output.worker: not worker.is_behind, 20)
        seen.append(len(output.counts))
        step()
        output.worker.deliver_soon()
        with output.worker.changed:
            assert output.worker.changed.wait_for(lambda worker=output.worker: not worker.is_behind, 20)
        seen.append(len(output.counts))

        assert seen == looks


def test_delivery_has_the_time_that_an_end_may_take(kept, monkeypatch):
    monkeypatch.setattr(metrics_worker, "clock", SimpleNamespace(monotonic=lambda: 100.0))
    output = kept()

    output.flush(20)
    output.worker.deadline = 103.0
    output.flush(20)

    assert output.deadlines == [104.5, 103.0]


def test_a_child_has_no_thread_and_nothing_to_deliver(kept):
    output = kept()
    output.error = OSError("no")
    step()
    output.flush(20)
    output.worker.begin_anew()
    output.error = None
    output.aggregator.begin_anew()

    output.worker.deliver_soon()
    assert output.worker.thread is None
    output.close()

    assert output.counts == []


def test_an_output_without_a_thread_of_its_own_has_nothing_to_deliver():
    output = Output(Aggregator())

    assert (output.start(), output.flush(0), output.close()) == (True, True, None)
    assert (output.address, output.port) == (None, None)
    output.registry.register(output.collector)
    assert "otelflow_build_info" in generate_latest(output.registry).decode()


@pytest.mark.parametrize(
    ("attributes", "service", "warnings"),
    [
        ({"service.name": "billing"}, "billing", 0),
        ({}, "unknown_service", 1),
        ({"service.name": "unknown_service:python"}, "unknown_service:python", 1),
    ],
)
def test_a_job_goes_by_the_name_of_its_service(attributes, service, warnings, caplog):
    name = service_of(Resource(attributes))
    warn_of_unnamed(name)
    warn_of_unnamed(name)

    assert name == service
    assert len(caplog.messages) == warnings
    assert all(f"go by the name {service!r}" in message for message in caplog.messages)


class Scripted(WorkerOutput):
    """Arrives, fails or hangs as the test says."""

    def __init__(self, aggregator):
        super().__init__(aggregator, "to the test")
        self.error = None
        self.begun, self.release = threading.Event(), threading.Event()
        self.release.set()

    def deliver(self, deadline):
        self.begun.set()
        assert self.release.wait(20)
        if self.error is not None:
            raise self.error


def test_each_delivery_of_metrics_is_delivered_or_lost():
    output = Scripted(Aggregator())
    output.worker.wake()
    assert output.flush(20)
    delivered = output.account.delivered
    output.error = ConnectionError("gone")
    assert not output.flush(20)

    assert output.account == Account("metrics", "Scripted", delivered + 1, delivered, {"export_failed": 1})
    output.error = None
    output.close()
    expect(output.account, total=delivered + 2, delivered=delivered + 1, export_failed=1)


def test_a_delivery_that_hangs_at_the_end_is_lost_once_however_it_ends():
    output = Scripted(Aggregator())
    output.worker.shutdown_timeout = 0.01
    output.release.clear()
    output.worker.wake()
    assert output.begun.wait(20)

    output.close()
    expect(output.account, total=1, delivered=0, export_failed=1)
    output.error = ConnectionError("late")
    output.release.set()
    output.worker.thread.join(20)

    assert output.account.dropped["export_failed"] == losses.dropped["metrics", "export_failed"]
    assert output.account.waiting == 0


def test_what_is_thrown_away_is_no_delivery(monkeypatch):
    output = Scripted(Aggregator())
    monkeypatch.setattr(Aggregator, "run_count", 1)

    output.close(deliver=False)

    assert output.account == Account("metrics", "Scripted", 0, 0, {})
    assert not output.begun.is_set()


def test_who_did_not_answer_while_the_process_ends_is_not_asked_once_more():
    output = Scripted(Aggregator())
    output.release.clear()
    output.error = ConnectionError("silent")
    output.worker.wake()
    assert output.begun.wait(20)

    with shutdown.end_together():
        output.worker.wake()
        output.release.set()
        output.close()

    expect(output.account, total=1, delivered=0, export_failed=1)


def test_who_did_not_answer_before_is_asked_once_more_at_the_end():
    output = Scripted(Aggregator())
    output.error = ConnectionError("away")
    output.worker.wake()
    assert not output.worker.flush(20)
    failures = output.account.lost
    output.error = None

    with shutdown.end_together():
        output.close()

    expect(output.account, total=failures + 1, delivered=1, export_failed=failures)
