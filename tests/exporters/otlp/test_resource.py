"""The resource of a process can be sent, whatever its variables hold."""

import os

import pytest
from opentelemetry.sdk.resources import Resource

from otelflow._core.process.instance import instance_id
from otelflow_exporters._otlp.resource import KeepsInstanceId, encodable, has_chosen_id, with_instance_id
from support import programs
from support.receivers import OtlpReceiver


@pytest.mark.parametrize("is_argument", [True, False])
def test_a_service_name_with_half_a_character_is_sent_with_all_signals(is_argument):
    source = """
    import otelflow
    from otelflow import flow

    @flow
    def job():
        print("said")

    telemetry = otelflow.configure(events="both", metrics="otlp", service_name=NAME)
    job().execute()
    telemetry.force_flush()  # an end waits for no answer that takes long, as on a machine that is busy
    telemetry.shutdown()
    print(dict(telemetry.dropped))
    """
    name = "caf\udce9" if is_argument else None
    variables = {} if is_argument else {"OTEL_SERVICE_NAME": "caf\udce9", "OTEL_RESOURCE_ATTRIBUTES": "team=\udce9"}
    with OtlpReceiver() as receiver:
        done = programs.python(f"NAME = {name!r}", source, OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url, **variables)

    assert (done.stdout, done.stderr) == ("said\n{}\n", "")
    assert receiver.services == {"caf\\udce9"}
    assert (len(receiver.spans), bool(receiver.log_records), bool(receiver.metrics)) == (1, True, True)


def test_a_resource_that_can_be_sent_is_as_it_was():
    resource = Resource({"a": "b", "n": 1, "list": ("x", "y"), "yes": True}, "https://example.com/schema")

    assert encodable(resource) == resource


def test_an_id_that_was_chosen_stays_and_a_random_one_does_not():
    chosen = Resource.create({"service.instance.id": "mine"})
    random = Resource.create({"service.name": f"random-{os.getpid()}"})

    assert has_chosen_id(chosen)
    assert with_instance_id(chosen) is chosen
    assert not has_chosen_id(random)
    assert not has_chosen_id(with_instance_id(random))
    assert with_instance_id(random).attributes["service.instance.id"].endswith("-0")


class Updated:
    """The part of the SDK's providers that puts another resource in place in a forked child."""

    def __init__(self, resource):
        self.resource = resource

    def _update_resource(self, resource):
        self.resource = self.resource.merge(resource)


class Provider(KeepsInstanceId, Updated):
    """As otelflow's own."""


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("of this process", "of this process"),
        ("mine", "mine"),
        (None, "at random"),
    ],
)
def test_in_a_child_the_id_is_that_of_the_process_or_the_chosen_one_whatever_the_sdk_puts_there(before, after):
    own_id = instance_id("shop")
    name = Resource({"service.name": "shop"})
    attributes = {} if before is None else {"service.instance.id": own_id if "process" in before else before}
    provider = Provider(name.merge(Resource(attributes)))

    provider._update_resource(Resource({"service.instance.id": "at random", "process.pid": 7}))

    expected = own_id if "process" in after else after
    assert provider.resource.attributes == {"service.name": "shop", "service.instance.id": expected, "process.pid": 7}


def test_a_resource_without_an_id_gets_that_of_the_process():
    resource = with_instance_id(Resource({"service.name": "shop", "team": "blue"}))

    assert not has_chosen_id(Resource({}))
    assert resource.attributes == {"service.name": "shop", "team": "blue", "service.instance.id": instance_id("shop")}
    assert with_instance_id(Resource({})).attributes == {"service.instance.id": instance_id("")}
