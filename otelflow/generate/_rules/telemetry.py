"""The alerts about telemetry itself: what is lost on its way, and which program is down."""

from collections.abc import Iterator
from typing import Final

from otelflow import semconv
from otelflow.generate._promql import one_of, selector
from otelflow.generate._rules.alert import JOB, Alert, Program, Scenario, series


def _grown(counter: str, labels: str) -> str:
    """Return what each process counted in the last 15 minutes, also one that is new and begins above 0."""
    # A process that was there in the last day is not new: it was Prometheus that was away.
    new = f"({counter} unless max_over_time({counter}[1d] offset 15m))"
    return f"sum by ({labels}) ({new} or increase({counter}[15m])) > 0\n"


def _dropped(signal: str, reason: str = "queue_full", **labels: str) -> str:
    return series(semconv.TELEMETRY_DROPPED, signal=signal, reason=reason, **labels)


#: What programs lose
PROGRAMS: Final = (
    Alert(
        "FlowTelemetryDropped",
        _grown(semconv.TELEMETRY_DROPPED, "job, signal, reason"),
        lasts="",
        severity="ticket",
        summary="{{ $labels.job }} loses telemetry ({{ $labels.signal }}: {{ $labels.reason }}).",
        description="About {{ $value | humanize }} items in the last 15 minutes never arrived.",
        runbook="Run otelflow doctor beside the application: the Collector is unreachable, or more is sent "
        "than the queue holds.",
        scenarios=(
            Scenario(
                "when something is lost, once, also by a program that is new; not for losses of long ago",
                "1m",
                {
                    _dropped("traces"): "0x20 5x40",
                    _dropped("metrics", reason="export_failed"): "3x60",
                    _dropped("logs"): "_x19 2x41",
                    _dropped("messages"): "0x60",
                },
                {"18m": (), "25m": ("logs", "traces"), "50m": ()},
                "signal",
            ),
            Scenario(
                "when a new process loses something beside an old one; not because Prometheus itself was away",
                "1m",
                {
                    _dropped("traces", instance="old"): "0x120",
                    _dropped("traces", instance="new"): "_x60 500x60",
                    _dropped("logs"): "3x60 _x25 3x35",
                },
                {"59m": (), "65m": ("traces",), "90m": (), "110m": ()},
                "signal",
            ),
        ),
    ),
    Alert(
        "FlowListenerFails",
        _grown(semconv.LISTENER_ERRORS, "job, listener"),
        lasts="",
        severity="ticket",
        summary="Listener {{ $labels.listener }} of {{ $labels.job }} raises errors.",
        description="Runs are not affected; what the listener should have done about {{ $value | humanize }} events "
        "is missing.",
        runbook="Read the application's log for the listener's traceback; remove or repair the listener.",
        scenarios=(
            Scenario(
                "when a listener raises; not while it does not",
                "1m",
                {
                    series(semconv.LISTENER_ERRORS, listener="Audit"): "0x20 1x40",
                    series(semconv.LISTENER_ERRORS, listener="Quiet"): "0x60",
                },
                {"18m": (), "25m": ("Audit",), "50m": ()},
                "listener",
            ),
        ),
    ),
)


def _up(job: str, values: str, instance: str = "a:8888") -> dict[str, str]:
    return {series("up", job=job, instance=instance): values}


def targets(program: Program) -> Iterator[Alert]:
    """Yield the alerts that Prometheus does not reach a target, or that the Pushgateway refuses a push.

    Prometheus may ask others, too: these alerts speak of the pipeline, and of whoever has shown metrics of flows.
    """
    yield target_down(program)
    if program.pipeline:
        yield collector_missing(program)
    yield push_refused()


