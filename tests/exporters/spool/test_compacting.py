"""A segment that waits long is written anew, smaller, with the same spans."""

import contextlib
import os
import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, LogsData, ResourceLogs, ScopeLogs
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

from otelflow._core.process.files import Folder, hold
from otelflow_exporters._otlp.encoder import encode_span
from otelflow_exporters._spool.batches import CLOSED, item_of, lost_spans, request_of, start_record
from otelflow_exporters._spool.compacting import compact, compacted
from otelflow_exporters._spool.signals import LOG_RECORDS, SPANS
from otelflow_exporters._store.forgetting import Forgotten, forget_spans
from otelflow_exporters._store.ownership import open_store
from otelflow_exporters._store.records import Segment, framed, is_segment
from otelflow_exporters._store.records import spans_of as spans_of_traces
from support.receivers import spans_of

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
        is_smaller = [compact(folder, folder.file("a.otlp"), SPANS, NOBODY) for _ in range(2)]

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
        assert not compact(folder, folder.file("a.otlp"), SPANS, NOBODY)

    assert path.read_bytes() == content
    assert [item.name for item in tmp_path.iterdir()] == ["a.otlp"]


def test_what_is_removed_meanwhile_does_not_come_back(tmp_path):
    path = tmp_path / "a.otlp"
    path.write_bytes(segment_of(*((0, "task") for _ in range(50))))

    @contextlib.contextmanager
    def pruning():
        path.unlink()  # by who has held it
        yield

    with Folder(tmp_path) as folder:
        assert not compact(folder, folder.file("a.otlp"), SPANS, pruning())

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
        is_smaller = compact(folder, file, SPANS, NOBODY)
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

        assert not compact(folder, folder.file("a.otlp"), SPANS, NOBODY)


def test_a_request_of_what_lies_together_has_each_span_once():
    small = compacted(segment_of(*((0, f"task {number}") for number in range(40))), SPANS)
    items = [item_of(small[start:fields_end], 0) for _, start, fields_end, _ in Segment(small).bodies()]

    request = ExportTraceServiceRequest.FromString(request_of(items))

    assert [span.name for span in spans_of([request])] == [f"task {number}" for number in range(40)]
