"""A program's spans wait in a spool: whatever the collector does, and however the program ends."""

import errno
import itertools
import os
import shutil
import stat
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otelflow._core.process import forks
from otelflow._core.process.files import Folder
from otelflow._core.process.ledger import Account
from otelflow.errors import ConfigurationError
from otelflow_exporters._spool import last_delivery
from otelflow_exporters._spool.batches import CLOSED
from otelflow_exporters._spool.shipper import Outcome
from otelflow_exporters._spool.signals import LOG_RECORDS, METRICS, SPANS
from otelflow_exporters._spool.spool import Spool
from otelflow_exporters._store.ownership import PROGRESS, open_store, segment_files
from otelflow_exporters.spool import SpoolSpanProcessor
from support.programs import python, run_python, source_of
from support.receivers import spans_of
from support.servers import wait_until
from support.spools import PROGRAM, counts_of, provider_with, run_program

FORKED = """
    import multiprocessing
    import otelflow

    @otelflow.flow
    def nightly():
        return 1

    otelflow.configure()
    nightly().execute()
    for _ in range(3):
        child = multiprocessing.get_context("fork").Process(target=lambda: nightly().execute())
        child.start()
        child.join()
"""


def open_files():
    place = Path("/proc/self/fd")
    return len(list(place.iterdir())) if place.is_dir() else 0


def test_spans_arrive_once_and_the_spool_is_empty_again(receiver, folder, caplog):
    processor = SpoolSpanProcessor(folder)
    tracer = provider_with(processor)

    for number in range(1_200):
        tracer.start_span(f"s{number}").end()
    assert processor.force_flush()
    tracer.start_span("after").end()
    processor.shutdown()
    tracer.start_span("late").end()

    assert [span.name for span in receiver.spans] == [f"s{number}" for number in range(1_200)] + ["after"]
    assert (processor.waiting, processor.dropped) == (0, {"after_shutdown": 1})
    assert sorted(file.name for file in folder.iterdir()) == [
        "OTELFLOW_ANSWERS.txt",
        "OTELFLOW_DESTINATION.txt",
        "OTELFLOW_STORE",
    ]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_a_program_never_waits_for_a_collector_that_is_slow(receiver, folder, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "60")
    answered = threading.Event()
    receiver.status = lambda _: 200 if answered.wait(60) else 503
    processor = SpoolSpanProcessor(folder)
    tracer = provider_with(processor)

    for _ in range(3_000):
        tracer.start_span("quick").end()
    waiting = processor.waiting
    answered.set()
    assert processor.force_flush(60_000)
    processor.shutdown()

    assert waiting == 3_000
    assert counts_of(receiver) == {"quick": 3_000}


def test_an_outage_costs_nothing(receiver, folder, monkeypatch):
    processor = SpoolSpanProcessor(folder)
    tracer = provider_with(processor)
    receiver.status, receiver.headers = 503, {"Retry-After": "0.05"}

    for _ in range(700):
        tracer.start_span("during").end()
    assert not processor.force_flush()
    assert processor.waiting == 700

    receiver.requests.clear()
    receiver.status = 200
    assert any(processor.force_flush() for _ in iter(lambda: time.sleep(0.05), 0) if processor.waiting == 0)
    processor.shutdown()

    assert counts_of(receiver) == {"during": 700}
    assert processor.dropped == {}


def test_where_there_is_no_home_spans_wait_in_memory_and_that_is_said_once(receiver, tmp_path):
    start = """
    import pathlib
    def no_home(): raise RuntimeError("Could not determine home directory.")
    pathlib.Path.home = no_home
    """
    path = tmp_path / "program.py"
    path.write_text(source_of(start, PROGRAM, "nightly(2).execute()"))

    done = run_python(path, OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url, XDG_STATE_HOME="")

    assert counts_of(receiver) == {"task work": 2, "flow nightly": 1}
    (line,) = done.stderr.splitlines()
    assert line.startswith("Spans wait in memory, 16 MB at most, and are lost with the process: This user has no home")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_parent_and_children_each_deliver_their_own_once(receiver, tmp_path, method):
    done = run_program(
        tmp_path,
        f"""
        import multiprocessing

        def child(number):
            nightly(10).execute()

        if __name__ == "__main__":
            context = multiprocessing.get_context({method!r})
            nightly(20).execute()
            children = [context.Process(target=child, args=(number,)) for number in range(3)]
            for process in children:
                process.start()
            nightly(20).execute()
            for process in children:
                process.join()
            print([process.exitcode for process in children])
        """,
        url=receiver.url,
    )

    assert (done.returncode, done.stdout) == (0, "[0, 0, 0]\n"), done.stderr
    assert counts_of(receiver) == {"task work": 70, "flow nightly": 5}


def test_a_child_that_leaves_by_exit_loses_nothing(receiver, tmp_path):
    run_program(
        tmp_path,
        """
        if os.fork() == 0:
            nightly(10).execute()
            os._exit(0)
        os.wait()
        nightly(1).execute()
        """,
        url=receiver.url,
    )
    run_program(tmp_path, "nightly(1).execute()", url=receiver.url)

    assert counts_of(receiver) == {"task work": 12, "flow nightly": 3}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_what_a_child_of_an_ended_processor_writes_is_delivered_also_by_another_processor(receiver, tmp_path):
    text = """
        import os, sys
        from opentelemetry.sdk.trace import TracerProvider
        from otelflow_exporters.spool import SpoolSpanProcessor

        processors = [SpoolSpanProcessor(sys.argv[1], is_shipped=is_shipped) for is_shipped in (False, True)]
        providers = [TracerProvider(shutdown_on_exit=False) for _ in processors]
        for provider, processor in zip(providers, processors):
            provider.add_span_processor(processor)
            processor.shutdown()
        if os.fork() == 0:
            providers[0].get_tracer("program").start_span("of the child").end()
            processors[0]._spool.writer.close()
            is_sent = processors[1].force_flush()
            processors[0]._spool.worker.flush(10)
            print(is_sent, dict(processors[0].dropped), flush=True)
            os._exit(0)
        os.wait()
        """
    path = tmp_path / "program.py"
    path.write_text(source_of(text))

    done = run_python(path, tmp_path / "spool", OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url)

    assert (done.stdout, done.stderr) == ("True {}\n", "")
    assert counts_of(receiver) == {"of the child": 1}