def target_down(program: Program) -> Alert:
    """Return the alert that Prometheus does not reach one of the pipeline, or who has shown metrics of flows."""
    pipeline, shop, others = one_of(program.pipeline, "job"), program.job(JOB), program.job("others")
    seen = series(semconv.BUILD_INFO, job=shop, instance="a:8888")
    return Alert(
        "OtelflowTargetDown",
        # Who is down shows nothing: it is one of ours if it did in the last day, or if we have said so until now.
        f"up == 0\nand on (job, instance)\n(\n    last_over_time({semconv.BUILD_INFO}[1d])\n"
        + (f"  or\n    up{selector(pipeline)}\n" if pipeline else "")
        + '  or\n    ALERTS{alertname="OtelflowTargetDown"}\n)\n',
        lasts="5m",
        severity="ticket",
        summary="Prometheus cannot reach {{ $labels.job }} at {{ $labels.instance }}.",
        description="Its metrics and the alerts that rest on them are missing.",
        runbook="Is the program running, and does its /metrics answer from Prometheus' side? Remove its file from "
        "prometheus/targets when it is gone for good.",
        scenarios=(
            Scenario(
                "while a program that had shown metrics of flows is down; not before, nor after, "
                "nor for one that never did",
                "1m",
                {
                    seen: "1x10 stale",
                    **_up(shop, "1x10 0x20 1x20"),
                    **_up(shop, "0x50", "other:80"),
                    **_up(others, "1x10 0x40"),
                },
                {"12m": (), "20m": (shop,), "35m": ()},
                "job",
            ),
            *(
                Scenario(
                    f"while {job} is down",
                    "1m",
                    {**_up(job, "1x10 0x20 1x20"), **_up(others, "1x10 0x40")},
                    {"12m": (), "20m": (job,), "35m": ()},
                    "job",
                )
                for job in program.pipeline[:1]
            ),
        ),
        in_kubernetes="Is the program running, and does its /metrics answer from Prometheus' side? kubectl get "
        "endpoints shows what the monitors of namespace otelflow find.",
    )


def collector_missing(program: Program) -> Alert:
    """Return the alert that the Collector of the pipeline is not there."""
    job, others = program.pipeline[0], dict[str, str]()
    for name in (*program.pipeline[1:], program.job("others")):
        others |= _up(name, "1x50")
    return Alert(
        "CollectorMissing",
        f"absent(up{{{one_of([job], 'job')}}} == 1)",
        lasts="5m",
        severity="page",
        summary="No Collector is up: traces and pushed metrics are not arriving.",
        description="Applications keep running; what they send is lost unless they spool it.",
        runbook="docker compose -f deploy/compose.yaml ps collector, then its logs; applications send again by "
        "themselves when it is back.",
        scenarios=(
            Scenario(
                "while it is down",
                "1m",
                {**_up(job, "1x10 0x20 1x20"), **others},
                {"12m": (), "20m": ("",), "35m": ()},
                "job",
            ),
            Scenario("when there never was one", "1m", others, {"10m": ("",)}, "job"),
        ),
        in_kubernetes="kubectl get pods --namespace otelflow, then kubectl logs --namespace otelflow collector-0; "
        "applications send again by themselves when it is back.",
    )


def push_refused() -> Alert:
    """Return the alert that the Pushgateway refuses what a job with flows pushes."""
    return Alert(
        "PushRefused",
        "max by (job, flow) (push_failure_time_seconds) > max by (job, flow) (push_time_seconds)\n"
        # Others may push there, too: nobody else has groups of flows.
        'and on (job) push_time_seconds{flow!=""}\n',
        lasts="",
        severity="ticket",
        summary="The Pushgateway refuses the metrics of {{ $labels.job }} {{ $labels.flow }}.",
        description="What is shown of it is as old as its last push that was taken.",
        runbook="Read the Pushgateway's log: another program may push a metric of the same name with another type.",
        scenarios=(
            Scenario(
                "when the last push was refused; not when an older one was, nor that of a program without flows",
                "1m",
                {
                    series("push_time_seconds", flow="nightly"): "60x20",
                    series("push_failure_time_seconds", flow="nightly"): "0x10 600x10",
                    series("push_time_seconds", flow="fine"): "900x20",
                    series("push_failure_time_seconds", flow="fine"): "600x20",
                    series("push_time_seconds", job="others"): "60x20",
                    series("push_failure_time_seconds", job="others"): "600x20",
                },
                {"5m": (), "15m": ("nightly",)},
            ),
        ),
    )


_LOSSES: Final = tuple(
    f"otelcol_exporter_{step}_failed_{item}_total"
    for step in ("send", "enqueue")
    for item in ("spans", "log_records", "metric_points")
)


def collector(program: Program) -> Iterator[Alert]:
    """Yield the alerts about what the Collectors of the pipeline lose, or soon will; there are none without one."""
    if program.pipeline:
        jobs = selector(one_of(program.pipeline, "job"))
        yield cannot_export(jobs, program)
        yield queue_fills_up(jobs, program)
        yield refuses_spans(jobs, program)


