"""The variables of an endpoint; its answers are looked at over real sockets in tests/telemetry."""

import pytest

from otelflow.errors import ConfigurationError
from otelflow_exporters._otlp.endpoint import ExportStatus, exporter_names, new_exporter, variable


def test_the_variable_of_the_signal_wins_over_the_general_one(monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", " http://general ")
    assert variable("traces", "ENDPOINT") == ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://general")

    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://traces")
    assert variable("traces", "ENDPOINT") == ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://traces")
    assert variable("logs", "ENDPOINT") == ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://general")


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ("", []),
        ("none", []),
        ("otlp", ["otlp"]),
        ("console, none,otlp", ["console", "otlp"]),
        ("None", []),
        ("OTLP , Console,otlp", ["otlp", "console"]),
        ("MyOwn", ["MyOwn"]),
    ],
)
def test_exporters_are_named_by_the_environment(monkeypatch, value, names):
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", value)

    assert exporter_names("traces") == names


def test_a_password_in_an_endpoint_that_is_refused_is_not_shown(monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "ftp://me:hunter2@collector:4318")

    with pytest.raises(ConfigurationError, match="is no endpoint") as caught:
        new_exporter("traces", "otlp")

    assert "hunter2" not in str(caught.value)


def test_another_export_begins_with_nothing_remembered():
    status = ExportStatus("http://collector:4318")
    status.on_error(TimeoutError())
    assert (status.is_refused, status.place) == (True, "http://collector:4318 (timed out)")

    status.reset()

    assert (status.is_refused, status.place) == (False, "http://collector:4318")


class Unavailable(Exception):
    """As gRPC raises it: the address that it could not resolve has no scheme."""

    def code(self):
        return "UNAVAILABLE"

    def details(self):
        return "errors resolving u:open@sesame@h:1: no such host"


@pytest.mark.parametrize("endpoint", ["http://u:open@sesame@h:1", "http:/u:open@sesame@h:1", "u:open@sesame@h:1"])
def test_the_credentials_of_an_endpoint_are_in_no_reason_why_it_does_not_answer(endpoint):
    status = ExportStatus(endpoint)

    status.on_error(Unavailable())

    assert "sesame" not in status.place
    assert "no such host" in status.place


@pytest.mark.parametrize(
    "endpoint",
    ["unix:///run/collector.sock", "dns:///collector:4317", "collector:4317", "unix:/run/c", "ipv4:127.0.0.1:4317"],
)
def test_grpc_takes_the_names_of_its_own_resolvers(monkeypatch, endpoint):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_INSECURE", "true")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "Grpc")

    exporter, status = new_exporter("traces", "otlp")
    exporter.shutdown()

    assert status.endpoint == endpoint


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        (
            "ENDPOINT",
            '"http://collector:4318"',
            "the quotes are a part of it; write http://collector:4318 without them",
        ),
        ("PROTOCOL", "'grpc'", "the quotes are a part of it; write grpc without them"),
        ("TIMEOUT", '"10"', "the quotes are a part of it; write 10 without them"),
        ("ENDPOINT", "dns:///collector:4317", "is no endpoint: give an address such as http://localhost:4318"),
    ],
)
def test_a_value_in_quotes_is_told(monkeypatch, variable, value, words):
    monkeypatch.setenv(f"OTEL_EXPORTER_OTLP_{variable}", value)

    with pytest.raises(ConfigurationError, match=words):
        new_exporter("traces", "otlp")
