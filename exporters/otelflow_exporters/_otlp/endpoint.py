"""The OTLP endpoint of a signal: what the ``OTEL_*`` variables say of it, and what it answers.

An exporter says only whether it failed, and takes the answer "I threw half of it away" for a success. What it sends
with is listened to: its HTTP session, which is a public argument, or its gRPC stub. A version that has neither goes
without.
"""

import math
import os
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlsplit

from otelflow._core.process import entry_points
from otelflow._core.text.hints import suggestion
from otelflow._core.text.redaction import redact
from otelflow._core.text.safe_str import cut, printable
from otelflow.errors import ConfigurationError

# With the SDK's ten seconds a process whose collector is dead hangs at its exit.
_TIMEOUT_SECONDS: Final = 2
_HTTP: Final = "otlp_proto_http"
_GRPC: Final = "otlp_proto_grpc"
_PROTOCOLS: Final = {"http/protobuf": _HTTP, "grpc": _GRPC}
_USUAL: Final = {_HTTP: "http://localhost:4318", _GRPC: "http://localhost:4317"}
_REASON_LENGTH: Final = 200
_REDIRECTION: Final = 300
_CREDENTIALS: Final = "CREDENTIAL_PROVIDER"
#: What to do about an endpoint that does not take what is sent
CURE: Final = "'otelflow doctor' looks at it"


def said(signal: str, what: str) -> tuple[str, str]:
    """Return the variable that says *what* (ENDPOINT, PROTOCOL, TIMEOUT) for *signal*, and what it says."""
    general = f"OTEL_EXPORTER_OTLP_{what}"
    for variable in (f"OTEL_EXPORTER_OTLP_{signal.upper()}_{what}", general):
        value = os.environ.get(variable, "").strip()
        if value:
            return variable, value
    return general, ""


def exporter_names(signal: str) -> list[str]:
    """Return the exporters that ``OTEL_{signal}_EXPORTER`` names; unset, OTLP if an endpoint is given, else none.

    OpenTelemetry's default is OTLP to localhost in any case: a flow on a laptop would complain of it at each run.
    """
    names = os.environ.get(f"OTEL_{signal.upper()}_EXPORTER", "").strip()
    if names:
        return [name.strip() for name in names.split(",") if name.strip() not in ("", "none")]
    return ["otlp"] if said(signal, "ENDPOINT")[1] else []


class Answer:
    """What the endpoint of one exporter answered to the last export; ``endpoint`` is empty if it has none."""

    def __init__(self, endpoint: str = "") -> None:
        self.endpoint = redact(endpoint)
        self.forget()

    def forget(self) -> None:
        """Begin another export."""
        self.reason = ""
        self.rejected = 0
        self.message = ""
        self.is_refused = False

    @property
    def place(self) -> str:
        """The endpoint, and why it did not take what was sent; nothing for an exporter without endpoint."""
        return f"{self.endpoint} ({self.reason})" if self.reason else self.endpoint

    def hear_response(self, response: Any) -> None:
        """Remember what an HTTP server answered."""
        if response.status_code >= _REDIRECTION:  # the exporter follows no redirection, and takes it for a success
            self.is_refused = True
            self.reason = _short(f"HTTP {response.status_code} {response.reason or ''}")
            return
        self.is_refused = False
        if "protobuf" in response.headers.get("content-type", "protobuf") and response.content:
            # On the wire the answers for all three signals are the same.
            from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as answers  # noqa: PLC0415

            self.hear_message(answers.ExportTraceServiceResponse.FromString(response.content))

    def hear_message(self, answer: Any) -> None:
        """Remember how much of an accepted request the server threw away, and what it says of it."""
        self.is_refused = False
        said = {field.number: value for field, value in answer.partial_success.ListFields()}
        self.rejected += max(int(said.get(1, 0)), 0)
        self.message = _short(str(said.get(2, ""))) or self.message

    def hear_error(self, error: Exception) -> None:
        """Remember why there was no answer."""
        self.is_refused = True
        code = getattr(error, "code", None)
        if callable(code):
            self.reason = _short(f"gRPC {getattr(code(), 'name', code())}: {getattr(error, 'details', str)()}")
        else:
            self.reason = _short(_root_of(error))


def _short(text: str) -> str:
    return cut(redact(printable(text.strip())), _REASON_LENGTH)


