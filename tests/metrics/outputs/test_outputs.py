"""A text chooses an output."""

import pytest
from opentelemetry.sdk.resources import Resource
from prometheus_client import REGISTRY, CollectorRegistry

from otelflow.errors import ConfigurationError
from otelflow.metrics._outputs import parse
from otelflow.metrics._outputs.multiprocess import Multiprocess
from otelflow.metrics._outputs.otlp import Otlp
from otelflow.metrics._outputs.pull import Pull
from otelflow.metrics._outputs.push import Push
from otelflow.metrics._outputs.registry import Registry
from otelflow.metrics._outputs.textfile import Textfile

SHOP = Resource({"service.name": "shop"})


@pytest.mark.parametrize("text", ["", "off", " OFF ", "none", "None:"])
def test_off_is_no_output(text):
    assert parse(text, SHOP) is None


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ("registry", Registry(REGISTRY)),
        ("pull", Pull("127.0.0.1", 9464)),
        (" Pull : 0.0.0.0:80 ", Pull("0.0.0.0", 80)),
        ("multiprocess", Multiprocess()),
        ("push", Push("http://127.0.0.1:9091", "shop")),
        ("push:gateway:1", Push("http://gateway:1", "shop")),
        ("textfile:/x/jobs.prom", Textfile("/x/jobs.prom", "shop")),
        ("otlp", Otlp(SHOP)),
    ],
)
def test_a_word_and_a_place_choose_an_output(text, choice, monkeypatch):
    for variable in ("OTEL_SDK_DISABLED", "OTEL_METRICS_EXPORTER"):
        monkeypatch.delenv(variable, raising=False)

    assert parse(text, SHOP) == choice


def test_a_registry_is_its_own_choice():
    registry = CollectorRegistry()

    assert parse(registry, SHOP) == Registry(registry)


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ("off:x", "^metrics=off:x is no output for metrics"),
        ("pusch:x", "^metrics=pusch:x is no output for metrics; did you mean 'push'"),
        ("otlp:x", "^metrics=otlp:x: otlp takes no place after a colon"),
        ("registry:", "^metrics=registry:: registry takes no place after a colon"),
        ("multiprocess:x", "takes no place"),
        (7, "^metrics must be a text such as 'pull' or a CollectorRegistry, not 7"),
    ],
)
def test_what_chooses_nothing_is_refused(choice, message):
    with pytest.raises(ConfigurationError, match=message):
        parse(choice, SHOP)
