"""The page on Celery, with a real worker: what is sent in one process is done in another, in one trace."""

import os
import re
import subprocess
import sys

import pytest

from support import pages

pytest.importorskip("celery", reason="not installed: pip install 'otelflow[docs]'")

PAGE = "docs/how-to/celery.md"


@pytest.fixture
def place(tmp_path):
    """The files of the page, with the broker that needs no server, and one store for both processes."""
    place = pages.Workplace(PAGE)
    place.more = {"OTELFLOW_STORE": str(tmp_path / "store")}
    return place


@pytest.fixture
def worker(place):
    """A worker with a pool of one process, which ends with the test."""
    command = [sys.executable, "-m", "celery", "-A", "without_server", "worker", "--concurrency=1", "--loglevel=INFO"]
    process = subprocess.Popen(
        [*command, "--without-gossip", "--without-mingle", "--without-heartbeat", "--max-tasks-per-child=1"],
        cwd=place.folder,
        env=place.environment | place.more,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    yield process
    if process.poll() is None:
        process.kill()
    process.communicate(timeout=30)


def lines_until(process, pattern, times=1):
    """Read what the worker says until *pattern* was said so many times."""
    lines = []
    for line in process.stdout:
        lines.append(line)
        times -= bool(re.search(pattern, line))
        if times == 0:
            return lines
    pytest.fail(f"the worker ended: {''.join(lines)}")


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="Celery's pool forks")
def test_what_is_sent_is_done_in_the_worker_in_the_same_trace(place, worker):
    lines_until(worker, r" ready\.")
    sent = subprocess.run(
        [sys.executable, "-c", "import without_server, send; send.main()"],
        cwd=place.folder,
        env=place.environment | place.more,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    lines_until(worker, r"Task worker.make_invoice\[\S+\] succeeded", times=2)
    worker.terminate()
    worker.communicate(timeout=30)

    assert (sent.returncode, sent.stderr) == (0, "")
    from otelflow_exporters import StoredTraces

    traces = StoredTraces(place.more["OTELFLOW_STORE"])
    (summary,) = traces.summaries()
    spans = traces.load(summary.trace_id).spans
    names = {span.span_id: span.name for span in spans}
    assert sorted((span.service, span.name, names.get(span.parent_id)) for span in spans) == [
        *[("invoices", "flow worker.make_invoice", "flow close_month")] * 2,
        *[("invoices", "task render", "flow worker.make_invoice")] * 2,
        ("shop", "flow close_month", None),
    ]
