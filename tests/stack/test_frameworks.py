"""Workers on a real Redis, whose processes end after each job: every job is a run of one whole trace, counted once."""

import importlib.util
import signal
import sys
import textwrap
import time

import pytest

from otelflow_exporters import StoredTraces
from support.ports import free_ports
from support.programs import end, run_python, start

JOBS = """
    import os
    from otelflow import configure, flow, task

    configure(service_name="shop")

    @task
    def price(fruit):
        return {"apple": 0.5}[fruit]

    def charge(fruit):
        return price(fruit)
"""
RQ_JOBS = """
    from redis import Redis
    from rq import Queue, Retry
    from rq.job import Job
    from otelflow.integrations.rq import FlowJobMixin

    class FlowJob(FlowJobMixin, Job):
        pass

    @flow
    def order():
        queue = Queue(connection=Redis.from_url(os.environ["REDIS_URL"]), job_class=FlowJob)
        for _ in range(2):
            queue.enqueue("jobs.charge", "apple")
        queue.enqueue("jobs.charge", "kiwi", retry=Retry(max=1))
"""
CELERY_JOBS = """
    from celery import Celery
    from otelflow.integrations.celery import make_flows

    app = make_flows(Celery("shop", broker=os.environ["REDIS_URL"]))
    make_charge = app.task(name="charge", autoretry_for=(KeyError,), max_retries=1, default_retry_delay=0)(charge)

    @flow
    def order():
        for fruit in ("apple", "apple", "kiwi"):
            make_charge.delay(fruit)
"""


@pytest.fixture
def redis(tmp_path, tools):
    """The address of a Redis that keeps nothing."""
    [port] = free_ports(1)
    options = ("--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", tmp_path)
    process = start(tools.program("redis-server"), *options)
    for line in process.stdout:
        if "Ready to accept connections" in line:
            break
    yield f"redis://127.0.0.1:{port}"
    end(process)


@pytest.fixture
def jobs(tmp_path, redis):
    """Write the module of jobs, send what one order sends, and return the environment of its worker."""
    environment = {"OTELFLOW_STORE": tmp_path / "store", "PYTHONPATH": tmp_path, "REDIS_URL": redis}

    def send(*sources):
        (tmp_path / "jobs.py").write_text("".join(map(textwrap.dedent, sources)))
        sent = run_python("-c", "import jobs; jobs.order().execute()", cwd=tmp_path, **environment)
        assert (sent.returncode, sent.stderr) == (0, "")
        return environment

    return send


def stored(folder):
    """Return (name, name of the parent, result, tries before) of each span of the one trace that is there."""
    (trace_id,) = {summary.trace_id for summary in StoredTraces(folder).summaries()}
    spans = StoredTraces(folder).load(trace_id).spans
    names = {span.span_id: span.name for span in spans}
    return sorted(
        (
            span.name,
            names.get(span.parent_id, ""),
            span.attributes.get("otelflow.run.result", ""),
            span.attributes.get("otelflow.job.retries", 0),
        )
        for span in spans
    )


WHOLE = [
    ("flow charge", "flow order", "failure", 0),
    ("flow charge", "flow order", "failure", 1),
    ("flow charge", "flow order", "success", 0),
    ("flow charge", "flow order", "success", 0),
    ("flow order", "", "success", 0),
    ("task price", "flow charge", "failure", 0),
    ("task price", "flow charge", "failure", 0),
    ("task price", "flow charge", "success", 0),
    ("task price", "flow charge", "success", 0),
]


@pytest.mark.skipif(importlib.util.find_spec("rq") is None, reason="not installed: pip install 'otelflow[rq]'")
def test_each_job_of_rq_whose_processes_end_without_a_word_is_delivered(tmp_path, jobs):
    environment = jobs(JOBS, RQ_JOBS)
    options = ("worker", "--burst", "--url", environment["REDIS_URL"], "--job-class", "jobs.FlowJob")
    worker = run_python("-m", "rq.cli", *options, cwd=tmp_path, **environment)

    assert worker.returncode == 0, worker.stderr
    assert stored(tmp_path / "store") == WHOLE


@pytest.mark.skipif(importlib.util.find_spec("celery") is None, reason="not installed: pip install 'otelflow[celery]'")
def test_each_job_of_celery_whose_processes_end_after_one_is_delivered(tmp_path, jobs):
    environment = jobs(JOBS, CELERY_JOBS)
    options = ("--concurrency", "2", "--max-tasks-per-child", "1", "--without-gossip", "--without-mingle")
    process = start(sys.executable, "-m", "celery", "-A", "jobs", "worker", *options, cwd=tmp_path, **environment)
    try:
        latest = time.monotonic() + 60
        while stored(tmp_path / "store") != WHOLE and time.monotonic() < latest:
            time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    finally:
        end(process)

    assert stored(tmp_path / "store") == WHOLE
