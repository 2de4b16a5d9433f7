"""The variables of an endpoint; its answers are looked at over real sockets in tests/telemetry."""

import copy
import sys
from types import SimpleNamespace

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from otelflow.errors import ConfigurationError
from otelflow_exporters._otlp import endpoint
from otelflow_exporters._otlp.endpoint import _NO_GRPC, ExportStatus, TooLarge, exporter_names, new_exporter, variable
from support.receivers import OtlpReceiver


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
    "name",
    ["unix:///run/collector.sock", "dns:///collector:4317", "collector:4317", "unix:/run/c", "ipv4:127.0.0.1:4317"],
)
def test_grpc_takes_the_names_of_its_own_resolvers(monkeypatch, name):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", name)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_INSECURE", "true")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "Grpc")

    exporter, status = new_exporter("traces", "otlp")
    exporter.shutdown()

    assert status.endpoint == name


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


# What is remembered of an answer


class Response:
    """An answer of an HTTP server."""

    def __init__(self, status_code, reason="", content=b"", **headers):
        self.status_code, self.reason, self.content = status_code, reason, content
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


def outcome(status):
    return status.is_refused, status.is_for_good, status.reason


@pytest.mark.parametrize(
    ("response", "is_refused", "is_for_good", "reason"),
    [
        (Response(200, "OK"), False, False, ""),
        (Response(299, "Odd"), False, False, ""),
        (Response(101, "Switching"), True, False, "HTTP 101 Switching"),
        (Response(300, "Choices"), True, False, "HTTP 300 Choices"),
        (Response(400, "Bad"), True, True, "HTTP 400 Bad"),
        (Response(401, "Who"), True, False, "HTTP 401 Who"),
        (Response(413, "Large"), True, True, "HTTP 413 Large"),
        (Response(422, None), True, True, "HTTP 422"),
        (Response(503, "Busy"), True, False, "HTTP 503 Busy"),
    ],
)
def test_the_status_tells_what_was_refused_and_whether_for_good(response, is_refused, is_for_good, reason):
    status = ExportStatus()

    status.on_response(response)

    assert outcome(status) == (is_refused, is_for_good, reason)


@pytest.mark.parametrize(
    ("endpoint", "cure"),
    [
        ("http://host:4318/v1/traces/v1/traces", "; leave /v1/traces out of OTEL_EXPORTER_OTLP_ENDPOINT"),
        ("http://host:4318/v1/traces/v1/metrics", "; leave /v1/traces out of OTEL_EXPORTER_OTLP_ENDPOINT"),
        ("http://host:4318/v1/traces", ""),
    ],
)
def test_an_endpoint_that_has_the_path_of_a_signal_already_is_told(endpoint, cure):
    status = ExportStatus(endpoint)

    status.on_response(Response(404, "Not Found"))

    assert status.place == f"{endpoint} (HTTP 404 Not Found{cure})"


PAGE = b'\xef\xbb\xbf\n<!DOCTYPE html>\n<html lang="en"><title>Jaeger UI</title></html>'


@pytest.mark.parametrize(
    ("content", "is_refused"),
    [
        (PAGE, True),
        (b"<!-- (c) --><HTML>", True),
        (b"<p>thank you</p>", False),
        (b"see <html>", False),
        (b"", False),
        (None, False),
    ],
)
def test_a_web_page_is_no_answer_of_otlp_and_what_was_sent_waits(content, is_refused):
    status = ExportStatus("http://jaeger:16686")

    status.on_response(Response(200, content=content))

    reason = "a web page answers; is it Jaeger's? OTLP over HTTP is at port 4318" if is_refused else ""
    assert (*outcome(status), status.may_take_others) == (is_refused, False, reason, False)


def answer_of(rejected=0, message=""):
    answer = ExportTraceServiceResponse()
    answer.partial_success.rejected_spans = rejected
    answer.partial_success.error_message = message
    return answer


def test_the_second_attempt_counts_and_what_was_rejected_adds_up():
    status = ExportStatus()
    content = answer_of(3, " too old ").SerializeToString()

    status.on_response(Response(413))
    status.on_response(Response(200, content=content))
    assert (status.is_refused, status.is_for_good, status.rejected, status.message) == (False, False, 3, "too old")
    status.is_refused = status.is_for_good = True
    status.on_message(answer_of(2))
    assert (status.is_refused, status.is_for_good, status.rejected, status.message) == (False, False, 5, "too old")

    status.on_message(answer_of(-4, "odd"))
    assert (status.rejected, status.message) == (5, "odd")


