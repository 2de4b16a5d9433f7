import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from otelflow_exporters._store.limits import Limits
from otelflow_exporters._store.ownership import open_store, segment_files
from otelflow_exporters._store.pruning import prune, remove
from otelflow_exporters.store import StoreSpanExporter

SIXTEEN = """
import os, sys, time
from conftest import Program
from otelflow_exporters.store import StoreSpanExporter

directory, limit = sys.argv[1], int(sys.argv[2])

def work(number):
    exporter, program = StoreSpanExporter(directory, max_bytes=limit), Program()
    for step in range(60):
        exporter.export(program.trace("flow", attributes={"text": "x" * 8_000}))
        if step % 10 == 0:
            exporter.payloads.keep(os.urandom(12_000))
    assert exporter.dropped == 0

def size():
    total = 0
    for folder, _, names in os.walk(directory):
        for name in names:
            try:
                total += os.stat(os.path.join(folder, name)).st_size
            except FileNotFoundError:
                pass
    return total

children = set()
for number in range(16):
    child = os.fork()
    if child == 0:
        work(number)
        os._exit(0)
    children.add(child)
largest, failed = 0, 0
while children:
    largest = max(largest, size())
    child, status = os.waitpid(-1, os.WNOHANG)
    children.discard(child)
    failed += bool(child and status)
    time.sleep(0.002)
print(failed, max(largest, size()))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork")
def test_sixteen_processes_together_keep_the_limit(tmp_path):
    limit = 4_000_000
    path = [str(Path(__file__).parents[1]), *sys.path]

    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(SIXTEEN), tmp_path / "store", str(limit)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )

    assert done.stderr == ""
    failed, largest = map(int, done.stdout.split())
    assert failed == 0
    assert limit / 2 < largest <= limit


def test_a_segment_that_is_written_counts_as_full(program, tmp_path):
    StoreSpanExporter(tmp_path).export(program.trace())
    living = StoreSpanExporter(tmp_path)
    living.export(program.trace())

    with open_store(tmp_path) as store:
        small = sum(file.size for file in segment_files(store))
        left = prune(store, Limits())

    assert left == Limits().segment_bytes * 2
    assert small < 10_000


def test_the_own_segment_stays_whatever_the_limit(program, tmp_path):
    exporter = StoreSpanExporter(tmp_path)
    exporter.export(program.trace())
    exporter.shutdown()

    with open_store(tmp_path) as store:
        (own,) = segment_files(store)
        prune(store, Limits(max_bytes=1), own=own.name)
        assert segment_files(store) == [own]

        prune(store, Limits(max_bytes=1))
        assert segment_files(store) == []


def test_a_file_that_is_gone_is_removed(program, tmp_path):
    exporter = StoreSpanExporter(tmp_path)
    exporter.export(program.trace())
    exporter.shutdown()
    with open_store(tmp_path) as store:
        (file,) = segment_files(store)

        assert [remove(store, file), remove(store, file)] == [True, True]
