"""The OTLP endpoint of a signal: its ``OTEL_*`` variables, and what it answers.

An exporter reports only whether it failed, and takes a partial success for a success. So its transport is listened to:
its HTTP session, which is a public argument, or its gRPC stub. An exporter that has neither is used as it is.
"""

import codecs
import contextlib
import math
import os
import re
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlsplit

from otelflow._core.process import entry_points
from otelflow._core.process.environment import SWITCH
from otelflow._core.text.hints import quotes_in, suggestion
from otelflow._core.text.redaction import redact, redact_address
from otelflow._core.text.safe_str import cut, printable
from otelflow._core.text.secret_values import REDACTED
from otelflow.errors import ConfigurationError
from otelflow_exporters._otlp.answer_times import bound_answers, read_answer
from otelflow_exporters._otlp.proxies import reason_of_proxy

# With the SDK's ten seconds a process whose collector is dead hangs at its exit.
_TIMEOUT_SECONDS: Final = 2
_LONGEST_TIMEOUT_SECONDS: Final = 86_400.0  # sockets take no more than some days
_OTLP: Final = "otlp"
# OTLP from a spool, in programs that OpenTelemetry sets up; of ours it is said otherwise whether there is one.
_SPOOL_NAME: Final = "otelflow_spool"
_HTTP: Final = "otlp_proto_http"
_GRPC: Final = "otlp_proto_grpc"
_PROTOCOLS: Final = {"http/protobuf": _HTTP, "grpc": _GRPC}
_USUAL: Final = {_HTTP: "http://localhost:4318", _GRPC: "http://localhost:4317"}
# The exporters that OpenTelemetry's specification names
_OWN_NAMES: Final = frozenset({"otlp", "console", "logging", "prometheus", "zipkin", "jaeger", "none"})
# With an authority (dns://8.8.8.8/host) the SDK's exporter would take that for the endpoint.
_GRPC_NAMES: Final = ("unix:///", "unix-abstract:", "dns:///", "ipv4:///", "ipv6:///", "xds:///", "passthrough:///")
_REASON_LENGTH: Final = 200
_MOST_CAUSES: Final = 50
_NO_ANSWER: Final = "timed out"
_WEB_PAGE: Final = "a web page answers; is it Jaeger's? OTLP over HTTP is at port 4318"
# An endpoint for all signals to which exporters have added what it had already
_TWICE: Final = re.compile(r"(/v1/(?:traces|logs|metrics))/v1/(?:traces|logs|metrics)$")
_NO_GRPC: Final = (
    "no gRPC is spoken there; it is at port 4317, and over HTTP with OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf"
)
_PAGE_HEAD: Final = 1024
# Below them a server has something else in mind, such as another protocol; above, it says where to ask, or refuses.
_SUCCESSES: Final = range(200, 300)
# What HTTP servers answer to a request with something in it that they cannot take: bad, too large, not processable.
_BAD_REQUESTS: Final = frozenset({400, 413, 422})
# With these the endpoint, or what stands before it, says of itself that it can take nothing now.
_UNAVAILABLE: Final = frozenset({408, 429, 502, 503, 504})
_UNAVAILABLE_CODES: Final = frozenset(
    {"UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED", "RESOURCE_EXHAUSTED", "ABORTED"}
)
# An exporter with one of these makes its own session, or its own channel.
_CREDENTIAL_PROVIDERS: Final = {
    _HTTP: (
        "OTEL_PYTHON_EXPORTER_OTLP_HTTP_CREDENTIAL_PROVIDER",
        "OTEL_PYTHON_EXPORTER_OTLP_HTTP_{}_CREDENTIAL_PROVIDER",
    ),
    _GRPC: ("OTEL_PYTHON_EXPORTER_OTLP_GRPC_CREDENTIAL_PROVIDER",),
}
#: The cure for an endpoint that does not take what is sent
CURE: Final = "'otelflow doctor' looks at it"


def variable(signal: str, setting: str) -> tuple[str, str]:
    """Return the name and the value of the variable for *setting* (ENDPOINT, PROTOCOL, TIMEOUT) of *signal*."""
    general = f"OTEL_EXPORTER_OTLP_{setting}"
    for name in (f"OTEL_EXPORTER_OTLP_{signal.upper()}_{setting}", general):
        value = os.environ.get(name, "").strip()
        if value:
            return name, value
    return general, ""


