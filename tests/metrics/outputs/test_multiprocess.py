"""The numbers of several processes are one."""

import os
import re
import subprocess
import sys
import textwrap
import time

import pytest
from prometheus_client import CollectorRegistry, generate_latest, values
from prometheus_client.multiprocess import MultiProcessCollector

import otelflow
from otelflow import semconv
from otelflow._core.runs import observers
from otelflow.errors import ConfigurationError
from otelflow.metrics._counts import Aggregator, Hooks
from otelflow.metrics._families import Family, Metric, Sample
from otelflow.metrics._outputs import multiprocess
from support.metrics import get, python, samples, value, wait_for

WORKERS = """
    import json, multiprocessing, time, warnings
    warnings.simplefilter("ignore", DeprecationWarning)
    chosen = metrics.use('multiprocess')

    def work(count, stays):
        order(count).execute()
        chosen.flush(5)
        if stays:
            @flow
            def stays_open():
                chosen.flush(5)
                os._exit(9)  # as a worker that is killed in the middle of a run
            stays_open().execute()

    context = multiprocessing.get_context('fork')
    children = [context.Process(target=work, args=(number + 1, number == 2)) for number in range(3)]
    for child in children: child.start()
    for child in children: child.join(20)
    order(1).execute()
    sys.stdout.write(scrape())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_forked_workers_are_added_up_and_a_dead_one_leaves_no_open_run(tmp_path):
    done = python(WORKERS, PROMETHEUS_MULTIPROC_DIR=str(tmp_path))

    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    text = done.stdout
    assert value(text, semconv.FLOW_RUNS, flow="order", result="success") == 4
    assert value(text, semconv.TASK_RUNS, flow="order", task="charge", result="success") == 1 + 2 + 2 + 1
    assert value(text, semconv.TASK_RUNS, flow="order", task="charge", result="failure") == 1
    assert value(text, semconv.TASK_FAILURES, flow="order", task="charge", error_type="LookupError") == 1
    assert value(text, semconv.FLOW_RUN_DURATION + "_count", flow="order", result="success") == 4
    assert value(text, semconv.FLOW_RUN_DURATION + "_bucket", flow="order", result="success", le="+Inf") == 4
    assert value(text, semconv.FLOW_RUNS, flow="never", result="failure") == 0
    assert value(text, semconv.FLOW_RUNS_IN_PROGRESS, flow="stays_open") in (None, 0)
    assert value(text, semconv.FLOW_LAST_RUN, flow="order", result="success") > time.time() - 60


def test_counters_of_earlier_processes_stay_and_their_open_runs_do_not(tmp_path):
    first = python(
        """
        chosen = metrics.use('multiprocess')

        @flow
        def open_one():
            chosen.flush(5)
            os._exit(9)

        order().execute()
        open_one().execute()
        """,
        PROMETHEUS_MULTIPROC_DIR=str(tmp_path),
    )
    assert any(path.name.startswith("gauge_livesum") for path in tmp_path.iterdir())

    second = python(
        """
        metrics.use('multiprocess')
        order().execute()
        sys.stdout.write(scrape())
        """,
        PROMETHEUS_MULTIPROC_DIR=str(tmp_path),
    )

    assert first.returncode == 9
    assert value(second.stdout, semconv.FLOW_RUNS, flow="order", result="success") == 2
    assert value(second.stdout, semconv.FLOW_RUNS_IN_PROGRESS, flow="open_one") in (None, 0)


def test_a_long_flow_is_seen_in_progress_while_it_runs(tmp_path):
    body = """
        @flow
        def long():
            sys.stdout.write(scrape())
        metrics.use('multiprocess')
        long().execute()
    """

    done = python(body, PROMETHEUS_MULTIPROC_DIR=str(tmp_path))

    assert value(done.stdout, semconv.FLOW_RUNS_IN_PROGRESS, flow="long") == 1
    assert re.search(rf'{semconv.FLOW_OLDEST_RUN}{{flow="long",pid="\d+"}} 1\.', done.stdout)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_tasks_outside_flows_are_shared_by_a_worker_while_it_runs(tmp_path):
    body = """
        import time, warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        metrics.use("multiprocess")
        child = os.fork()
        if child == 0:
            charge(1)
            time.sleep(30)
            os._exit(0)
        def shown():
            return 'task_runs_total{flow="",result="success",task="charge"} 1.0' in scrape()
        deadline = time.monotonic() + 20
        while not shown() and time.monotonic() < deadline:
            time.sleep(0.1)
        print(shown())
        os.kill(child, 9)
        os.waitpid(child, 0)
    """

    done = python(body, PROMETHEUS_MULTIPROC_DIR=str(tmp_path))

    assert done.stdout == "True\n", done.stderr


def test_the_duration_that_workers_share_is_the_one_of_the_newest_run(tmp_path):
    def run(seconds):
        return python(
            f"""
            import time
            @flow
            def naps():
                time.sleep({seconds})
            metrics.use('multiprocess')
            naps().execute()
            sys.stdout.write(scrape())
            """,
            PROMETHEUS_MULTIPROC_DIR=str(tmp_path),
        ).stdout

    longer = value(run(0.3), semconv.FLOW_LAST_RUN_DURATION, flow="naps", result="success")
    shorter = value(run(0), semconv.FLOW_LAST_RUN_DURATION, flow="naps", result="success")

    assert 0 < shorter < longer


REUSED = """
    chosen = metrics.use('multiprocess')
    sys.stdout.write(scrape())
