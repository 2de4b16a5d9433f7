"""The rules about telemetry itself: what is lost on its way, and who is down."""

from collections.abc import Iterator
from typing import Final

from otelflow import semconv
from otelflow.generate.rules._alert import Alert, Scenario, series

_DROPPED: Final = semconv.TELEMETRY_DROPPED
_ERRORS: Final = semconv.LISTENER_ERRORS


def telemetry() -> Iterator[Alert]:
    """Yield the alerts about what programs lose."""
    yield _dropped()
    yield _listener_fails()


def _dropped() -> Alert:
    return Alert(
        "FlowTelemetryDropped",
        _grown(_DROPPED, "job, signal, reason"),
        "",
        "ticket",
        "{{ $labels.job }} loses telemetry ({{ $labels.signal }}: {{ $labels.reason }}).",
        "About {{ $value | humanize }} items in the last 15 minutes never arrived.",
        "Run otelflow doctor beside the application: the Collector is unreachable, or more is sent "
        "than the queue holds.",
        scenarios=(
            Scenario(
                "when something is lost, once, also by a program that is new; not for losses of long ago",
                "1m",
                {
                    series(_DROPPED, signal="traces", reason="queue_full"): "0x20 5x40",
                    series(_DROPPED, signal="metrics", reason="export_failed"): "3x60",
                    series(_DROPPED, signal="logs", reason="queue_full"): "_x19 2x41",
                    series(_DROPPED, signal="messages", reason="queue_full"): "0x60",
                },
                {"18m": (), "25m": ("logs", "traces"), "50m": ()},
                "signal",
            ),
            Scenario(
                "when a new process loses something beside an old one; not because Prometheus itself was away",
                "1m",
                {
                    series(_DROPPED, signal="traces", reason="queue_full", instance="old"): "0x120",
                    series(_DROPPED, signal="traces", reason="queue_full", instance="new"): "_x60 500x60",
                    series(_DROPPED, signal="logs", reason="queue_full"): "3x60 _x25 3x35",
                },
                {"59m": (), "65m": ("traces",), "90m": (), "110m": ()},
                "signal",
            ),
        ),
    )


def _listener_fails() -> Alert:
    return Alert(
        "FlowListenerFails",
        _grown(_ERRORS, "job, listener"),
        "",
        "ticket",
        "Listener {{ $labels.listener }} of {{ $labels.job }} raises errors.",
        "Runs are not affected; what the listener should have done about {{ $value | humanize }} events is missing.",
        "Read the application's log for the listener's traceback; remove or repair the listener.",
        scenarios=(
            Scenario(
                "when a listener raises; not while it does not",
                "1m",
                {
                    series(_ERRORS, listener="Audit"): "0x20 1x40",
                    series(_ERRORS, listener="Quiet"): "0x60",
                },
                {"18m": (), "25m": ("Audit",), "50m": ()},
                "listener",
            ),
        ),
    )


def _grown(counter: str, labels: str) -> str:
    """Return what each process counted in the last 15 minutes, also one that is new and begins above 0."""
    # A process that was there in the last day is not new: whoever was away is the Prometheus that asks.
    new = f"({counter} unless max_over_time({counter}[1d] offset 15m))"
    return f"sum by ({labels}) ({new} or increase({counter}[15m])) > 0\n"


def stack() -> Iterator[Alert]:
    """Yield the alerts about the programs between a flow and its dashboards."""
    yield _target_down()
    yield _collector_missing()
    yield _push_refused()
    yield from _collector()


_UP: Final = {
    series("up", job="collector", instance="collector:8888"): "1x10 0x20 1x20",
    series("up", job="jaeger", instance="jaeger:8888"): "1x50",
    series("up", job="sampler", instance="sampler-1:8888"): "1x50",
}


