"""The resource of this process, such that every exporter can encode it."""

from collections.abc import Mapping
from typing import Any, Final

from opentelemetry.sdk.resources import Resource

from otelflow._core.text.safe_str import printable

_NOTHING: Final[Mapping[str, Any]] = {}


def new_resource(attributes: Mapping[str, Any] = _NOTHING) -> Resource:
    """Return what the ``OTEL_*`` variables and the detectors say of this process, and *attributes*."""
    return printable_resource(Resource.create(attributes))


def printable_resource(resource: Resource) -> Resource:
    """Return *resource* without lone surrogates, as a variable has them whose bytes are no UTF-8.

    No exporter can encode one, and with it a batch would be lost.
    """
    attributes = {printable(key): _printable(value) for key, value in resource.attributes.items()}
    return resource if attributes == dict(resource.attributes) else Resource(attributes, resource.schema_url)


def _printable(value: Any) -> Any:
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, list | tuple):
        return tuple(map(_printable, value))
    return value
