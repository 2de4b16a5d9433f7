"""Erase spans, and the payloads that only they refer to, also under a process that goes on writing."""

from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from opentelemetry.proto.trace.v1.trace_pb2 import Span as StoredSpan

from otelflow import semconv
from otelflow_exporters._store.pruning import PAYLOADS, StoredFile, payload_files, remove
from otelflow_exporters._store.records import Record, Segment, spans_of, without


class Forgotten(NamedTuple):
    """How much was erased."""

    traces: int
    spans: int


def forget_spans(directory: Path, files: Sequence[StoredFile], trace_ids: Collection[bytes]) -> Forgotten:
    """Erase the traces with *trace_ids*."""
    erased = _Erased()
    for file in files:
        _erase(file.path, lambda span: span.trace_id in trace_ids, erased)
    _remove_payloads(directory, files, erased.references)
    return Forgotten(len(erased.trace_ids), erased.spans)


def forget_everything(directory: Path, files: Sequence[StoredFile]) -> Forgotten:
    """Erase all traces and payloads."""
    erased = _Erased()
    for file in files:
        _erase(file.path, lambda _: True, erased)
        # A segment in which nothing was readable goes as well.
        remove(file.path)
    for payload in payload_files(directory):
        payload.path.unlink(missing_ok=True)
    return Forgotten(len(erased.trace_ids), erased.spans)


class _Erased:
    def __init__(self) -> None:
        self.trace_ids: set[bytes] = set()
        self.spans = 0
        self.references: set[str] = set()

    def add(self, spans: Iterable[StoredSpan]) -> None:
        for span in spans:
            self.trace_ids.add(span.trace_id)
            self.spans += 1
            self.references.update(
                attribute.value.string_value
                for event in span.events
                for attribute in event.attributes
                if attribute.key == semconv.ARTIFACT_REFERENCE
            )


def _erase(path: Path, is_forgotten: Callable[[StoredSpan], bool], erased: _Erased) -> None:
    """Overwrite what is forgotten, and remove the segment when nothing is left in it."""
    try:
        segment = Segment(path.read_bytes())
    except FileNotFoundError:
        return
    rewritten: list[tuple[Record, bytes]] = []
    is_anything_left = False
    for record in segment.records():
        spans = list(spans_of(record.traces))
        forgotten = [span for span in spans if is_forgotten(span)]
        is_anything_left |= len(forgotten) < len(spans)
        if forgotten:
            erased.add(forgotten)
            rewritten.append((record, without(record, is_forgotten)))
    if rewritten:
        with path.open("r+b", buffering=0) as file:
            for record, body in rewritten:
                file.seek(record.start)
                file.write(body)
    if rewritten and not is_anything_left and not segment.unreadable:
        remove(path)


def _remove_payloads(directory: Path, files: Sequence[StoredFile], references: set[str]) -> None:
    """Remove the payloads behind *references* that no remaining span has."""
    for file in files:
        if not references:
            return
        try:
            content = file.path.read_bytes()
        except FileNotFoundError:
            continue
        references = {reference for reference in references if reference.encode() not in content}
    for reference in references:
        digest = reference.removeprefix("sha256:")
        # References come out of files: they name a payload and never a path.
        if digest.isalnum():
            (directory / PAYLOADS / digest).unlink(missing_ok=True)
