"""A program with a spool that is killed at any moment: each span that had ended arrives, and each open one is told.

``PYTHONPATH=tests python tests/hostile/test_killed_programs.py 200`` kills 200 that share a spool: so some are killed
while they tell what others were doing. If the collector had that, and its answer did not come, it is told twice.
"""

import contextlib
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import pytest

from support.programs import run_python, source_of, start
from support.receivers import OtlpReceiver

# It notes in a file what has started and what has ended: each time after the call, so that no note comes too early.
PROGRAM = source_of(
    """
    import os, sys
    import otelflow
    from opentelemetry import trace

    otelflow.configure(service_name="killed")
    tracer = trace.get_tracer("program")
    notes = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def note(kind, span):
        os.write(notes, f"{kind} {span.get_span_context().span_id:016x}\\n".encode())

    def work(name, depth):
        with tracer.start_as_current_span(name) as span:
            note("started", span)
            for number in range(3 if depth else 0):
                work(f"{name}.{number}", depth - 1)
        note("ended", span)

    while True:
        work("run", 3)
    """
)


def noted(path):
    """Return what had started and what had ended by the program's own notes; the last may be half there."""
    started, ended = set(), set()
    for line in path.read_text().splitlines():
        kind, _, span_id = line.partition(" ")
        if len(span_id) == 16:
            (started if kind == "started" else ended).add(span_id)
    return started, ended


def kill_one(notes, spool, receiver, seconds):
    """Start a program, and kill it after so many *seconds* of work."""
    process = start(
        sys.executable, "-c", PROGRAM, notes,
        OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url, OTELFLOW_SPOOL_DIR=spool,
    )  # fmt: skip
    with contextlib.ExitStack() as stack:
        stack.callback(process.communicate, timeout=30)
        stack.callback(process.send_signal, signal.SIGKILL)
        deadline = time.monotonic() + 60
        while not (notes.exists() and notes.stat().st_size) and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(seconds)


def kill_and_compare(folder, spools, longest):
    """Kill a program in each of *spools*, send what is left, and compare.

    Return what is not as it should be, how often spans were told more than once, and how many had ended.
    """
    notes = [folder / f"notes-{number}" for number in range(len(spools))]
    with OtlpReceiver() as receiver:
        for path, spool in zip(notes, spools, strict=True):
            kill_one(path, spool, receiver, random.uniform(0, longest))
        wrong = []
        for spool in set(spools):
            done = run_python(
                "-m", "otelflow", "ship", spool, "--once", OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url, timeout=300
            )
            wrong += [done.stderr] if done.returncode else []
        spans = receiver.spans
    arrived = {span.span_id.hex() for span in spans}
    lost = Counter(span.span_id.hex() for span in spans if span.status.message == "the process was lost")
    total = 0
    for path in notes:
        started, ended = noted(path)
        total += len(ended)
        wrong += [f"{span_id} had ended, and did not arrive" for span_id in ended - arrived]
        wrong += [f"{span_id} was open, and was not told" for span_id in started - ended - arrived]
        wrong += [f"{span_id} had ended, and was told as lost" for span_id in ended & lost.keys()]
    return wrong, sum(times - 1 for times in lost.values()), total


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")
@pytest.mark.timeout(300)
def test_what_had_ended_arrives_and_what_was_open_is_told_once(tmp_path):
    wrong, repeated, total = kill_and_compare(tmp_path, [tmp_path / f"spool-{number}" for number in range(5)], 0.8)

    assert (wrong, repeated) == ([], 0)
    assert total > 100


if __name__ == "__main__":
    place = Path(tempfile.mkdtemp())
    faults, again, number = kill_and_compare(place, [place / "spool"] * int(sys.argv[1]), 0.5)
    print(f"{number:,} spans had ended; {len(faults)} faults, {again} told twice", *faults[:10], sep="\n")
    sys.exit(bool(faults))
