"""The numbers of a job are written into a file that other processes and services share."""

import os
import platform
import re
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest

from otelflow import flow, semconv
from otelflow._core.process.files import Folder, lock
from otelflow._version import __version__
from otelflow.errors import ConfigurationError
from otelflow.metrics._outputs import textfile
from support.metrics import python, samples, value

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="Windows has neither these links nor these locks")


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


def test_a_program_that_goes_to_another_folder_writes_where_it_was_told_to(tmp_path):
    (tmp_path / "elsewhere").mkdir()

    python(
        f"""
        os.chdir({str(tmp_path)!r})
        metrics.use("textfile:jobs.prom")
        os.chdir("elsewhere")
        order().execute()
        """
    )

    text = (tmp_path / "jobs.prom").read_text()
    assert value(text, semconv.FLOW_RUNS, flow="order", result="success", service="test") == 1
    assert list((tmp_path / "elsewhere").iterdir()) == []


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


def test_lines_that_are_no_metrics_are_left_out_with_one_warning_and_the_others_stay(tmp_path):
    file = tmp_path / "jobs.prom"
    file.write_text('this {is no metrics\n# TYPE backups gauge\nbackups{service="other"} 3\n# TYPE " \n\xff{ 1\n')

    done = python(f"metrics.use('textfile:{file}'); order().execute()")

    assert len(done.stderr.splitlines()) == 1
    assert "has lines that are no metrics, which are left out" in done.stderr
    assert value(file.read_text(), "backups", service="other") == 3
    assert value(file.read_text(), semconv.FLOW_RUNS, flow="order", result="success", service="test") == 1


@pytest.mark.parametrize("content", ["dear diary\n", "# a title\n\n- one\n- two\n"])
def test_a_file_without_any_metrics_is_somebody_s_and_stays(tmp_path, content):
    file = tmp_path / "diary.prom"
    file.write_text(content)

    done = python(f"metrics.use('textfile:{file}'); order().execute()")

    assert file.read_text() == content
    assert "holds no metrics; name a file of its own" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_file_of_zeros_as_a_crash_may_leave_is_written_anew(tmp_path):
    file = tmp_path / "jobs.prom"
    file.write_bytes(bytes(4_096))

    python(f"metrics.use('textfile:{file}'); order().execute()")

    assert value(file.read_text(), semconv.FLOW_RUNS, flow="order", result="success", service="test") == 1


def test_a_carriage_return_in_a_name_costs_no_other_service_its_numbers(tmp_path):
    file = tmp_path / "jobs.prom"
    odd = r"a\rb\x0b\x1c\x85\u2028 {}=,\"\\ c"
    body = f"""
        from otelflow import Flow
        metrics.use('textfile:{file}')
        Flow(flow_name="{odd}").set_flow_target(lambda: 1).execute()
    """
    python(f"metrics.use('textfile:{file}'); order().execute()", OTEL_SERVICE_NAME="billing")

    done = [python(body, OTEL_SERVICE_NAME="shipping") for _ in range(2)]
    last = python(f"metrics.use('textfile:{file}'); order().execute()", OTEL_SERVICE_NAME="packing")

    text = file.read_bytes().decode()
    name = odd.encode().decode("unicode_escape")
    assert [program.stderr for program in (*done, last)] == ["", "", ""]
    assert value(text, semconv.FLOW_RUNS, flow="order", result="success", service="billing") == 1
    assert value(text, semconv.FLOW_RUNS, flow=name, result="success", service="shipping") == 1


@posix_only
def test_the_new_content_goes_through_no_link_that_another_user_has_put_there(tmp_path):
    file, victim = tmp_path / "jobs.prom", tmp_path / "authorized_keys"
    victim.write_text("ssh-ed25519 AAAA me\n")
    victim.chmod(0o600)
    body = f"""
        os.symlink({str(victim)!r}, f"{tmp_path}/.jobs.prom.{{os.getpid()}}")
        metrics.use('textfile:{file}')
        order().execute()
    """

    done = python(body)

    assert done.stderr == ""
    assert victim.read_text() == "ssh-ed25519 AAAA me\n"
    assert victim.stat().st_mode & 0o777 == 0o600
    assert semconv.FLOW_RUNS in file.read_text()


