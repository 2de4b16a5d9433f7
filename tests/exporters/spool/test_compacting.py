"""A segment that waits long is written anew, smaller, with the same spans."""

import contextlib
import errno
import multiprocessing
import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, LogsData, ResourceLogs, ScopeLogs
from opentelemetry.proto.metrics.v1.metrics_pb2 import MetricsData
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

from otelflow._core.process import clock
from otelflow._core.process.files import Folder, hold
from otelflow_exporters._otlp.encoder import encode_span
from otelflow_exporters._otlp.sender import new_sender
from otelflow_exporters._spool.batches import CLOSED, item_of, lost_spans, request_of, start_record
from otelflow_exporters._spool.claims import take_claim
from otelflow_exporters._spool.compacting import Compactor, compacted, rewrite
from otelflow_exporters._spool.shipper import Shipper
from otelflow_exporters._spool.signals import LOG_RECORDS, METRICS, SPANS
from otelflow_exporters._store.forgetting import Forgotten, forget_spans
from otelflow_exporters._store.limits import Limits
from otelflow_exporters._store.ownership import open_store, segment_files
from otelflow_exporters._store.records import Segment, framed, is_segment
from otelflow_exporters._store.records import spans_of as spans_of_traces
from otelflow_exporters._store.writer import SegmentWriter
from otelflow_exporters.spool import SpoolSpanProcessor
from support.receivers import spans_of
from support.spools import counts_of, ended, provider_with, record_of

TRACERS = [
    TracerProvider(resource=Resource({"service.name": service}), shutdown_on_exit=False).get_tracer(scope)
    for service, scope in (("shop", "a"), ("shop", "b"), ("mail", "a"))
]


# Nobody else removes segments
NOBODY = contextlib.nullcontext()


def segment_of(*runs):
    """Return what a program has written that has had *runs*: for each the number of its tracer, and its name."""
    content = b""
    for tracer, name in runs:
        span = TRACERS[tracer].start_span(name, attributes={"long": "x" * 50})
        content += start_record(encode_span(span))
        span.end()
        content += framed(encode_span(span))
    return content + CLOSED


def spans_in(content):
    """Return each span that is to be sent of *content*, with its resource and scope."""
    bodies = [content[start:fields_end] for _, start, fields_end, _ in Segment(content).bodies()]
    requests = [ExportTraceServiceRequest.FromString(request_of([item_of(body, 0)])) for body in bodies]
    return sorted(
        (span.SerializeToString(), scope.scope.name, part.resource.SerializeToString())
        for request in requests
        for part in request.resource_spans
        for scope in part.scope_spans
        for span in scope.spans
    )


@given(st.lists(st.tuples(st.integers(0, 2), st.text("abc", max_size=5)), max_size=80))
def test_the_same_spans_are_in_it_with_their_resources_and_scopes(runs):
    content = segment_of(*runs)

    small = compacted(content, SPANS)

    assert spans_in(small) == spans_in(content)
    assert len(spans_in(small)) == len(runs)
    assert is_segment(small)
    assert lost_spans(small, 0) == []


def test_many_spans_take_half_of_the_bytes_and_less():
    content = segment_of(*((0, f"task {number}") for number in range(1_000)))

    small = compacted(content, SPANS)

    assert len(small) < 0.5 * len(content)
    sizes = {item_of(small[start:fields_end], 0).spans for _, start, fields_end, _ in Segment(small).bodies()}
    assert max(sizes) == 32


@pytest.mark.parametrize("fault", ["lost", "damaged", "unknown"])
def test_what_cannot_be_written_anew_without_a_loss_stays_as_it_is(fault):
    content = segment_of((0, "a"), (0, "b"))
    broken = {
        "lost": content.removesuffix(CLOSED),
        "damaged": content[:300] + b"?" + content[301:],
        "unknown": framed(b"\x0a\x00") + content,
    }

    assert compacted(content, SPANS)
    assert compacted(broken[fault], SPANS) == b""


