"""Programs whose spans wait in a spool, and what has arrived of them."""

from collections import Counter

from opentelemetry.sdk.trace import TracerProvider

from support.programs import run_python, source_of

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