def test_without_a_folder_spans_wait_in_memory_and_that_is_said_once(receiver, tmp_path, caplog):
    place = tmp_path / "file"
    place.write_text("mine")
    processor = SpoolSpanProcessor(place)
    tracer = provider_with(processor)

    for _ in range(600):
        tracer.start_span("kept").end()
    assert processor.force_flush()
    processor.shutdown()

    assert counts_of(receiver) == {"kept": 600}
    assert (processor.dropped, processor.waiting) == ({}, 0)
    (record,) = caplog.records
    assert f"The spool {place} cannot be read" in record.getMessage()
    assert "Spans wait in memory" in record.getMessage()
    assert place.read_text() == "mine"


def test_a_folder_that_cannot_be_used_is_looked_at_once_in_a_while_and_not_for_each_span(
    receiver, tmp_path, monkeypatch
):
    place = tmp_path / "place"
    place.write_text("mine")
    looks, now = [], [1_000.0]
    reached = Folder.reached
    monkeypatch.setattr(Folder, "reached", lambda path, **options: looks.append(path) or reached(path, **options))
    processor = SpoolSpanProcessor(place)
    processor._spool._shipper.delivery.not_before = float("inf")
    tracer = provider_with(processor)
    monkeypatch.setattr("otelflow._core.process.clock.monotonic", lambda: now[0])

    for _ in range(100):
        tracer.start_span("kept").end()
    looks_in_vain = looks.count(place)
    place.unlink()
    now[0] += 2
    tracer.start_span("written").end()

    assert looks_in_vain <= 2, "one look, and one of the thread"
    assert (processor.waiting, len(list(place.glob("*.otlp")))) == (101, 1)
    monkeypatch.undo()
    processor._spool._shipper.delivery.not_before = 0.0
    processor.shutdown()


def test_a_disk_that_fills_up_loses_nothing_while_memory_lasts(receiver, folder, monkeypatch):
    processor = SpoolSpanProcessor(folder)
    tracer = provider_with(processor)
    receiver.status = 503
    tracer.start_span("before").end()
    write = os.write

    def full(descriptor, data):
        if len(data) > 100:
            raise OSError(28, "No space left on device")
        return write(descriptor, data)

    with monkeypatch.context() as patch:
        patch.setattr("otelflow_exporters._store.writer.os.write", full)
        tracer.start_span("during").end()
    tracer.start_span("after").end()
    receiver.requests.clear()
    receiver.status = 200
    processor.shutdown()

    assert counts_of(receiver) == {"before": 1, "during": 1, "after": 1}
    assert processor.dropped == {}


def test_the_oldest_spans_go_first_when_the_budget_is_spent_and_are_counted(folder, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    losses = Counter()
    processor = SpoolSpanProcessor(
        folder, max_bytes=200_000, on_loss=lambda reason, count: losses.update({reason: count})
    )
    tracer = provider_with(processor)

    for _ in range(2_000):
        tracer.start_span("many", attributes={"text": "x" * 200}).end()
    processor.shutdown()

    assert losses == processor.dropped
    assert set(losses) == {"spool_full"}
    assert processor.waiting + losses["spool_full"] == 2_000
    assert sum(file.stat().st_size for file in folder.iterdir()) < 300_000


def test_what_is_under_way_when_the_budget_is_spent_is_not_counted_as_lost_if_it_arrives(receiver, folder, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "60")
    asked, answered = threading.Event(), threading.Event()

    def answer(_):
        asked.set()
        return 200 if answered.wait(60) else 503

    receiver.status = answer
    processor = SpoolSpanProcessor(folder, max_bytes=200_000)
    tracer = provider_with(processor)

    for _ in range(600):
        tracer.start_span("early").end()
    assert asked.wait(60)
    for _ in range(2_000):
        tracer.start_span("many", attributes={"text": "x" * 200}).end()
    lost = processor.dropped["spool_full"]
    answered.set()
    assert processor.force_flush(60_000)
    processor.shutdown()

    arrived = counts_of(receiver)
    assert lost > 0
    assert arrived["early"] > 0
    assert processor.account == (
        "traces", "SpoolSpanProcessor", 2_600, arrived.total(), {"spool_full": 2_600 - arrived.total()}
    )  # fmt: skip


def test_made_is_delivered_and_waiting_and_dropped_while_threads_and_the_endpoint_do_what_they_want(receiver, folder):
    import threading

    answers = itertools.cycle([200, 503, 200, 200, 429])
    accepted = Counter()

    def answer(request):
        spans = spans_of([ExportTraceServiceRequest.FromString(request.body)])
        status = 400 if any(span.name == "bad" for span in spans) else next(answers)
        if status == 200:
            accepted.update(span.span_id for span in spans)
        return status

    receiver.status = answer
    receiver.headers = {"Retry-After": "0.01"}
    processor = SpoolSpanProcessor(folder)
    tracer = provider_with(processor)

    def work():
        for _ in range(500):
            tracer.start_span("made").end()
        tracer.start_span("bad").end()

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    answers = itertools.repeat(200)
    for _ in range(100):
        if processor.force_flush() and not processor.waiting:
            break
        time.sleep(0.05)
    processor.shutdown()

    assert (accepted.total(), len(accepted)) == (3_000, 3_000)
    assert processor.account == Account("traces", "SpoolSpanProcessor", 3_006, 3_000, {"rejected": 6})
    assert processor.dropped == {"rejected": 6}


def test_only_the_folder_is_needed_where_another_process_ships(folder, monkeypatch):
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    processor = SpoolSpanProcessor(folder, is_shipped=False)

    provider_with(processor).start_span("waits").end()

    assert processor.force_flush()
    processor.shutdown()
    assert len(list(folder.glob("*.otlp"))) == 1


def test_a_folder_or_limit_that_cannot_be_used_is_said_at_once(receiver, folder, monkeypatch):
    with pytest.raises(ConfigurationError, match="no path"):
        SpoolSpanProcessor("a\0b")
    for most in (0, -1, 0.5, True, "256 MB"):
        with pytest.raises(ConfigurationError, match="max_bytes must be a whole number above 0, not "):
            SpoolSpanProcessor(folder, max_bytes=most)
    with pytest.raises(ConfigurationError, match=r"exporter must be otlp, .* not 'console'"):
        SpoolSpanProcessor(folder, exporter="console")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "nonsense")
    with pytest.raises(ConfigurationError, match="is no endpoint"):
        SpoolSpanProcessor(folder)