@pytest.mark.parametrize(
    ("headers", "rejected"),
    [({}, 3), ({"content_type": "application/x-protobuf"}, 3), ({"content_type": "application/json"}, 0)],
)
def test_an_answer_is_read_if_it_says_that_it_is_protobuf_or_nothing(headers, rejected):
    status = ExportStatus()

    status.on_response(Response(200, content=answer_of(3).SerializeToString(), **headers))

    assert status.rejected == rejected


class GrpcError(Exception):
    """An error of a gRPC stub."""

    def __init__(self, name, details=None):
        self._code = SimpleNamespace(name=name) if name != "plain" else 14
        if details is not None:
            self.details = lambda: details

    def code(self):
        return self._code


@pytest.mark.parametrize(
    ("error", "is_for_good", "reason"),
    [
        (GrpcError("UNAVAILABLE", "no route"), False, "gRPC UNAVAILABLE: no route"),
        (
            GrpcError("UNAVAILABLE", "last error: Failed parsing HTTP/2 (Expected SETTINGS frame)"),
            False,
            f"gRPC UNAVAILABLE: {_NO_GRPC}",
        ),
        (GrpcError("INVALID_ARGUMENT", "bad"), True, "gRPC INVALID_ARGUMENT: bad"),
        (GrpcError("INTERNAL", "bad"), True, "gRPC INTERNAL: bad"),
        (GrpcError("RESOURCE_EXHAUSTED", "no room"), False, "gRPC RESOURCE_EXHAUSTED: no room"),
        (GrpcError("UNKNOWN", "larger than"), False, "gRPC UNKNOWN: larger than"),
        (GrpcError("plain"), False, "gRPC 14:"),
    ],
)
def test_the_code_of_grpc_tells_whether_it_is_for_good(error, is_for_good, reason):
    status = ExportStatus()

    status.on_error(error)

    assert outcome(status) == (True, is_for_good, reason)


def test_what_is_too_large_for_grpc_is_not_sent_again_and_again():
    status, error = ExportStatus(), GrpcError("RESOURCE_EXHAUSTED", "message larger than max")

    with pytest.raises(TooLarge, match="larger than max") as raised:
        status.on_error(error)

    assert raised.value.__cause__ is error
    assert outcome(status) == (True, True, "gRPC RESOURCE_EXHAUSTED: message larger than max")


def wrapped(error, *outer, by="args"):
    for kind in outer:
        around = kind(error) if by == "args" else kind("words")
        if by == "reason":
            around.reason = error
        elif by != "args":
            setattr(around, by, error)
        error = around
    return error


class ReadTimeoutOfALibrary(Exception):
    """Has no words of the system."""


REFUSED = ConnectionRefusedError(111, "Connection Refused")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (REFUSED, "connection refused"),
        (wrapped(REFUSED, RuntimeError, ValueError), "connection refused"),
        (wrapped(REFUSED, RuntimeError, by="reason"), "connection refused"),
        (wrapped(REFUSED, RuntimeError, by="__cause__"), "connection refused"),
        (wrapped(REFUSED, RuntimeError, by="__context__"), "connection refused"),
        (wrapped(REFUSED, *[RuntimeError] * 49), "connection refused"),
        (wrapped(REFUSED, *[RuntimeError] * 50), "RuntimeError"),
        (wrapped(ReadTimeoutOfALibrary(), RuntimeError), "timed out"),
        (OSError("without a number"), "OSError"),
        (ValueError("words"), "ValueError"),
    ],
)
def test_the_reason_is_the_system_s_however_deep_it_is_wrapped(error, reason):
    status = ExportStatus("http://collector")

    status.on_error(error)

    assert outcome(status) == (True, False, reason)
    assert status.place == f"http://collector ({reason})"


def test_errors_that_go_round_in_a_ring_have_an_end():
    first, second = RuntimeError(), ValueError()
    first.__cause__, second.__cause__ = second, first
    status = ExportStatus()

    status.on_error(first)

    assert status.reason == "RuntimeError"


def test_a_reason_is_short_and_shows_no_password():
    status = ExportStatus("http://me:hunter2@collector")

    status.on_response(Response(500, "password=hunter2 " + "x" * 500))

    assert "hunter2" not in status.place
    assert status.reason.index("… [cut, ") == 200


