"""What is wrong with a proxy is said of the variable that names it, and not of the endpoint; its value is not shown."""

import pytest

from otelflow_exporters._otlp.proxies import proxy_variable
from otelflow_exporters._otlp.sender import new_sender
from support.receivers import OtlpReceiver, saying

ENDPOINT = "http://collector.example:4318"
NO_PROXY = "names no proxy: give an address such as http://proxy:3128, or unset it"


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    """No proxy is named, and the endpoint is somewhere else: a proxy is asked for it."""
    for scheme in ("http", "https", "all", "no"):
        for name in (f"{scheme}_proxy", f"{scheme}_proxy".upper()):
            monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", ENDPOINT)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "5")


def reason():
    """Return why a request does not arrive."""
    sender = new_sender("traces")
    sender.send(b"x")
    sender.close()
    assert sender.status.is_refused
    assert not sender.status.is_for_good
    return sender.status.reason


@pytest.mark.parametrize(
    "value",
    [
        "http://",
        "/",
        "foo://proxy:1",
        "direct://",
        "http://my proxy:80",
        "http://proxy:port",
        "http://proxy:99999",
        "http://proxy:0",
        "http://[::1",
        '"http://127.0.0.1:9"',
        "foo://me:secret@proxy:1",
    ],
)
@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_an_address_that_is_none_is_said_of_its_variable(monkeypatch, name, value):
    monkeypatch.setenv(name, value)

    assert reason() == f"{name} {NO_PROXY}"


def test_of_two_spellings_the_one_that_counts_is_named(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "foo://proxy")

    assert reason() == f"http_proxy {NO_PROXY}"


@pytest.mark.parametrize("value", ["http://127.0.0.1:9", "127.0.0.1:9", "http://me:secret@127.0.0.1:9"])
def test_a_proxy_that_does_not_answer_is_no_collector_that_does_not(monkeypatch, value):
    monkeypatch.setenv("HTTP_PROXY", value)

    assert reason() == "the proxy that HTTP_PROXY names: connection refused"


def test_what_a_proxy_answers_instead_of_a_tunnel_is_told(monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector.example:4318")
    with OtlpReceiver() as proxy:  # which knows no CONNECT
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)

        assert reason().startswith("the proxy that HTTPS_PROXY names: 501 Unsupported method")


def test_a_proxy_that_works_is_not_spoken_of(monkeypatch):
    with saying(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") as (url, bodies):
        monkeypatch.setenv("HTTP_PROXY", url)
        sender = new_sender("traces")
        sender.send(b"x")
        sender.close()

    assert (sender.status.reason, bodies) == ("", [b"x"])


def test_who_needs_no_proxy_has_none(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "foo://proxy")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")

    assert reason() == "connection refused"
    assert proxy_variable("http://127.0.0.1:9") == ""
    assert proxy_variable(ENDPOINT) == "HTTP_PROXY"
    assert proxy_variable("https://collector.example") == ""


def test_an_endpoint_that_is_wrong_itself_is_not_the_proxy_s_fault(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://{'x' * 70}.example:4318")

    assert "HTTP_PROXY names no proxy" not in reason()
