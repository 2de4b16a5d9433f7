"""What an OTLP endpoint answers: half of it thrown away, a refusal, nothing at all, over real sockets."""

import logging
import socket

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

from otelflow._core.process import losses, settings
from otelflow._telemetry.batches import BoundedBatchSpanProcessor
from otelflow._telemetry.logs import BoundedBatchLogRecordProcessor
from otelflow.metrics._counts import Aggregator
from otelflow.metrics._outputs.otlp import Otlp
from otelflow_exporters._otlp.endpoint import new_exporter
from support.receivers import GrpcReceiver, Receiver


@pytest.fixture(autouse=True)
def dropped(monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    return losses.dropped


@pytest.fixture
def collector(monkeypatch):
    """An HTTP server on loopback that answers with its ``status``, ``content_type`` and ``body``."""

    with Receiver() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
        yield receiver


def partial(rejected, message):
    answer = ExportTraceServiceResponse()
    answer.partial_success.rejected_spans = rejected
    answer.partial_success.error_message = message
    return answer


def deliver_spans(count, name="otlp"):
    """Deliver *count* spans and return whether the flush says that all arrived."""
    exporter, answer = new_exporter("traces", name)
    processor = BoundedBatchSpanProcessor(exporter, answer=answer)
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(processor)
    tracer = provider.get_tracer("test")
    for number in range(count):
        tracer.start_span(str(number)).end()
    has_arrived = processor.force_flush(20_000)
    processor.shutdown()
    return has_arrived


def warnings(caplog):
    return [record.getMessage() for record in caplog.records if record.name == "otelflow"]


def test_spans_that_a_collector_rejects_from_a_batch_it_accepts_are_lost_and_it_says_why(collector, dropped, caplog):
    collector.body = partial(3, "attribute too long").SerializeToString()

    with caplog.at_level(logging.WARNING, logger="otelflow"):
        arrived = [deliver_spans(5), deliver_spans(5)]

    assert arrived == [False, False]
    assert dropped == {("traces", "rejected"): 6}
    assert warnings(caplog) == [
        f"OTLPSpanExporter delivered to {collector.url}, which rejected some of it (attribute too long): spans are lost"
    ]


def test_a_collector_cannot_reject_more_than_it_got(collector, dropped):
    collector.body = partial(1_000, "").SerializeToString()

    assert deliver_spans(5) is False
    assert dropped == {("traces", "rejected"): 5}


def test_a_collector_that_warns_and_rejects_nothing_is_repeated_and_nothing_is_lost(collector, dropped, caplog):
    collector.body = partial(0, "old schema").SerializeToString()

    with caplog.at_level(logging.WARNING, logger="otelflow"):
        has_arrived = deliver_spans(5)

    assert has_arrived
    assert not dropped
    assert warnings(caplog) == [f"OTLPSpanExporter: {collector.url} says: old schema"]


@pytest.mark.parametrize(("content_type", "body"), [("text/plain", b"OK"), ("application/x-protobuf", b"\xff\xff")])
def test_an_answer_that_says_nothing_readable_is_a_delivery(collector, dropped, caplog, content_type, body):
    collector.content_type, collector.body = content_type, body

    with caplog.at_level(logging.WARNING, logger="otelflow"):
        has_arrived = deliver_spans(5)

    assert has_arrived
    assert not dropped
    assert warnings(caplog) == []


def test_log_records_and_metrics_that_are_rejected_are_counted_too(collector, dropped, caplog):
    logs = ExportLogsServiceResponse()
    logs.partial_success.rejected_log_records = 1
    metrics = ExportMetricsServiceResponse()
    metrics.partial_success.rejected_data_points = 2
    exporter, answer = new_exporter("logs", "otlp")
    processor = BoundedBatchLogRecordProcessor(exporter, answer=answer)
    collector.body = logs.SerializeToString()
    emit(processor, 4)

    has_arrived = processor.force_flush(20_000)
    processor.shutdown()
    collector.body = metrics.SerializeToString()
    settings.configure(spool="off")
    Otlp(Resource({"service.name": "shop"})).open(Aggregator()).close()

    assert not has_arrived
    assert dropped["logs", "rejected"] == 1
    assert dropped["metrics", "rejected"] >= 2


def emit(processor, count):
    from opentelemetry._logs import LogRecord
    from opentelemetry.sdk._logs import LoggerProvider

    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(processor)
    for number in range(count):
        provider.get_logger("test").emit(LogRecord(body=str(number)))


@pytest.fixture
def grpc_collector(monkeypatch):
    """A gRPC server on loopback that answers with ``answer``, or aborts with ``code``."""
    pytest.importorskip("grpc")
    with GrpcReceiver() as receiver:
        receiver.details = "no spans today"
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
        yield receiver


def test_a_partial_success_over_grpc_is_heard(grpc_collector, dropped, caplog):
    grpc_collector.answer = partial(2, "too old")

    with caplog.at_level(logging.WARNING, logger="otelflow"):
        has_arrived = deliver_spans(5)

    assert not has_arrived
    assert dropped == {("traces", "rejected"): 2}
    assert warnings(caplog) == [
        f"OTLPSpanExporter delivered to {grpc_collector.url}, which rejected some of it (too old): spans are lost"
    ]


def test_a_refusal_over_grpc_is_named_with_its_code(grpc_collector, dropped, caplog):
    import grpc

    grpc_collector.code = grpc.StatusCode.PERMISSION_DENIED

    with caplog.at_level(logging.WARNING, logger="otelflow"):
        deliver_spans(5)

    assert dropped == {("traces", "export_failed"): 5}
    (warning,) = warnings(caplog)
    assert f"could not deliver to {grpc_collector.url} (gRPC PERMISSION_DENIED: no spans today): spans are" in warning


def test_a_grpc_exporter_that_connects_again_is_still_listened_to(grpc_collector, dropped):
    exporter, answer = new_exporter("traces", "otlp")
    grpc_collector.answer = partial(2, "too old")

    exporter._initialize_channel_and_stub()  # what it does by itself after UNAVAILABLE
    exporter.export([])
    exporter.shutdown()

    assert (answer.rejected, answer.message) == (2, "too old")


def test_an_exporter_of_an_unknown_make_goes_without(monkeypatch):
    grpc_exporters = pytest.importorskip("opentelemetry.exporter.otlp.proto.grpc.trace_exporter")

    class Unknown:
        def __init__(self, **_):
            """Has no stub."""

    monkeypatch.setattr(grpc_exporters, "OTLPSpanExporter", Unknown)
    exporter, answer = new_exporter("traces", "otlp_proto_grpc")

    assert type(exporter) is Unknown
    assert (answer.rejected, answer.reason) == (0, "")


@pytest.mark.parametrize(
    ("server", "name"),
    [
        ("collector", "half a character \ud83d"),
        ("grpc_collector", "half a character \ud83d"),
        ("grpc_collector", "x" * 5_000_000),
    ],
    ids=["http-bad", "grpc-bad", "grpc-large"],
)
def test_a_span_that_the_real_exporter_cannot_send_costs_itself_only(request, dropped, monkeypatch, server, name):
    """Some versions of the exporter raise then, others log it and send nothing."""
    request.getfixturevalue(server)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "20")  # on a busy machine the refusal takes longer than usual
    exporter, answer = new_exporter("traces", "otlp")
    processor = BoundedBatchSpanProcessor(exporter, answer=answer)
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(processor)
    for number in range(40):
        provider.get_tracer("test").start_span(name if number == 17 else str(number)).end()

    assert not processor.force_flush(20_000)
    processor.shutdown()

    assert dropped == {("traces", "export_failed"): 1}