# Which exporter is made, and with what


@pytest.fixture
def arguments(monkeypatch):
    """What the exporter was looked up by, and made with; *kind* makes it."""
    lookup = SimpleNamespace(kind=lambda **options: options, names=[])

    def load(group, name, variable):
        lookup.names.append((group, name, variable))
        return lookup.kind

    for name in ("ENDPOINT", "PROTOCOL", "TIMEOUT"):
        monkeypatch.delenv(f"OTEL_EXPORTER_OTLP_{name}", raising=False)
    monkeypatch.setattr(endpoint.entry_points, "load", load)
    return lookup


@pytest.mark.parametrize(
    ("protocol", "name", "usual"),
    [
        ("", "otlp_proto_http", "http://localhost:4318"),
        ("HTTP/protobuf", "otlp_proto_http", "http://localhost:4318"),
        ("grpc", "otlp_proto_grpc", "http://localhost:4317"),
    ],
)
def test_otlp_is_the_exporter_of_the_protocol_with_two_seconds_of_time(arguments, monkeypatch, protocol, name, usual):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)

    options, status = new_exporter("logs", "otlp")

    assert arguments.names == [("opentelemetry_logs_exporter", name, "OTEL_LOGS_EXPORTER")]
    assert options["timeout"] == 2
    assert ("session" in options) is (name == "otlp_proto_http")
    assert status.endpoint == usual


@pytest.mark.parametrize("name", ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"])
@pytest.mark.parametrize("text", ["  {} ", "{}\n", "\t{}/\r\n"])
def test_spaces_around_an_endpoint_are_no_part_of_it(monkeypatch, name, text):
    with OtlpReceiver() as receiver:
        address = receiver.url if name == "OTEL_EXPORTER_OTLP_ENDPOINT" else f"{receiver.url}/v1/traces"
        monkeypatch.setenv(name, text.format(address).replace("traces/", "traces"))
        exporter, status = new_exporter("traces", "otlp")
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(exporter))

        provider.get_tracer("program").start_span("arrives").end()

        provider.shutdown()
        assert len(receiver.spans) == 1
    assert status.place in (address, f"{address}/")


def test_another_exporter_is_made_without_arguments_and_has_no_endpoint(arguments):
    options, status = new_exporter("traces", "theirs")

    assert (arguments.names[0][1], options, status.endpoint) == ("theirs", {}, "")


def test_a_protocol_that_is_none_is_told_the_likely_one(monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "grcp")

    with pytest.raises(ConfigurationError) as refusal:
        new_exporter("traces", "otlp")

    assert str(refusal.value) == ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=grcp is not supported; did you mean 'grpc'?")


@pytest.mark.parametrize("value", ["0.5", "30"])
def test_a_time_that_is_given_is_the_exporter_s_to_read(arguments, monkeypatch, value):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", value)

    assert "timeout" not in new_exporter("traces", "otlp")[0]


@pytest.mark.parametrize("value", ["0", "-1", "inf", "nan", "soon"])
def test_a_time_that_is_none_is_refused(arguments, monkeypatch, value):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", value)

    with pytest.raises(ConfigurationError, match=f"_TIMEOUT={value} is no time: give seconds above 0, such as 2"):
        new_exporter("traces", "otlp")


@pytest.mark.parametrize(
    ("protocol", "value"),
    [
        *(
            ("", value)
            for value in (
                "http://",
                "ftp://host",
                "http://host:0",
                "http://host:x",
                "host:4318",
                "http://[",
                "http://a b:4318",
                "http://a/b c",
            )
        ),
        *(("grpc", value) for value in ("ftp://host", "some host:4317", "http://host:0", "http://a b:4317")),
    ],
)
def test_an_endpoint_that_is_none_is_refused_with_one_that_is(arguments, monkeypatch, protocol, value):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", value)
    port = 4317 if protocol else 4318

    with pytest.raises(ConfigurationError, match=f"is no endpoint: give an address such as http://localhost:{port}"):
        new_exporter("traces", "otlp")


@pytest.mark.parametrize("value", ["http://host:1", "https://host/path", "HTTP://host"])
def test_an_address_is_an_endpoint(arguments, monkeypatch, value):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", value)

    assert new_exporter("traces", "otlp")[1].endpoint == value