def test_log_records_stay_known_as_such():
    logs = [
        LogsData(resource_logs=[ResourceLogs(scope_logs=[ScopeLogs(log_records=[LogRecord(time_unix_nano=number)])])])
        for number in range(1, 51)
    ]
    content = b"".join([*LOG_RECORDS.first_records, *(framed(data.SerializeToString()) for data in logs), CLOSED])

    small = compacted(content, LOG_RECORDS)

    assert small.startswith(LOG_RECORDS.first_records[0])
    assert is_segment(small)
    items = [LOG_RECORDS.read(small[start:fields_end], 0) for _, start, fields_end, _ in Segment(small).bodies()]
    request = ExportLogsServiceRequest.FromString(request_of(items))
    records = request.resource_logs[0].scope_logs[0].log_records
    assert sorted(record.time_unix_nano for record in records) == list(range(1, 51))


def test_its_time_is_that_of_the_older_one(tmp_path):
    path = tmp_path / "a.otlp"
    path.write_bytes(segment_of(*((0, "task") for _ in range(50))))
    os.utime(path, (1_000, 1_000))

    with Folder(tmp_path) as folder:
        is_smaller = [rewrite(folder, folder.file("a.otlp"), SPANS, NOBODY) for _ in range(2)]

    assert is_smaller == [True, False]
    assert path.stat().st_mtime == 1_000
    assert [item.name for item in tmp_path.iterdir()] == ["a.otlp"]
    assert len(spans_in(path.read_bytes())) == 50


def test_where_nothing_can_be_written_it_stays_as_it_is(tmp_path, monkeypatch):
    path = tmp_path / "a.otlp"
    content = segment_of(*((0, "task") for _ in range(50)))
    path.write_bytes(content)

    def full(*_args, **_options):
        raise OSError("no space left on device")

    with Folder(tmp_path) as folder:
        monkeypatch.setattr(folder, "rename", full)
        assert not rewrite(folder, folder.file("a.otlp"), SPANS, NOBODY)

    assert path.read_bytes() == content
    assert [item.name for item in tmp_path.iterdir()] == ["a.otlp"]


def compact_and_die(path):
    """Be killed when the segment is written anew, and has not got its name yet."""
    with open_store(path, kind="spool") as folder:
        folder.rename = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        (file,) = segment_files(folder)
        rewrite(folder, file, SPANS, NOBODY)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork")
def test_what_is_left_of_a_process_that_was_killed_meanwhile_goes_and_each_span_arrives_once(
    receiver, folder, monkeypatch
):
    processor = SpoolSpanProcessor(folder, is_shipped=False)
    tracer = provider_with(processor)
    for _ in range(50):
        tracer.start_span("a task").end()
    processor.shutdown()
    child = multiprocessing.get_context("fork").Process(target=compact_and_die, args=(folder,))
    child.start()
    child.join(60)
    part = next(path.name for path in folder.iterdir() if path.name.startswith("."))
    lefts = []
    for hours in (0, 1):
        monkeypatch.setattr(clock, "time", lambda hours=hours: time.time() + 3_600 * hours)
        shipper = Shipper(folder, new_sender("traces"), batch_size=512, on_loss=lambda *_: None)
        while shipper.ship().is_more:
            pass
        shipper.close()
        lefts.append((folder / part).exists())

    assert child.exitcode == -signal.SIGKILL
    assert lefts == [True, False]
    assert counts_of(receiver) == {"a task": 50}
    assert not list(folder.glob("*.otlp*"))


def test_what_is_removed_meanwhile_does_not_come_back(tmp_path):
    path = tmp_path / "a.otlp"
    path.write_bytes(segment_of(*((0, "task") for _ in range(50))))

    @contextlib.contextmanager
    def pruning():
        path.unlink()  # by who has held it
        yield

    with Folder(tmp_path) as folder:
        assert not rewrite(folder, folder.file("a.otlp"), SPANS, pruning())

    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other locks")
