"""The series of a job go on when the next process begins."""

import os
import sys

import pytest

from otelflow.metrics._outputs import instance_id
from support.metrics import python, received


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


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has neither these links nor these locks")
@pytest.mark.parametrize("kind", ["link", "fifo"])
def test_a_folder_or_file_that_is_something_else_is_not_used(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(instance_id.tempfile, "gettempdir", lambda: str(tmp_path))
    folder, elsewhere = tmp_path / f"otelflow-instances-{os.geteuid()}", tmp_path / "elsewhere"
    elsewhere.mkdir()
    if kind == "link":
        folder.symlink_to(elsewhere)
    else:
        folder.mkdir()
        os.mkfifo(folder / "shop.0")

    instance = instance_id.Instance("shop")

    assert instance.id.endswith(f"-pid{os.getpid()}")
    assert list(elsewhere.iterdir()) == []
