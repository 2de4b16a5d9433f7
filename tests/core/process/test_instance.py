"""One instance id for a process, which the next one takes over: its series go on, and its signals go together."""

import os
import re
import sys
from importlib.metadata import version

import pytest

from otelflow._core.process import instance
from otelflow._core.process.instance import instance_id, is_instance_id
from support import programs
from support.metrics import received
from support.receivers import OtlpReceiver


@pytest.fixture
def receiver():
    with OtlpReceiver() as receiver:
        yield receiver


def test_the_next_process_takes_over_the_instance_and_no_two_have_one_at_once(receiver):
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url, "OTEL_SERVICE_NAME": f"nightly-{os.getpid()}"}

    def run(body):
        return programs.python("import sys\nfrom otelflow import metrics", body, **environment)

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


ALL_SIGNALS = """
import os, sys, warnings
import otelflow
from otelflow import flow

@flow
def job():
    print("said")

telemetry = otelflow.configure(events="both", metrics="otlp")
"""


def ids(receiver):
    """The instance ids of each signal."""
    resources = {
        "traces": [part.resource for request in receiver.trace_requests for part in request.resource_spans],
        "logs": [part.resource for request in receiver.log_requests for part in request.resource_logs],
        "metrics": [part.resource for request in receiver.metric_requests for part in request.resource_metrics],
    }
    return {
        signal: {
            pair.value.string_value
            for resource in of_signal
            for pair in resource.attributes
            if pair.key == "service.instance.id"
        }
        for signal, of_signal in resources.items()
    }


@pytest.mark.parametrize("chosen", ["", "service.instance.id=mine"])
def test_traces_log_records_and_metrics_of_a_process_have_one_instance(receiver, chosen):
    done = programs.python(
        ALL_SIGNALS,
        "job().execute()",
        OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url,
        OTEL_SERVICE_NAME=f"one-{os.getpid()}",
        OTEL_RESOURCE_ATTRIBUTES=chosen,
    )

    assert done.stderr == ""
    (instance,) = ids(receiver)["traces"]
    assert ids(receiver) == {"traces": {instance}, "logs": {instance}, "metrics": {instance}}
    assert instance == "mine" if chosen else re.fullmatch(r".*-0", instance)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.skipif(version("opentelemetry-sdk") < "1.43", reason="an SDK before 1.43 keeps the resource of the parent")
def test_a_forked_child_has_an_instance_of_its_own_and_the_same_for_all_signals(receiver):
    body = """
    telemetry.force_flush()
    child = os.fork()
    if child == 0:
        job().execute()
        telemetry.force_flush()
        os._exit(0)
    os.waitpid(child, 0)
    """
    done = programs.python(
        ALL_SIGNALS,
        body,
        options=(),
        OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url,
        OTEL_SERVICE_NAME=f"fork-{os.getpid()}",
    )

    assert done.returncode == 0, done.stderr
    (of_child,) = ids(receiver)["traces"]
    assert ids(receiver)["logs"] == {of_child}
    assert of_child.endswith("-1")
    assert ids(receiver)["metrics"] == {of_child, of_child.removesuffix("1") + "0"}


def test_an_instance_id_that_somebody_chose_stays(receiver):
    programs.python(
        "from otelflow import metrics; metrics.use('otlp')",
        OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url,
        OTEL_RESOURCE_ATTRIBUTES="service.instance.id=mine",
    )

    assert {resource["service.instance.id"] for resource, _ in received(receiver)} == {"mine"}


def test_an_id_that_was_taken_here_is_known_and_stays_the_same():
    service = f"known-{os.getpid()}"

    first, second = instance_id(service), instance_id(service)

    assert first == second
    assert is_instance_id(first)
    assert not is_instance_id("mine")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has neither these links nor these locks")
@pytest.mark.parametrize("kind", ["link", "fifo"])
def test_a_folder_or_file_that_is_something_else_is_not_used(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(instance.tempfile, "gettempdir", lambda: str(tmp_path))
    folder, elsewhere = tmp_path / f"otelflow-instances-{os.geteuid()}", tmp_path / "elsewhere"
    elsewhere.mkdir()
    if kind == "link":
        folder.symlink_to(elsewhere)
    else:
        folder.mkdir()
        os.mkfifo(folder / "shop.0")

    assert instance_id("shop").endswith(f"-pid{os.getpid()}")
    assert list(elsewhere.iterdir()) == []
