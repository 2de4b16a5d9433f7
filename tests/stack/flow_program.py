"""Run one flow whose spans go to the Collector, and print what it recorded: one JSON object per span."""

import json

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from recording import as_recorded

from otelflow import flow, task


@task
def price(article):
    print(f"the price of {article}")
    return 7


@task(raise_on_error=False)
def reserve(article):
    raise LookupError(f"no {article} left")


@flow
def order(article):
    reserve(article)
    return price(article)


recorded = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(recorded))
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
trace.set_tracer_provider(provider)

order("tea").run()
provider.shutdown()

for span in recorded.get_finished_spans():
    print("SPAN " + json.dumps(as_recorded(span)))
