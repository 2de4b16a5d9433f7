"""Find exporters, samplers and id generators by the names that OpenTelemetry's variables use."""

import os
from importlib.metadata import entry_points
from typing import Any

from otelflow._core.text.hints import suggestion
from otelflow.errors import ConfigurationError


def load(group: str, name: str, variable: str) -> Any:
    """Return what is registered as *name* in the entry-point *group*.

    Raises ConfigurationError that names *variable* for an unknown name, or for one that does not import.
    """
    registered = entry_points(group=group)
    for entry in registered.select(name=name):
        try:
            return entry.load()
        except Exception as error:
            raise ConfigurationError(f"{variable}={name}: {entry.value} does not load: {error}") from error
    names = {entry.name for entry in registered}
    raise ConfigurationError(f"{variable}: nothing is registered as {name!r}{suggestion(name, names)}")


def check_provider(kind: str, variable: str) -> None:
    """Raise ConfigurationError when *variable* names a provider (tracer, logger) that OpenTelemetry cannot make."""
    name = os.environ.get(variable)
    if name is not None:
        load(f"opentelemetry_{kind}_provider", name, variable)
