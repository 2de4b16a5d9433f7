"""What holds for every output that delivers on a thread of its own."""

import os
import subprocess
import sys
import textwrap
import time
import traceback
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import TracerProvider

import otelflow
from otelflow import metrics, semconv
from otelflow._core.process.settings_table import SETTINGS
from otelflow.errors import ConfigurationError
from otelflow.metrics._outputs import OUTPUTS
from support.metrics import PROGRAM, pushed, python, value


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
