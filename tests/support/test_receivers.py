import urllib.request

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from support.receivers import GrpcReceiver, OtlpReceiver, Receiver, get


@pytest.mark.parametrize(("module", "kind", "path"), [("http", OtlpReceiver, "/v1/traces"), ("grpc", GrpcReceiver, "")])
def test_an_otlp_receiver_reads_what_the_sdk_exports(module, kind, path):
    exporters = pytest.importorskip(f"opentelemetry.exporter.otlp.proto.{module}.trace_exporter")
    keywords = {"compression": exporters.Compression.Gzip} if module == "http" else {"insecure": True}

    with kind() as receiver:
        provider = TracerProvider(resource=Resource({"service.name": "shop"}), shutdown_on_exit=False)
        exporter = exporters.OTLPSpanExporter(endpoint=receiver.url + path, **keywords)
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        provider.get_tracer("test").start_span("one").end()
        provider.shutdown()

    assert [span.name for span in receiver.spans] == ["one"]
    assert receiver.services == {"shop"}


def test_a_receiver_answers_as_it_is_told_and_keeps_what_it_got():
    with Receiver() as receiver:
        receiver.status = lambda request: 409 if request.path == "/no" else 201
        answers = [_post(f"{receiver.url}{path}") for path in ("/yes", "/no")]

    assert answers == [201, 409]
    assert [(request.path, request.body) for request in receiver.requests] == [("/yes", b"body"), ("/no", b"body")]


def _post(url):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, data=b"body", timeout=10) as answer:
            return answer.status
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code


def test_a_refusal_is_an_answer_to_a_get():
    with Receiver() as receiver:
        assert get(receiver.url, Accept="text/plain") == (501, get(receiver.url)[1])