def test_nobody_sees_a_segment_that_is_not_held_yet(folder, monkeypatch):
    from otelflow_exporters._store import writer

    seen = []

    def hold_and_look(descriptor):
        seen.append(sorted(file.name for file in folder.glob("*.otlp") if not file.name.startswith(".")))
        return hold(descriptor)

    hold = writer.hold
    monkeypatch.setattr(writer, "hold", hold_and_look)
    provider_with(SpoolSpanProcessor(folder, is_shipped=False)).start_span("open")

    assert seen == [[]]


def test_a_folder_that_is_replaced_by_another_keeps_no_program_from_its_work(receiver, folder):
    processor = SpoolSpanProcessor(folder)
    tracer = provider_with(processor)
    receiver.status = 503
    tracer.start_span("before").end()
    folder.rename(folder.with_name("elsewhere"))
    folder.mkdir(mode=0o700)
    processor.force_flush()

    receiver.status = 200
    receiver.requests.clear()
    processor._spool._shipper.delivery.not_before = 0.0
    processor.force_flush()
    tracer.start_span("after").end()
    processor.shutdown()

    assert counts_of(receiver) == {"after": 1}
    assert processor.dropped == {"vanished": 1}


@pytest.mark.parametrize("is_later", [False, True])
def test_where_no_file_can_be_made_any_more_everything_is_sent_all_the_same(receiver, folder, monkeypatch, is_later):
    """A disk has room, and no inode for the file that says how far a segment is sent."""
    processor = SpoolSpanProcessor(folder)
    tracer = provider_with(processor)
    if is_later:
        tracer.start_span("made").end()
    open_file = Folder.open

    def refuse(self, name, flags):
        if flags & os.O_CREAT and self.file(name) is None and (is_later or name.endswith(PROGRESS)):
            raise OSError(errno.ENOSPC, "No space left on device")
        return open_file(self, name, flags)

    monkeypatch.setattr(Folder, "open", refuse)
    for _ in range(3 - is_later):
        tracer.start_span("made").end()
    is_flushed = processor.force_flush()
    processor.shutdown()

    assert is_flushed
    assert counts_of(receiver) == {"made": 3}
    assert processor.account == ("traces", "SpoolSpanProcessor", 3, 3, {})
    assert not list(folder.glob("*.otlp*"))


@pytest.mark.parametrize("instead", ["folder of others", "empty folder", "nothing", "link to it", "open to all"])
def test_a_writer_does_not_go_on_in_a_folder_that_was_moved_or_is_not_its_own_any_more(
    receiver, folder, tmp_path, caplog, instead
):
    processor = SpoolSpanProcessor(folder)
    tracer = provider_with(processor)
    receiver.status = 503
    tracer.start_span("before").end()
    processor.force_flush()
    receiver.requests.clear()
    receiver.status = 200
    processor._spool._shipper.try_once_more()
    if instead == "open to all":
        folder.chmod(0o777)
    else:
        folder.rename(tmp_path / "moved")
    if "folder" in instead:
        folder.mkdir(mode=0o700)
    if instead == "folder of others":
        (folder / "mine.txt").write_text("mine")
    elif instead == "link to it":
        folder.symlink_to(tmp_path / "moved")

    processor.force_flush()
    tracer.start_span("after").end()
    processor.force_flush()
    is_said = "Spans wait in memory" in caplog.text
    processor.shutdown()

    is_usable = instead in ("empty folder", "nothing")
    waits = instead in ("link to it", "open to all")
    assert counts_of(receiver) == {"after": 1}
    assert is_said != is_usable
    assert processor.account == ("traces", "SpoolSpanProcessor", 2, 1, {} if waits else {"vanished": 1})


@pytest.mark.parametrize("arrives", [True, False])
def test_what_is_under_way_when_its_folder_goes_is_lost_only_if_it_does_not_arrive(
    receiver, folder, monkeypatch, arrives
):
    monkeypatch.setattr(last_delivery, "_PATIENCE_SECONDS", 0.1)
    is_asked, may_answer = threading.Event(), threading.Event()

    def answer(_):
        is_asked.set()
        may_answer.wait(20)
        return 200 if arrives else 503

    receiver.status = answer
    processor = SpoolSpanProcessor(folder)
    tracer = provider_with(processor)
    for _ in range(3):
        tracer.start_span("made").end()
    processor._spool.worker.wake()
    assert is_asked.wait(20)
    shutil.rmtree(folder)
    processor.shutdown()
    at_the_end = processor.account
    may_answer.set()
    processor._spool.worker.thread.join(20)

    assert (at_the_end.waiting, at_the_end.dropped) == (3, {})
    lost = {} if arrives else {"vanished": 3}
    assert processor.account == ("traces", "SpoolSpanProcessor", 3, 3 if arrives else 0, lost)


@pytest.mark.parametrize("instead", ["link", "file", "nothing", "itself", "link to it", "no right"])
def test_what_is_gone_with_its_folder_is_lost_and_does_not_wait(receiver, folder, tmp_path, instead):
    receiver.status = 503
    processor = SpoolSpanProcessor(folder)
    tracer = provider_with(processor)
    for _ in range(3):
        tracer.start_span("made").end()
    processor.force_flush()
    if instead in ("link", "file", "nothing"):
        shutil.rmtree(folder)
    if instead == "link":
        folder.symlink_to(tmp_path)
    elif instead == "file":
        folder.write_text("mine")
    elif instead == "link to it":
        folder.symlink_to(folder.rename(tmp_path / "moved"))
    elif instead == "no right":
        folder.chmod(0o777)
    processor.shutdown()

    is_gone = instead in ("link", "file", "nothing")
    assert processor.account.dropped == ({"vanished": 3} if is_gone else {})
    assert processor.waiting == (0 if is_gone else 3)


