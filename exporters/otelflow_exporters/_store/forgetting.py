"""Erase spans, and the payloads that only they refer to, also under a process that goes on writing."""

import os
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import NamedTuple

from opentelemetry.proto.trace.v1.trace_pb2 import Span as StoredSpan

from otelflow import semconv
from otelflow._core.process.files import Folder, StoredFile
from otelflow_exporters._store.ownership import open_payloads, payload_files
from otelflow_exporters._store.pruning import kept_in_place, remove, remove_unfinished
from otelflow_exporters._store.records import (
    CHECKSUM_BYTES,
    LARGEST_SEGMENT,
    Record,
    Segment,
    is_note,
    note_in,
    parsed,
    spans_of,
    without,
)


class Forgotten(NamedTuple):
    """How many traces and spans were erased."""

    traces: int
    spans: int


def forget_spans(store: Folder, files: Sequence[StoredFile], trace_ids: Collection[bytes]) -> Forgotten:
    """Erase the traces with *trace_ids*, and the payloads that no remaining span refers to."""
    erasure = _Erasure()
    remove_unfinished(store)  # in which they may be, too
    for file in files:
        _erase(store, file, lambda span: span.trace_id in trace_ids, erasure)
    references = erasure.references
    for file in files:
        if references:
            try:
                content = store.read(file.name, LARGEST_SEGMENT)
            except FileNotFoundError:
                continue
            references = {reference for reference in references if reference.encode() not in content}
    # References come out of files: only files that are payloads by name and content are removed.
    digests = {reference.removeprefix("sha256:") for reference in references}
    _remove_payloads(store, lambda payload: payload.name in digests)
    return Forgotten(len(erasure.trace_ids), erasure.spans)


def forget_everything(store: Folder, files: Sequence[StoredFile]) -> Forgotten:
    """Erase all traces and payloads."""
    erasure = _Erasure()
    remove_unfinished(store)
    for file in files:
        _erase(store, file, lambda _: True, erasure)
        # A segment that holds half a record goes as well.
        remove(store, file)
    _remove_payloads(store, lambda _: True)
    return Forgotten(len(erasure.trace_ids), erasure.spans)


class _Erasure:
    """The ids, number and payload references of erased spans."""

    def __init__(self) -> None:
        self.trace_ids: set[bytes] = set()
        self.spans = 0
        self.references: set[str] = set()

    def add(self, spans: Iterable[StoredSpan]) -> None:
        for span in spans:
            self.trace_ids.add(span.trace_id)
            self.spans += not is_note(span)
            self.references.update(
                attribute.value.string_value
                for event in span.events
                for attribute in event.attributes
                if attribute.key == semconv.ARTIFACT_REFERENCE
            )


def _erase(store: Folder, file: StoredFile, is_forgotten: Callable[[StoredSpan], bool], erasure: _Erasure) -> None:
    """Overwrite the forgotten spans, and remove the segment when nothing is left in it."""
    try:
        with kept_in_place(store, file.name):
            segment = Segment(store.read(file.name, LARGEST_SEGMENT))
            bodies: list[tuple[Record, bytes]] = []
            is_anything_left = False
            for record in segment.records():
                note = note_in(segment.content[record.start : record.end - CHECKSUM_BYTES])
                starts = parsed(note) if note else None  # of a spool
                spans = [*spans_of(record.traces), *(spans_of(starts) if starts is not None else ())]
                forgotten = [span for span in spans if is_forgotten(span)]
                is_anything_left |= len(forgotten) < len(spans)
                if forgotten:
                    erasure.add(forgotten)
                    bodies.append((record, without(record, is_forgotten)))
            if bodies:
                with os.fdopen(store.open(file.name, os.O_RDWR), "r+b", buffering=0) as opened:
                    for record, body in bodies:
                        opened.seek(record.start)
                        opened.write(body)
    except FileNotFoundError:
        return
    if bodies and not is_anything_left and not segment.unreadable:
        remove(store, file)


def _remove_payloads(store: Folder, is_forgotten: Callable[[StoredFile], bool]) -> None:
    try:
        payloads = open_payloads(store)
    except FileNotFoundError:
        return
    with payloads:
        for payload in filter(is_forgotten, payload_files(payloads)):
            remove(payloads, payload)