def test_what_is_forgotten_while_a_segment_is_written_anew_does_not_come_back(tmp_path, monkeypatch):
    path = tmp_path / "20270115T080000.000000Z-4194305-0123abcd.otlp"
    with open_store(tmp_path, is_made=True, kind="spool") as folder:
        path.write_bytes(segment_of(*((0, f"task {number}") for number in range(50))))
        file = folder.file(path.name)
        records = Segment(path.read_bytes()).records()
        spans = [span for record in records for span in spans_of_traces(record.traces)]
        trace_id = spans[7].trace_id
        forgotten = []
        forgetting = threading.Thread(target=lambda: forgotten.append(forget_spans(folder, [file], {trace_id})))
        real = folder.rename

        def rename(name, new_name):
            forgetting.start()
            forgetting.join(0.5)  # in that time it would be done, if it did not wait
            real(name, new_name)

        monkeypatch.setattr(folder, "rename", rename)
        is_smaller = rewrite(folder, file, SPANS, NOBODY)
        forgetting.join(30)

    assert (is_smaller, forgotten) == (True, [Forgotten(1, 1)])
    assert trace_id not in path.read_bytes()
    assert len(spans_in(path.read_bytes())) == 49


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other locks")
def test_a_segment_that_is_written_on_is_not_written_anew(tmp_path):
    path = tmp_path / "a.otlp"
    path.write_bytes(segment_of(*((0, "task") for _ in range(50))))
    with Folder(tmp_path) as folder, path.open("rb") as held:
        assert hold(held.fileno())

        assert not rewrite(folder, folder.file("a.otlp"), SPANS, NOBODY)


def test_a_request_of_what_lies_together_has_each_span_once():
    small = compacted(segment_of(*((0, f"task {number}") for number in range(40))), SPANS)
    items = [item_of(small[start:fields_end], 0) for _, start, fields_end, _ in Segment(small).bodies()]

    request = ExportTraceServiceRequest.FromString(request_of(items))

    assert [span.name for span in spans_of([request])] == [f"task {number}" for number in range(40)]


# Of whom


@pytest.fixture
def spool(tmp_path):
    """A spool with five segments of this process, the last of which goes on, and its writer."""
    writer = SegmentWriter(tmp_path / "spool", Limits(), kind="spool", last_record=CLOSED)
    for number in range(5):
        for _ in range(40):
            writer.append(record_of(ended(f"s{number}")), 1)
        if number < 4:
            writer.close()
    yield writer
    writer.close()


def made_smaller(directory, compactor):
    """Return which segments *compactor* has made smaller."""
    paths = sorted(directory.glob("*.otlp"))
    before = [path.stat().st_size for path in paths]
    compactor.make_room(directory, 1)
    return [path.stat().st_size < size for path, size in zip(paths, before, strict=True)]


def test_segments_of_the_living_and_of_the_dead_make_room_two_at_a_time_and_one_that_is_written_does_not(
    spool, tmp_path
):
    first = min((tmp_path / "spool").glob("*.otlp"))
    first.rename(first.with_name(f"20200101T000000.000000Z-{2**22 + 5}-0123abcd.otlp"))
    compactor = Compactor(SPANS, NOBODY)

    steps = [made_smaller(tmp_path / "spool", compactor) for _ in range(3)]

    assert steps == [[True, True, False, False, False], [False, False, True, True, False], [False] * 5]


def test_without_locks_nobody_knows_who_is_sending_and_nothing_is_written_anew(spool, tmp_path, monkeypatch):
    def flock(*_):
        raise OSError(errno.ENOLCK, "no locks")

    first = min((tmp_path / "spool").glob("*.otlp"))
    first.rename(first.with_name(f"20200101T000000.000000Z-{2**22 + 5}-0123abcd.otlp"))
    monkeypatch.setattr("otelflow._core.process.files.fcntl.flock", flock)

    assert made_smaller(tmp_path / "spool", Compactor(SPANS, NOBODY)) == [False] * 5