def test_what_another_process_has_sent_is_not_taken_for_lost(receiver, folder):
    receiver.status = 503
    processor = SpoolSpanProcessor(folder, max_bytes=64 * 20_000)
    tracer = provider_with(processor)
    for _ in range(700):
        tracer.start_span("made").end()
    processor.force_flush()
    processor._spool._shipper.delivery.not_before = float("inf")
    receiver.requests.clear()
    receiver.status = 200

    done = run_python("-m", "otelflow", "ship", folder, "--once", OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url)
    delivered = len(receiver.spans)
    processor._spool._shipper.delivery.not_before = 0.0
    processor.force_flush()

    assert done.returncode == 0, done.stderr
    assert delivered > 0
    assert processor.dropped == {}
    assert len({span.span_id for span in receiver.spans}) + processor.waiting >= 700


def test_a_process_whose_spans_another_one_sends_does_not_spin(receiver, folder):
    processor = SpoolSpanProcessor(folder)
    processor._spool._shipper._ship_what_is_there = lambda _folder: Outcome()
    tracer = provider_with(processor)
    for _ in range(600):
        tracer.start_span("waits").end()
    time.sleep(0.2)
    calls = []
    processor._spool._shipper._ship_what_is_there = lambda _folder: calls.append(1) or Outcome()
    time.sleep(1.0)

    assert len(calls) < 10


def test_a_processor_that_is_shut_down_leaves_no_thread_and_no_file_open(folder, monkeypatch):
    import threading

    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    threads, files = threading.active_count(), open_files()

    for _ in range(5):
        processor = SpoolSpanProcessor(folder)
        provider_with(processor).start_span("waits").end()
        processor.shutdown()
        processor._spool.worker.thread.join(10)
        assert not processor._spool.worker.thread.is_alive()

    assert threading.active_count() <= threads
    assert open_files() <= files + 1


def test_spans_in_memory_are_kept_as_bytes(receiver, tmp_path):
    place = tmp_path / "file"
    place.write_text("mine")
    processor = SpoolSpanProcessor(place)
    processor._spool._shipper.delivery.not_before = float("inf")
    tracer = provider_with(processor)

    tracer.start_span("kept").end()

    assert [type(item) for item in processor._spool._memory.take(5)] == [bytes]


def test_own_segments_that_make_room_are_counted_without_being_read(folder, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("otelflow_exporters._spool.removals.read_range", None)
    processor = SpoolSpanProcessor(folder, max_bytes=200_000)
    tracer = provider_with(processor)

    for _ in range(1_000):
        tracer.start_span("many", attributes={"text": "x" * 200}).end()
    processor.shutdown()

    assert processor.dropped["spool_full"] > 0
    assert processor.waiting + processor.dropped["spool_full"] == 1_000


def test_room_is_made_on_a_thread_that_nobody_waits_for_and_the_budget_holds_all_the_same(folder, monkeypatch):
    import threading

    from otelflow_exporters._store import writer

    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    threads, sizes = [], []
    prune = writer.prune

    def prune_and_look(store, *arguments, **options):
        left = prune(store, *arguments, **options)
        threads.append(threading.current_thread().name)
        sizes.append(sum(file.stat().st_size for file in folder.glob("*.otlp")))
        return left

    monkeypatch.setattr(writer, "prune", prune_and_look)
    processor = SpoolSpanProcessor(folder, max_bytes=64 * 20_000)
    tracer = provider_with(processor)
    for _ in range(200):
        for _ in range(20):
            tracer.start_span("many", attributes={"text": "x" * 400}).end()
        deadline = time.monotonic() + 10
        while processor._spool.writer.is_prune_due and time.monotonic() < deadline:
            time.sleep(0.001)  # a program that begins a segment in each moment would be ahead of the thread
    processor.shutdown()

    assert threads.count("otelflow-worker") > len(threads) / 2
    assert max(sizes) <= 64 * 20_000
    assert processor.dropped["spool_full"] > 0
    assert processor.waiting + processor.dropped["spool_full"] == 4_000


def test_the_budget_holds_where_no_thread_makes_room(folder, monkeypatch):
    processor = SpoolSpanProcessor(folder, max_bytes=64 * 10_000, is_shipped=False)
    processor._spool.worker.is_closed = True
    tracer = provider_with(processor)
    largest = 0

    for _ in range(2_000):
        tracer.start_span("many", attributes={"text": "x" * 200}).end()
        largest = max(largest, sum(file.stat().st_size for file in folder.glob("*.otlp")))

    assert 64 * 8_000 < largest <= 64 * 10_000


def test_what_waits_is_never_sent_to_another_endpoint_than_the_one_that_it_waits_for(receiver, tmp_path):
    first = run_program(tmp_path, "nightly(3).execute()", url="http://127.0.0.1:9")
    second = run_program(tmp_path, "nightly(1).execute()", url=receiver.url)

    assert first.returncode == second.returncode == 0
    assert counts_of(receiver) == {"task work": 1, "flow nightly": 1}
    assert f"was made for http://127.0.0.1:9, not for {receiver.url}" in second.stderr
    assert "Spans wait in memory" in second.stderr

    (tmp_path / "spool" / "OTELFLOW_DESTINATION.txt").unlink()
    run_program(tmp_path, "nightly(1).execute()", url=receiver.url)

    assert counts_of(receiver) == {"task work": 1 + 3 + 1, "flow nightly": 3}


def test_a_new_key_is_no_other_destination_and_another_tenant_is(receiver, monkeypatch):
    from otelflow_exporters._spool.destination import destination_of

    def fingerprint(headers):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", headers)
        return destination_of("traces").fingerprint

    assert fingerprint("x-api-key=1234567890") == fingerprint("x-api-key=abcdefghij") == fingerprint("")
    assert fingerprint("x-scope-orgid=a") != fingerprint("x-scope-orgid=b")


def test_two_tenants_that_differ_by_their_keys_alone_send_nothing_of_each_other(receiver, tmp_path):
    unnamed = {"OTELFLOW_SPOOL_DIR": "", "XDG_STATE_HOME": tmp_path}
    first, second = (
        {**unnamed, "OTEL_EXPORTER_OTLP_HEADERS": f"api-key={key}", "OTEL_SERVICE_NAME": key}
        for key in ("first", "second")
    )
    kill = "nightly(1, lambda: os.kill(os.getpid(), signal.SIGKILL)).execute()"
    receiver.status = 503
    run_program(tmp_path, kill, url=receiver.url, **first)
    receiver.status = 200
    receiver.requests.clear()
    run_program(tmp_path, "nightly(1).execute()", url=receiver.url, **second)
    to_it = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url}
    others = run_python("-m", "otelflow", "recover", **to_it, **second)
    keys_before = {request.headers["api-key"] for request in receiver.requests}
    own = run_python("-m", "otelflow", "recover", **to_it, **first)

    assert keys_before == {"second"}
    assert (others.returncode, "was to be sent with another key" in others.stderr) == (1, True)
    assert "first" not in others.stderr
    assert (own.returncode, own.stderr) == (0, "otelflow: 2 spans sent\n")
    assert receiver.requests[-1].headers["api-key"] == "first"