"""


def test_a_reused_pid_revives_no_open_run_of_the_dead_process(tmp_path):
    first = python(
        """
        chosen = metrics.use('multiprocess')

        @flow
        def open_one():
            chosen.flush(5)
            os._exit(9)

        open_one().execute()
        """,
        PROMETHEUS_MULTIPROC_DIR=str(tmp_path),
    )
    # As at the next start of a container, where the process has the same pid.
    rename = f"""
import os, pathlib
for file in pathlib.Path({str(tmp_path)!r}).glob("gauge_live*.db"):
    file.rename(file.with_name(file.name.rpartition("_")[0] + f"_{{os.getpid()}}.db"))
"""
    second = python(rename + textwrap.dedent(REUSED), PROMETHEUS_MULTIPROC_DIR=str(tmp_path))

    assert first.returncode == 9
    assert second.returncode == 0, second.stderr
    assert value(second.stdout, semconv.FLOW_RUNS_IN_PROGRESS, flow="open_one") in (None, 0)
    assert not re.search(rf'{semconv.FLOW_OLDEST_RUN}{{flow="open_one",pid="\d+"}} [1-9]', second.stdout)


def test_the_numbers_are_written_at_an_interval_and_not_at_each_flow(tmp_path):
    body = """
        import threading, time
        from otelflow.metrics._counts import Aggregator
        threads, snapshot = [], Aggregator.snapshot
        def note(aggregator):
            threads.append(threading.current_thread() is threading.main_thread())
            return snapshot(aggregator)
        Aggregator.snapshot = note
        metrics.use("multiprocess").flush(10)
        threads.clear()
        start = time.monotonic()
        for _ in range(500):
            order(1).execute()
        seconds = time.monotonic() - start
        print(len(threads) <= seconds + 2, any(threads))
        print('flow_runs_total{flow="order",result="success"} 500.0' in scrape())
        threads.clear()
        time.sleep(2.2)
        print(threads)
    """

    done = python(body, PROMETHEUS_MULTIPROC_DIR=str(tmp_path))

    assert done.stdout == "True False\nTrue\n[]\n", done.stderr


GUNICORN = """
from otelflow import flow, task
from otelflow import metrics

metrics.use("multiprocess")
show = metrics.wsgi_app()

@task
def answer():
    return b"ok"

@flow
def request():
    return answer()

def app(environ, start_response):
    if environ["PATH_INFO"] == "/metrics":
        return show(environ, start_response)
    body = request().execute().flow_return_value
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""