@posix_only
@pytest.mark.parametrize("kind", ["link", "fifo"])
def test_what_is_no_file_in_the_place_of_the_file_stays_and_is_one_warning(tmp_path, kind):
    file, victim = tmp_path / "jobs.prom", tmp_path / "theirs"
    victim.write_text("theirs 1\n")
    if kind == "link":
        file.symlink_to(victim)
    else:
        os.mkfifo(file)

    done = python(f"metrics.use('textfile:{file}'); order().execute(); print('done')")

    assert done.stdout == "done\n"
    assert "did not arrive" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert victim.read_text() == "theirs 1\n"
    assert not file.is_file() or file.is_symlink()


@posix_only
def test_a_fifo_in_the_place_of_the_lock_keeps_nothing_from_being_written(tmp_path):
    file = tmp_path / "jobs.prom"
    os.mkfifo(tmp_path / "jobs.prom.lock")

    done = python(f"print(metrics.use('textfile:{file}').flush(10)); order().execute()")

    assert (done.stdout, done.stderr) == ("True\n", "")
    assert value(file.read_text(), semconv.FLOW_RUNS, flow="order", result="success", service="test") == 1


@posix_only
def test_a_folder_that_is_reached_by_a_link_is_the_folder(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "collector").symlink_to(tmp_path / "disk")

    done = python(f"metrics.use('textfile:{tmp_path}/collector/jobs.prom'); order().execute()")

    assert done.stderr == ""
    assert (tmp_path / "disk" / "jobs.prom").is_file()


def test_a_disk_that_takes_nothing_is_one_warning(tmp_path):
    folder = tmp_path / "gone"
    folder.mkdir()
    body = f"metrics.use('textfile:{folder}/jobs.prom'); os.rmdir({str(folder)!r}); order().execute(); print('done')"

    done = python(body)

    assert (done.returncode, done.stdout) == (0, "done\n")
    assert len(done.stderr.splitlines()) == 1
    assert "did not arrive" in done.stderr


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


# In this process


def test_a_folder_has_a_file_for_the_service_whose_name_is_cut_only_if_it_must(tmp_path):
    def name(service):
        return textfile.Textfile(str(tmp_path), service).file().name

    assert name("a b/c") == "otelflow-a b%2Fc.prom"
    assert name("x" * 150) == f"otelflow-{'x' * 150}.prom"
    cut = name("x" * 151)
    assert cut.startswith(f"otelflow-{'x' * 150}-")
    assert len(cut) == len("otelflow-") + 150 + len("-") + 16 + len(".prom")


@pytest.mark.parametrize(
    ("place", "complaint"),
    [
        ("", "metrics=textfile: names no file for node_exporter: give textfile:/path/NAME.prom, or a folder"),
        ("jobs.txt", "metrics=textfile:jobs.txt names no file for node_exporter"),
        ("http://deploy:s3cr3t@host/x", r"metrics=textfile:http://\[redacted\]@host/x names no file"),
        ("a@b.txt", "metrics=textfile:a@b.txt names no file"),
        ("nowhere/jobs.prom", "metrics=textfile:nowhere/jobs.prom: the folder of that file is not there; create it"),
        ("x" * 300, "x names no file for node_exporter"),
        (f"{'x' * 300}/jobs.prom", "the folder of that file is not there; create it"),
    ],
)
def test_a_place_that_can_be_no_file_of_node_exporter_is_refused(place, complaint):
    with pytest.raises(ConfigurationError, match=complaint):
        textfile.Textfile(place, "test").file()


