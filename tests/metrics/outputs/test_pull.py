"""The numbers are served at /metrics, on loopback, with or without TLS."""

import os
import socket
import ssl
import threading

import pytest
from opentelemetry.sdk.resources import Resource

from otelflow import flow, semconv
from otelflow.errors import ConfigurationError
from otelflow.metrics._counts import Aggregator
from otelflow.metrics._outputs import pull
from support.metrics import OPENMETRICS, certified, get, python, value


@flow
def counted_flow():
    return 1


def test_metrics_are_served_on_loopback_as_openmetrics_to_whoever_asks_for_it(use, spans):
    address = use("pull:0").address
    counted_flow().execute()

    plain_type, plain = get(address)
    open_type, openmetrics = get(address, OPENMETRICS)

    assert address.startswith("http://127.0.0.1:")
    assert plain_type.startswith("text/plain")
    assert open_type.startswith("application/openmetrics-text")
    assert value(plain, semconv.FLOW_RUNS, flow="counted_flow", result="success") == 1
    assert "# {trace_id=" in openmetrics
    assert "# {trace_id=" not in plain
    assert openmetrics.endswith("# EOF\n")


def test_a_port_in_use_is_one_warning_and_the_flow_goes_on(use, caplog):
    taken = use("pull:0")
    port = taken.address.rsplit(":", 1)[1].partition("/")[0]

    done = python(
        f"""
        from otelflow._core.process import losses
        print(metrics.use('pull:{port}').address)
        order().execute()
        print(dict(losses.dropped))
        """
    )

    assert done.returncode == 0
    assert done.stdout == "None\n{('metrics', 'not_served'): 1}\n"
    assert len(done.stderr.splitlines()) == 1
    assert f"No /metrics at 127.0.0.1:{port}" in done.stderr
    assert "OTELFLOW_METRICS=pull:HOST:PORT" in done.stderr


def test_a_host_that_nobody_knows_is_a_warning_that_speaks_of_the_host(use, caplog):
    assert use("pull:no-such-host.invalid:0").address is None

    assert "choose a name or address of this machine" in caplog.text


@pytest.mark.parametrize(
    ("where", "place"),
    [
        ("", ("127.0.0.1", 9464)),
        ("8000", ("127.0.0.1", 8000)),
        ("0.0.0.0:8000", ("0.0.0.0", 8000)),
        ("localhost", ("localhost", 9464)),
        ("[::1]:8000", ("::1", 8000)),
        ("[::1]", ("::1", 9464)),
    ],
)
def test_a_place_to_pull_from_is_host_and_port(where, place):
    choice = pull.Pull.from_place(where, Resource({}))

    assert (choice.host, choice.port) == place


@pytest.mark.parametrize(
    ("where", "complaint"),
    [("²", "is no address"), ("-1", "is no address"), ("::1", "in brackets"), ("::1:8000", "in brackets")],
)
def test_a_place_that_is_none_is_refused_with_its_cure(where, complaint):
    with pytest.raises(ConfigurationError, match=complaint):
        pull.Pull.from_place(where, Resource({}))


def test_metrics_are_served_over_tls(tmp_path):
    certificate, key = certified(tmp_path)
    body = f"""
        import ssl, urllib.request
        address = metrics.use('pull:0').address
        context = ssl.create_default_context(cafile={str(certificate)!r})
        secure = urllib.request.HTTPSHandler(context=context)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({{}}), secure)
        order().execute()
        with opener.open(address, timeout=10) as answer:
            print(address[:8], b'otelflow_flow_runs_total' in answer.read())
    """

    done = python(body, OTELFLOW_METRICS_CERTIFICATE=str(certificate), OTELFLOW_METRICS_KEY=str(key))

    assert done.returncode == 0, done.stderr
    assert done.stdout == "https:// True\n"


def test_half_a_certificate_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="metrics_certificate and metrics_key"):
        pull.Pull("127.0.0.1", 0, pull.Certificate(file=str(tmp_path))).open(Aggregator())
    with pytest.raises(ConfigurationError, match="cannot be read"):
        pull.Pull("127.0.0.1", 0, pull.Certificate(str(tmp_path / "no.pem"), str(tmp_path / "no.key"))).open(
            Aggregator()
        )


def test_a_file_that_is_no_certificate_is_named(tmp_path):
    bad = tmp_path / "bad.pem"
    bad.write_text("no pem")

    with pytest.raises(ConfigurationError, match=r"bad\.pem cannot be used .* give PEM files"):
        pull.Pull("127.0.0.1", 0, pull.Certificate(str(bad), str(bad))).open(Aggregator())


def test_a_file_that_exists_and_cannot_be_read_is_an_error_of_the_configuration(tmp_path, monkeypatch, use):
    key = tmp_path / "key.pem"
    key.touch()
    monkeypatch.setenv("OTELFLOW_METRICS_CERTIFICATE", str(key))
    monkeypatch.setenv("OTELFLOW_METRICS_KEY", str(key))

    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(pull.Path, "read_bytes", refuse)
    monkeypatch.setattr(pull.os, "access", lambda path, mode: False)

    with pytest.raises(ConfigurationError, match=r"metrics over TLS: .*key\.pem cannot be read"):
        use("pull:0")


def test_over_tls_a_silent_connection_keeps_nobody_waiting(tmp_path):
    certificate, key = certified(tmp_path)
    served = pull.Pull("127.0.0.1", 0, pull.Certificate(str(certificate), str(key))).open(Aggregator())
    served.start()
    context = ssl.create_default_context(cafile=str(certificate))
    with socket.create_connection(("127.0.0.1", served.port)):
        answered = get(served.address, context=context)
        ending = threading.Thread(target=served.close, daemon=True)
        ending.start()
        ending.join(30)

        assert answered[0].startswith("text/plain")
        assert not ending.is_alive()


def test_a_client_that_speaks_no_tls_is_not_worth_a_word(tmp_path, capfd):
    certificate, key = certified(tmp_path)
    served = pull.Pull("127.0.0.1", 0, pull.Certificate(str(certificate), str(key))).open(Aggregator())
    served.start()
    with socket.create_connection(("127.0.0.1", served.port)) as client:
        client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        client.settimeout(30)
        while client.recv(1000):
            pass  # an alert of TLS, until the server hangs up
    served.close()

    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_does_not_hold_the_port_of_its_parent():
    body = """
        import socket, time, warnings
        warnings.simplefilter("ignore", DeprecationWarning)  # of os.fork() beside a thread: what this is about
        chosen = metrics.use('pull:0')
        port = int(chosen.address.rsplit(':', 1)[1].partition('/')[0])
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(writing)
            os.read(reading, 1)  # until the parent has looked
            os._exit(0)
        chosen.shutdown()
        time.sleep(0.2)
        again = metrics.use(f'pull:{port}')
        print(again.address is not None)
        os.close(writing)
        os.waitpid(child, 0)
    """

    done = python(body)

    assert done.returncode == 0, done.stderr
    assert done.stdout == "True\n", done.stderr