def test_recover_sends_what_waits_in_a_named_spool_beside_those_that_nobody_has_named(receiver, tmp_path):
    beside = {"XDG_STATE_HOME": tmp_path, "OTELFLOW_SPOOL_DIR": tmp_path / "otelflow" / "spool" / "mine"}
    key = {"OTEL_EXPORTER_OTLP_HEADERS": "api-key=first"}
    receiver.status = 503
    killed = "nightly(1, lambda: os.kill(os.getpid(), signal.SIGKILL)).execute()"
    run_program(tmp_path, killed, url=receiver.url, **beside, **key)
    receiver.status = 200
    receiver.requests.clear()

    done = run_python("-m", "otelflow", "recover", OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url, **beside, **key)

    assert (done.returncode, done.stderr) == (0, "otelflow: 2 spans sent\n")
    assert counts_of(receiver) == {"task work": 1, "flow nightly": 1}


def test_in_memory_nothing_is_written_and_who_has_asked_for_it_is_told_nothing(receiver, tmp_path):
    done = run_program(tmp_path, "nightly(20).execute()", url=receiver.url, OTELFLOW_SPOOL="memory", HOME=tmp_path)

    assert counts_of(receiver) == {"task work": 20, "flow nightly": 1}
    assert done.stderr == ""
    assert sorted(file.name for file in tmp_path.iterdir()) == ["program.py"]


def test_in_memory_what_one_refuses_holds_up_no_other_and_is_counted_at_the_end(receiver):
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    from support.receivers import spans_of

    taken = []

    def answer(request):
        names = [span.name for span in spans_of([ExportTraceServiceRequest.FromString(request.body)])]
        if "bad" in names:
            return 500
        taken.extend(names)
        return 200

    receiver.status = answer
    processor = SpoolSpanProcessor(None)
    tracer = provider_with(processor)
    for number in range(40):
        tracer.start_span("bad" if number == 7 else "good").end()
    for _ in range(200):
        if len(taken) == 39:
            break
        processor._spool._shipper.try_once_more()
        processor.force_flush(1_000)
    processor.shutdown()

    assert taken == ["good"] * 39
    assert (processor.dropped, processor.waiting) == ({"shutdown": 1}, 0)


def test_what_waits_in_memory_and_is_refused_holds_up_no_file(receiver, folder):
    def answer(request):
        return 500 if b"refused" in request.body else 200

    receiver.status = answer
    processor = SpoolSpanProcessor(folder)
    tracer = provider_with(processor)
    spool = processor._spool
    spool.keep, kept = spool._keep_in_memory, spool.keep
    spool._write_back = lambda **_: None
    tracer.start_span("refused").end()
    spool.keep = kept
    processor.force_flush()
    is_backing_off = spool._shipper.delivery.records_not_before > time.monotonic()
    tracer.start_span("sent").end()
    is_flushed = processor.force_flush()

    assert is_backing_off
    assert not is_flushed
    assert (processor.waiting, processor.account.delivered) == (1, 1)
    receiver.status = 200
    processor.shutdown()
    assert (processor.waiting, processor.account.delivered) == (0, 2)


def test_without_a_folder_no_other_process_can_ship():
    with pytest.raises(ConfigurationError, match="from a directory only"):
        SpoolSpanProcessor(None, is_shipped=False)


def test_without_a_name_the_folder_is_private_and_one_for_each_destination(receiver, tmp_path):
    for url in (receiver.url, "http://127.0.0.1:9"):
        run_program(
            tmp_path, "nightly(1).execute()",
            url=url, OTELFLOW_SPOOL_DIR="", XDG_STATE_HOME=tmp_path / "state",
        )  # fmt: skip

    folders = list((tmp_path / "state" / "otelflow" / "spool").iterdir())
    assert [stat.S_IMODE(folder.stat().st_mode) for folder in folders] == [0o700, 0o700]
    assert counts_of(receiver) == {"task work": 1, "flow nightly": 1}
    assert sorted(len(list(folder.glob("*.otlp"))) for folder in folders) == [0, 1]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("place", ["memory", "a file"])
def test_a_process_and_all_its_children_warn_once_and_each_tells_of_its_own_losses(tmp_path, place):
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTELFLOW_SPOOL": "memory"}
    if place == "a file":
        (tmp_path / "file").write_text("")
        variables.update(OTELFLOW_SPOOL="on", OTELFLOW_SPOOL_DIR=str(tmp_path / "file"))
    done = python(FORKED, **variables)

    assert done.returncode == 0, done.stderr
    assert done.stderr.count("Spans are lost: shutdown") == 1
    assert done.stderr.count("Spans wait in memory") == (place == "a file")
    assert done.stderr.count("1 made, 0 delivered, 1 lost (1 shutdown)") == 4


# Its limits, and where there is no thread


@pytest.mark.parametrize(
    ("signal", "variables", "interval", "batch"),
    [
        (SPANS, {}, 1.0, 512),
        (SPANS, {"OTEL_BSP_SCHEDULE_DELAY": "200", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "7"}, 0.2, 7),
        (SPANS, {"OTEL_BSP_SCHEDULE_DELAY": "60000"}, 1.0, 512),
        (LOG_RECORDS, {"OTEL_BLRP_SCHEDULE_DELAY": "300", "OTEL_BLRP_MAX_EXPORT_BATCH_SIZE": "9"}, 0.3, 9),
        (LOG_RECORDS, {"OTEL_BSP_SCHEDULE_DELAY": "300"}, 1.0, 512),
        (METRICS, {"OTEL_BSP_SCHEDULE_DELAY": "300"}, 1.0, 1),
    ],
)
def test_the_variables_of_each_signal_are_in_force_and_a_sign_of_life_comes_each_second(
    receiver, folder, monkeypatch, signal, variables, interval, batch
):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    spool = Spool(signal, folder, owner=signal)

    assert (spool.worker._interval, spool._batch_size) == (interval, batch)


