"""Measure the CPU that a delivered span costs: ``python tests/benchmarks/delivered.py [--rounds N] [--spans N]``.

Each program runs in a process of its own, makes spans in a loop, and sends all of them to a collector in another one.
Its CPU, that of its threads included, from the first span to the end of the last delivery, is divided by the spans
that arrived. No queue is too short: what loses spans would be cheap. logfire, fastotel and ddtrace are there if they
are installed; ddtrace speaks with an agent in a protocol of its own.
"""

import argparse
import contextlib
import importlib.util
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from collectors import Collector

BY_HAND, SPOOL, QUEUE = "by hand", "otelflow, spool", "otelflow, queue"
#: What is measured, and the package that it needs
SUBJECTS = {
    BY_HAND: "opentelemetry",
    SPOOL: "otelflow",
    QUEUE: "otelflow",
    "logfire": "logfire",
    "fastotel": "fastotel",
    "ddtrace": "ddtrace",
}
SECONDS = 300

PROGRAM = """
import sys, time
from peers import plain, task_by_hand

how, count, url = sys.argv[1], int(sys.argv[2]), sys.argv[3]

def spans_of(tracer):
    call = task_by_hand(tracer)
    with tracer.start_as_current_span("flow around"):
        for number in range(count):
            call(number)

def with_sdk(processor):
    from opentelemetry.sdk.trace import TracerProvider
    provider = TracerProvider()
    provider.add_span_processor(processor)
    return lambda: spans_of(provider.get_tracer("benchmark")), provider.shutdown

def subject():
    if how == "by hand":
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        return with_sdk(BatchSpanProcessor(OTLPSpanExporter(), max_queue_size=count + 512))
    if how == "fastotel":
        import fastotel
        return with_sdk(fastotel.OTLPSpanProcessor(max_queue_size=count + 512))
    if how == "logfire":
        import logfire
        logfire.configure(send_to_logfire=False, console=False, inspect_arguments=False)
        @logfire.instrument("add")
        def add(number):
            return plain(number)
        def around():
            with logfire.span("around"):
                for number in range(count):
                    add(number)
        return around, logfire.shutdown
    if how == "ddtrace":
        from ddtrace.trace import tracer
        add = tracer.wrap("add")(plain)
        def around():
            with tracer.trace("around"):
                for number in range(count):
                    add(number)
        return around, tracer.shutdown
    import otelflow
    telemetry = otelflow.configure(service_name="delivered")
    @otelflow.task
    def add(number):
        return plain(number)
    @otelflow.flow
    def around():
        for number in range(count):
            add(number)
    return lambda: around().execute(), telemetry.shutdown

run, end = subject()
began = time.process_time()
run()
end()
print(time.process_time() - began, flush=True)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="samples of each figure (5)")
    parser.add_argument("--spans", type=int, default=20_000, help="in each sample (20,000)")
    options = parser.parse_args()
    samples: dict[str, list[tuple[float, float]]] = {
        how: [] for how, package in SUBJECTS.items() if importlib.util.find_spec(package) is not None
    }
    for number in range(options.rounds):
        for how in samples if number % 2 == 0 else reversed(samples):
            samples[how].append(measured(how, options.spans))
    base = [micros for micros, _ in samples[BY_HAND]]
    for how, figures in samples.items():
        micros = [each for each, _ in figures]
        ratio = statistics.median(each / by_hand for each, by_hand in zip(micros, base, strict=True))
        spread = f"{min(micros):.1f} to {max(micros):.1f}"
        arrived = statistics.median(share for _, share in figures)
        sys.stdout.write(
            f"{how:<16}{statistics.median(micros):7.1f} µs  ({spread})  of by hand {ratio:.2f}  arrived {arrived:.4f}\n"
        )


def measured(how: str, count: int) -> tuple[float, float]:
    """Return the microseconds of CPU per span that arrived, and which share of the spans arrived."""
    with Collector() as collector, environment(how, collector.url) as variables:
        command = [sys.executable, "-c", PROGRAM, how, str(count), collector.url]
        done = subprocess.run(
            command,
            env=variables,
            stdout=subprocess.PIPE,
            text=True,
            timeout=SECONDS,
            check=True,
        )
        arrived = collector.arrivals()["spans"]
    return 1e6 * float(done.stdout.splitlines()[-1]) / max(arrived, 1), arrived / (count + 1)


@contextlib.contextmanager
def environment(how: str, url: str) -> Iterator[dict[str, str]]:
    """Yield the variables with which a program sends to *url*, and nowhere else."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL", "TRACE", "DD_"))}
    variables |= {"OTEL_EXPORTER_OTLP_ENDPOINT": url, "PYTHONPATH": str(Path(__file__).parent)}
    variables |= {"DD_TRACE_AGENT_URL": url, "DD_INSTRUMENTATION_TELEMETRY_ENABLED": "false"}
    variables |= {"DD_REMOTE_CONFIGURATION_ENABLED": "false", "DD_TRACE_API_VERSION": "v0.4"}
    variables["DD_TRACE_WRITER_BUFFER_SIZE_BYTES"] = str(1 << 30)
    with tempfile.TemporaryDirectory() as folder:
        variables |= {"OTELFLOW_SPOOL_DIR": f"{folder}/spool"} if how == SPOOL else {"OTELFLOW_SPOOL": "off"}
        yield variables


if __name__ == "__main__":
    main()
