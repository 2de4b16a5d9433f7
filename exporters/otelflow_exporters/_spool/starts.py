"""What has started and not ended, as records with which each segment begins."""

from typing import Final

from opentelemetry.sdk.trace import Span

# They are kept in memory until the spans end.
_LARGEST: Final = 8 * 1024 * 1024


class Starts:
    """The records of open spans by their ids, up to a bound; its caller holds a lock."""

    def __init__(self) -> None:
        self.records: Final = dict[int, bytes]()
        self.spans: Final = dict[int, Span]()
        self._bytes = 0

    def add(self, span_id: int, span: Span, record: bytes) -> bool:
        """Keep *record* of *span*, if there is room; tell whether there was."""
        if self._bytes + len(record) > _LARGEST:
            return False
        self.records[span_id], self.spans[span_id] = record, span
        self._bytes += len(record)
        return True

    def replace(self, span_id: int, record: bytes) -> bool:
        """Keep *record* in the place of an earlier one, if the span is open still and there is room."""
        surplus = len(record) - len(self.records.get(span_id, record))
        if span_id not in self.records or self._bytes + surplus > _LARGEST:
            return False
        self.records[span_id] = record
        self._bytes += surplus
        return True

    def remove(self, span_id: int) -> None:
        """Forget a span that has ended."""
        self._bytes -= len(self.records.pop(span_id, b""))
        self.spans.pop(span_id, None)
