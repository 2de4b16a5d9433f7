"""Spans that have started and not ended: the records with which each segment begins, encoded once."""

from typing import Final

from opentelemetry.sdk.trace import Span

from otelflow_exporters._otlp.encoder import Beginning

# They are kept in memory until the spans end.
_LARGEST: Final = 8 * 1024 * 1024


class Starts:
    """The open spans by their ids, with their records, up to a bound; its caller holds a lock."""

    def __init__(self) -> None:
        self._open: Final = dict[int, tuple[bytes, Span, Beginning]]()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._open)

    def records(self) -> list[bytes]:
        """Return the record of each, the oldest first."""
        return [record for record, _, _ in self._open.copy().values()]

    def spans(self) -> dict[int, Span]:
        """Return each by its id."""
        return {span_id: span for span_id, (_, span, _) in self._open.copy().items()}

    def beginning(self, span_id: int) -> Beginning | None:
        """Return what stays of an open span until it ends."""
        start = self._open.get(span_id)
        if start is None:
            return None
        _, _, beginning = start
        return beginning

    def add(self, span_id: int, record: bytes, span: Span, beginning: Beginning) -> bool:
        """Keep *record* of *span*, if there is room; tell whether there was."""
        size = self._bytes + len(record)
        if size > _LARGEST:
            return False
        self._open[span_id] = record, span, beginning
        self._bytes = size
        return True

    def replace(self, span_id: int, record: bytes) -> bool:
        """Keep *record* in the place of an earlier one, if the span is open still and there is room."""
        start = self._open.get(span_id)
        if start is None:
            return False
        earlier, span, beginning = start
        size = self._bytes + len(record) - len(earlier)
        if size > _LARGEST:
            return False
        self._open[span_id] = record, span, beginning
        self._bytes = size
        return True

    def remove(self, span_id: int) -> None:
        """Forget a span that has ended."""
        start = self._open.pop(span_id, None)
        if start is not None:
            record, _, _ = start
            self._bytes -= len(record)