def test_what_has_only_started_is_no_span_that_can_be_lost(receiver, folder, caplog):
    processor = SpoolSpanProcessor(folder, is_shipped=False)
    processor._spool.worker.is_closed = True
    tracer = provider_with(processor)
    spans = [tracer.start_span("open") for _ in range(5)]
    for span in spans[:2]:
        span.end()
    shutil.rmtree(folder)
    folder.mkdir()
    open_store(folder, is_made=True, kind="spool").close()
    processor._spool._ship()

    assert (processor.dropped, processor.waiting) == ({"vanished": 2}, 0)
    assert processor.account == ("traces", "SpoolSpanProcessor", 2, 0, {"vanished": 2})
    processor.shutdown()


@pytest.fixture
def no_thread(monkeypatch):
    """No thread can be had, as at the very end of a process."""
    monkeypatch.setattr("otelflow._core.process.worker.Worker.start_thread", lambda _: False)


@pytest.mark.parametrize("is_in_memory", [False, True])
@pytest.mark.parametrize("end", ["flush", "shutdown"])
def test_without_a_thread_a_flush_and_the_end_send_everything_themselves(
    receiver, folder, monkeypatch, no_thread, is_in_memory, end
):
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4")
    processor = SpoolSpanProcessor(None if is_in_memory else folder)
    tracer = provider_with(processor)
    for _ in range(10):
        tracer.start_span("sent").end()
    waiting = processor.waiting

    if end == "flush":
        assert processor.force_flush()
        assert [len(spans_of([request])) for request in receiver.trace_requests] == [4, 4, 2]
    processor.shutdown()

    assert (waiting, processor.waiting, processor.dropped) == (10, 0, {})
    assert counts_of(receiver) == {"sent": 10}


def test_without_a_thread_a_flush_says_that_the_endpoint_takes_nothing(receiver, folder, no_thread):
    receiver.status = 503
    processor = SpoolSpanProcessor(folder)
    provider_with(processor).start_span("waits").end()

    assert not processor.force_flush()
    assert processor.waiting == 1
    receiver.requests.clear()
    receiver.status = 200
    processor.shutdown()
    assert counts_of(receiver) == {"waits": 1}


def test_without_a_thread_a_flush_keeps_its_time_limit(receiver, folder, monkeypatch, no_thread):
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1")
    processor = SpoolSpanProcessor(folder)
    tracer = provider_with(processor)
    for _ in range(10):
        tracer.start_span("sent").end()

    assert not processor.force_flush(0)
    assert processor.waiting == 9
    processor.shutdown()
    assert counts_of(receiver) == {"sent": 10}


@pytest.mark.parametrize("is_taken", [True, False])
def test_a_flush_after_the_end_waits_for_nobody(receiver, folder, is_taken):
    receiver.status = 200 if is_taken else 503
    processor = SpoolSpanProcessor(folder)
    provider_with(processor).start_span("ended").end()
    processor.shutdown()
    answers = []
    flush = threading.Thread(target=lambda: answers.append(processor.force_flush(60_000)), daemon=True)
    flush.start()
    flush.join(30)

    assert answers == [is_taken]


def test_times_that_no_system_knows_are_very_long_ones(receiver, folder, monkeypatch):
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", str(2**63))
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1e300")
    processor = SpoolSpanProcessor(folder)
    provider_with(processor).start_span("sent").end()

    assert processor.force_flush(2**63)
    processor.shutdown()
    assert counts_of(receiver) == {"sent": 1}


def test_a_flush_fails_while_something_waits_beside_the_rest(receiver, folder):
    receiver.status = lambda request: 403
    processor = SpoolSpanProcessor(folder)
    provider_with(processor).start_span("waits").end()
    refused = processor.force_flush()
    receiver.status = 200
    processor.shutdown()

    assert refused is False
    assert (processor.waiting, processor.dropped) == (0, {})


def test_what_goes_wrong_while_it_is_read_is_said_and_tried_again_later(receiver, folder, caplog, monkeypatch):
    now = [1_000.0]
    monkeypatch.setattr("otelflow._core.process.clock.monotonic", lambda: now[0])
    processor = SpoolSpanProcessor(folder)
    spool = processor._spool
    spool.worker.is_closed = True
    provider_with(processor).start_span("sent").end()
    asked = []

    def broken():
        asked.append(now[0])
        raise ZeroDivisionError("odd")

    with monkeypatch.context() as patch:
        patch.setattr(spool._shipper, "ship", broken)
        is_more = spool._ship()
    not_before = spool._shipper.delivery.not_before
    too_early = spool._ship()
    now[0] += 61
    while spool._ship():
        pass

    assert (is_more, too_early, asked, not_before) == (False, False, [1_000.0], 1_060.0)
    assert [record.getMessage() for record in caplog.records] == [
        f"The spool {folder} could not be read further; it is tried again"
    ]
    assert counts_of(receiver) == {"sent": 1}
    processor.shutdown()


def test_what_an_endpoint_rejects_of_what_it_takes_is_lost_and_the_rest_is_delivered(receiver, folder, monkeypatch):
    for directory in (folder, None):
        with monkeypatch.context() as patch:
            patch.setattr("otelflow_exporters._otlp.sender._HttpSender.send", reject_one)
            processor = SpoolSpanProcessor(directory)
            tracer = provider_with(processor)
            for _ in range(3):
                tracer.start_span("sent").end()
            processor.force_flush()
            processor.shutdown()

        assert processor.account == ("traces", "SpoolSpanProcessor", 3, 2, {"rejected": 1})


def reject_one(sender, _body):
    sender.status.reset()
    sender.status.rejected = 1


