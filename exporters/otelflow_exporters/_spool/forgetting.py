"""Erase log records that wait in a spool, also under a process that goes on writing."""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

from google.protobuf.message import DecodeError
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, LogsData

from otelflow._core.process.files import Folder, StoredFile
from otelflow_exporters._spool.signals import LOG_RECORDS
from otelflow_exporters._store.ownership import open_store, segment_files
from otelflow_exporters._store.pruning import kept_in_place
from otelflow_exporters._store.records import LARGEST_SEGMENT, Segment, filled, note_in


def forget_log_records(spool: Path, is_forgotten: Callable[[LogRecord], bool]) -> int:
    """Erase the log records that wait in the *spool* of spans beside which they lie; return how many they were.

    Raises StoreUnreadable for a folder that is not its own, OSError for one that cannot be changed.
    """
    try:
        folder = open_store(spool / LOG_RECORDS.folder, kind="spool")
    except FileNotFoundError:
        return 0
    with folder:
        return sum(_erase(folder, file, is_forgotten) for file in segment_files(folder))


def _erase(folder: Folder, file: StoredFile, is_forgotten: Callable[[LogRecord], bool]) -> int:
    count = 0
    with contextlib.suppress(FileNotFoundError), kept_in_place(folder, file.name):  # it was sent meanwhile
        content = folder.read(file.name, LARGEST_SEGMENT)
        with os.fdopen(folder.open(file.name, os.O_RDWR), "r+b", buffering=0) as opened:
            for _, start, fields_end, end in Segment(content).bodies():
                rest, forgotten = _without(content[start:fields_end], is_forgotten)
                if forgotten:
                    count += forgotten
                    opened.seek(start)
                    opened.write(filled(rest, end - start))
    return count


def _without(body: bytes, is_forgotten: Callable[[LogRecord], bool]) -> tuple[bytes, int]:
    """Return *body* without the forgotten log records, and how many they were."""
    logs = LogsData()
    try:
        if note_in(body) is None:
            logs.ParseFromString(body)
    except DecodeError:
        return body, 0
    count = 0
    for resource_logs in logs.resource_logs:
        for scope_logs in resource_logs.scope_logs:
            remaining = [record for record in scope_logs.log_records if not is_forgotten(record)]
            count += len(scope_logs.log_records) - len(remaining)
            del scope_logs.log_records[:]
            scope_logs.log_records.extend(remaining)
    is_anything_left = any(
        scope_logs.log_records for resource_logs in logs.resource_logs for scope_logs in resource_logs.scope_logs
    )
    return logs.SerializeToString() if is_anything_left else b"", count
