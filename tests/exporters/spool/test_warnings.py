"""What the log says of a spool: each thing once, in words, with the place and the reason."""

from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from otelflow.errors import StoreUnreadable
from otelflow_exporters._spool.signals import LOG_RECORDS, SPANS
from otelflow_exporters._spool.warnings import Warnings
from otelflow_exporters.spool import SpoolSpanProcessor
from support.spools import provider_with


@pytest.fixture
def said():
    """What a spool has said."""
    return []


def warnings_of(said, signal=SPANS, directory=Path("/spool")):
    return Warnings(signal, directory, None, lambda text, *args, **_: said.append(text % args))


@pytest.mark.parametrize("is_in_memory", [False, True])
@pytest.mark.parametrize(
    ("rejected", "said"), [(1, "Spans are lost: rejected ({url}: bad ids;"), (0, "{url} says: bad ids")]
)
def test_what_an_endpoint_says_of_what_it_takes_is_repeated_once(
    receiver, folder, caplog, is_in_memory, rejected, said
):
    answer = ExportTraceServiceResponse()
    answer.partial_success.rejected_spans, answer.partial_success.error_message = rejected, "bad ids"
    receiver.body = answer.SerializeToString()
    processor = SpoolSpanProcessor(None if is_in_memory else folder)
    tracer = provider_with(processor)
    for _ in range(2):
        tracer.start_span("sent").end()
        processor.force_flush()
    processor.shutdown()

    (record,) = caplog.records
    assert record.getMessage().startswith(said.format(url=f"{receiver.url}/v1/traces"))


def test_why_items_wait_in_memory_is_said_once(said):
    for _ in range(2):
        warnings_of(said).memory_is_used(OSError(28, "No space left on device"))
        warnings_of(said, LOG_RECORDS).memory_is_used(StoreUnreadable("The spool /spool belongs to another user"))
    warnings = warnings_of(said)
    for _ in range(2):
        warnings.memory_is_used(OSError(28, "No space left on device"))

    where = "wait in memory, 16 MB at most, until there is room, and are lost with the process: the spool takes none:"
    assert said[:2] == [
        f"Spans {where} /spool: [Errno 28] No space left on device (said once)",
        f"Log records {where} The spool /spool belongs to another user (said once)",
    ]
    assert len(said) == 5


def test_each_reason_of_a_loss_is_said_once(said):
    warnings = warnings_of(said)
    for reason in ("spool_full", "too_large", "spool_full"):
        warnings.are_lost(reason, None)

    assert said == [
        "Spans are lost: spool_full (/spool; said once for each reason)",
        "Spans are lost: too_large (/spool; said once for each reason)",
    ]


def test_what_is_left_at_the_end_is_said_with_its_number(said):
    warnings_of(said).left(1, "")
    warnings_of(said, LOG_RECORDS).left(1_000, "http://collector (timed out)")

    rest = "the next process that uses it, or 'otelflow ship', sends what waits"
    assert said == [
        f"1 span waits in the spool /spool: {rest}",
        f"1,000 log records wait in the spool /spool for http://collector (timed out): {rest}",
    ]