@pytest.mark.parametrize("is_in_memory", [False, True])
def test_a_batch_is_sent_as_soon_as_it_is_full(receiver, folder, monkeypatch, is_in_memory):
    monkeypatch.setattr("otelflow_exporters._spool.spool._SIGN_SECONDS", 600.0)
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "600000")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "3")
    processor = SpoolSpanProcessor(None if is_in_memory else folder)
    tracer = provider_with(processor)
    for _ in range(2):
        tracer.start_span("sent").end()
    early = counts_of(receiver)
    tracer.start_span("sent").end()
    deadline = time.monotonic() + 30
    while not receiver.spans and time.monotonic() < deadline:
        time.sleep(0.02)
    full = counts_of(receiver)
    processor.shutdown()

    assert (early, full) == ({}, {"sent": 3})


@pytest.mark.parametrize("is_in_memory", [False, True])
def test_when_everything_has_arrived_the_end_leaves_no_thread(receiver, folder, is_in_memory):
    processor = SpoolSpanProcessor(None if is_in_memory else folder)
    provider_with(processor).start_span("sent").end()
    processor.shutdown()
    thread = processor._spool.worker.thread
    thread.join(20)

    assert not thread.is_alive()
    assert counts_of(receiver) == {"sent": 1}


def test_what_memory_has_no_room_for_is_lost_and_counted(receiver, monkeypatch):
    monkeypatch.setattr("otelflow_exporters._spool.memory.LARGEST_MEMORY", 3_000)
    processor = SpoolSpanProcessor(None)
    processor._spool.worker.is_closed = True
    tracer = provider_with(processor)
    for _ in range(20):
        tracer.start_span("span", attributes={"text": "x" * 500}).end()
    kept = len(processor._spool._memory)
    processor._spool.worker.is_closed = False
    processor.shutdown()

    assert 0 < kept < 10
    assert processor.account == ("traces", "SpoolSpanProcessor", 20, kept, {"spool_full": 20 - kept})
    assert counts_of(receiver) == {"span": kept}


LIMITED = """
    import resource, sys
    from opentelemetry.sdk.trace import TracerProvider
    from otelflow_exporters.spool import SpoolSpanProcessor

    for most in range(20_000, 20_050, 10):
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
        processor = SpoolSpanProcessor(f"{sys.argv[1]}/{most}", is_shipped=False)
        provider = TracerProvider()
        provider.add_span_processor(processor)
        tracer = provider.get_tracer("program")
        flow = tracer.start_span("flow")
        for number in range(600):
            tracer.start_span("task", attributes={"text": "x" * (number % 40)}).end()
        flow.end()
        provider.shutdown()
        print(processor.waiting)
    """


@pytest.mark.skipif(os.name == "nt", reason="no ulimit there")
def test_where_no_file_may_be_large_each_segment_has_its_end_and_no_run_is_taken_for_lost(folder):
    done = run_python("-c", source_of(LIMITED), folder)
    contents = [path.read_bytes() for path in folder.glob("*/*.otlp")]

    assert (done.returncode, done.stdout) == (0, "601\n" * 5), done.stderr
    assert len(contents) > 25
    assert all(content.endswith(CLOSED) for content in contents)


def test_of_a_segment_that_makes_room_what_was_sent_is_not_lost(receiver, folder, monkeypatch):
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4")
    processor = SpoolSpanProcessor(folder)
    spool = processor._spool
    spool.worker.is_closed = True
    tracer = provider_with(processor)
    for _ in range(10):
        tracer.start_span("span").end()
    spool._ship()
    with open_store(folder, kind="spool") as store:
        (file,) = segment_files(store)
        spool._count_removed(store, file)
    spool.deferred.tell()

    assert processor.account == ("traces", "SpoolSpanProcessor", 10, 4, {"spool_full": 6})
    processor.shutdown()