@pytest.mark.parametrize("variable", ["HTTP_CREDENTIAL_PROVIDER", "HTTP_TRACES_CREDENTIAL_PROVIDER"])
def test_an_exporter_that_makes_its_own_session_for_credentials_gets_none(arguments, monkeypatch, variable):
    monkeypatch.setenv(f"OTEL_PYTHON_EXPORTER_OTLP_{variable}", "theirs")

    assert "session" not in new_exporter("traces", "otlp")[0]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (RuntimeError("no"), "^OTEL_TRACES_EXPORTER: theirs cannot be set up: no$"),
        (ConfigurationError("own words"), "^own words$"),
    ],
)
def test_an_exporter_that_cannot_be_made_is_one_error(arguments, error, message):
    def fail():
        raise error

    arguments.kind = fail

    with pytest.raises(ConfigurationError, match=message):
        new_exporter("traces", "theirs")


def test_without_the_library_the_exporter_makes_its_own_session(arguments, monkeypatch):
    monkeypatch.setitem(sys.modules, "requests", None)

    assert new_exporter("traces", "otlp")[0]["session"] is None


def test_what_is_listened_to_answers_and_raises_as_ever():
    status, heard = ExportStatus(), []

    def call(value, *, fails=False):
        if fails:
            raise TimeoutError(value)
        return value

    def unreadable(result):
        heard.append(result)
        raise ValueError("no message")

    listening = endpoint._listening(call, status, unreadable)

    assert listening("answer") == "answer"
    assert heard == ["answer"]
    with pytest.raises(TimeoutError, match="late"):
        listening("late", fails=True)
    assert status.reason == "timed out"


@pytest.mark.parametrize(
    "exporter",
    [
        SimpleNamespace(),
        SimpleNamespace(_stub=None, _client=SimpleNamespace(Export=print)),
        SimpleNamespace(_stub=print, _client=None),
        SimpleNamespace(_stub=print, _client=SimpleNamespace(Export=None)),
    ],
)
def test_a_grpc_exporter_of_another_make_stays_as_it_is(exporter):
    before = copy.deepcopy(vars(exporter))

    endpoint._listen_to_stub(exporter, ExportStatus())

    assert vars(exporter) == before


@pytest.mark.parametrize("status", [408, 429, 502, 503, 504])
def test_what_says_that_it_can_take_nothing_now_takes_no_others(status):
    answer = ExportStatus()
    answer.on_response(Response(status))
    of_neighbours = []
    for neighbour in {status - 1, status + 1} - {408, 429, 502, 503, 504}:
        answer.on_response(Response(neighbour))
        of_neighbours.append(answer.may_take_others)
    answer.on_response(Response(status))

    assert not answer.may_take_others
    assert all(of_neighbours)


@pytest.mark.parametrize(
    ("name", "is_so"), [("otlp", True), ("otlp_proto_http", True), ("otlp_proto_grpc", True), ("console", False)]
)
def test_an_exporter_of_otlp_is_known_by_its_name(name, is_so):
    assert endpoint.is_otlp(name) is is_so


@pytest.mark.parametrize(("word", "is_so"), [("1", True), (" TRUE ", True), ("0", False), ("", False), ("what", False)])
def test_open_spans_are_sent_where_a_variable_says_so(monkeypatch, word, is_so):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_LIVE", word)

    assert endpoint.wants_open_spans() is is_so


def test_without_the_variable_no_open_spans_are_sent(monkeypatch):
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_TRACES_LIVE", raising=False)

    assert endpoint.wants_open_spans() is False


def test_a_time_limit_is_a_day_at_most(monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "100000")

    assert endpoint.otlp_settings("traces", "otlp_proto_http")[1] == 86_400


@pytest.mark.parametrize(("length", "is_page"), [(1_024 - 6, True), (1_024 - 5, False)])
def test_only_the_beginning_of_an_answer_tells_whether_it_is_a_page(length, is_page):
    content = b"<".ljust(length + 1) + b"<html"

    assert endpoint.is_web_page(content) is is_page


@pytest.mark.parametrize("name", ["otlp_proto_http", "otlp_proto_grpc"])
def test_each_request_of_an_exporter_is_seen(name):
    pytest.importorskip(f"opentelemetry.exporter.otlp.proto.{name.rpartition('_')[2]}")
    exporter, status = new_exporter("traces", name)
    exporter.shutdown()

    assert status.is_listening
    assert status.was_unsendable  # so far: nobody was asked
