"""What takes the spans of any OpenTelemetry program: a local store, a tree in the terminal, a spool until they arrive.

Importing it is cheap: names that need the SDK or rich load when they are first used. (PYTEST_DONT_REWRITE: it may have
been imported before pytest.)
"""

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from otelflow_exporters._otlp.json import to_otlp_json
    from otelflow_exporters._otlp.model import Span
    from otelflow_exporters._store.reader import INCOMPLETE, Forgotten, StoredTrace, StoredTraces, TraceSummary
    from otelflow_exporters.spool import SpoolSpanProcessor
    from otelflow_exporters.store import StoreSpanExporter
    from otelflow_exporters.tree import TreeSpanExporter, TreeView, print_trace, render_trace

__all__ = [
    "INCOMPLETE",
    "Forgotten",
    "Span",
    "SpoolSpanProcessor",
    "StoreSpanExporter",
    "StoredTrace",
    "StoredTraces",
    "TraceSummary",
    "TreeSpanExporter",
    "TreeView",
    "print_trace",
    "render_trace",
    "to_otlp_json",
]

_MODULES: Final = {
    "INCOMPLETE": "otelflow_exporters._store.reader",
    "Forgotten": "otelflow_exporters._store.reader",
    "Span": "otelflow_exporters._otlp.model",
    "SpoolSpanProcessor": "otelflow_exporters.spool",
    "StoreSpanExporter": "otelflow_exporters.store",
    "StoredTrace": "otelflow_exporters._store.reader",
    "StoredTraces": "otelflow_exporters._store.reader",
    "TraceSummary": "otelflow_exporters._store.reader",
    "TreeSpanExporter": "otelflow_exporters.tree",
    "TreeView": "otelflow_exporters.tree",
    "print_trace": "otelflow_exporters.tree",
    "render_trace": "otelflow_exporters.tree",
    "to_otlp_json": "otelflow_exporters._otlp.json",
}


if not TYPE_CHECKING:  # a type checker would take any misspelt name for one of these

    def __getattr__(name: str) -> Any:
        if name not in _MODULES:
            raise AttributeError(f"module 'otelflow_exporters' has no attribute {name!r}")
        import importlib  # noqa: PLC0415 only for the names that need the SDK

        value = getattr(importlib.import_module(_MODULES[name]), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