def _of_exporter(job: str, metric: str, exporter: str) -> str:
    return series(f"otelcol_exporter_{metric}", job=job, exporter=exporter)


def cannot_export(jobs: str, program: Program) -> Alert:
    """Return the alert that Collectors of the pipeline lose something."""
    job, others = program.pipeline[0], program.job("others")
    return Alert(
        "CollectorCannotExport",
        "or\n".join(_grown(metric + jobs, "exporter") for metric in _LOSSES),
        lasts="",
        severity="page",
        summary="The Collector loses telemetry on its way to {{ $labels.exporter }}.",
        description="About {{ $value | humanize }} spans, log records or metric points of the last 15 minutes could "
        "not be sent or queued.",
        runbook="Read the Collector's log for the exporter's error; for Jaeger look at its disk and memory first.",
        scenarios=(
            Scenario(
                "when something cannot be sent or queued, be it once or at once; not for losses of long ago, "
                "nor those of another Collector",
                "1m",
                {
                    _of_exporter(job, "send_failed_spans_total", "otlp_grpc/jaeger"): "0x30 0+60x10 600x30",
                    _of_exporter(job, "send_failed_spans_total", "kafka"): "400x70",
                    _of_exporter(job, "send_failed_spans_total", "load_balancing"): "_x32 400x38",
                    _of_exporter(job, "send_failed_metric_points_total", "otlp_http/metrics"): "0x32 7x38",
                    _of_exporter(job, "enqueue_failed_log_records_total", "otlp_http/loki"): "0x32 1x38",
                    _of_exporter(others, "enqueue_failed_spans_total", "elsewhere"): "0x32 1x38",
                },
                {
                    "29m": (),
                    "36m": ("load_balancing", "otlp_grpc/jaeger", "otlp_http/loki", "otlp_http/metrics"),
                    "65m": (),
                },
                "exporter",
            ),
        ),
    )


def queue_fills_up(jobs: str, program: Program) -> Alert:
    """Return the alert that Collectors of the pipeline will soon lose something."""
    job, others = program.pipeline[0], program.job("others")
    return Alert(
        "CollectorQueueFillsUp",
        f"max by (exporter) (otelcol_exporter_queue_size{jobs} / otelcol_exporter_queue_capacity{jobs}) > 0.5",
        lasts="5m",
        severity="ticket",
        summary="The Collector waits for {{ $labels.exporter }}: its queue is {{ $value | humanizePercentage }} full.",
        description="Nothing is lost until it is full. The exporter at the other end is down or slow.",
        runbook="See whether what the exporter sends to is up; the queue drains by itself when it is back.",
        scenarios=(
            Scenario(
                "when more than half of it is in use",
                "1m",
                {
                    _of_exporter(job, "queue_size", "otlp_grpc/jaeger"): "0x10 4000x30",
                    _of_exporter(job, "queue_capacity", "otlp_grpc/jaeger"): "5000x40",
                    _of_exporter(job, "queue_size", "kafka"): "10x40",
                    _of_exporter(job, "queue_capacity", "kafka"): "5000x40",
                    _of_exporter(others, "queue_size", "elsewhere"): "5000x40",
                    _of_exporter(others, "queue_capacity", "elsewhere"): "5000x40",
                },
                {"10m": (), "20m": ("otlp_grpc/jaeger",)},
                "exporter",
            ),
        ),
    )


def refuses_spans(jobs: str, program: Program) -> Alert:
    """Return the alert that Collectors of the pipeline are short of memory."""
    refused, job, others = "otelcol_receiver_refused_spans_total", program.pipeline[0], program.job("others")
    return Alert(
        "CollectorRefusesSpans",
        f"sum by (receiver) (rate({refused}{jobs}[5m])) > 0",
        lasts="5m",
        severity="ticket",
        summary="The Collector refuses spans: it is short of memory.",
        description="{{ $value | humanize }} spans a second are turned away and sent again until senders give up.",
        runbook="Raise mem_limit of the collector service, or sample at the applications.",
        scenarios=(
            Scenario(
                "when spans are turned away",
                "1m",
                {
                    series(refused, job=job, receiver="otlp"): "0x10 0+60x30",
                    series(refused, job=others, receiver="zipkin"): "0x10 0+60x30",
                },
                {"10m": (), "20m": ("otlp",)},
                "receiver",
            ),
        ),
        in_kubernetes="Raise the memory limit of StatefulSet collector, or sample at the applications.",
    )
