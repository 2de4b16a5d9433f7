import json
import re
import socket
import ssl
import sys
import threading
from concurrent import futures
from http.server import BaseHTTPRequestHandler

import grpc
import pytest

from support.metrics import certified
from support.receivers import serving


@pytest.fixture
def endpoint():
    """An OTLP/HTTP endpoint on loopback that answers every export with its ``answer`` and keeps what it was asked."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            server.asked.append((self.path, body, dict(self.headers)))
            self.send_response(404 if self.path in server.missing else server.answer)
            if server.location:
                self.send_header("Location", server.location)
            self.send_header("Content-Length", str(len(server.page)))
            self.end_headers()
            self.wfile.write(server.page)

        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", str(len(server.content)))
            self.end_headers()
            self.wfile.write(server.content)

    with serving(Handler) as server:
        server.content = server.page = b""
        server.asked, server.answer, server.location, server.missing = [], 200, "", ()
        yield server


@pytest.fixture
def no_stack():
    """Nothing answers where Jaeger and Prometheus usually do; where something does, the test is skipped."""
    for port in (16686, 9090):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                pytest.skip(f"something of this machine answers on port {port}")


def test_an_endpoint_is_asked_as_the_exporter_would(otelflow, endpoint, no_stack):
    url = endpoint.url

    done = otelflow("doctor", OTEL_EXPORTER_OTLP_ENDPOINT=url, OTEL_EXPORTER_OTLP_HEADERS="x-tenant=blue")

    path, body, headers = endpoint.asked[0]
    assert (path, body, headers["Content-Type"]) == ("/v1/traces", b"", "application/x-protobuf")
    assert {name.lower(): value for name, value in headers.items()}["x-tenant"] == "blue"
    assert f"{url} accepts traces" in done.out
    assert done.code == 0


@pytest.mark.parametrize(("answer", "cure"), [(401, "OTEL_EXPORTER_OTLP_HEADERS"), (404, "port 4318")])
def test_an_endpoint_that_refuses_is_wrong_and_the_cure_fits(otelflow, endpoint, answer, cure):
    endpoint.answer = answer

    done = otelflow("doctor", OTEL_EXPORTER_OTLP_ENDPOINT=endpoint.url, COLUMNS="200")

    assert done.code == 1
    assert f"answered {answer} to an empty export" in done.out
    assert cure in done.out


def test_a_web_page_in_the_place_of_the_endpoint_is_wrong_and_what_is_sent_there_waits(otelflow, endpoint, no_stack):
    endpoint.page = b"<!doctype html><html><title>Jaeger UI</title></html>"
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint.url, "COLUMNS": "200"}

    done = otelflow("doctor", **variables)
    run = otelflow("run", "flows.py:ratio", "-p", "a=6", **variables)

    assert done.code == 1
    assert "answered 200 with a web page to an empty export" in done.out
    assert "is this an OTLP/HTTP endpoint (port 4318)?" in done.out
    assert "and waiting in" in run.err
    assert "sent to" not in run.err
    assert "a web page answers; is it Jaeger's? OTLP over HTTP is at port 4318" in run.err


def test_no_trace_is_looked_for_where_the_endpoint_takes_none(otelflow, servers):
    done = otelflow(
        *("doctor", "--jaeger", servers.url),
        OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9",
        COLUMNS="200",
    )

    assert done.code == 1
    assert done.out.count("WRONG") == 1
    assert "not looked for: the endpoint takes nothing" in done.out


@pytest.mark.parametrize("exporter", ["none", "console"])
def test_an_endpoint_that_nothing_is_sent_to_is_no_fault(otelflow, no_stack, exporter):
    done = otelflow(
        "doctor", OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9", OTEL_TRACES_EXPORTER=exporter, COLUMNS="200"
    )

    assert done.code == 0, done.out
    assert "http://127.0.0.1:9 is not used: OTEL_TRACES_EXPORTER asks for no OTLP" in done.out
    assert "WRONG" not in done.out


def test_an_endpoint_behind_a_proxy_is_asked_by_that_proxy(otelflow, endpoint):
    done = otelflow(
        "doctor",
        OTEL_EXPORTER_OTLP_ENDPOINT="http://collector.invalid:4318",
        HTTP_PROXY=endpoint.url,
        NO_PROXY="",
        no_proxy="",
        COLUMNS="200",
    )

    assert "http://collector.invalid:4318 accepts traces" in done.out
    assert [path for path, _, _ in endpoint.asked] == ["http://collector.invalid:4318/v1/traces"]


def test_that_opentelemetry_is_off_is_told_and_its_endpoint_left_alone(otelflow, no_stack):
    done = otelflow("doctor", OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9", OTEL_SDK_DISABLED="true", COLUMNS="200")

    assert done.code == 0, done.out
    assert "OTEL_SDK_DISABLED=true turns OpenTelemetry off: no trace is made\n" in done.out


def test_an_endpoint_with_a_certificate_of_ones_own_is_asked_as_the_exporter_would(
    otelflow, endpoint, no_stack, tmp_path
):
    certificate, key = certified(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.load_verify_locations(certificate)
    context.verify_mode = ssl.CERT_REQUIRED
    endpoint.socket = context.wrap_socket(endpoint.socket, server_side=True)
    url = f"https://127.0.0.1:{endpoint.server_port}"
    files = {
        "OTEL_EXPORTER_OTLP_CERTIFICATE": str(certificate),
        "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE": str(certificate),
        "OTEL_EXPORTER_OTLP_CLIENT_KEY": str(key),
    }

    done = otelflow("doctor", OTEL_EXPORTER_OTLP_ENDPOINT=url, **files, COLUMNS="200")
    without = otelflow("doctor", OTEL_EXPORTER_OTLP_ENDPOINT=url, COLUMNS="200")

    assert f"{url} accepts traces" in done.out
    assert done.code == 0, done.out
    assert re.search(rf"WRONG OTLP endpoint +{url} does not answer: .*certificate", without.out)


@pytest.mark.skipif(sys.platform == "win32", reason="sockets of POSIX")
@pytest.mark.parametrize("form", ["127.0.0.1:{port}", "dns:///127.0.0.1:{port}", "unix://{path}"])
def test_an_endpoint_of_grpc_is_asked_whatever_its_address_looks_like(otelflow, grpc_receiver, tmp_path, form):
    url = form.format(port=grpc_receiver.url.rpartition(":")[2], path=grpc_receiver.path)
    variables = {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_INSECURE": "true", "COLUMNS": "200"}

    done = otelflow("doctor", OTEL_EXPORTER_OTLP_ENDPOINT=url, **variables)

    assert f"{url} accepts traces" in done.out
    assert "WRONG OTLP" not in done.out


def test_an_endpoint_of_grpc_where_nothing_is_is_wrong(otelflow, tmp_path):
    url = f"unix://{tmp_path}/none.sock"

    done = otelflow("doctor", OTEL_EXPORTER_OTLP_ENDPOINT=url, OTEL_EXPORTER_OTLP_PROTOCOL="grpc", COLUMNS="200")

    assert f"{url} takes no empty export: gRPC UNAVAILABLE" in done.out
    assert done.code == 1


def test_another_server_at_the_endpoint_of_grpc_is_wrong(otelflow, no_stack):
    server = grpc.server(futures.ThreadPoolExecutor(1))
    url = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        done = otelflow("doctor", OTEL_EXPORTER_OTLP_ENDPOINT=url, OTEL_EXPORTER_OTLP_PROTOCOL="grpc", COLUMNS="200")
    finally:
        server.stop(None).wait(5)

    assert f"{url} takes no empty export: gRPC UNIMPLEMENTED" in done.out
    assert "is this an OTLP/gRPC endpoint (port 4317)?" in done.out
    assert done.code == 1


@pytest.mark.parametrize(
    ("address", "cure"),
    [
        ("http://localhost:{grpc}", "over gRPC (port 4317): OTEL_EXPORTER_OTLP_PROTOCOL=grpc"),
        ("https://127.0.0.1:{http}", "nothing there speaks TLS: write http:// in OTEL_EXPORTER_OTLP_ENDPOINT"),
        ("http://collector.invalid:4318", "is the host in OTEL_EXPORTER_OTLP_ENDPOINT spelt right?"),
        ("http://127.0.0.1:{http}/v1/traces", "leave /v1/traces out of OTEL_EXPORTER_OTLP_ENDPOINT"),
        ("http://127.0.0.1:9", "start the stack: docker compose -f deploy/compose.yaml up -d"),
    ],
)
def test_an_endpoint_over_http_that_does_not_take_traces_has_the_cure_that_fits(
    otelflow, endpoint, grpc_receiver, address, cure
):
    endpoint.answer = 404
    ports = {"http": endpoint.url.rpartition(":")[2], "grpc": grpc_receiver.url.rpartition(":")[2]}

    done = otelflow("doctor", OTEL_EXPORTER_OTLP_ENDPOINT=address.format(**ports), COLUMNS="200")

    assert re.search(rf"WRONG OTLP endpoint\s+.*\n +→ .*{re.escape(cure)}", done.out)


@pytest.mark.parametrize(
    ("proxy", "observation"),
    [
        ("http://127.0.0.1:9", "the proxy that HTTP_PROXY names: "),
        ("foo://proxy:1", "HTTP_PROXY names no proxy: give an address"),
        ("socks5://proxy:1", "HTTP_PROXY names a SOCKS proxy: pip install"),
    ],
)
def test_a_proxy_that_keeps_the_endpoint_from_answering_is_what_is_wrong(otelflow, proxy, observation):
    address = "http://collector.example:4318"
    done = otelflow("doctor", OTEL_EXPORTER_OTLP_ENDPOINT=address, HTTP_PROXY=proxy, NO_PROXY="", COLUMNS="200")

    sentence = rf"{address} does not answer: {observation}.*\n +→ look at that variable and its proxy"
    assert re.search(rf"WRONG OTLP endpoint\s+{sentence}", done.out)


@pytest.mark.parametrize(
    ("address", "cure"),
    [
        ("http://127.0.0.1:{http}", "over HTTP: OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf"),
        ("https://127.0.0.1:{grpc}", "if nothing there speaks TLS, write http:// in OTEL_EXPORTER_OTLP_ENDPOINT"),
        ("http://collector.invalid:4317", "is the host in OTEL_EXPORTER_OTLP_ENDPOINT spelt right?"),
        ("http://127.0.0.1:9", "start the stack: docker compose -f deploy/compose.yaml up -d"),
    ],
)
def test_an_endpoint_over_grpc_that_does_not_take_traces_has_the_cure_that_fits(
    otelflow, endpoint, grpc_receiver, address, cure
):
    ports = {"http": endpoint.url.rpartition(":")[2], "grpc": grpc_receiver.url.rpartition(":")[2]}
    variables = {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_ENDPOINT": address.format(**ports)}

    done = otelflow("doctor", **variables, COLUMNS="2000")

    assert re.search(rf"WRONG OTLP endpoint\s+.*\n +→ .*{re.escape(cure)}", done.out)


def test_a_trace_that_is_not_sampled_is_not_waited_for(otelflow, endpoint, servers):
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint.url, "OTEL_TRACES_SAMPLER": "always_off"}

    done = otelflow("doctor", "--jaeger", servers.url, **variables, COLUMNS="200")

    assert re.search(
        r"- +a trace on its way +not looked for: its trace was not sampled, so nothing was sent\n", done.out
    )
    assert "→ OTEL_TRACES_SAMPLER=always_off decides which runs are recorded" in done.out
    assert done.code == 0


def test_a_trace_is_not_looked_for_where_no_jaeger_answers_and_that_is_told(otelflow, endpoint, no_stack):
    done = otelflow("doctor", OTEL_EXPORTER_OTLP_ENDPOINT=endpoint.url, COLUMNS="200")

    assert re.search(r"- +a trace on its way +not looked for: no Jaeger answers\n", done.out)


def test_an_address_of_jaeger_without_http_is_told_how_to_be_written(otelflow):
    done = otelflow("doctor", "--jaeger", "127.0.0.1:16686", COLUMNS="200")

    assert re.search(r"WRONG jaeger .*\n +→ give --jaeger http://127.0.0.1:16686\n", done.out)


def test_headers_that_cannot_be_read_are_told_once(otelflow, endpoint, no_stack):
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint.url, "OTEL_EXPORTER_OTLP_HEADERS": "no header"}

    done = otelflow("doctor", **variables)

    assert done.err.count("Header format invalid") == 1


def test_a_redirect_is_reported_and_not_followed(otelflow, endpoint):
    endpoint.answer, endpoint.location = 307, f"http://localhost:{endpoint.server_port}/elsewhere"

    done = otelflow(
        "doctor",
        OTEL_EXPORTER_OTLP_ENDPOINT=endpoint.url,
        OTEL_EXPORTER_OTLP_HEADERS="x-token=hunter2secret",
        COLUMNS="250",
    )

    assert done.code == 1
    assert f"answered 307 to an empty export, a redirect to {endpoint.location}" in done.out
    assert "set OTEL_EXPORTER_OTLP_ENDPOINT to the address that takes traces" in done.out
    assert {path for path, _, _ in endpoint.asked} == {"/v1/traces"}
    assert "hunter2secret" not in done.out + done.err


def test_a_port_that_is_none_is_named(otelflow):
    done = otelflow("doctor", OTEL_EXPORTER_OTLP_ENDPOINT="http://localhost:abc", COLUMNS="200")

    assert "Traceback" not in done.err
    assert done.code != 0


@pytest.mark.parametrize("command", [("doctor",), ("config",), ("run", "flows.py:ratio", "-p", "a=6")])
def test_a_password_in_an_address_is_never_shown(otelflow, endpoint, command):
    url = f"http://user:hunter2secret@127.0.0.1:{endpoint.server_port}"

    done = otelflow(*command, OTEL_EXPORTER_OTLP_ENDPOINT=url, COLUMNS="200")

    assert "hunter2secret" not in done.out + done.err
    assert "127.0.0.1" in done.out + done.err


@pytest.mark.parametrize("command", [("doctor",), ("config",), ("run", "flows.py:ratio", "-p", "a=6", "--traceback")])
@pytest.mark.parametrize(
    "environment",
    [
        {"OTELFLOW_METRICS": "push:http://user:hunter2secret@127.0.0.1:1"},
        {"OTELFLOW_METRICS": "push:ftp://user:hunter2secret@127.0.0.1"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "user:hunter2secret@127.0.0.1:4318"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "ftp://user:hunter2secret@127.0.0.1"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_EXPORTER_OTLP_HEADERS": "hunter2secret"},
    ],
)
def test_no_password_and_no_header_is_printed_also_when_it_is_refused(otelflow, command, environment):
    done = otelflow(*command, **environment, COLUMNS="250")

    assert done.out + done.err
    assert "hunter2secret" not in done.out + done.err


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_findings_are_printed_also_where_stdout_has_no_unicode(otelflow, encoding):
    done = otelflow("doctor", PYTHONIOENCODING=encoding, COLUMNS="200")

    assert done.code == 0, done.err
    assert "> export OTEL_EXPORTER_OTLP_ENDPOINT" in done.out


@pytest.fixture
def servers():
    """Jaeger and Prometheus as far as doctor asks them when nothing was sent: they are there, and know nothing."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            server.asked.append(self.path)
            body = {"/api/v3/services": b'{"services": []}'}.get(self.path, b'{"data": {}}')
            self.send_response(404 if "traces" in self.path else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with serving(Handler) as server:
        server.asked = []
        yield server


def test_without_an_endpoint_nothing_is_looked_for_and_nothing_is_wrong(otelflow, servers):
    done = otelflow("doctor", "--jaeger", servers.url)

    assert done.code == 0, done.out
    assert re.search(r"-\s+a trace on its way\s+not looked for: nothing is sent from here\n", done.out)
    assert "WRONG" not in done.out
    assert servers.asked == ["/api/v3/services"]


def test_its_own_run_is_not_among_those_of_the_user_and_has_a_name(otelflow, servers, http_receiver):
    jaeger = servers.url

    otelflow("doctor", "--jaeger", jaeger, OTEL_EXPORTER_OTLP_ENDPOINT=http_receiver.url, OTEL_SERVICE_NAME="shop")

    assert "otelflow-doctor" in http_receiver.services
    assert not http_receiver.services & {"shop", "unknown_service"}
    assert otelflow("show", "--list").code == 2


@pytest.mark.parametrize("columns", ["40", "80"])
def test_cures_are_never_broken(otelflow, no_stack, columns):
    done = otelflow("doctor", COLUMNS=columns)

    cure = "→ export OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318 to send runs to a Collector or Jaeger\n"
    assert cure in done.out
    assert "docker compose -f deploy/compose.yaml up -d, or give --jaeger URL\n" in done.out


def test_a_spool_is_told_with_what_waits_there_and_how_it_is_sent(otelflow, no_stack, tmp_path):
    spool = str(tmp_path / "spool")
    variables = {"OTELFLOW_SPOOL_DIR": spool, "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "COLUMNS": "200"}

    before = otelflow("doctor", **variables)
    otelflow("run", "flows.py:ratio", "-p", "a=6", **variables)
    after = otelflow("doctor", **variables)

    assert f"ok    spool               {spool} can be written\n" in before.out
    assert "waits in the spool" not in before.out
    assert re.search(
        r"-     waits in the spool  2 spans \([\d.]+ kB\) since [-\d]+ [\d:]+; nobody is sending\n", after.out
    )
    assert f"→ 'otelflow ship {spool} --once' sends them" in after.out


def test_a_spool_that_nobody_has_named_is_told_too(otelflow, no_stack, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "COLUMNS": "200"}

    otelflow("run", "flows.py:ratio", "-p", "a=6", **variables)
    told = otelflow("doctor", **variables).out
    off = otelflow("doctor", OTELFLOW_SPOOL="off", **variables).out

    assert re.search(rf"ok    spool +{tmp_path}/state/otelflow/spool/[0-9a-f]+ can be written\n", told)
    assert re.search(r"waits in the spool +2 spans", told)
    assert " spool " not in off


def test_what_waits_in_a_spool_is_left_as_it_is(otelflow, http_receiver, servers, tmp_path):
    spool, jaeger = str(tmp_path / "spool"), servers.url
    otelflow(
        *("run", "flows.py:ratio", "-p", "a=6"),
        OTELFLOW_SPOOL_DIR=spool,
        OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9",
    )
    variables = {"OTELFLOW_SPOOL_DIR": spool, "OTEL_EXPORTER_OTLP_ENDPOINT": http_receiver.url}

    (tmp_path / "spool/OTELFLOW_DESTINATION.txt").unlink()  # the collector has moved

    otelflow("doctor", "--jaeger", jaeger, **variables)

    assert "flows" not in http_receiver.services
    assert "2 spans sent" in otelflow("ship", "--once", **variables).err


def test_a_spool_that_nothing_is_written_to_and_what_is_no_spool_are_told(otelflow, no_stack, tmp_path):
    (tmp_path / "others").mkdir()
    (tmp_path / "others/file").write_text("of somebody else")

    unused = otelflow("doctor", OTELFLOW_SPOOL_DIR=str(tmp_path / "spool"), COLUMNS="200")
    wrong = otelflow("doctor", OTELFLOW_SPOOL_DIR=str(tmp_path / "others"), COLUMNS="200")

    assert f"-     spool               {tmp_path / 'spool'} is not used: nothing is sent from here" in unused.out
    assert unused.code == 0
    assert re.search(r"WRONG spool\s+The spool \S+ holds files of others", wrong.out)
    assert wrong.code == 1


def test_a_spool_that_was_made_for_another_endpoint_is_wrong_and_stays_as_it_is(otelflow, endpoint, no_stack, tmp_path):
    spool = tmp_path / "spool"
    otelflow(
        "run",
        "flows.py:ratio",
        "-p",
        "a=6",
        OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9",
        OTELFLOW_SPOOL_DIR=str(spool),
    )
    before = sorted(spool.iterdir())

    done = otelflow("doctor", OTEL_EXPORTER_OTLP_ENDPOINT=endpoint.url, OTELFLOW_SPOOL_DIR=str(spool), COLUMNS="300")

    assert re.search(rf"WRONG spool\s+The spool \S+ was made for http://127.0.0.1:9, not for {endpoint.url}", done.out)
    assert "otelflow ship" not in done.out
    assert done.code == 1
    assert sorted(spool.iterdir()) == before


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a folder where root can make nothing")
def test_a_folder_in_which_nothing_can_be_made_is_wrong_also_for_root(otelflow, endpoint, no_stack):
    url = endpoint.url

    spool = otelflow("doctor", OTEL_EXPORTER_OTLP_ENDPOINT=url, OTELFLOW_SPOOL_DIR="/proc/nope", COLUMNS="200")
    store = otelflow("doctor", OTELFLOW_STORE="/proc/nope", COLUMNS="200")
    textfile = otelflow("doctor", OTELFLOW_METRICS="textfile:/proc/shop.prom", COLUMNS="200")

    assert re.search(r"WRONG spool +/proc/nope cannot be written\n +→ set OTELFLOW_SPOOL_DIR to another", spool.out)
    assert re.search(r"WRONG local store +/proc/nope cannot be made or read: ", store.out)
    assert re.search(
        r"WRONG metrics +textfile:/proc/shop.prom: the folder of that file cannot be written\n", textfile.out
    )
    assert (spool.code, store.code, textfile.code) == (1, 1, 1)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("oltp", "OTELFLOW_METRICS=oltp is no output for metrics; did you mean 'otlp'?"),
        ("prometheus", "OTELFLOW_METRICS=prometheus is no output for metrics; did you mean 'pull'?"),
        ("push:http://me:secret@127.0.0.1:9", "http://127.0.0.1:9 does not answer: "),
        ("textfile:/nonexistent/shop.prom", "the folder of that file is not there; create it first"),
    ],
)
def test_metrics_that_would_not_get_out_are_wrong(otelflow, no_stack, setting, words):
    done = otelflow("doctor", OTELFLOW_METRICS=setting, COLUMNS="200")

    assert re.search(rf"WRONG metrics +.*{re.escape(words)}", done.out)
    assert "secret" not in done.out + done.err
    assert done.code == 1


