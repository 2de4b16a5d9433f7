"""What spools hold: for each signal how it is read, and the variables that it goes by."""

from collections.abc import Callable
from functools import partial
from typing import Any, Final, NamedTuple

from google.protobuf.message import DecodeError
from opentelemetry.proto.logs.v1.logs_pb2 import LogsData
from opentelemetry.proto.metrics.v1.metrics_pb2 import MetricsData
from opentelemetry.sdk.environment_variables import (
    OTEL_BLRP_MAX_EXPORT_BATCH_SIZE,
    OTEL_BLRP_SCHEDULE_DELAY,
    OTEL_BSP_MAX_EXPORT_BATCH_SIZE,
    OTEL_BSP_SCHEDULE_DELAY,
)

from otelflow_exporters._spool.batches import Item, Part, item_of, part_around
from otelflow_exporters._store.records import note, note_in


class Signal(NamedTuple):
    """A signal: its *name* in OTLP, what one *item* of it is called, and the variables of its batches, if it has some.

    *read* returns what is to be sent of a record's body, which ends at that place; None if it is none of this signal.
    Its items wait in the *folder* of that name in the spool of the spans. With the *first_records* of a segment the
    store knows it for one of its own, whatever follows.
    """

    name: str
    item: str
    batch: str
    delay: str
    read: Callable[[bytes, int], Item | None]
    folder: str
    first_records: tuple[bytes, ...] = ()
    has_runs: bool = False


def _item_in(kind: Any, fields: tuple[str, str, str], counts_as_one: bool, body: bytes, end: int) -> Item | None:
    """Return what *body*, a message of this *kind*, has in its *fields*: those of resources, of scopes, of records."""
    if note_in(body) is not None:
        return Item(end, [], 0)
    try:
        message = kind.FromString(body)
    except DecodeError:
        return None
    of_resources, of_scopes, of_records = fields
    parts: list[Part] = []
    for resource in getattr(message, of_resources):
        for scope in getattr(resource, of_scopes):
            parts += [part_around(resource, scope, record) for record in getattr(scope, of_records)]
    return Item(end, parts, 1 if counts_as_one else len(parts)) if parts else None


SPANS: Final = Signal(
    "traces", "span", OTEL_BSP_MAX_EXPORT_BATCH_SIZE, OTEL_BSP_SCHEDULE_DELAY, item_of, folder="", has_runs=True
)
METRICS: Final = Signal(
    "metrics",
    "metrics report",  # which is sent whole
    "",
    "",
    partial(_item_in, MetricsData, ("resource_metrics", "scope_metrics", "metrics"), True),
    "metrics",
    (note(b"metrics"),),
)
LOG_RECORDS: Final = Signal(
    "logs",
    "log record",
    OTEL_BLRP_MAX_EXPORT_BATCH_SIZE,
    OTEL_BLRP_SCHEDULE_DELAY,
    partial(_item_in, LogsData, ("resource_logs", "scope_logs", "log_records"), False),
    "logs",
    (note(b"logs"),),
)
#: Whatever concerns all spools of a program goes through this
SIGNALS: Final = (SPANS, LOG_RECORDS, METRICS)
