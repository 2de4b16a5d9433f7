"""A process that ends sends what waits, and waits for no endpoint that is silent."""

import itertools
import os
import socket
import time

import pytest

from otelflow_exporters._otlp.encoder import encode_span
from otelflow_exporters._spool.claims import take_claim
from otelflow_exporters._store.ownership import open_store, segment_files
from otelflow_exporters.spool import SpoolSpanProcessor
from support.programs import run_python, source_of
from support.servers import wait_until
from support.spools import PROGRAM, counts_of, distinct, ended, provider_with, run_program


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


def test_an_end_waits_for_another_process_that_is_sending_what_this_one_wrote(receiver, folder, monkeypatch, caplog):
    processor = SpoolSpanProcessor(folder)
    spool = processor._spool
    monkeypatch.setattr(spool, "_is_left_alone", lambda: not spool.is_shut_down)  # it sends nothing before the end
    provider_with(processor).start_span("sent").end()
    with open_store(folder, kind="spool") as opened:
        (file,) = segment_files(opened)
        claim = take_claim(opened, file)
    flush, looks = spool.worker.flush, itertools.count()

    def flush_and_let_go(seconds):
        if next(looks) == 1:
            claim.release()
        return flush(seconds)

    monkeypatch.setattr(spool.worker, "flush", flush_and_let_go)
    processor.shutdown()

    assert counts_of(receiver) == {"sent": 1}
    assert "wait" not in caplog.text


HOST = """
    import multiprocessing, sys
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from otelflow_exporters import SpoolSpanProcessor
    import otelflow

    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SpoolSpanProcessor(sys.argv[1]))
    trace.set_tracer_provider(provider)
    assert otelflow.configure().is_host

    @otelflow.flow
    def nightly():
        pass

    child = multiprocessing.get_context("fork").Process(target=lambda: nightly().execute())
    child.start()
    child.join()
    print(child.exitcode)
    """


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a system without fork")
def test_a_child_beside_the_provider_of_the_application_waits_for_no_silent_endpoint(tmp_path, silent_url):
    path = tmp_path / "host.py"
    path.write_text(source_of(HOST))

    done = run_python(path, tmp_path / "spool", OTEL_EXPORTER_OTLP_ENDPOINT=silent_url, OTEL_EXPORTER_OTLP_TIMEOUT="4")

    assert (done.returncode, done.stdout) == (0, "0\n"), done.stderr
    assert f"1 span waits in the spool {tmp_path / 'spool'}" in done.stderr
    assert "timed out" not in done.stderr


def test_what_ends_in_another_thread_meanwhile_takes_nothing_from_what_is_being_sent(receiver):
    processor = SpoolSpanProcessor(None)
    spool, tracer = processor._spool, provider_with(processor)
    tracer.start_span("first").end()
    assert processor.force_flush()
    late = [spool.encoded(encode_span, ended("late"))]

    def answer(_):
        wait_until(lambda: spool.is_shut_down)
        if late:
            spool.keep(late.pop())
        return 200

    receiver.status = answer
    for _ in range(1_200):
        tracer.start_span("early").end()
    processor.shutdown()

    assert distinct(receiver) == {"first": 1, "early": 1_200, "late": 1}
    assert processor.account == ("traces", "SpoolSpanProcessor", 1_202, 1_202, {})


# How long an end waits


@pytest.fixture
def ending(receiver, folder, monkeypatch):
    """A processor with one span, whose thread answers no look; how many seconds its end waits is told by a clock."""
    now = [1_000.0]
    processor = SpoolSpanProcessor(folder)
    worker, shipper = processor._spool.worker, processor._spool._shipper
    monkeypatch.setattr(worker, "start_thread", lambda: True)
    monkeypatch.setattr("otelflow._core.process.clock.monotonic", lambda: now[0])

    def end(*, asks=False):
        def look(seconds):
            now[0] += seconds
            shipper.delivery.requests += asks

        with monkeypatch.context() as patch:
            patch.setattr(worker, "flush", look)
            processor.shutdown()
        return now[0] - 1_000

    provider_with(processor).start_span("waits").end()
    return processor, end


NOTE = "OTELFLOW_ANSWERS.txt"


def test_whoever_knows_nothing_of_an_endpoint_waits_a_moment_for_it_and_tells_those_that_come_later(ending, folder):
    _, end = ending

    assert 0.3 <= end() < 0.35
    assert (folder / NOTE).read_text() == "no\n"


@pytest.mark.parametrize("known_by", ["an earlier process", "this process"])
def test_an_endpoint_that_has_answered_before_is_waited_for_two_seconds(ending, folder, known_by):
    processor, end = ending
    if known_by == "this process":
        processor._spool._shipper.delivery.arrivals = 1
    else:
        (folder / NOTE).write_text("yes\n")

    assert 2.0 <= end() < 2.05
    assert (folder / NOTE).read_text() == "no\n"


def test_an_endpoint_that_takes_one_after_the_other_has_the_time_of_the_whole_end(ending, folder):
    _, end = ending

    assert 4.5 <= end(asks=True) < 4.55
    assert not (folder / NOTE).exists(), "it answers"


def test_an_endpoint_that_did_not_answer_a_process_before_is_not_waited_for(ending, folder):
    _, end = ending
    (folder / NOTE).write_text("no\n")

    assert end() == 0.0