@pytest.mark.parametrize("preload", [False, True], ids=["forked first", "loaded first"])
def test_gunicorn_shows_one_count_for_all_of_its_workers_also_those_that_it_has_replaced(tmp_path, preload):
    pytest.importorskip("gunicorn", reason="gunicorn is not installed")
    (tmp_path / "served.py").write_text(GUNICORN)
    files = tmp_path / "numbers"
    files.mkdir()
    socket_file = tmp_path / "bound"
    command = [
        *(sys.executable, "-m", "gunicorn", "served:app", "--workers", "3", "--bind", "127.0.0.1:0"),
        *("--max-requests", "20", "--chdir", str(tmp_path), "--log-level", "info"),
        *(["--preload"] if preload else []),
    ]
    log = socket_file.with_suffix(".log")
    with log.open("w") as sink:
        server = subprocess.Popen(command, stderr=sink, env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(files)})
    try:
        url = wait_for(lambda: re.search(r"http://127\.0\.0\.1:\d+", log.read_text()))[0]
        answered = sum(call(url) for _ in range(90))
        text = wait_for(
            lambda: (
                (body := get(url + "/metrics")[1])
                and value(body, semconv.FLOW_RUNS, flow="request", result="success") == answered
                and body
            )
        )
    finally:
        server.terminate()
        server.wait(20)

    assert answered >= 80
    assert log.read_text().count("Booting worker") > 3
    assert value(text, semconv.TASK_RUNS, flow="request", task="answer", result="success") == answered
    assert value(text, semconv.FLOW_RUNS_IN_PROGRESS, flow="request") == 0


def call(url):
    try:
        return get(url + "/")[1] == "ok"
    except OSError:  # the worker was just being replaced
        return False


def test_files_of_multiprocess_that_prometheus_client_does_not_use_are_refused(tmp_path):
    body = f"""
        import prometheus_client
        os.environ['PROMETHEUS_MULTIPROC_DIR'] = {str(tmp_path)!r}
        metrics.use('multiprocess')
    """

    done = python(body)

    assert "before prometheus_client is imported" in done.stderr.splitlines()[-1]


# In this process, with files of another one beside its own


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of prometheus-client's mode for several processes, which is on for the time of the test."""
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    monkeypatch.setattr(values, "_multi_process_cleanups", [], raising=False)
    opened, open_file = [], values.MmapedDict

    def keep(*arguments):
        opened.append(open_file(*arguments))
        return opened[-1]

    monkeypatch.setattr(values, "MmapedDict", keep)
    monkeypatch.setattr(values, "ValueClass", values.MultiProcessValue())
    multiprocess._files.reset()
    yield tmp_path
    multiprocess._files.reset()
    for file in opened:
        file.close()


@pytest.fixture
def output(folder, counted):
    outputs = []

    def make(aggregator=None):
        outputs.append(multiprocess.Multiprocess().open(aggregator or counted.aggregator))
        return outputs[-1]

    yield make
    for shared in outputs:
        shared.close(deliver=False)


@otelflow.task(raise_on_error=False)
def shaky(fails):
    if fails:
        raise LookupError


@otelflow.flow
def worked(fails=False):
    shaky(fails)


def shown(output):
    """Return what is shown of all processes, as Prometheus reads it, without the numbers of each process."""
    registry = CollectorRegistry()
    registry.register(output.collector)
    return {
        key: number for key, number in samples(generate_latest(registry).decode()).items() if "pid" not in dict(key[1])
    }


def test_what_is_shared_is_what_was_counted(output, counted):
    shared = output()
    worked().execute()
    worked(fails=True).execute()
    shared.deliver(0)
    worked().execute()
    shared.deliver(0)

    numbers, own = shown(shared), samples(counted.text())

    missing = {key: number for key, number in own.items() if number and numbers.get(key) != number}
    assert {name for name, _ in missing} <= {semconv.BUILD_INFO + "_created"}, missing
    count = (semconv.TASK_RUN_DURATION + "_count", (("flow", "worked"), ("result", "success"), ("task", "shaky")))
    assert numbers[count] == 2


def test_nothing_is_written_while_nothing_has_changed(output, monkeypatch):
    shared = output()
    worked().execute()
    shared.deliver(0)
    shared.deliver(0)  # the first look gives each declared flow its series, which is news
    reads = []
    monkeypatch.setattr(multiprocess, "read", lambda snapshot: reads.append(snapshot) or [])

    shared.deliver(0)
    assert reads == []
    worked().execute()
    shared.deliver(0)
    assert len(reads) == 1


def test_a_scrape_shows_what_was_counted_by_now_and_no_open_run_of_the_dead(output, folder, monkeypatch):
    shared = output()
    worked().execute()
    another_process(monkeypatch, 4_194_305, (semconv.FLOW_RUNS_IN_PROGRESS, "livesum", 5.0, 0))

    numbers = shown(shared)

    assert numbers[semconv.FLOW_RUNS, (("flow", "worked"), ("result", "success"))] == 1
    assert numbers[semconv.FLOW_RUNS_IN_PROGRESS, (("flow", "worked"),)] == 0
    assert not list(folder.glob("*_4194305.db"))


