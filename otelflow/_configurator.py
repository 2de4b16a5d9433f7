"""How ``opentelemetry-instrument`` configures: as it would without otelflow; metrics and listeners come on top."""

import importlib
import logging
import os
from contextvars import ContextVar
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

from otelflow._core.process import losses

_GROUP: Final = "opentelemetry_configurator"
_NAME: Final = "otelflow"
_LOADER: Final = "opentelemetry.instrumentation.auto_instrumentation._load"
# What lets the SDK send by a name; without them it would make a provider that sends nothing, and ours would find that.
_ASKING_THE_SDK: Final = ("OTEL_TRACES_EXPORTER", "OTEL_CONFIG_FILE")
# The configurators that are being run by ours: one of them may call ours in its turn
_running: Final[ContextVar[tuple[EntryPoint, ...]]] = ContextVar("otelflow_configurators", default=())


class OtelflowConfigurator:
    """Displaces nobody: OpenTelemetry runs the first configurator alone, and so this one runs the one after it.

    It is registered by no entry point of otelflow's own: OpenTelemetry would say at the start of many programs that it
    was not loaded, and the instrumentor does the same. A distribution that wants it registers it.

    The module imports little, since what fails here would be taken for a failure of all telemetry.
    """

    def configure(self, **keywords: Any) -> None:
        """Configure with *keywords* as without otelflow, then set up metrics and listeners.

        Raises what the configurator raises that would have been run without otelflow.
        """
        running = _running.get()
        entries = list(entry_points(group=_GROUP))
        own_entries = [
            entry for entry in entries if entry.name == _NAME or entry.value == f"{__name__}:OtelflowConfigurator"
        ]
        successor = next((entry for entry in entries if entry not in own_entries and entry not in running), None)
        if successor is not None:
            _run(successor, keywords)
        elif any(os.environ.get(name, "").strip() for name in _ASKING_THE_SDK):
            importlib.import_module("opentelemetry.sdk._configuration")._OTelSDKConfigurator().configure(**keywords)  # noqa: SLF001 what each distribution is made of
        if running:  # the one that is outside sets up the rest
            return
        if successor is not None and own_entries and entries.index(own_entries[0]) < entries.index(successor):
            logger = logging.getLogger(_LOADER)
            logger.addFilter(_UntrueLine(logger, successor.name))
        try:
            importlib.import_module("otelflow.instrument._start").configure_by_opentelemetry()
        except Exception as error:  # noqa: BLE001 without otelflow everything else goes on
            losses.warn_once("configurator", "otelflow sets up neither metrics nor listeners: %s", error)


def _run(successor: EntryPoint, keywords: dict[str, Any]) -> None:
    """Run the configurator *successor*, as OpenTelemetry would."""
    token = _running.set((*_running.get(), successor))
    try:
        successor.load()().configure(**keywords)
    except Exception as error:
        error.add_note(f"(raised by the configurator {successor.name!r}, {successor.value}, which otelflow has run)")
        raise
    finally:
        _running.reset(token)


class _UntrueLine(logging.Filter):
    """Keeps the log from saying, once, that the configurator *name* was not loaded."""

    def __init__(self, logger: logging.Logger, name: str) -> None:
        super().__init__()
        self._logger = logger
        self._args = (name, _NAME)

    def filter(self, record: logging.LogRecord) -> bool:
        """Hold back that one line."""
        is_untrue = record.args == self._args and "not loaded" in str(record.msg)
        if is_untrue:
            self._logger.removeFilter(self)
        return not is_untrue