def exporter_names(signal: str) -> list[str]:
    """Return the exporters that ``OTEL_{signal}_EXPORTER`` names; unset, OTLP if an endpoint is given, else none.

    OpenTelemetry's default is OTLP to localhost in any case: a flow on a laptop would complain of it at each run.
    """
    text = os.environ.get(f"OTEL_{signal.upper()}_EXPORTER", "").strip()
    if text:
        names = [name.strip() for name in text.split(",") if name.strip()]
        # What the specification knows, it knows in any case; other names are those of packages.
        names = [name.lower() if name.lower() in _OWN_NAMES else name for name in names]
        names = [_OTLP if name == _SPOOL_NAME else name for name in names]
        return [name for name in dict.fromkeys(names) if name != "none"]
    return ["otlp"] if variable(signal, "ENDPOINT")[1] else []


def is_web_page(content: bytes | None) -> bool:
    """Tell whether *content*, which a server has answered, is a whole page of HTML: then no OTLP is taken there."""
    head = (content or b"")[:_PAGE_HEAD].removeprefix(codecs.BOM_UTF8).lstrip().lower()
    return head.startswith(b"<") and (b"<!doctype html" in head or b"<html" in head)


class TooLarge(Exception):
    """A gRPC endpoint takes no message of that size."""


class ExportStatus:
    """What the endpoint of one exporter answered to the last export; ``endpoint`` is empty if it has none."""

    def __init__(self, endpoint: str = "") -> None:
        self._address = endpoint
        self.endpoint = redact(endpoint) if "://" in endpoint else redact_address(endpoint)
        self._credentials = endpoint.rpartition("@")[0].rpartition(":/")[2].lstrip("/")
        self.is_listening = False  # every request of the exporter is seen here
        self.reset()

    def reset(self) -> None:
        """Begin another export."""
        self.reason = ""
        self.rejected = 0
        self.message = ""
        self.is_refused = False
        self.was_asked = False
        self.is_silent = False  # there was no answer in time, and so nobody knows what became of the request
        self.is_for_good = False  # the same request would be refused again, and a part of it perhaps not
        self.may_take_others = False  # it works, and has refused this request, which somebody may mend
        self.is_mendable = False  # perhaps not the request is wrong, but what the endpoint does with it

    @property
    def was_unsendable(self) -> bool:
        """Tell whether the exporter has asked nobody: it could not encode the last export, or found it too large."""
        return self.is_listening and not self.was_asked

    @property
    def place(self) -> str:
        """The endpoint, and why the last export failed; empty for an exporter without endpoint."""
        return f"{self.endpoint} ({self.reason})" if self.reason else self.endpoint

    def on_response(self, response: Any) -> None:
        """Remember what an HTTP server answered."""
        self.was_asked = True
        if response.status_code not in _SUCCESSES:  # the exporter follows no redirection, and takes it for a success
            self.is_refused = True
            self.is_for_good = response.status_code in _BAD_REQUESTS
            self.may_take_others = response.status_code not in _UNAVAILABLE
            twice = _TWICE.search(self.endpoint)
            cure = f"; leave {twice[1]} out of OTEL_EXPORTER_OTLP_ENDPOINT" if twice else ""
            self.reason = self._short(f"HTTP {response.status_code} {response.reason or ''}{cure}")
            return
        if is_web_page(response.content):  # what shows one answers so to everything, and takes nothing
            self.is_refused, self.is_for_good, self.may_take_others = True, False, False
            self.reason = _WEB_PAGE
            return
        self.is_refused = self.is_for_good = False
        if "protobuf" in response.headers.get("content-type", "protobuf") and response.content:
            # On the wire the answers for all three signals are the same.
            from google.protobuf.message import DecodeError  # noqa: PLC0415
            from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as service  # noqa: PLC0415

            with contextlib.suppress(DecodeError):  # the status says that it has arrived
                self.on_message(service.ExportTraceServiceResponse.FromString(response.content))

    def on_message(self, message: Any) -> None:
        """Remember how much of an accepted request the server rejected, and its reason."""
        self.is_refused = self.is_for_good = False
        fields = {field.number: value for field, value in message.partial_success.ListFields()}
        self.rejected += max(int(fields.get(1, 0)), 0)
        self.message = self._short(str(fields.get(2, ""))) or self.message

    def on_error(self, error: Exception) -> None:
        """Remember why there was no answer."""
        self.was_asked = True
        self.is_refused = True
        code = getattr(error, "code", None)
        if callable(code):
            name, details = str(getattr(code(), "name", code())), str(getattr(error, "details", str)())
            details = _NO_GRPC if "Failed parsing HTTP/2" in details else details
            self.reason = self._short(f"gRPC {name}: {details}")
            is_too_large = name == "RESOURCE_EXHAUSTED" and "larger than" in details  # else it has no room for now
            self.is_for_good = is_too_large or name in ("INVALID_ARGUMENT", "INTERNAL")
            self.may_take_others = name not in _UNAVAILABLE_CODES
            self.is_mendable = name == "INTERNAL"  # so a Collector hands on what its own exporter was told, as HTTP 500
            self.is_silent = name == "DEADLINE_EXCEEDED"
            if is_too_large:
                # The exporter would send it again and again, for as long as its time-out lasts.
                raise TooLarge(self.reason) from error
        else:
            reason = _system_error(error)
            self.is_silent = reason == _NO_ANSWER
            self.reason = self._short(reason_of_proxy(self._address, error, reason))

    def _short(self, text: str) -> str:
        # gRPC names the address without its scheme, which makes a password in it hard to see.
        text = text.replace(self._credentials, REDACTED) if self._credentials else text
        return cut(redact(printable(text.strip())), _REASON_LENGTH)