def test_a_child_that_was_forked_meanwhile_keeps_no_segment_from_being_sent(spool, tmp_path, monkeypatch):
    children = []

    def fork_before(*arguments):
        child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,), daemon=True)
        child.start()
        children.append(child)
        return compacted(*arguments)

    monkeypatch.setattr("otelflow_exporters._spool.compacting.compacted", fork_before)
    smaller = made_smaller(tmp_path / "spool", Compactor(SPANS, NOBODY))
    with open_store(tmp_path / "spool", kind="spool") as folder:
        claims = [take_claim(folder, folder.file(path.name)) for path in sorted(folder.path.glob("*.otlp"))]
    for child in children:
        child.kill()
        child.join(10)

    assert smaller == [True, True, False, False, False]
    assert None not in claims
    for claim in claims:
        claim.release()


def test_nothing_is_written_anew_while_there_is_room(spool, tmp_path):
    paths = list((tmp_path / "spool").glob("*.otlp"))
    total = sum(path.stat().st_size for path in paths)

    Compactor(SPANS, NOBODY).make_room(tmp_path / "spool", total)

    assert sum(path.stat().st_size for path in paths) == total
    Compactor(SPANS, NOBODY).make_room(None, 1)
    Compactor(SPANS, NOBODY).make_room(tmp_path / "nothing", 1)


def test_many_segments_are_written_anew_with_few_open_files(tmp_path):
    writer = SegmentWriter(tmp_path / "spool", Limits(), kind="spool", last_record=CLOSED)
    record = record_of(ended("s"))
    for _ in range(60):
        for _ in range(5):
            writer.append(record, 1)
        writer.close()
    compactor = Compactor(SPANS, NOBODY)
    opened = len(list(Path("/dev/fd").iterdir()))

    steps = [made_smaller(tmp_path / "spool", compactor) for _ in range(30)]

    assert sum(map(sum, steps)) == 60
    assert len(list(Path("/dev/fd").iterdir())) == opened


def test_reports_of_metrics_stay_as_they_were_written(tmp_path):
    writer = SegmentWriter(
        tmp_path, Limits(), kind="spool", first_records=lambda: METRICS.first_records, last_record=CLOSED
    )
    for number in range(40):
        data = MetricsData()
        resource_metrics = data.resource_metrics.add()
        resource_metrics.resource.attributes.add(key="service.name").value.string_value = "shop" * 20
        resource_metrics.scope_metrics.add().metrics.add(name=f"m{number}")
        writer.append(framed(data.SerializeToString()), 1)
    writer.close()

    assert made_smaller(tmp_path, Compactor(METRICS, NOBODY)) == [False]


def test_a_program_that_does_not_send_makes_room_in_its_spool(folder):
    processor = SpoolSpanProcessor(folder, max_bytes=640_000, is_shipped=False)
    tracer = provider_with(processor)
    for _ in range(1_300):  # more than the folder takes as they are written first
        tracer.start_span("a task", attributes={"text": "x" * 100}).end()
        processor._spool._tidy()
    processor.shutdown()

    assert processor.dropped == {}
    spans = [span for path in folder.glob("*.otlp") for span in spans_in(path.read_bytes())]
    assert len(spans) == 1_300


def test_ship_makes_room_for_programs_that_have_ended(folder, tmp_path, monkeypatch):
    from otelflow._cli import ship as module

    processor = SpoolSpanProcessor(folder, max_bytes=64 * 20_000, is_shipped=False)
    tracer = provider_with(processor)
    for _ in range(200):
        tracer.start_span("a task").end()
    processor.shutdown()
    paths = sorted(folder.glob("*.otlp"))
    before = [path.stat().st_size for path in paths]
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(module, "Limits", lambda: Limits(max_bytes=2))

    shipping = module._Shipping(SPANS, folder)
    shipping.ship()
    shipping.end()

    smaller = [path.stat().st_size < size for path, size in zip(paths, before, strict=True)]
    assert len(before) > 2
    assert smaller == [True, True] + [False] * (len(before) - 2)
