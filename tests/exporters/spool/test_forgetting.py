"""Log records that wait in a spool can be forgotten, while their program goes on."""

import pytest
from opentelemetry._logs import LogRecord
from opentelemetry.proto.logs.v1.logs_pb2 import LogsData
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

from otelflow.errors import StoreUnreadable
from otelflow_exporters._spool.batches import CLOSED, read_range
from otelflow_exporters._spool.forgetting import forget_log_records
from otelflow_exporters._spool.log_records import SpoolLogRecordProcessor
from otelflow_exporters._spool.signals import LOG_RECORDS
from otelflow_exporters._store.limits import Limits
from otelflow_exporters._store.ownership import open_store, segment_files
from otelflow_exporters._store.records import framed
from otelflow_exporters._store.writer import SegmentWriter


@pytest.fixture
def say(tmp_path, monkeypatch):
    """Return what logs a text in the trace with a number; nobody listens where the records are to be sent."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    processor = SpoolLogRecordProcessor(tmp_path / "spool" / "logs")
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(processor)
    logger = provider.get_logger("scope")

    def say(trace, text):
        span = NonRecordingSpan(SpanContext(trace, 1, is_remote=False, trace_flags=TraceFlags(1)))
        logger.emit(LogRecord(timestamp=1, body=text, context=set_span_in_context(span)))

    yield say
    processor.shutdown()


def of_trace(number):
    return lambda record: record.trace_id == number.to_bytes(16, "big")


def test_records_of_one_trace_are_erased_and_their_program_goes_on(say, tmp_path):
    for number in range(6):
        say(number % 2 + 1, f"line {number}")
    (segment,) = (tmp_path / "spool" / "logs").glob("*.otlp")
    size = segment.stat().st_size

    count = forget_log_records(tmp_path / "spool", of_trace(2))
    again = forget_log_records(tmp_path / "spool", of_trace(2))
    say(2, "later")
    later = forget_log_records(tmp_path / "spool", of_trace(2))

    assert (count, again, later) == (3, 0, 1)
    content = segment.read_bytes()
    assert [text for text in (b"line 0", b"line 1", b"line 2", b"line 3", b"later") if text in content] == [
        b"line 0",
        b"line 2",
    ]
    assert size < len(content)


def test_what_is_damaged_and_what_is_not_there_is_no_trouble(say, tmp_path):
    say(1, "first")
    (segment,) = (tmp_path / "spool" / "logs").glob("*.otlp")
    with segment.open("ab") as file:
        file.write(b"\x05half")
    say(1, "second")

    assert forget_log_records(tmp_path / "none", of_trace(1)) == 0
    assert forget_log_records(tmp_path / "spool", of_trace(1)) == 2


def test_a_folder_of_others_is_refused(tmp_path):
    (tmp_path / "logs").mkdir(mode=0o700)
    (tmp_path / "logs" / "mine.txt").write_text("mine")

    with pytest.raises(StoreUnreadable, match="holds files of others"):
        forget_log_records(tmp_path, of_trace(1))

    assert (tmp_path / "logs" / "mine.txt").read_text() == "mine"


def test_of_records_that_lie_together_only_those_that_are_meant_are_erased(tmp_path):
    logs = LogsData()
    scopes = [logs.resource_logs.add().scope_logs.add() for _ in range(2)]
    for number in range(6):
        record = scopes[number // 3].log_records.add(trace_id=bytes(15) + bytes([number % 2 + 1]))
        record.body.string_value = f"line {number}"
    writer = SegmentWriter(
        tmp_path / "logs", Limits(), kind="spool", first_records=lambda: LOG_RECORDS.first_records, last_record=CLOSED
    )
    writer.append(framed(logs.SerializeToString()), 6)
    writer.close()

    counts = [forget_log_records(tmp_path, of_trace(number)) for number in (2, 2)]
    (segment,) = (tmp_path / "logs").glob("*.otlp")
    some_left = segment.read_bytes()
    with open_store(tmp_path / "logs", kind="spool") as folder:
        (file,) = segment_files(folder)
        items = read_range(folder, file.name, LOG_RECORDS.read, 0, file.size)
    counts += [forget_log_records(tmp_path, of_trace(number)) for number in (1, 1)]
    none_left = segment.read_bytes()

    assert counts == [3, 0, 3, 0]
    assert [f"line {number}".encode() in some_left for number in range(6)] == [True, False] * 3
    assert sum(item.spans for item in items) == 3
    assert b"line" not in none_left
    assert len(some_left) == len(none_left)
