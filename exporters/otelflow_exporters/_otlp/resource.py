"""Which process telemetry comes from: one ``service.instance.id`` for its traces, log records and metrics."""

from typing import Any

from opentelemetry.sdk import resources
from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, SERVICE_NAME, Resource

from otelflow._core.process.instance import instance_id, is_instance_id
from otelflow._core.text.safe_str import printable


def encodable(resource: Resource) -> Resource:
    """Return *resource* without half a character, which a variable may hold and no exporter can encode."""
    attributes = {printable(key): _encodable(value) for key, value in resource.attributes.items()}
    return Resource(attributes, resource.schema_url)


def _encodable(value: Any) -> Any:
    if isinstance(value, str):
        return printable(value)
    return [_encodable(item) for item in value] if isinstance(value, list | tuple) else value


def has_chosen_id(resource: Resource) -> bool:
    """Tell whether the program, its environment or a detector has chosen the instance id of *resource*."""
    current = resource.attributes.get(SERVICE_INSTANCE_ID)
    detector = getattr(resources, "ServiceInstanceIdResourceDetector", None)
    at_random = None if detector is None else detector().detect().attributes.get(SERVICE_INSTANCE_ID)
    return current not in (None, at_random) and not is_instance_id(current)


def with_instance_id(resource: Resource) -> Resource:
    """Return *resource* with the id of this process, in the place of one that nobody chose."""
    return resource if has_chosen_id(resource) else with_own_id(resource)


def with_own_id(resource: Resource) -> Resource:
    """Return *resource* with the id of this process."""
    own_id = instance_id(str(resource.attributes.get(SERVICE_NAME, "")))
    return resource.merge(Resource({SERVICE_INSTANCE_ID: own_id}))


class KeepsInstanceId:
    """A provider whose resource has the id of the process in a forked child, too: the SDK puts a random one there."""

    resource: Any

    def _update_resource(self, resource: Resource) -> None:
        before = self.resource.attributes.get(SERVICE_INSTANCE_ID)
        if is_instance_id(before):
            resource = resource.merge(with_own_id(self.resource))
        elif before is not None:
            resource = resource.merge(Resource({SERVICE_INSTANCE_ID: before}))
        super()._update_resource(resource)  # type: ignore[misc]  # of the SDK's provider