def _system_error(error: BaseException) -> str:
    """Return the operating system's words for *error*, which libraries wrap in errors of their own."""
    queue: list[object] = [error]
    errors: list[BaseException] = []
    while queue and len(errors) < _MOST_CAUSES:
        cause = queue.pop(0)
        if not isinstance(cause, BaseException) or any(cause is earlier for earlier in errors):
            continue
        errors.append(cause)
        if isinstance(cause, OSError) and cause.strerror:
            return str(cause.strerror).lower()
        queue += [*cause.args, getattr(cause, "reason", None), cause.__cause__, cause.__context__]
    is_timeout = any("Timeout" in type(cause).__name__ for cause in errors)
    return _NO_ANSWER if is_timeout else type(error).__name__


def new_exporter(signal: str, name: str) -> tuple[Any, ExportStatus]:
    """Return the exporter of *signal* registered as *name*, and the status that its endpoint's answers are kept in.

    ``otlp`` is the one of the configured protocol. Raises ConfigurationError.
    """
    if name == "otlp":
        name = _exporter_of_protocol(signal)
    status = ExportStatus()
    arguments: dict[str, Any] = {}
    if name in _PROTOCOLS.values():
        endpoint, seconds = otlp_settings(signal, name)
        if not variable(signal, "TIMEOUT")[1]:
            arguments["timeout"] = seconds
        status = ExportStatus(endpoint)
        endpoint_variable, address = variable(signal, "ENDPOINT")
        if os.environ.get(endpoint_variable, "") != address:  # spaces around it, or the end of a line
            is_base = name == _HTTP and signal.upper() not in endpoint_variable
            arguments["endpoint"] = f"{address.rstrip('/')}/v1/{signal}" if is_base else address
    exporter_variable = f"OTEL_{signal.upper()}_EXPORTER"
    kind = entry_points.load(f"opentelemetry_{signal}_exporter", name, exporter_variable)
    if name == _HTTP and credential_provider(signal, name) is None:
        arguments["session"] = _listening_session(status)
        status.is_listening = arguments["session"] is not None
    try:
        exporter = kind(**arguments)
    except ConfigurationError:
        raise
    except Exception as error:
        raise ConfigurationError(f"{exporter_variable}: {name} cannot be set up: {error}") from error
    if name == _GRPC:
        _listen_to_stub(exporter, status)
    return exporter, status


def credential_provider(signal: str, name: str) -> Callable[[], Any] | None:
    """Return what makes the HTTP session, or the gRPC credentials, of the exporter *name*, if a variable names that.

    Raises ConfigurationError.
    """
    for form in _CREDENTIAL_PROVIDERS[name]:
        provider_variable = form.format(signal.upper())
        provider = os.environ.get(provider_variable)
        if provider:
            maker: Callable[[], Any] = entry_points.load(
                "opentelemetry_otlp_credential_provider", provider, provider_variable
            )
            return maker
    return None


def wants_open_spans() -> bool:
    """Tell whether the receiver of traces merges spans by their id, and wants to hear of them when they start."""
    return SWITCH.get(os.environ.get("OTEL_EXPORTER_OTLP_TRACES_LIVE", "").strip().lower(), False)