def test_metrics_that_get_out_are_told_and_a_port_that_is_taken_too(otelflow, endpoint, no_stack, tmp_path):
    place = f"127.0.0.1:{endpoint.url.rpartition(':')[2]}"

    done = [
        otelflow("doctor", OTELFLOW_METRICS=setting, COLUMNS="200")
        for setting in (f"textfile:{tmp_path / 'shop.prom'}", f"push:{endpoint.url}", f"pull:{place}", "pull:0")
    ]

    assert [outcome.code for outcome in done] == [0, 0, 0, 0]
    assert f"ok    metrics             textfile:{tmp_path / 'shop.prom'}\n" in done[0].out
    assert f"ok    metrics             push:{endpoint.url}\n" in done[1].out
    assert f"-     metrics             pull:{place}: that port is taken" in done[2].out
    assert "ok    metrics             pull:0\n" in done[3].out
    assert list(tmp_path.glob("*.prom*")) == []


@pytest.mark.parametrize(
    ("signal", "variables"), [("metrics", {"OTELFLOW_METRICS": "otlp"}), ("logs", {"OTELFLOW_EVENTS": "both"})]
)
def test_an_endpoint_that_takes_traces_alone_is_wrong_for_what_else_is_sent_there(
    otelflow, endpoint, no_stack, signal, variables
):
    variables = {**variables, "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint.url, "COLUMNS": "200"}

    taken = otelflow("doctor", **variables)
    endpoint.missing = (f"/v1/{signal}",)
    refused = otelflow("doctor", **variables)

    assert re.search(rf"ok +{signal} +http://\S+ accepts {signal}\n", taken.out), taken.out
    assert re.search(rf"WRONG {signal} +http://\S+ takes no empty export: HTTP 404 Not Found\n", refused.out)
    assert f"name a Collector, in OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT for these alone" in refused.out
    assert "lost" not in refused.err


def test_a_variable_of_opentelemetry_that_is_misspelt_is_told(otelflow, no_stack):
    done = otelflow("doctor", OTEL_EXPORTER_OTLP_ENDPONT="http://127.0.0.1:4318", COLUMNS="200")

    assert re.search(
        r"- +variables +nothing reads OTEL_EXPORTER_OTLP_ENDPONT\n +→ write OTEL_EXPORTER_OTLP_ENDPOINT if", done.out
    )
    assert done.code == 0


def test_an_exporter_without_an_endpoint_sends_to_the_usual_one_and_its_absence_is_told_once(otelflow, servers):
    address = servers.url

    done = otelflow("doctor", "--jaeger", address, OTEL_TRACES_EXPORTER="otlp", COLUMNS="200")

    assert re.search(r"(?:WRONG|ok   ) OTLP endpoint +http://localhost:4318 ", done.out)
    assert "not set: runs stay on this machine" not in done.out
    assert "spans are lost" not in done.err


def test_an_address_controls_no_terminal(otelflow):
    done = otelflow("doctor", "--jaeger", "http://127.0.0.1:9/\x1b]0;title\x07x", "--prometheus", "http://127.0.0.1:9")

    assert not set("\x1b\x07") & set(done.out + done.err)
    assert "http://127.0.0.1:9/x does not answer" in done.out


HOSTILE = "job\n\x1b[31mok    local store\U000e0041"
STRANGE = {
    "a text": "x",
    "a list": [1],
    "a target that is a text": {"activeTargets": ["x"]},
    "labels that are a text": {"activeTargets": [{"labels": "x"}]},
    "a value that is no number": {"activeTargets": [{"labels": {"job": HOSTILE}}], "result": [{"value": [0, "many"]}]},
    "a value that is none": {"activeTargets": [{"labels": {"job": HOSTILE}}], "result": [{}]},
}


@pytest.mark.parametrize("data", STRANGE.values(), ids=STRANGE)
def test_another_server_in_the_place_of_prometheus_is_told_whatever_it_answers(otelflow, endpoint, data):
    endpoint.content = json.dumps({"data": data}).encode()
    url = endpoint.url

    done = otelflow("doctor", "--jaeger", "http://127.0.0.1:9", "--prometheus", url)

    assert done.code == 1
    assert f"{url} answered with JSON that is not Prometheus'" in done.out
    assert "Traceback" not in done.err
    assert "\x1b" not in done.out
    assert len([line for line in done.out.splitlines() if line.startswith("ok    local store")]) <= 1


def test_the_address_of_a_page_of_jaeger_is_enough(otelflow, servers):
    done = otelflow("doctor", "--jaeger", f"{servers.url}/search?service=shop", COLUMNS="200")

    assert re.search(rf"ok +jaeger +{servers.url}\n", done.out)
    without_http = otelflow("doctor", "--jaeger", "127.0.0.1:16686/search", COLUMNS="200")
    assert "→ give --jaeger http://127.0.0.1:16686\n" in without_http.out


def test_a_port_that_answers_in_another_way_than_over_http_is_no_reason_to_start_the_stack(otelflow):
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=lambda: server.accept()[0].close())
        thread.start()
        done = otelflow("doctor", "--jaeger", f"http://127.0.0.1:{server.getsockname()[1]}", COLUMNS="200")
        thread.join(10)

    assert re.search(r"WRONG jaeger .*\n +→ give --jaeger URL, that of its page\n", done.out)
