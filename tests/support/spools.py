"""Programs whose spans wait in a spool, and what has arrived of them."""

from collections import Counter

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider

from otelflow_exporters._otlp.encoder import encode_span
from otelflow_exporters._otlp.endpoint import ExportStatus
from otelflow_exporters._store.records import framed
from support.programs import run_python, source_of
from support.receivers import spans_of

PROGRAM = """
    import json, os, signal, sys, time
    import otelflow

    otelflow.configure(service_name="spooling")

    @otelflow.task
    def work(number):
        return number

    @otelflow.flow
    def nightly(count, end=lambda: None):
        for number in range(count):
            work(number)
        end()
    """


def provider_with(processor, **options):
    provider = TracerProvider(shutdown_on_exit=False, **options)
    provider.add_span_processor(processor)
    return provider.get_tracer("program")


def run_program(tmp_path, *parts, url, **variables):
    path = tmp_path / "program.py"
    path.write_text(source_of(PROGRAM, *parts))
    return run_python(
        path,
        cwd=tmp_path,
        **{"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTELFLOW_SPOOL_DIR": tmp_path / "spool", **variables},
    )


def counts_of(receiver):
    return Counter(span.name for span in receiver.spans)


def distinct(receiver):
    """Count each span once: a batch may come twice when its answer met a process that was killed."""
    return Counter({span.span_id: span.name for span in receiver.spans}.values())


TRACER = TracerProvider(shutdown_on_exit=False).get_tracer("program", "1.0")


def started(name):
    return TRACER.start_span(name)


def ended(name):
    span = started(name)
    span.end()
    return span


def record_of(span):
    return framed(encode_span(span))


class Endpoint:
    """A sender whose endpoint takes what ``refuses`` does not name."""

    def __init__(self):
        self.status = ExportStatus("http://endpoint")
        self.retry_after = 0.0
        self.requests = []
        self.refuses = lambda names: None
        self.rejected = 0  # of each request that it takes
        self.asked = []  # the names in each request

    def send(self, body):
        self.status.reset()
        self.status.rejected = self.rejected
        request = ExportTraceServiceRequest.FromString(body)
        names = [span.name for span in spans_of([request])]
        self.asked.append(names)
        reason = self.refuses(names)
        if reason is None:
            self.requests.append(request)
        else:
            self.status.is_refused, self.status.reason = True, reason
            self.status.is_for_good = reason == "bad"

    def close(self):
        pass

    @property
    def names(self):
        return [span.name for span in spans_of(self.requests)]


def refusing(endpoint, *bad):
    """Let *endpoint* refuse what holds one of the *bad* spans, and say that it takes others."""

    def refuses(batch):
        if not {*bad} & {*batch}:
            return None
        endpoint.status.may_take_others = True
        return "HTTP 403"

    endpoint.refuses = refuses
