"""The alerts about telemetry itself: what is lost on its way, and which program is down."""

from typing import Final

from otelflow import semconv
from otelflow.generate.rules._alert import Alert, Scenario, series


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

_JAEGER_UP: Final = {series("up", job="jaeger", instance="jaeger:8888"): "1x50"}
_COLLECTOR_DOWN: Final = {
    series("up", job="collector", instance="collector:8888"): "1x10 0x20 1x20",
    **_JAEGER_UP,
    series("up", job="sampler", instance="sampler-1:8888"): "1x50",
}

#: Which of the programs between a flow and its dashboards is down
REACHED: Final = (
    Alert(
        "OtelflowTargetDown",
        "up == 0",
        lasts="5m",
        severity="ticket",
        summary="Prometheus cannot reach {{ $labels.job }} at {{ $labels.instance }}.",
        description="Its metrics and the alerts that rest on them are missing.",
        runbook="Is the program running, and does its /metrics answer from Prometheus' side? Remove its file from "
        "prometheus/targets when it is gone for good.",
        scenarios=(
            Scenario(
                "while a program is down; not before, nor after",
                "1m",
                _COLLECTOR_DOWN,
                {"12m": (), "20m": ("collector",), "35m": ()},
                "job",
            ),
        ),
        in_kubernetes="Is the program running, and does its /metrics answer from Prometheus' side? kubectl get "
        "endpoints shows what the monitors of namespace otelflow find.",
    ),
    Alert(
        "CollectorMissing",
        'absent(up{job="collector"} == 1)',
        lasts="5m",
        severity="page",
        summary="No Collector is up: traces and pushed metrics are not arriving.",
        description="Applications keep running; what they send is lost unless they spool it.",
        runbook="docker compose -f deploy/compose.yaml ps collector, then its logs; applications send again by "
        "themselves when it is back.",
        scenarios=(
            Scenario("while it is down", "1m", _COLLECTOR_DOWN, {"12m": (), "20m": ("",), "35m": ()}, "job"),
            Scenario("when there never was one", "1m", _JAEGER_UP, {"10m": ("",)}, "job"),
        ),
        in_kubernetes="kubectl get pods --namespace otelflow, then kubectl logs --namespace otelflow collector-0; "
        "applications send again by themselves when it is back.",
    ),
    Alert(
        "PushRefused",
        "max by (job, flow) (push_failure_time_seconds) > max by (job, flow) (push_time_seconds)",
        lasts="",
        severity="ticket",
        summary="The Pushgateway refuses the metrics of {{ $labels.job }} {{ $labels.flow }}.",
        description="What is shown of it is as old as its last push that was taken.",
        runbook="Read the Pushgateway's log: another program may push a metric of the same name with another type.",
        scenarios=(
            Scenario(
                "when the last push was refused; not when an older one was",
                "1m",
                {
                    series("push_time_seconds", flow="nightly"): "60x20",
                    series("push_failure_time_seconds", flow="nightly"): "0x10 600x10",
                    series("push_time_seconds", flow="fine"): "900x20",
                    series("push_failure_time_seconds", flow="fine"): "600x20",
                },
                {"5m": (), "15m": ("nightly",)},
            ),
        ),
    ),
)

_LOSSES: Final = tuple(
    f"otelcol_exporter_{step}_failed_{item}_total"
    for step in ("send", "enqueue")
    for item in ("spans", "log_records", "metric_points")
)


def _of_exporter(metric: str, exporter: str) -> str:
    return series(f"otelcol_exporter_{metric}", job="collector", exporter=exporter)


#: What the Collector loses, or soon will
COLLECTOR: Final = (
    Alert(
        "CollectorCannotExport",
        "or\n".join(_grown(metric, "exporter") for metric in _LOSSES),
        lasts="",
        severity="page",
        summary="The Collector loses telemetry on its way to {{ $labels.exporter }}.",
        description="About {{ $value | humanize }} spans, log records or metric points of the last 15 minutes could "
        "not be sent or queued.",
        runbook="Read the Collector's log for the exporter's error; for Jaeger look at its disk and memory first.",
        scenarios=(
            Scenario(
                "when something cannot be sent or queued, be it once or at once; not for losses of long ago",
                "1m",
                {
                    _of_exporter("send_failed_spans_total", "otlp_grpc/jaeger"): "0x30 0+60x10 600x30",
                    _of_exporter("send_failed_spans_total", "kafka"): "400x70",
                    _of_exporter("send_failed_spans_total", "load_balancing"): "_x32 400x38",
                    _of_exporter("send_failed_metric_points_total", "otlp_http/metrics"): "0x32 7x38",
                    _of_exporter("enqueue_failed_log_records_total", "otlp_http/loki"): "0x32 1x38",
                },
                {
                    "29m": (),
                    "36m": ("load_balancing", "otlp_grpc/jaeger", "otlp_http/loki", "otlp_http/metrics"),
                    "65m": (),
                },
                "exporter",
            ),
        ),
    ),
    Alert(
        "CollectorQueueFillsUp",
        "max by (exporter) (otelcol_exporter_queue_size / otelcol_exporter_queue_capacity) > 0.5",
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
                    _of_exporter("queue_size", "otlp_grpc/jaeger"): "0x10 4000x30",
                    _of_exporter("queue_capacity", "otlp_grpc/jaeger"): "5000x40",
                    _of_exporter("queue_size", "kafka"): "10x40",
                    _of_exporter("queue_capacity", "kafka"): "5000x40",
                },
                {"10m": (), "20m": ("otlp_grpc/jaeger",)},
                "exporter",
            ),
        ),
    ),
    Alert(
        "CollectorRefusesSpans",
        "sum by (receiver) (rate(otelcol_receiver_refused_spans_total[5m])) > 0",
        lasts="5m",
        severity="ticket",
        summary="The Collector refuses spans: it is short of memory.",
        description="{{ $value | humanize }} spans a second are turned away and sent again until senders give up.",
        runbook="Raise mem_limit of the collector service, or sample at the applications.",
        scenarios=(
            Scenario(
                "when spans are turned away",
                "1m",
                {series("otelcol_receiver_refused_spans_total", job="collector", receiver="otlp"): "0x10 0+60x30"},
                {"10m": (), "20m": ("otlp",)},
                "receiver",
            ),
        ),
        in_kubernetes="Raise the memory limit of StatefulSet collector, or sample at the applications.",
    ),
)
