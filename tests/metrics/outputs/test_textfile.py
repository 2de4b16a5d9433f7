"""The numbers of a job are written into a file that other processes and services share."""

import re
from concurrent.futures import ThreadPoolExecutor

from otelflow import semconv
from otelflow.metrics._outputs import textfile
from support.metrics import python, samples, value


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