def is_otlp(name: str) -> bool:
    """Tell whether the exporter *name* sends OTLP."""
    return name == "otlp" or name in _PROTOCOLS.values()


def is_grpc(signal: str, name: str = "otlp") -> bool:
    """Tell whether the exporter *name* of *signal* speaks gRPC. Raises ConfigurationError for an unknown protocol."""
    return (_exporter_of_protocol(signal) if name == "otlp" else name) == _GRPC


def _exporter_of_protocol(signal: str) -> str:
    name, protocol = variable(signal, "PROTOCOL")
    if (protocol.lower() or "http/protobuf") not in _PROTOCOLS:
        cure = quotes_in(protocol) or suggestion(protocol.lower(), _PROTOCOLS)
        raise ConfigurationError(f"{name}={protocol} is not supported{cure}")
    return _PROTOCOLS[protocol.lower() or "http/protobuf"]


def otlp_settings(signal: str, name: str) -> tuple[str, float]:
    """Return the endpoint of the exporter *name*, and its time limit in seconds. Raises ConfigurationError."""
    endpoint_variable, endpoint = variable(signal, "ENDPOINT")
    try:
        parts = urlsplit(endpoint)
        is_valid = not endpoint or (bool(parts.hostname) and parts.scheme in ("http", "https") and parts.port != 0)
    except ValueError:
        is_valid = False
    # gRPC takes host:port, too, and the names of its own resolvers.
    is_name = "://" not in endpoint or endpoint.lower().startswith(_GRPC_NAMES)
    is_valid = is_valid or (name == _GRPC and is_name and not quotes_in(endpoint))
    if not is_valid or not endpoint.isprintable() or " " in endpoint:
        cure = quotes_in(endpoint) or f": give an address such as {_USUAL[name]}"
        raise ConfigurationError(f"{endpoint_variable}={redact_address(endpoint)} is no endpoint{cure}")
    timeout_variable, timeout = variable(signal, "TIMEOUT")
    try:
        is_valid = not timeout or (float(timeout) > 0 and math.isfinite(float(timeout)))
    except ValueError:
        is_valid = False
    if not is_valid:
        cure = quotes_in(timeout) or f": give seconds above 0, such as {_TIMEOUT_SECONDS}"
        raise ConfigurationError(f"{timeout_variable}={timeout} is no time{cure}")
    return endpoint or _USUAL[name], min(float(timeout or _TIMEOUT_SECONDS), _LONGEST_TIMEOUT_SECONDS)


def _listening_session(status: ExportStatus) -> Any:
    """Return an HTTP session for an exporter; None lets it make its own."""
    try:
        import requests  # noqa: PLC0415 the exporter's choice, which may become another
    except ImportError:
        return None
    session: Any = bound_answers(requests.Session())
    request = session.request

    def request_bounded(*args: Any, **keywords: Any) -> Any:
        response = request(*args, **{**keywords, "stream": True})
        with response:
            read_answer(response, keywords.get("timeout") or _TIMEOUT_SECONDS)
        return response

    session.request = _listening(request_bounded, status, status.on_response)
    return session


def _listen_to_stub(exporter: Any, status: ExportStatus) -> None:
    """Listen to the gRPC stub of *exporter*, and to the stubs that it makes when it connects again."""
    make, stub = getattr(exporter, "_stub", None), getattr(exporter, "_client", None)
    if not callable(make) or not callable(getattr(stub, "Export", None)):
        return

    def make_listening(channel: Any) -> Any:
        new_stub = make(channel)
        new_stub.Export = _listening(new_stub.Export, status, status.on_message)
        return new_stub

    exporter._stub = make_listening  # noqa: SLF001 there is no public way; the version is checked above
    exporter._client.Export = _listening(exporter._client.Export, status, status.on_message)  # noqa: SLF001
    status.is_listening = True


def _listening(call: Callable[..., Any], status: ExportStatus, on_result: Callable[[Any], None]) -> Callable[..., Any]:
    def call_and_listen(*args: Any, **keywords: Any) -> Any:
        try:
            result = call(*args, **keywords)
        except Exception as error:
            status.on_error(error)
            raise
        try:
            on_result(result)
        except Exception:  # noqa: BLE001 an answer that cannot be read is no answer, and no loss
            return result
        return result

    return call_and_listen