@pytest.fixture
def written(tmp_path, counted):
    """Deliver into a file as so many services as there are calls, and return what stands there."""
    outputs = []

    def write(service="test", seconds=5.0):
        output = textfile.Textfile(str(tmp_path / "jobs.prom"), service).open(counted.aggregator)
        outputs.append(output)
        output.deliver(time.monotonic() + seconds)
        return (tmp_path / "jobs.prom").read_text()

    yield write
    for output in outputs:
        output.close(deliver=False)


@flow
def nightly():
    """Succeed."""


NIGHTLY = {"flow": "nightly", "result": "success", "service": "test"}


def earlier(tmp_path, last, duration=7.5, runs=99, service="test"):
    """Write what another process of the service has left."""
    labels = f'flow="nightly",result="success",service="{service}"'
    (tmp_path / "jobs.prom").write_text(
        f"# HELP {semconv.FLOW_LAST_RUN} Last.\n# TYPE {semconv.FLOW_LAST_RUN} gauge\n"
        f"{semconv.FLOW_LAST_RUN}{{{labels}}} {last}\n"
        f"# HELP {semconv.FLOW_LAST_RUN_DURATION} Length.\n# TYPE {semconv.FLOW_LAST_RUN_DURATION} gauge\n"
        f"{semconv.FLOW_LAST_RUN_DURATION}{{{labels}}} {duration}\n"
        f"# TYPE {semconv.FLOW_RUNS} counter\n{semconv.FLOW_RUNS}{{{labels}}} {runs}\n"
    )


@pytest.mark.parametrize(("age", "is_theirs"), [(-3600, True), (3600, False)])
def test_of_the_last_run_the_newer_one_of_two_processes_stays_with_its_duration(written, tmp_path, age, is_theirs):
    theirs = time.time() - age
    earlier(tmp_path, theirs)
    nightly().execute()

    text = written()

    last, length = value(text, semconv.FLOW_LAST_RUN, **NIGHTLY), value(text, semconv.FLOW_LAST_RUN_DURATION, **NIGHTLY)
    assert (last == theirs, length == 7.5) == (is_theirs, is_theirs)
    assert value(text, semconv.FLOW_RUNS, **NIGHTLY) == 1
    assert text.count(f'{semconv.FLOW_LAST_RUN}{{flow="nightly"') == 1


def test_what_others_have_written_stays_with_its_help_and_what_was_this_service_s_own_is_replaced(written, tmp_path):
    earlier(tmp_path, 1.0, service="other")
    nightly().execute()

    text = written()

    other = {**NIGHTLY, "service": "other"}
    assert value(text, semconv.FLOW_RUNS, **other) == 99
    assert value(text, semconv.FLOW_LAST_RUN, **other) == 1.0
    assert text.count(f"# HELP {semconv.FLOW_LAST_RUN} ") == 1


def test_a_family_of_another_service_keeps_its_help_and_type(written, tmp_path):
    (tmp_path / "jobs.prom").write_text(
        '# HELP backups Backups of it.\n# TYPE backups gauge\nbackups{service="other"} 3\n'
        '# HELP otelflow_gone Of this service.\n# TYPE otelflow_gone gauge\notelflow_gone{service="test"} 3\n'
    )

    text = written()

    assert '# HELP backups Backups of it.\n# TYPE backups gauge\nbackups{service="other"} 3\n' in text
    assert "gone" not in text


def test_every_line_of_others_stays_as_it_is(written, tmp_path, caplog):
    others = (
        "# written by the backup, see its page\n"
        "# HELP backup_ok Whether it ended.\n#TYPE backup_ok gauge\n"
        'backup_ok 1\nbackup_ok{service="test"} 0\nbackup_ok{service="other",host="a b"} 1\n'
        '# TYPE backups counter\nbackups 3\nbackups_seconds{quantile="0.5"} 1e3\n'
        "# TYPE load untyped\n\tload 16 1700000000000\n"
    )
    own = f'{semconv.FLOW_RUNS}{{flow="nightly",result="success",service="test"}} 99\n'
    unlabelled = f'{semconv.FLOW_RUNS}{{flow="nightly",result="success"}} 7\n'
    (tmp_path / "jobs.prom").write_text(others + own + "\n" + unlabelled)
    nightly().execute()

    texts = [written(), written()]

    for text in texts:
        assert text.startswith(others)
        assert value(text, semconv.FLOW_RUNS, **NIGHTLY) == 1
        assert value(text, semconv.FLOW_RUNS, flow="nightly", result="success") == 7
        assert text.count(f"# TYPE {semconv.FLOW_RUNS} ") == 1
    assert caplog.messages == []