def test_what_dead_processes_have_left_open_is_gone_before_anything_is_scraped(output, folder, monkeypatch):
    open_run = (semconv.FLOW_RUNS_IN_PROGRESS, "livesum", 3.0, 0)
    another_process(monkeypatch, 4_194_305, open_run)
    another_process(monkeypatch, os.getpid(), open_run)

    output()

    assert not list(folder.glob("*_4194305.db"))
    gauges = {family.name: family.samples[0].value for family in MultiProcessCollector(None, str(folder)).collect()}
    assert gauges[semconv.FLOW_RUNS_IN_PROGRESS] == 0.0


def test_of_these_files_there_is_one_kind():
    assert multiprocess.Multiprocess.from_place("", None) == multiprocess.Multiprocess()


def test_a_file_that_vanishes_in_the_moment_of_a_scrape_costs_no_scrape(output, folder):
    shared = output()
    worked().execute()
    before = shown(shared)
    (folder / "counter_4194305.db").symlink_to(folder / "removed")

    assert shown(shared)[semconv.FLOW_RUNS, (("flow", "worked"), ("result", "success"))] == 1
    assert shown(shared).keys() == before.keys()


def test_a_worker_that_makes_its_file_in_the_moment_of_a_scrape_has_counted_nothing_yet(output, folder):
    shared = output()
    worked().execute()
    before = shown(shared)
    (folder / "counter_4194305.db").touch()

    assert before.keys() <= shown(shared).keys()


def test_each_number_is_one_value_of_prometheus_client_for_ever(output, monkeypatch):
    shared, kinds, value_class = output(), [], values.ValueClass

    def make(kind, *arguments, **options):
        kinds.append(kind)
        return value_class(kind, *arguments, **options)

    make.__name__ = value_class.__name__
    monkeypatch.setattr(values, "ValueClass", make)
    worked().execute()
    shared.deliver(0)
    shared.deliver(0)
    before = len(kinds)

    worked().execute()
    shared.deliver(0)

    assert (before > 0, len(kinds) - before) == (True, 0)
    assert set(kinds) == {"counter", "histogram", "gauge"}


def test_what_another_counting_begins_is_added_to_what_the_files_hold(output):
    shared = output()
    worked().execute()
    shared.deliver(0)
    anew = Aggregator()
    observers.add_observer(anew)
    worked().execute()
    observers.remove_observer(anew)

    again = output(anew)
    again.deliver(0)

    labels = (("flow", "worked"), ("result", "success"))
    assert shown(again)[semconv.FLOW_RUNS, labels] == 2
    in_bucket = (("flow", "worked"), ("le", "+Inf"), ("result", "success"))
    assert shown(again)[semconv.FLOW_RUN_DURATION + "_bucket", in_bucket] == 2


def test_a_gauge_that_is_not_there_any_more_is_zero(folder):
    metric = Metric("test_open", "Open.", "gauge", ("flow",), "livesum", lambda _: [], is_live=True)
    multiprocess._files._written["test_open"] = {}

    multiprocess._files._write_gauge(Family(metric, [Sample(("a",), 3), Sample(("b",), 1)]))
    multiprocess._files._write_gauge(Family(metric, [Sample(("b",), 1)]))

    collector = MultiProcessCollector(None, str(folder))
    (family,) = collector.collect()
    assert {sample.labels["flow"]: sample.value for sample in family.samples} == {"a": 0, "b": 1}


def another_process(monkeypatch, pid, *gauges):
    """Write gauges (metric, mode, value, time) as the process *pid* does."""
    own = values.ValueClass
    theirs = values.MultiProcessValue(lambda: pid)
    for metric, mode, number, moment in gauges:
        labels = {"flow": "worked"} | ({"result": "success"} if "last" in metric else {})
        gauge = theirs("gauge", metric, metric, list(labels), list(labels.values()), "", multiprocess_mode=mode)
        gauge.set(number, timestamp=moment)
    monkeypatch.setattr(values, "ValueClass", own)