def test_what_makes_room_of_an_earlier_process_with_the_same_number_is_lost(folder, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    earlier = SpoolSpanProcessor(folder)
    tracer = provider_with(earlier)
    for _ in range(3):
        tracer.start_span("waits").end()
    earlier.shutdown()
    processor = SpoolSpanProcessor(folder)
    with open_store(folder, kind="spool") as store:
        (file,) = segment_files(store)
        processor._spool._count_removed(store, file)
    processor._spool.deferred.tell()

    assert (earlier.waiting, processor.dropped, processor.account.total) == (3, {"spool_full": 3}, 0)
    processor.shutdown()


@pytest.mark.parametrize("is_shipped", [True, False])
def test_two_spools_of_one_process_on_one_folder_take_nothing_of_each_other_for_lost(receiver, folder, is_shipped):
    first, second = SpoolSpanProcessor(folder), SpoolSpanProcessor(folder, is_shipped=is_shipped)
    tracers = [provider_with(processor) for processor in (first, second)]
    for number in range(40):
        for tracer in tracers:
            tracer.start_span(f"span {number}").end()
        for processor in (first, second):
            processor._spool.writer.close()  # what has ended anybody may send
    assert all(processor.force_flush(30_000) for processor in (first, second))
    wait_until(lambda: not first.waiting and not second.waiting)

    assert [processor.account for processor in (first, second)] == [("traces", "SpoolSpanProcessor", 40, 40, {})] * 2
    assert set(counts_of(receiver).values()) == {2}
    for processor in (first, second):
        processor.shutdown()


def test_what_many_others_have_left_is_sent_at_once_and_not_one_piece_each_second(receiver, folder):
    for number in range(60):
        left = SpoolSpanProcessor(folder, is_shipped=False)
        provider_with(left).start_span(f"left {number}").end()
        left.shutdown()
    processor = SpoolSpanProcessor(folder)
    provider_with(processor).start_span("own").end()
    wait_until(lambda: len(receiver.spans) == 61)

    assert sorted(counts_of(receiver).values()) == [1] * 61
    processor.shutdown()


def test_what_makes_room_of_another_spool_of_this_process_is_counted_by_that_alone(folder, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    first, second = SpoolSpanProcessor(folder), SpoolSpanProcessor(folder, is_shipped=False)
    for _ in range(3):
        provider_with(second).start_span("waits").end()
    second._spool.writer.close()
    with open_store(folder, kind="spool") as store:
        (file,) = segment_files(store)
        first._spool._count_removed(store, file)
        store.remove(file.name)
    first._spool.deferred.tell()
    wait_until(lambda: not second.waiting)

    assert (dict(first.dropped), dict(second.dropped)) == ({}, {"vanished": 3})
    assert second.account == ("traces", "SpoolSpanProcessor", 3, 0, {"vanished": 3})
    for processor in (first, second):
        processor.shutdown()


@pytest.mark.parametrize(
    ("moment", "account"),
    [
        ("encoding", (2, 1, {"interrupted": 1})),
        ("before", (2, 1, {"interrupted": 1})),
        ("after", (2, 2, {})),
    ],
)
def test_a_span_that_ctrl_c_interrupts_is_lost_or_delivered_and_never_waits(
    receiver, folder, monkeypatch, moment, account
):
    processor = SpoolSpanProcessor(folder)
    tracer = provider_with(processor)
    tracer.start_span("whole").end()
    span = tracer.start_span("interrupted")
    real = os.write

    def interrupted(*arguments):
        if moment == "after":
            real(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if moment == "encoding":
            patch.setattr("otelflow_exporters.spool.encode_span", interrupted)
        else:
            patch.setattr("otelflow_exporters._store.writer.os.write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            span.end()
    assert processor.force_flush()
    processor.shutdown()

    assert processor.account == ("traces", "SpoolSpanProcessor", *account)
    assert sum(counts_of(receiver).values()) == account[1]


# How long a flush waits


@pytest.mark.parametrize(("seconds", "sent"), [(2.0, 3), (2.5, 3)])
def test_without_a_thread_a_flush_ends_with_the_batch_in_which_its_time_is_over(
    receiver, folder, monkeypatch, no_thread, seconds, sent
):
    now = [1_000.0]
    monkeypatch.setattr("otelflow._core.process.clock.monotonic", lambda: now[0])
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1")
    processor = SpoolSpanProcessor(folder)
    tracer = provider_with(processor)
    for _ in range(6):
        tracer.start_span("sent").end()

    def answer(_request):
        now[0] += 1
        return 200

    receiver.status = answer
    is_done = processor.force_flush(round(seconds * 1_000))
    waiting = processor.waiting
    receiver.status = 200
    processor.shutdown()

    assert (is_done, waiting) == (False, 6 - sent)


def test_a_flush_takes_as_long_as_it_was_given(receiver, folder, monkeypatch):
    processor = SpoolSpanProcessor(folder)
    given = []
    with monkeypatch.context() as patch:
        patch.setattr(processor._spool.worker, "flush", lambda seconds: given.append(seconds) or True)
        processor.force_flush(2_500)
    processor.shutdown()

    assert given == [2.5]


# What is kept, and where


def test_the_largest_item_is_one_record_that_a_reader_takes(folder):
    spool = Spool(SPANS, folder, owner=SPANS, is_shipped=False)
    largest = 16 * 1024 * 1024 - 16
    sizes = [len(spool.encoded(bytes, size)) for size in (largest, largest + 1)]

    assert sizes == [largest, 0]
    assert spool.dropped == {"too_large": 1}


def test_a_disk_that_was_full_is_tried_with_the_next_span(receiver, folder, monkeypatch):
    processor = SpoolSpanProcessor(folder)
    processor._spool._shipper.delivery.not_before = float("inf")
    tracer = provider_with(processor)
    tracer.start_span("before").end()

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("otelflow_exporters._store.writer.os.write", full)
        span = tracer.start_span("during")
        span.end()
    tracer.start_span("after").end()
    written = b"".join(path.read_bytes() for path in folder.glob("*.otlp"))
    processor._spool._shipper.delivery.not_before = 0.0
    processor.shutdown()

    assert (b"during" in written, b"after" in written) == (False, True)
    assert counts_of(receiver) == {"before": 1, "during": 1, "after": 1}


def test_a_time_limit_of_the_program_that_comes_while_it_writes_comes_out_and_is_no_fault_of_the_folder(
    receiver, folder, monkeypatch
):
    class SoftTimeLimitExceeded(OSError):
        """As Celery raises it in the middle of whatever a task does, but an OSError."""

    processor = SpoolSpanProcessor(folder)
    processor._spool._shipper.delivery.not_before = float("inf")
    tracer = provider_with(processor)
    span = tracer.start_span("limited")

    def limited(*_):
        raise SoftTimeLimitExceeded

    with monkeypatch.context() as patch:
        patch.setattr("otelflow_exporters._store.writer.os.write", limited)
        with pytest.raises(SoftTimeLimitExceeded):
            span.end()
    tracer.start_span("after").end()
    written = b"".join(path.read_bytes() for path in folder.glob("*.otlp"))
    processor._spool._shipper.delivery.not_before = 0.0
    processor.shutdown()

    assert b"after" in written
    assert processor.account == ("traces", "SpoolSpanProcessor", 2, 1, {"interrupted": 1})


def test_a_child_of_a_process_that_has_shut_down_delivers_its_own(receiver, folder, monkeypatch):
    processor = SpoolSpanProcessor(folder)
    tracer = provider_with(processor)
    processor.shutdown()
    monkeypatch.setattr(forks.fork, "process_id", 0)  # as in a child of which nobody has told Python
    monkeypatch.setattr(forks.fork, "page", forks._EMPTY)
    forks.notice()
    tracer.start_span("of the child").end()

    assert processor._spool.worker.thread is not None, "it sends without being asked for"
    assert processor.force_flush(20_000)
    assert counts_of(receiver) == {"of the child": 1}
    processor.shutdown()


def test_an_item_that_cannot_be_encoded_is_lost_and_the_log_says_why(receiver, folder, caplog):
    def odd():
        raise ZeroDivisionError("of its text")

    spool = Spool(SPANS, folder, owner=SPANS)
    body = spool.encoded(odd)
    spool.deferred.tell()
    spool.shutdown()

    assert (body, spool.dropped, spool.account.dropped) == (b"", {"encoding_failed": 1}, {"encoding_failed": 1})
    assert "Spans are lost: encoding_failed" in caplog.text
    assert "ZeroDivisionError: of its text" in caplog.text


def test_what_is_gone_with_its_folder_at_the_end_is_lost_also_where_another_process_sends(folder):
    processor = SpoolSpanProcessor(folder, is_shipped=False)
    tracer = provider_with(processor)
    for _ in range(3):
        tracer.start_span("gone").end()
    shutil.rmtree(folder)
    processor.shutdown()

    assert processor.account == ("traces", "SpoolSpanProcessor", 3, 0, {"vanished": 3})
    assert processor.waiting == 0
