"""One instance id for a process, which the next one takes over: its series go on, and its signals go together."""

import os
import re
import stat
import sys
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import pytest

from otelflow._core.process import instance
from otelflow._core.process.files import lock
from otelflow._core.process.instance import instance_id, is_instance_id
from support import programs
from support.metrics import received
from support.receivers import OtlpReceiver

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="Windows has neither these links nor these locks")


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


def test_a_program_chooses_its_temporary_folder_after_configure(tmp_path):
    program = """
        import os, tempfile, otelflow
        otelflow.configure(service_name="nightly")
        os.environ["TMPDIR"] = sys.argv[1]
        print(tempfile.gettempdir())
    """
    done = programs.python("import sys", program, arguments=[str(tmp_path)])

    assert done.stdout.strip() == str(tmp_path), done.stderr


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


@posix_only
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


@pytest.fixture
def numbers(tmp_path, monkeypatch):
    """The folder of the numbers, empty; and no number taken by this process."""
    instance._instances.reset()
    monkeypatch.setattr(instance.tempfile, "gettempdir", lambda: str(tmp_path))
    yield tmp_path / f"otelflow-instances-{os.geteuid()}"
    instance._instances.reset()


def taken(path):
    """Lock the file at *path* as another process would; return its descriptor."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    assert lock(descriptor)
    return descriptor


@posix_only
def test_the_lowest_number_that_is_free_is_taken_from_a_private_folder(numbers):
    numbers.mkdir(mode=0o755)
    held = [taken(numbers / f"shop.{number}") for number in (0, 1, 3)]
    before = len([*Path("/dev/fd").iterdir()])

    name = instance_id("shop")

    assert name.endswith("-2")
    assert len([*Path("/dev/fd").iterdir()]) == before + 2, "file and folder; the others are closed again"
    assert stat.S_IMODE(numbers.stat().st_mode) == 0o700
    for descriptor in held:
        os.close(descriptor)


@posix_only
def test_who_tidies_temporary_folders_leaves_that_of_the_numbers_alone(numbers):
    instance_id("shop")
    tidier = os.open(numbers, os.O_RDONLY)  # as systemd-tmpfiles does it: a folder that it cannot lock is not its own
    while_held = lock(tidier)
    instance._instances.reset()
    afterwards = lock(tidier)
    os.close(tidier)

    assert (while_held, afterwards) == (False, True)


@posix_only
def test_a_number_whose_file_is_removed_while_it_is_taken_is_left_to_others(numbers, monkeypatch):
    def lock_too_late(descriptor):
        (numbers / "shop.0").unlink(missing_ok=True)
        return lock(descriptor)

    monkeypatch.setattr(instance, "lock", lock_too_late)

    assert instance_id("shop").endswith("-1")


@posix_only
def test_a_missing_folder_is_made_and_the_name_of_a_service_makes_a_name_of_a_file(numbers):
    assert instance_id("../a b/" + "x" * 200).endswith("-0")
    assert [path.name for path in numbers.iterdir()] == [".._a_b_" + "x" * 93 + ".0"]


@posix_only
def test_what_is_reset_is_free_for_others_and_known_no_more(numbers):
    first = instance_id("shop")
    instance._instances.reset()

    descriptor = taken(numbers / "shop.0")
    assert not is_instance_id(first)
    assert instance_id("shop").endswith("-1")
    os.close(descriptor)


@posix_only
def test_a_child_leaves_its_parents_number_and_knows_it(numbers):
    first = instance_id("shop")
    descriptor = os.dup(instance._instances.files[0].descriptor)  # the parent's own, in which the lock goes on
    instance._instances.begin_anew()

    second = instance_id("shop")

    assert [first[-2:], second[-2:]] == ["-0", "-1"]
    assert is_instance_id(first)
    instance._instances.begin_anew()
    assert is_instance_id(first)
    assert is_instance_id(second)
    os.close(descriptor)


@posix_only
def test_the_folder_of_another_user_is_not_used(numbers, monkeypatch, tmp_path):
    monkeypatch.setattr(instance.os, "geteuid", lambda: os.getuid() + 12345)
    (tmp_path / f"otelflow-instances-{os.geteuid()}").mkdir()
    before = len([*Path("/dev/fd").iterdir()])

    assert instance_id("shop").endswith(f"-pid{os.getpid()}")
    assert len([*Path("/dev/fd").iterdir()]) == before


def test_where_nothing_can_be_locked_the_number_is_that_of_the_process(numbers, monkeypatch):
    monkeypatch.setattr(instance, "sys", SimpleNamespace(platform="win32"))

    assert instance_id("shop").endswith(f"-pid{os.getpid()}")
    assert not numbers.exists()


@posix_only
def test_a_file_system_without_locks_is_asked_once(numbers, monkeypatch):
    monkeypatch.setattr(instance, "lock", lambda _: None)

    assert instance_id("shop").endswith(f"-pid{os.getpid()}")
    assert len([*numbers.iterdir()]) == 1


@posix_only
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives folders away")
def test_the_folder_of_another_user_is_not_used_and_stays_as_it_is(numbers):
    numbers.mkdir(mode=0o755)
    os.chown(numbers, 12345, -1)

    assert instance_id("shop").endswith(f"-pid{os.getpid()}")
    assert list(numbers.iterdir()) == []
    assert stat.S_IMODE(numbers.stat().st_mode) == 0o755
