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
    ("value", "names"), [("", []), ("none", []), ("otlp", ["otlp"]), ("console, none,otlp", ["console", "otlp"])]
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