def test_of_the_last_run_the_newest_of_all_processes_counts(output, monkeypatch):
    shared = output()
    worked().execute()
    shared.deliver(0)
    soon = time.time() + 100
    length = (semconv.FLOW_LAST_RUN_DURATION, "mostrecent", 55.0, soon)
    another_process(monkeypatch, 777, length, (semconv.FLOW_LAST_RUN, "max", soon, 0))

    labels = (("flow", "worked"), ("result", "success"))
    assert shown(shared)[semconv.FLOW_LAST_RUN_DURATION, labels] == 55.0
    assert shown(shared)[semconv.FLOW_LAST_RUN, labels] == pytest.approx(soon)


def test_open_runs_of_dead_processes_are_removed_and_nothing_else(folder, monkeypatch):
    alive, dead = os.getpid(), 4_194_305
    names = [f"gauge_livesum_{alive}.db", f"gauge_max_{dead}.db", f"counter_{dead}.db"]
    names += ["gauge_live_x.db", "gauge_livesum_7.db"]
    for name in (*names, f"gauge_livesum_{dead}.db", f"gauge_liveall_{dead}.db"):
        (folder / name).touch()

    def kill(pid, signal):
        if pid == 7:
            raise PermissionError
        if pid == dead:
            raise ProcessLookupError
        assert (pid, signal) == (alive, 0)

    monkeypatch.setattr(os, "kill", kill)
    multiprocess.remove_dead_gauges(folder)

    assert {file.name for file in folder.iterdir()} == set(names)


def test_what_somebody_else_has_removed_by_now_is_removed(output, folder, monkeypatch):
    shared, file = output(), folder / "gauge_livesum_4194305.db"
    file.touch()

    def kill(pid, signal):
        file.unlink()
        raise ProcessLookupError

    with monkeypatch.context() as moment:
        moment.setattr(os, "kill", kill)
        multiprocess.remove_dead_gauges(folder)
        moment.setattr(multiprocess, "_own_live_files", lambda folder: [file])
        shared.begin_anew()

    assert not file.exists()


def test_open_runs_of_a_dead_process_with_the_same_pid_are_set_to_zero_and_the_application_s_gauges_stay(
    folder, monkeypatch
):
    own = os.getpid()
    another_process(monkeypatch, own, (semconv.FLOW_RUNS_IN_PROGRESS, "livesum", 3.0, 0), ("theirs", "livesum", 4.0, 0))
    (folder / f"gauge_liveall_{own}.db").write_bytes(bytes(64))

    multiprocess.zero_own_gauges(folder)

    gauges = {family.name: family.samples[0].value for family in MultiProcessCollector(None, str(folder)).collect()}
    assert gauges == {semconv.FLOW_RUNS_IN_PROGRESS: 0.0, "theirs": 4.0}


def test_a_child_takes_over_no_open_run_and_exports_when_anything_runs(output, folder):
    shared = output()
    assert shared.worker._interval == 1.0
    assert shared.hooks == Hooks(series_added=shared.worker.start)
    own, other = folder / f"gauge_livesum_{os.getpid()}.db", folder / "gauge_livesum_7.db"
    for file in (own, other):
        file.touch()

    shared.begin_anew()

    assert (own.exists(), other.exists()) == (False, True)


@pytest.mark.parametrize("value", [None, "", "nowhere", "x" * 300])
def test_a_folder_that_is_none_is_refused(monkeypatch, value):
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR", raising=False)
    if value is not None:
        monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", value)

    with pytest.raises(ConfigurationError, match=rf"needs PROMETHEUS_MULTIPROC_DIR, .* \(it is '{value or ''}'\)"):
        multiprocess.Multiprocess().open(Aggregator())


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() != 0, reason="only root can give a folder away")
@pytest.mark.parametrize("user", [0, 65534], ids=["root", "other"])
def test_a_folder_that_another_user_has_is_refused_but_neither_roots_nor_that_of_the_workers(user, tmp_path):
    source = f"""
        from otelflow.errors import ConfigurationError
        from otelflow.metrics._outputs.multiprocess import Multiprocess
        os.setuid({user})
        try:
            Multiprocess().check()
            print("taken")
        except ConfigurationError as error:
            print(error)
    """
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    for folder in (tmp_path, *list(tmp_path.parents)[:-2]):
        folder.chmod(folder.stat().st_mode | 0o711)  # else the other user gets nowhere

    def told(name, owner, mode, link_of=None):
        folder = shared / name
        place = shared / f"{name}-files" if link_of is not None else folder
        place.mkdir()
        place.chmod(mode)
        os.chown(place, owner, owner)
        if link_of is not None:
            folder.symlink_to(place)
            os.lchown(folder, link_of, link_of)
        done = python(source, PROMETHEUS_MULTIPROC_DIR=str(folder))
        assert done.returncode == 0, done.stderr
        return done.stdout.strip().replace(f"metrics=multiprocess cannot use PROMETHEUS_MULTIPROC_DIR={folder}: ", "")

    cure = "; name a folder of your own, or of root"
    assert told("of-all", 12345, 0o777) == "it belongs to another user" + cure
    assert (
        told("linked", user, 0o700, link_of=12345)
        == "another user has put the symbolic link 'linked' into its way" + cure
    )
    # So deployments do: a link of one's own, a volume of Kubernetes, a tmpfs of Docker, a folder of the workers' user
    assert told("own-link", user, 0o700, link_of=user) == "taken"
    assert [told(f"of-root-{mode:o}", 0, mode) for mode in (0o777, 0o1777)] == ["taken"] * 2
    assert told("of-workers", 12345, 0o755) == ("it belongs to another user" + cure if user else "taken")


