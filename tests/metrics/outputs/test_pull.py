"""The numbers are served at /metrics, on loopback, with or without TLS."""

import os
import socket
import ssl
import threading

import pytest
from opentelemetry.sdk.resources import Resource

from otelflow import flow, semconv
from otelflow._core.process import losses, process
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


def test_a_port_that_is_given_is_the_one_and_taken_once_there_is_no_second_server():
    outputs = [pull.Pull("127.0.0.1", 0).open(Aggregator())]
    is_served = [outputs[0].start()]
    port = outputs[0].port
    outputs.append(pull.Pull("127.0.0.1", port).open(Aggregator()))
    is_served.append(outputs[1].start())
    outputs[0].close()
    outputs.append(pull.Pull("127.0.0.1", port).open(Aggregator()))
    is_served.append(outputs[2].start())
    address = outputs[2].address
    outputs[2].close()

    assert is_served == [True, False, True]
    assert address == f"http://127.0.0.1:{port}/metrics"


def test_a_host_that_nobody_knows_is_a_warning_that_speaks_of_the_host(use, caplog):
    assert use("pull:no-such-host.invalid:0").address is None

    assert "choose a name or address of this machine" in caplog.text
    assert losses.dropped == {("metrics", "not_served"): 1}


@pytest.mark.parametrize(
    ("where", "place"),
    [
        ("", ("127.0.0.1", 9464)),
        ("8000", ("127.0.0.1", 8000)),
        ("0.0.0.0:8000", ("0.0.0.0", 8000)),
        ("localhost", ("localhost", 9464)),
        ("[::1]:8000", ("::1", 8000)),
        ("[::1]", ("::1", 9464)),
        ("0", ("127.0.0.1", 0)),
        ("65535", ("127.0.0.1", 65_535)),
        ("prometheus.example:80", ("prometheus.example", 80)),
    ],
)
def test_a_place_to_pull_from_is_host_and_port(where, place):
    choice = pull.Pull.from_place(where, Resource({}))

    assert (choice.host, choice.port) == place


@pytest.mark.parametrize(
    ("where", "complaint"),
    [
        *(
            (where, "is no address: give pull:HOST:PORT")
            for where in ("²", "-1", "+80", "65536", "12:34", "a b:1", "a/b:1")
        ),
        *((where, "an IPv6 address stands in brackets") for where in ("::1", "::1:8000", "[::1", "[::1:80")),
    ],
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

    read_bytes = pull.Path.read_bytes

    def refuse(path):
        if path != key:  # a module that is imported meanwhile
            return read_bytes(path)
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


def test_the_contents_of_the_files_are_a_part_of_the_choice(tmp_path, monkeypatch):
    for name in ("certificate", "key", "client_ca"):
        (tmp_path / name).write_text(name)
        monkeypatch.setenv(f"OTELFLOW_METRICS_{name.upper()}", str(tmp_path / name))
    process.reset()

    choice = pull.Pull.from_place("", Resource({}))
    (tmp_path / "key").write_text("another")

    assert choice.contents == (b"certificate", b"key", b"client_ca")
    assert pull.Pull.from_place("", Resource({})) != choice
    assert pull._content_of(tmp_path / "nowhere") == b""


@pytest.mark.parametrize(
    ("names", "complaint"),
    [
        (("certificate", "", ""), "needs metrics_certificate and metrics_key, two PEM files"),
        (("", "key", ""), "needs metrics_certificate and metrics_key, two PEM files"),
        (("", "", "client"), "needs metrics_certificate and metrics_key, two PEM files"),
        (("certificate", "nowhere", ""), "nowhere cannot be read"),
        (("certificate", "key", "nowhere"), "nowhere cannot be read"),
        (("certificate", "key", "client"), "client cannot be used .* give PEM files"),
        (("certificate", "client", ""), "certificate and .*client cannot be used"),
        (("certificate", "key", "certificate"), None),
        (("certificate", "key", ""), None),
        (("", "", ""), None),
    ],
)
def test_files_that_cannot_be_used_together_are_refused(tmp_path, names, complaint):
    certificate, key = certified(tmp_path)
    certificate.rename(tmp_path / "certificate")
    key.rename(tmp_path / "key")
    (tmp_path / "client").write_text("no pem")
    files = pull.Certificate(*(str(tmp_path / name) if name else "" for name in names))

    if complaint is None:
        files.check()
    else:
        with pytest.raises(ConfigurationError, match=complaint):
            files.check()


def test_with_an_authority_for_clients_only_those_with_a_certificate_are_let_in(tmp_path):
    certificate, key = map(str, certified(tmp_path))
    served = pull.Pull("127.0.0.1", 0, pull.Certificate(certificate, key, certificate)).open(Aggregator())
    served.registry.register(served.collector)
    served.start()
    stranger = ssl.create_default_context(cafile=certificate)
    client = ssl.create_default_context(cafile=certificate)
    client.load_cert_chain(certificate, key)

    with pytest.raises(OSError, match=r"(?i)certificate|reset|broken|EOF"):
        get(served.address, context=stranger)
    text = get(served.address, context=client)[1]
    served.close()

    assert "otelflow_build_info" in text


def test_an_output_that_has_ended_answers_no_more_and_its_port_is_free():
    served = pull.Pull("127.0.0.1", 0).open(Aggregator())
    assert not served.flush(1)
    assert served.start()
    assert served.flush(1)
    port = served.port
    assert served.address == f"http://127.0.0.1:{port}/metrics"

    served.close()
    served.close()

    assert (served.address, served.flush(1)) == (None, False)
    with socket.create_server(("127.0.0.1", port)):
        pass


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
def test_an_ipv6_address_stands_in_brackets():
    served = pull.Pull("::1", 0).open(Aggregator())
    served.registry.register(served.collector)
    if not served.start():
        pytest.skip("no IPv6 here")

    address = served.address
    text = get(address)[1]
    served.close()

    assert address == f"http://[::1]:{served.port}/metrics"
    assert "otelflow_build_info" in text


def test_a_child_lets_go_of_the_port_and_leaves_the_server_to_its_parent():
    served = pull.Pull("127.0.0.1", 0).open(Aggregator())
    served.start()
    listening = served._server.socket
    served._server.shutdown()  # in a child its thread is not there

    served.begin_anew()

    assert (listening.fileno(), served.address) == (-1, None)
    served.begin_anew()
