"""A process that ends sends what waits, and waits for no endpoint that is silent."""

import os
import socket
import time

import pytest

from otelflow_exporters.spool import SpoolSpanProcessor
from support.programs import run_python, source_of
from support.spools import PROGRAM, counts_of, provider_with, run_program


@pytest.fixture
def silent_url():
    """The address of a server that takes connections and says nothing."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(100)
        yield f"http://127.0.0.1:{silent.getsockname()[1]}"


@pytest.mark.parametrize("kind", ["dead", "silent"])
def test_a_collector_that_takes_nothing_keeps_no_program_from_its_end(tmp_path, silent_url, kind):
    url = silent_url if kind == "silent" else "http://127.0.0.1:9"

    done = run_program(
        tmp_path,
        """
        nightly(100).execute()
        began = time.monotonic()
        otelflow.configure().shutdown()
        print(time.monotonic() - began < 3)
        """,
        url=url,
    )

    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr
    assert f"101 spans wait in the spool {tmp_path / 'spool'}" in done.stderr
    assert "'otelflow ship'" in done.stderr


def test_an_endpoint_that_is_slower_than_short_programs_gets_nothing_again_and_again(receiver, tmp_path):
    receiver.delay = 0.7
    # However slow the machine is: they send nothing before they end.
    short = "import otelflow_exporters._spool.spool as spool; spool._SIGN_SECONDS = 600.0"
    path = tmp_path / "short.py"
    path.write_text(source_of(short, PROGRAM, "nightly(1).execute()"))

    def run():
        receiver.requests.clear()
        done = run_python(path, OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url, OTELFLOW_SPOOL_DIR=tmp_path / "spool")
        assert done.returncode == 0, done.stderr
        return sum(counts_of(receiver).values()), "wait in the spool" in done.stderr

    runs = [run(), run()]
    long_ago = time.time() - 3_600
    os.utime(tmp_path / "spool/OTELFLOW_ANSWERS.txt", (long_ago, long_ago))
    runs += [run(), run()]

    # The first does not know it, the second leaves it alone, the third finds out, and the fourth waits for the answer.
    assert runs[1:] == [(0, True), (6, False), (2, False)]
    assert runs[0][1]


def test_an_end_that_is_only_slow_to_look_is_no_silence_of_the_endpoint(receiver, folder, monkeypatch):
    processor = SpoolSpanProcessor(folder)
    provider_with(processor).start_span("sent").end()
    monkeypatch.setattr(processor._spool.worker, "flush", lambda seconds: time.sleep(seconds))
    processor._spool.worker.wake()
    processor.shutdown()

    assert counts_of(receiver) == {"sent": 1}
    assert (folder / "OTELFLOW_ANSWERS.txt").read_text() == "yes\n"