def _target_down() -> Alert:
    return Alert(
        "OtelflowTargetDown",
        "up == 0",
        "5m",
        "ticket",
        "Prometheus cannot reach {{ $labels.job }} at {{ $labels.instance }}.",
        "Its metrics and the alerts that rest on them are missing.",
        "Is the program running, and does its /metrics answer from Prometheus' side? Remove its file from "
        "prometheus/targets when it is gone for good.",
        scenarios=(
            Scenario(
                "while a program is down; not before, nor after",
                "1m",
                _UP,
                {"12m": (), "20m": ("collector",), "35m": ()},
                "job",
            ),
        ),
        in_kubernetes="Is the program running, and does its /metrics answer from Prometheus' side? kubectl get "
        "endpoints shows what the monitors of namespace otelflow find.",
    )


def _collector_missing() -> Alert:
    return Alert(
        "CollectorMissing",
        'absent(up{job="collector"} == 1)',
        "5m",
        "page",
        "No Collector is up: traces and pushed metrics are not arriving.",
        "Applications keep running; what they send is lost unless they spool it.",
        "docker compose -f deploy/compose.yaml ps collector, then its logs; applications send again by themselves "
        "when it is back.",
        scenarios=(
            Scenario("while it is down", "1m", _UP, {"12m": (), "20m": ("",), "35m": ()}, "job"),
            Scenario(
                "when there never was one",
                "1m",
                {series("up", job="jaeger", instance="jaeger:8888"): "1x20"},
                {"10m": ("",)},
                "job",
            ),
        ),
        in_kubernetes="kubectl get pods --namespace otelflow, then kubectl logs --namespace otelflow collector-0; "
        "applications send again by themselves when it is back.",
    )


def _push_refused() -> Alert:
    return Alert(
        "PushRefused",
        "max by (job, flow) (push_failure_time_seconds) > max by (job, flow) (push_time_seconds)",
        "",
        "ticket",
        "The Pushgateway refuses the metrics of {{ $labels.job }} {{ $labels.flow }}.",
        "What is shown of it is as old as its last push that was taken.",
        "Read the Pushgateway's log: another program may push a metric of the same name with another type.",
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
    )


_LOSSES: Final = tuple((how, what) for how in ("send", "enqueue") for what in ("spans", "log_records", "metric_points"))


def _collector() -> Iterator[Alert]:
    yield Alert(
        "CollectorCannotExport",
        "or\n".join(_grown(f"otelcol_exporter_{how}_failed_{what}_total", "exporter") for how, what in _LOSSES),
        "",
        "page",
        "The Collector loses telemetry on its way to {{ $labels.exporter }}.",
        "About {{ $value | humanize }} spans, log records or metric points of the last 15 minutes could not be sent "
        "or queued.",
        "Read the Collector's log for the exporter's error; for Jaeger look at its disk and memory first.",
        scenarios=(_cannot_export(),),
    )
    yield _queue_fills()
    yield _refuses()


def _queue_fills() -> Alert:
    return Alert(
        "CollectorQueueFillsUp",
        "max by (exporter) (otelcol_exporter_queue_size / otelcol_exporter_queue_capacity) > 0.5",
        "5m",
        "ticket",
        "The Collector waits for {{ $labels.exporter }}: its queue is {{ $value | humanizePercentage }} full.",
        "Nothing is lost until it is full. The exporter at the other end is down or slow.",
        "See whether what the exporter sends to is up; the queue drains by itself when it is back.",
        scenarios=(_queue_fills_up(),),
    )


def _refuses() -> Alert:
    return Alert(
        "CollectorRefusesSpans",
        "sum by (receiver) (rate(otelcol_receiver_refused_spans_total[5m])) > 0",
        "5m",
        "ticket",
        "The Collector refuses spans: it is short of memory.",
        "{{ $value | humanize }} spans a second are turned away and sent again until senders give up.",
        "Raise mem_limit of the collector service, or sample at the applications.",
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
    )


def _of_exporter(metric: str, exporter: str) -> str:
    return series(f"otelcol_exporter_{metric}", job="collector", exporter=exporter)


def _cannot_export() -> Scenario:
    return Scenario(
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
    )


def _queue_fills_up() -> Scenario:
    return Scenario(
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
    )