def _root_of(error: BaseException) -> str:
    """Return what the system said, which libraries wrap in errors of their own."""
    queue: list[object] = [error]
    seen: list[object] = []
    while queue:
        one = queue.pop(0)
        if not isinstance(one, BaseException) or any(one is known for known in seen):
            continue
        seen.append(one)
        if isinstance(one, OSError) and one.strerror:
            return str(one.strerror).lower()
        queue += [*one.args, getattr(one, "reason", None), one.__cause__, one.__context__]
    return "timed out" if any("Timeout" in type(one).__name__ for one in seen) else type(error).__name__


def new_exporter(signal: str, name: str) -> tuple[Any, Answer]:
    """Return the exporter of *signal* registered as *name*, and what its endpoint will answer.

    ``otlp`` is the one of the configured protocol. Raises ConfigurationError.
    """
    variable = f"OTEL_{signal.upper()}_EXPORTER"
    name = _by_protocol(signal) if name == "otlp" else name
    answer, keywords = Answer(), {}
    if name in _PROTOCOLS.values():
        answer = Answer(_checked_endpoint(signal, name) or _USUAL[name])
        keywords = {} if _is_timeout_said(signal) else {"timeout": _TIMEOUT_SECONDS}
    kind = entry_points.load(f"opentelemetry_{signal}_exporter", name, variable)
    if name == _HTTP and not _has_credential_provider(signal):
        keywords["session"] = _session(answer)
    try:
        exporter = kind(**keywords)
    except ConfigurationError:
        raise
    except Exception as error:
        raise ConfigurationError(f"{variable}: {name} cannot be set up: {error}") from error
    if name == _GRPC:
        _listen_to_stub(exporter, answer)
    return exporter, answer


def _by_protocol(signal: str) -> str:
    variable, protocol = said(signal, "PROTOCOL")
    protocol = protocol or "http/protobuf"
    if protocol not in _PROTOCOLS:
        raise ConfigurationError(f"{variable}={protocol} is not supported{suggestion(protocol, _PROTOCOLS)}")
    return _PROTOCOLS[protocol]


def _is_timeout_said(signal: str) -> bool:
    variable, text = said(signal, "TIMEOUT")
    try:
        is_good = not text or (float(text) > 0 and math.isfinite(float(text)))
    except ValueError:
        is_good = False
    if not is_good:
        raise ConfigurationError(f"{variable}={text} is no time: give seconds above 0, such as {_TIMEOUT_SECONDS}")
    return bool(text)


def _checked_endpoint(signal: str, name: str) -> str:
    variable, endpoint = said(signal, "ENDPOINT")
    try:
        parts = urlsplit(endpoint)
        is_good = not endpoint or (bool(parts.hostname) and parts.scheme in ("http", "https") and parts.port != 0)
    except ValueError:
        is_good = False
    # gRPC takes host:port, too.
    is_good = is_good or (name == _GRPC and " " not in endpoint and "://" not in endpoint)
    if not is_good:
        raise ConfigurationError(f"{variable}={endpoint} is no endpoint: give an address such as {_USUAL[name]}")
    return endpoint


# What an exporter sends with


def _has_credential_provider(signal: str) -> bool:
    prefix = "OTEL_PYTHON_EXPORTER_OTLP_HTTP_"
    return any(os.environ.get(prefix + one) for one in (_CREDENTIALS, f"{signal.upper()}_{_CREDENTIALS}"))


def _session(answer: Answer) -> Any:
    """Return an HTTP session for an exporter; None lets it make its own."""
    try:
        import requests  # noqa: PLC0415 the exporter's choice, which may become another
    except ImportError:
        return None
    session: Any = requests.Session()
    session.request = _heard(session.request, answer, answer.hear_response)
    return session


def _listen_to_stub(exporter: Any, answer: Answer) -> None:
    """Hear the answers that a gRPC exporter gets, also those to the stub that it makes when it connects again."""
    make, stub = getattr(exporter, "_stub", None), getattr(exporter, "_client", None)
    if not callable(make) or not callable(getattr(stub, "Export", None)):
        return

    def make_heard(channel: Any) -> Any:
        made = make(channel)
        made.Export = _heard(made.Export, answer, answer.hear_message)
        return made

    exporter._stub = make_heard  # noqa: SLF001 there is no public way; the version is checked above
    exporter._client.Export = _heard(exporter._client.Export, answer, answer.hear_message)  # noqa: SLF001


def _heard(call: Callable[..., Any], answer: Answer, hear: Callable[[Any], None]) -> Callable[..., Any]:
    def call_and_listen(*args: Any, **keywords: Any) -> Any:
        try:
            result = call(*args, **keywords)
        except Exception as error:
            answer.hear_error(error)
            raise
        try:
            hear(result)
        except Exception:  # noqa: BLE001 an answer that says nothing readable is no answer, and no loss
            return result
        return result

    return call_and_listen