def test_a_child_writes_last_runs_and_leaves_the_counters_as_they_are(written, tmp_path, counted):
    earlier(tmp_path, 1.0)
    counted.aggregator.begin_anew()
    nightly().execute()

    text = written()

    assert value(text, semconv.FLOW_RUNS, **NIGHTLY) == 99
    assert value(text, semconv.FLOW_LAST_RUN, **NIGHTLY) > 1.0
    assert semconv.BUILD_INFO not in text


def test_what_is_live_is_not_written(written):
    nightly().execute()

    text = written()

    assert semconv.FLOW_RUNS_IN_PROGRESS not in text
    assert semconv.FLOW_OLDEST_RUN not in text
    assert value(text, semconv.BUILD_INFO, version=__version__, python=platform.python_version(), service="test") == 1


@posix_only
def test_a_process_waits_for_the_lock_until_its_time_is_over(written, tmp_path, monkeypatch):
    waits = []
    held = os.open(tmp_path / "jobs.prom.lock", os.O_RDWR | os.O_CREAT)
    assert lock(held)

    def wait(seconds):
        waits.append(seconds)
        if len(waits) == 3:
            os.close(held)

    monkeypatch.setattr(textfile, "clock", SimpleNamespace(monotonic=time.monotonic, sleep=wait))
    assert "otelflow_build_info" in written()
    assert len(waits) == 3

    held = os.open(tmp_path / "jobs.prom.lock", os.O_RDWR)
    assert lock(held)
    monkeypatch.setattr(textfile, "clock", SimpleNamespace(monotonic=time.monotonic, sleep=time.sleep))
    (tmp_path / "jobs.prom").unlink()
    assert "otelflow_build_info" in written(seconds=0.05)
    os.close(held)


@posix_only
def test_no_lock_and_no_folder_stays_open(written):
    written()
    opened = len(list(Path("/dev/fd").iterdir()))

    written()

    assert len(list(Path("/dev/fd").iterdir())) == opened


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_child_that_was_forked_while_the_file_was_written_keeps_the_lock_from_nobody(tmp_path):
    reading, writing = os.pipe()
    with Folder(tmp_path) as folder:
        with textfile._locked(folder, "jobs.prom.lock", 0.0):
            child = os.fork()
            if child == 0:
                os.close(writing)
                os.read(reading, 1)  # until the parent has looked
                os._exit(0)
        descriptor = folder.open("jobs.prom.lock", os.O_RDONLY)

        is_free = lock(descriptor)

        os.close(descriptor)
    os.close(reading)
    os.close(writing)
    os.waitpid(child, 0)
    assert is_free


def test_what_stands_between_lines_that_are_no_metrics_stays(written, tmp_path, caplog):
    (tmp_path / "jobs.prom").write_bytes(b'no {metrics\n# TYPE backups gauge\nbackups{service="other"} 3\n\xff{ 1\n')

    text = written()
    again = written()

    assert value(text, "backups", service="other") == value(again, "backups", service="other") == 3
    assert "no {metrics" not in text
    (message,) = caplog.messages
    assert message.startswith(f"{tmp_path}/jobs.prom has lines that are no metrics, which are left out (")


@posix_only
def test_the_lock_is_made_for_every_user(written, tmp_path):
    before = os.umask(0o077)
    try:
        written()
    finally:
        os.umask(before)

    assert (tmp_path / "jobs.prom.lock").stat().st_mode & 0o777 == 0o666
    assert (tmp_path / "jobs.prom").stat().st_mode & 0o777 == 0o644
