"""How the record of each signal is read."""

import pytest
from opentelemetry.proto.logs.v1.logs_pb2 import LogsData, ScopeLogs
from opentelemetry.proto.metrics.v1.metrics_pb2 import MetricsData

from otelflow_exporters._spool.signals import LOG_RECORDS, METRICS, SIGNALS, SPANS
from otelflow_exporters._store.ownership import INNER_SPOOLS
from otelflow_exporters._store.records import CHECKSUM_BYTES, note


def logs_with(*counts):
    """Return log records: so many in each scope, each scope in a resource of its own."""
    data = LogsData()
    for count in counts:
        scope = data.resource_logs.add(schema_url="https://r").scope_logs.add(schema_url="https://s")
        scope.scope.name = f"of {count}"
        for number in range(count):
            scope.log_records.add().body.string_value = f"{count} {number}"
    return data


def metrics_with(*counts):
    data = MetricsData()
    for count in counts:
        scope = data.resource_metrics.add().scope_metrics.add()
        for number in range(count):
            scope.metrics.add(name=f"{count}_{number}")
    return data


def test_each_log_record_of_a_body_is_one_item_with_its_resource_and_scope():
    data = logs_with(2, 1)

    item = LOG_RECORDS.read(data.SerializeToString(), 77)

    assert (item.end, item.spans, len(item.parts)) == (77, 3, 3)
    scopes = [ScopeLogs.FromString(part.scope[0] + part.spans + part.scope[1]) for part in item.parts]
    assert [(scope.scope.name, scope.log_records[0].body.string_value, scope.schema_url) for scope in scopes] == [
        ("of 2", "2 0", "https://s"),
        ("of 2", "2 1", "https://s"),
        ("of 1", "1 0", "https://s"),
    ]


def test_the_metrics_of_a_body_are_one_item():
    item = METRICS.read(metrics_with(2, 1).SerializeToString(), 5)

    assert (item.end, item.spans, len(item.parts)) == (5, 1, 3)


@pytest.mark.parametrize("signal", [LOG_RECORDS, METRICS])
def test_what_a_segment_begins_with_is_no_item_of_its_signal(signal):
    (body,) = signal.first_records
    item = signal.read(body[1:-CHECKSUM_BYTES], 9)  # the first byte is its length

    assert body == note(signal.name.encode())
    assert (item.end, item.parts, item.spans) == (9, [], 0)


@pytest.mark.parametrize("signal", [LOG_RECORDS, METRICS])
@pytest.mark.parametrize("body", [b"", b"\xff\xff", b"\x0a\x00"], ids=["nothing", "no protobuf", "a resource alone"])
def test_what_holds_nothing_of_a_signal_is_none(signal, body):
    assert signal.read(body, len(body)) is None


def test_each_signal_is_called_as_in_otlp_and_goes_by_its_own_variables():
    words = [(signal.name, signal.item, signal.batch, signal.delay) for signal in (SPANS, METRICS, LOG_RECORDS)]

    assert words == [
        ("traces", "span", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "OTEL_BSP_SCHEDULE_DELAY"),
        ("metrics", "metrics report", "", ""),
        ("logs", "log record", "OTEL_BLRP_MAX_EXPORT_BATCH_SIZE", "OTEL_BLRP_SCHEDULE_DELAY"),
    ]
    assert [signal.has_runs for signal in (SPANS, METRICS, LOG_RECORDS)] == [True, False, False]


def test_each_signal_waits_in_a_folder_that_a_spool_may_have():
    assert len({signal.folder for signal in SIGNALS}) == len(SIGNALS)
    assert {signal.folder for signal in SIGNALS if signal.folder} == INNER_SPOOLS
    assert SPANS.folder == ""