@pytest.mark.parametrize(("status", "said"), [(401, "HTTP 401 Unauthorized"), (302, "HTTP 302 Found")])
def test_a_refusal_is_named_with_its_status(collector, dropped, caplog, status, said):
    collector.status = status

    with caplog.at_level(logging.WARNING, logger="otelflow"):
        has_arrived = deliver_spans(5)

    assert not has_arrived
    assert dropped == {("traces", "export_failed"): 5}
    assert warnings(caplog) == [
        f"OTLPSpanExporter could not deliver to {collector.url} ({said}): spans are lost; 'otelflow doctor' looks at it"
    ]


def test_an_endpoint_that_never_answers_timed_out(monkeypatch, dropped, caplog):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)

        with caplog.at_level(logging.WARNING, logger="otelflow"):
            deliver_spans(5)

    assert f"could not deliver to {url} (timed out): spans are lost" in warnings(caplog)[0]


def test_a_password_in_the_endpoint_is_not_said(monkeypatch, caplog):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://me:hunter2@127.0.0.1:9")

    with caplog.at_level(logging.WARNING, logger="otelflow"):
        deliver_spans(1)

    assert "127.0.0.1:9" in warnings(caplog)[0]
    assert "hunter2" not in warnings(caplog)[0]


def test_an_exporter_without_endpoint_is_not_asked_for_one(dropped, caplog):
    class Disk:
        def export(self, spans):
            return None

        def force_flush(self, timeout_millis):
            return True

        def shutdown(self):
            """Nothing to do."""

    processor = BoundedBatchSpanProcessor(Disk())
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(processor)

    with caplog.at_level(logging.WARNING, logger="otelflow"):
        provider.get_tracer("test").start_span("one").end()
        processor.shutdown()

    assert warnings(caplog) == ["Disk could not deliver: spans are lost"]


def test_metrics_that_do_not_arrive_are_said_with_endpoint_and_reason(collector, dropped, caplog):
    collector.status = 404
    settings.configure(spool="off")

    with caplog.at_level(logging.WARNING, logger="otelflow"):
        Otlp(Resource({"service.name": "shop"})).open(Aggregator()).close()

    assert dropped["metrics", "export_failed"] >= 1
    (warning,) = warnings(caplog)
    assert f"(ConnectionError: {collector.url} (HTTP 404 Not Found); 'otelflow doctor' looks at it)" in warning