def test_a_variable_that_came_too_late_for_prometheus_client_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    monkeypatch.setattr(values, "ValueClass", values.MutexValue)

    with pytest.raises(ConfigurationError, match="before prometheus_client is imported"):
        multiprocess.Multiprocess().open(Aggregator())


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="this system reserves nothing")
def test_room_on_the_disk_is_taken_before_memory_is_written(output, folder, counted):
    shared = output()
    worked().execute()
    shared.deliver(time.monotonic() + 5)

    files = sorted(folder.glob("*.db"))
    assert {file.name.partition(f"_{os.getpid()}")[0] for file in files} >= {"counter", "histogram", "gauge_livesum"}
    for file in files:
        status = file.stat()
        used = int.from_bytes(file.read_bytes()[:4], sys.byteorder)
        assert status.st_size >= used + 16_384 - 300, "for the largest that may come"
        assert status.st_blocks * 512 >= status.st_size, "without holes"


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="this system reserves nothing")
@pytest.mark.parametrize(
    ("used", "size", "allocated", "expected"),
    [
        (0, 0, 0, 65_536),
        (49_152, 65_536, 65_536, 65_536),
        (49_153, 65_536, 65_536, 131_072),
        (120_000, 131_072, 65_536, 262_144),
        (8, 65_536, 131_072, 131_072),
    ],
)
def test_a_file_has_always_room_for_one_value_more(tmp_path, used, size, allocated, expected):
    file = tmp_path / f"counter_{os.getpid()}.db"
    file.write_bytes(used.to_bytes(4, sys.byteorder))
    os.truncate(file, size)

    assert multiprocess.allocate(str(tmp_path / "counter"), allocated) == expected
    assert file.stat().st_size == max(size, expected if expected > allocated or not used else 0)
    assert int.from_bytes(file.read_bytes()[:4], sys.byteorder) == (used if size else 0)


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="this system reserves nothing")
def test_what_has_no_room_is_written_when_there_is_some_again(output, folder, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    shared = output()
    worked().execute()
    with monkeypatch.context() as patch:
        patch.setattr(multiprocess.os, "posix_fallocate", full)
        with pytest.raises(OSError, match="No space left"):
            shared.deliver(time.monotonic() + 5)
    shared.deliver(time.monotonic() + 5)

    counts = [number for (name, _), number in shown(shared).items() if name == semconv.FLOW_RUNS]
    assert sum(counts) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_takes_the_room_for_what_its_parent_has_written(tmp_path):
    source = """
        import json, multiprocessing, os, warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        from otelflow.metrics._outputs import multiprocess
        chosen = metrics.use('multiprocess')
        for letter in 'abcdefghij':
            from otelflow import Flow
            Flow(flow_name='flow ' + letter * 50).set_flow_target(lambda: 1).execute()
        chosen.flush(5)

        def work():
            order(1).execute()
            chosen.flush(5)

        child = multiprocessing.get_context('fork').Process(target=work)
        child.start()
        child.join(20)
        print(child.pid)
    """
    done = python(source, PROMETHEUS_MULTIPROC_DIR=str(tmp_path))

    files = list(tmp_path.glob(f"*_{done.stdout.strip()}.db"))
    assert files
    assert all(file.stat().st_blocks * 512 >= file.stat().st_size for file in files)
