"""No text of a resource keeps what is sent with it from arriving."""

import os
import subprocess
import sys

import pytest
from opentelemetry.sdk.resources import Resource

from otelflow_exporters._otlp.resource import encodable
from support.receivers import Receiver


def test_texts_in_lists_and_keys_are_made_printable_and_everything_else_stays():
    odd = Resource({"a\ud800": "b\udcff", "list": ["c\ud800", "d"], "number": 1, "flags": [True]}, "https://schema")
    plain = Resource({"service.name": "shop"})

    resource = encodable(odd)

    assert resource.attributes == {"a\\ud800": "b\\udcff", "list": ("c\\ud800", "d"), "number": 1, "flags": (True,)}
    assert resource.schema_url == "https://schema"
    assert encodable(plain) == plain


@pytest.mark.skipif(sys.platform == "win32", reason="variables are Unicode there")
@pytest.mark.parametrize("source", ["argument", "OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES"])
def test_half_a_character_in_the_name_of_the_service_costs_nothing(source):
    program = """
import sys
import otelflow
from otelflow import flow

@flow
def ready():
    print("hello")

name = sys.argv[1] or None
telemetry = otelflow.configure(service_name=name and name + "\\udcff", metrics="otlp", events="both")
ready().execute()
print(telemetry.force_flush(), dict(telemetry.dropped))
otelflow.configure(service_name=name and name + "\\udcff")
"""
    variables = {
        "OTEL_SERVICE_NAME": b"shop\xff",
        "OTEL_RESOURCE_ATTRIBUTES": b"service.name=shop\xff,team=\xff",
    }
    environment = {name: value for name, value in os.environb.items() if not name.startswith(b"OTEL")}
    environment[b"OTEL_LOGS_EXPORTER"] = b"otlp"
    if source != "argument":
        environment[source.encode()] = variables[source]

    with Receiver() as receiver:
        environment[b"OTEL_EXPORTER_OTLP_ENDPOINT"] = receiver.url.encode()
        done = subprocess.run(
            [sys.executable, "-c", program, "shop" if source == "argument" else ""],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )

    assert done.stderr == ""
    assert done.stdout.splitlines()[-1] == "True {}"
    paths = {path for path, body, _ in receiver.requests if b"shop\\udcff" in body}
    assert paths == {"/v1/traces", "/v1/metrics", "/v1/logs"}
